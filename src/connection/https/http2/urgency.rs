//! How urgent a request is (RFC 9218).

use http::Request;

/// How urgent a request is: 0 is the most urgent, 7 the least (RFC 9218, section 4.1).
///
/// A request has the one that is among its extensions, or else that of its header `priority`, or else the default, 3. It
/// decides who is served first where requests wait for a stream. The header is sent to the server as it is.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use millpond::connection::https::{RequestBody, Urgency};
///
/// let request = Request::get("/prices").extension(Urgency::new(1)).body(RequestBody::empty())?;
/// assert_eq!(Urgency::of(&request), Urgency::new(1));
/// let request = Request::get("/logo").header("priority", "u=5, i").body(RequestBody::empty())?;
/// assert_eq!(Urgency::of(&request), Urgency::new(5));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Urgency(u8);

impl Urgency {
    /// The number of urgencies.
    pub(super) const COUNT: usize = 8;

    const LEAST: u8 = Self::COUNT as u8 - 1;

    /// An urgency. What is above 7 counts as 7.
    #[must_use]
    pub const fn new(urgency: u8) -> Self {
        Self(if urgency > Self::LEAST { Self::LEAST } else { urgency })
    }

    /// From 0, the most urgent, to 7.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The urgency of a request.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        let own = request.extensions().get().copied();
        own.or_else(|| {
            let fields = request.headers().get_all("priority").iter();
            fields.filter_map(|field| Self::parse(field.to_str().ok()?)).next_back()
        })
        .unwrap_or_default()
    }

    /// The member `u` of a dictionary such as `u=5, i`. The last one counts (RFC 8941, section 4.2.2); one that is not
    /// valid is ignored.
    fn parse(field: &str) -> Option<Self> {
        field.split(',').rev().find_map(|member| {
            let value = member.split(';').next()?.trim().strip_prefix("u=")?;
            value.parse().ok().filter(|&urgency| urgency <= Self::LEAST).map(Self)
        })
    }
}

impl Default for Urgency {
    /// 3.
    fn default() -> Self {
        Self(3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_field_names_the_urgency() {
        for (field, urgency) in [
            ("u=5", Some(5)),
            ("i, u=0", Some(0)),
            ("u=1;x=2 , i", Some(1)),
            ("u=1, u=2", Some(2)),
            ("u=8", None),
            ("u=-1", None),
            ("u", None),
            ("ui=1", None),
            ("", None),
        ] {
            assert_eq!(Urgency::parse(field), urgency.map(Urgency), "{field}");
        }
    }

    #[test]
    fn an_extension_comes_before_the_field() {
        let request = Request::get("/").header("priority", "u=5").extension(Urgency::new(2));
        assert_eq!(Urgency::of(&request.body(()).unwrap()), Urgency(2));
    }

    #[test]
    fn without_either_it_is_three() {
        assert_eq!(Urgency::of(&Request::new(())), Urgency(3));
    }
}
