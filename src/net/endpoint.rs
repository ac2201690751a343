//! Where a stream begins or ends, as text.

use std::error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a stream begins or ends: `tcp://host:port`, `tcp://[::1]:port` or `unix:///path/of.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Why a text is no [`Endpoint`].
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
            Self::BadHost => "name a host; an IPv6 address stands in brackets, as in tcp://[::1]:6379",
        })
    }
}

impl error::Error for ParseEndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
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
    fn what_is_no_endpoint_is_refused_with_the_reason() {
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
