//! Addresses: `tcp://HOST:PORT` and `unix:///PATH`, parsed and printed. Abstract Unix sockets would begin here.

use std::error;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The address of a listener: `tcp://host:port`, `tcp://[::1]:port` or `unix:///path/of.sock`.
///
/// Parse what users write: a mistake is a [`ParseEndpointError`]. Convert what the program has already with `into`: a
/// socket address, a host and a port, or a path. Text converts as well. With a scheme it is that endpoint, with a `/`
/// it is the path of a socket file, and otherwise it is `HOST:PORT`; [`Listener::bind`] and [`Stream::connect`] report
/// what is wrong with it.
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
/// assert_eq!(Endpoint::from("127.0.0.1:6379"), parsed);
/// assert_eq!(Endpoint::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 6379))), parsed);
/// assert_eq!(Endpoint::from(Path::new("/run/app.sock")).to_string(), "unix:///run/app.sock");
/// # Ok::<(), millpond::net::ParseEndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `host:port`; the host is a name or an address, IPv6 in brackets.
    Tcp(String),
    /// The path of a socket file.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.is_empty() {
                Err(ParseEndpointError::NoPath)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let address = text.strip_prefix("tcp://").ok_or(ParseEndpointError::NoScheme)?;
        let (host, port) = address.rsplit_once(':').ok_or(ParseEndpointError::NoPort)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (host.contains(':') && !bracketed) {
            return Err(ParseEndpointError::BadHost);
        }
        port.parse::<u16>().map_err(|_| ParseEndpointError::NoPort)?;
        Ok(Self::Tcp(address.to_owned()))
    }
}

impl From<&str> for Endpoint {
    fn from(text: &str) -> Self {
        match text.parse() {
            Ok(endpoint) => endpoint,
            Err(_) if text.contains('/') => Self::Unix(text.into()),
            Err(_) => Self::Tcp(text.to_owned()),
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
            true => Self::Tcp(format!("[{host}]:{port}")),
            false => Self::Tcp(format!("{host}:{port}")),
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
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseEndpointError {
    /// It begins with neither `tcp://` nor `unix://`.
    NoScheme,
    /// `unix://` without a path.
    NoPath,
    /// No port, or not one from 0 to 65535.
    NoPort,
    /// No host, or an IPv6 address without brackets.
    BadHost,
}

impl fmt::Display for ParseEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "write tcp://HOST:PORT or unix:///PATH",
            Self::NoPath => "name the socket file, as in unix:///run/app.sock",
            Self::NoPort => "end it with a port from 0 to 65535, as in tcp://127.0.0.1:6379",
            Self::BadHost => "name a host; put an IPv6 address in brackets, as in tcp://[::1]:6379",
        })
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
            "unix:///run/a b.sock",
            "unix://relative",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
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
    fn an_ipv6_host_is_put_in_brackets() {
        assert_eq!(Endpoint::from(("::1", 80)).to_string(), "tcp://[::1]:80");
    }

    #[test]
    fn other_text_does_not_parse_and_the_error_says_why() {
        use ParseEndpointError::*;
        for (text, reason) in [
            ("", NoScheme),
            ("127.0.0.1:80", NoScheme),
            ("http://a:80", NoScheme),
            ("unix://", NoPath),
            ("tcp://127.0.0.1", NoPort),
            ("tcp://a:65536", NoPort),
            ("tcp://a:", NoPort),
            ("tcp://:80", BadHost),
            ("tcp://::1:80", BadHost),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(reason), "{text}");
        }
    }
}
