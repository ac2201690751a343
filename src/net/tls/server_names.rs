//! What belongs to which server name.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use tokio_rustls::rustls::pki_types::DnsName;

/// What belongs to which server name: a name, or a pattern such as `*.example.com`.
///
/// A pattern stands for exactly one label, as in certificates: `*.example.com` is neither `example.com` nor
/// `a.b.example.com`, for which no such certificate is valid. A name that is there itself goes before a pattern. Upper and
/// lower case are the same, and so are a name and the name with a dot at its end.
///
/// # Examples
///
/// ```
/// use millpond::net::tls::ServerNames;
///
/// let mut names = ServerNames::new();
/// names.insert("pond.example", 1)?;
/// names.insert("*.pond.example", 2)?;
/// assert_eq!(names.get("Pond.example"), Some(&1));
/// assert_eq!(names.get("www.pond.example"), Some(&2));
/// assert_eq!(names.get("a.www.pond.example"), None);
/// # Ok::<(), millpond::net::tls::InvalidServerName>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerNames<T> {
    exact: HashMap<Box<str>, T>,
    /// By what comes after the asterisk and its dot.
    patterns: HashMap<Box<str>, T>,
}

/// A server name that is none, or a pattern with an asterisk elsewhere than in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidServerName(Box<str>);

impl<T> ServerNames<T> {
    /// No names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name or a pattern. Returns what belonged to it before.
    ///
    /// # Errors
    ///
    /// It is no DNS name. Names beyond ASCII are given in their ASCII form (`xn--`).
    pub fn insert(&mut self, name: &str, value: T) -> Result<Option<T>, InvalidServerName> {
        let (map, rest) = match name.strip_prefix("*.") {
            Some(rest) => (&mut self.patterns, rest),
            None => (&mut self.exact, name),
        };
        // An address is no name: clients do not send it.
        let is_name = DnsName::try_from(rest).is_ok() && rest.parse::<std::net::IpAddr>().is_err();
        if !is_name {
            return Err(InvalidServerName(name.into()));
        }
        Ok(map.insert(normal(rest).into(), value))
    }

    /// What belongs to the name that a client sent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        let name = &*normal(name);
        self.exact.get(name).or_else(|| self.patterns.get(name.split_once('.')?.1))
    }

    /// What was inserted for exactly this name or pattern.
    pub(super) fn get_exact(&self, name: &str) -> Option<&T> {
        match name.strip_prefix("*.") {
            Some(rest) => self.patterns.get(&*normal(rest)),
            None => self.exact.get(&*normal(name)),
        }
    }

    /// Whether there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// All that belongs to a name, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.patterns.values())
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl<T> Default for ServerNames<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), patterns: HashMap::new() }
    }
}

impl fmt::Display for InvalidServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no server name (give a DNS name, or *. and a DNS name)", self.0)
    }
}

impl Error for InvalidServerName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ServerNames<u8> {
        let mut names = ServerNames::new();
        names.insert("Pond.Example", 1).unwrap();
        names.insert("*.pond.example", 2).unwrap();
        names.insert("www.pond.example.", 3).unwrap();
        names
    }

    #[test]
    fn a_name_goes_before_a_pattern() {
        assert_eq!(names().get("www.pond.example"), Some(&3));
    }

    #[test]
    fn case_and_the_last_dot_do_not_count() {
        assert_eq!(names().get("POND.example."), Some(&1));
    }

    #[test]
    fn a_pattern_stands_for_one_label() {
        assert_eq!(names().get("mill.pond.example"), Some(&2));
        assert_eq!(names().get("a.mill.pond.example"), None);
        assert_eq!(names().get("example"), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "*", "*.", "a.*.example", "mill pond", "127.0.0.1", "[::1]", "w*.pond.example"] {
            assert_eq!(names().insert(name, 4), Err(InvalidServerName(name.into())), "{name:?}");
        }
    }
}
