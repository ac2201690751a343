//! Addresses: `HOST:PORT`, `tcp://HOST:PORT`, `unix:///PATH` and `unix://@NAME`, parsed and printed.

use std::error;
use std::ffi::OsStr;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The address of a listener: `host:port`, `tcp://host:port`, `tcp://[::1]:port`, `unix:///path/of.sock` or `unix://@name`.
///
/// Parse what users write: a mistake is a [`ParseEndpointError`]. Convert what the program has already with `into`: a
/// socket address, a host and a port, or a path. Text converts as well. Without a scheme but with a `/`, it is then the path of a
/// socket file. A mistake in it is kept as [`Invalid`](Self::Invalid), and reported by [`Listener::bind`] and
/// [`Stream::connect`].
///
/// The host is a name or an address. An IPv6 address is in brackets. That of a link has its interface, by name or by
/// number: `tcp://[fe80::1%eth0]:80`.
///
/// `unix://@name` is an *abstract* name, which exists on Linux only. It is no file: it ends with its listener, and any
/// program in the same network namespace can connect to it, whatever its user. The socket file `@name` is
/// `unix://./@name`.
///
/// [`Listener::bind`]: super::Listener::bind
/// [`Stream::connect`]: super::Stream::connect
///
/// # Examples
///
/// ```
/// use std::net::{Ipv4Addr, SocketAddr};
/// use std::path::Path;
///
/// use millpond::net::Endpoint;
///
/// let parsed: Endpoint = "tcp://127.0.0.1:6379".parse()?;
/// assert_eq!("127.0.0.1:6379".parse(), Ok(parsed.clone()));
/// assert_eq!(Endpoint::from("127.0.0.1:6379"), parsed);
/// assert_eq!(Endpoint::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 6379))), parsed);
/// assert_eq!(Endpoint::from(Path::new("/run/app.sock")).to_string(), "unix:///run/app.sock");
/// # Ok::<(), millpond::net::ParseEndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `host:port`.
    Tcp(String),
    /// The path of a socket file or, after a NUL byte as in tokio, an abstract name.
    Unix(PathBuf),
    /// Text that was converted and is no endpoint.
    Invalid {
        /// The text.
        text: String,
        /// What is wrong with it.
        error: ParseEndpointError,
    },
}

impl Endpoint {
    fn tcp(address: String) -> Self {
        match host_and_port(&address) {
            Ok(_) => Self::Tcp(address),
            Err(error) => Self::Invalid { text: address, error },
        }
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        if let Some(path) = text.strip_prefix("unix://") {
            return match path.strip_prefix('@') {
                None if path.is_empty() => Err(ParseEndpointError::NoPath),
                None => Ok(Self::Unix(path.into())),
                Some("") => Err(ParseEndpointError::NoName),
                Some(name) => Ok(Self::Unix(format!("\0{name}").into())),
            };
        }
        let address = match text.strip_prefix("tcp://") {
            Some(address) => address,
            None if text.contains(':') && !text.contains('/') => text,
            None => return Err(ParseEndpointError::NoScheme),
        };
        host_and_port(address).map(|_| Self::Tcp(address.to_owned()))
    }
}

/// The two parts of `host:port`, the host without brackets.
pub(super) fn host_and_port(address: &str) -> Result<(&str, u16), ParseEndpointError> {
    let (host, port) = address.rsplit_once(':').ok_or(ParseEndpointError::NoPort)?;
    let port = port.parse().map_err(|_| ParseEndpointError::NoPort)?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').filter(|host| is_ipv6(host)),
        None => Some(host).filter(|host| !host.is_empty() && !host.contains([':', '/'])),
    };
    Ok((host.ok_or(ParseEndpointError::BadHost)?, port))
}

/// Whether the authority of a URL has a malformed port, as `host:99999`. For the `http` crate that is an authority without
/// a port, so the default would be taken. An empty port is the default (RFC 3986).
#[cfg(any(feature = "https", feature = "websocket"))]
pub(crate) fn has_wrong_port(authority: &str) -> bool {
    let after_user_and_brackets = authority.rsplit(['@', ']']).next().unwrap_or_default();
    let port = after_user_and_brackets.split_once(':').map_or("", |(_, port)| port);
    // `parse` takes a sign.
    !port.is_empty() && (port.starts_with('+') || port.parse::<u16>().is_err())
}

/// Whether it is an IPv6 address, with or without a scope.
fn is_ipv6(host: &str) -> bool {
    let (address, scope) = host.split_once('%').unwrap_or((host, "none"));
    address.parse::<Ipv6Addr>().is_ok() && !scope.is_empty()
}

/// The abstract name that stands for the path.
pub(super) fn abstract_name(path: &Path) -> Option<&[u8]> {
    path.as_os_str().as_bytes().strip_prefix(b"\0")
}

impl From<&str> for Endpoint {
    fn from(text: &str) -> Self {
        match text.split_once('/') {
            None => Self::tcp(text.to_owned()),
            Some((scheme, _)) if scheme.ends_with(':') => {
                text.parse().unwrap_or_else(|error| Self::Invalid { text: text.to_owned(), error })
            }
            Some(_) => Self::Unix(text.into()),
        }
    }
}

impl From<String> for Endpoint {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Endpoint {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

/// A host and a port. An IPv6 address needs no brackets.
impl From<(&str, u16)> for Endpoint {
    fn from((host, port): (&str, u16)) -> Self {
        match host.contains(':') && !host.starts_with('[') {
            true => Self::tcp(format!("[{host}]:{port}")),
            false => Self::tcp(format!("{host}:{port}")),
        }
    }
}

impl From<&Path> for Endpoint {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl From<PathBuf> for Endpoint {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl From<&PathBuf> for Endpoint {
    fn from(path: &PathBuf) -> Self {
        Self::Unix(path.clone())
    }
}

impl From<&Self> for Endpoint {
    fn from(endpoint: &Self) -> Self {
        endpoint.clone()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => match abstract_name(path) {
                Some(name) => write!(f, "unix://@{}", OsStr::from_bytes(name).display()),
                None if path.as_os_str().as_bytes().starts_with(b"@") => {
                    write!(f, "unix://./{}", path.display())
                }
                None => write!(f, "unix://{}", path.display()),
            },
            Self::Invalid { text, .. } => f.write_str(text),
        }
    }
}

/// Why a text is not an [`Endpoint`]. `{:?}` says the same as `{}`, for a `main` that returns it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseEndpointError {
    /// It begins with neither `tcp://` nor `unix://`, and is not `HOST:PORT`.
    NoScheme,
    /// `unix://` without a path.
    NoPath,
    /// `unix://@` without a name.
    NoName,
    /// No port, or not one from 0 to 65535.
    NoPort,
    /// No host, an IPv6 address without brackets, or something else in brackets.
    BadHost,
}

impl fmt::Display for ParseEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "write HOST:PORT or unix:///PATH",
            Self::NoPath => "name the socket file, as in unix:///run/app.sock",
            Self::NoName => "name the abstract socket, as in unix://@app",
            Self::NoPort => "end it with a port from 0 to 65535, as in 127.0.0.1:6379",
            Self::BadHost => "name a host; put an IPv6 address in brackets, as in [::1]:6379",
        })
    }
}

impl fmt::Debug for ParseEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for ParseEndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_prints_as_the_text_it_was_parsed_from() {
        for text in [
            "tcp://127.0.0.1:80",
            "tcp://example.org:0",
            "tcp://[::1]:65535",
            "tcp://[fe80::1%eth0]:80",
            "tcp://[fe80::1%2]:80",
            "unix:///run/a b.sock",
            "unix://relative",
            "unix://@abstract/name",
            "unix://./@file",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_file_that_begins_with_an_at_sign_is_no_abstract_name() {
        let file = Endpoint::from(Path::new("@file"));
        assert_eq!(file.to_string(), "unix://./@file");
        assert_ne!(file, Endpoint::from("unix://@file"));
    }

    #[test]
    fn converted_text_keeps_its_mistake() {
        for text in [
            "tcp://a",
            "http://a:80",
            "unix:/run/a.sock",
            "unix://",
            "unix://@",
            "tcp://a:b",
            "tcp:///a.sock:1",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            let endpoint = Endpoint::from(text);
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(endpoint, Endpoint::Invalid { text: text.to_owned(), error });
        }
    }

    #[test]
    fn text_without_a_scheme_is_a_path_if_it_has_a_slash() {
        assert_eq!(Endpoint::from("./app.sock"), Endpoint::Unix("./app.sock".into()));
    }

    #[test]
    fn other_text_without_a_scheme_is_a_host_and_a_port() {
        assert_eq!(Endpoint::from("localhost:80"), Endpoint::Tcp("localhost:80".to_owned()));
    }

    #[test]
    fn a_host_with_a_slash_is_no_path() {
        let error = ParseEndpointError::BadHost;
        assert_eq!(Endpoint::from(("a/b", 80)), Endpoint::Invalid { text: "a/b:80".to_owned(), error });
    }

    #[test]
    fn a_host_and_a_port_parse_without_a_scheme() {
        for text in ["127.0.0.1:80", "example.org:0", "[::1]:65535"] {
            assert_eq!(text.parse(), Ok(Endpoint::Tcp(text.to_owned())));
        }
    }

    #[test]
    fn main_prints_what_is_wrong() {
        let error = "redis".parse::<Endpoint>().unwrap_err();
        assert_eq!(format!("{error:?}"), "write HOST:PORT or unix:///PATH");
    }

    #[test]
    fn an_ipv6_host_is_put_in_brackets() {
        assert_eq!(Endpoint::from(("::1", 80)).to_string(), "tcp://[::1]:80");
    }

    #[test]
    fn other_text_does_not_parse_and_the_error_says_why() {
        use ParseEndpointError::*;
        for (text, reason) in [
            ("", NoScheme),
            ("redis", NoScheme),
            ("http://a:80", NoScheme),
            ("run/app.sock:80", NoScheme),
            ("a:65536", NoPort),
            ("::1:80", BadHost),
            ("unix://", NoPath),
            ("unix://@", NoName),
            ("tcp://127.0.0.1", NoPort),
            ("tcp://a:65536", NoPort),
            ("tcp://a:", NoPort),
            ("tcp://:80", BadHost),
            ("tcp://::1:80", BadHost),
            ("tcp://[::1]", NoPort),
            ("tcp://[::1:80", BadHost),
            ("tcp://[fe80::1%]:80", BadHost),
            ("tcp://[a]:80", BadHost),
            ("tcp:///run/app.sock:80", BadHost),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(reason), "{text}");
        }
    }
}
