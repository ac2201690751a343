//! Why listening or connecting failed, and at which endpoint.

use std::error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

use super::endpoint::{Endpoint, ParseEndpointError};

/// Why listening or connecting failed, and at which endpoint.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    endpoint: Endpoint,
    address: Option<SocketAddr>,
    source: Option<io::Error>,
}

/// What happened, as far as a program can react to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is no endpoint.
    InvalidEndpoint(ParseEndpointError),
    /// A Unix endpoint was given to a TCP transport, or the other way round.
    WrongKind,
    /// Another listener has the endpoint.
    AddressInUse,
    /// Something that is not a socket is at the path of the socket file.
    NotASocket {
        /// What is there, such as `a directory`.
        found: &'static str,
    },
    /// The socket file could not get the mode or the owner of the [`ListenerConfig`](super::ListenerConfig).
    FilePermissions,
    /// There is no space left for the socket file.
    StorageFull,
    /// Listening failed for another reason.
    Listen,
    /// The connection was refused, or failed for another reason.
    Connect,
    /// The connection was not made in time.
    ConnectTimeout {
        /// The time limit.
        after: Duration,
    },
    /// The name of the host has no address, or no name server knows one.
    Lookup,
    /// No name server answered in time.
    LookupTimeout {
        /// The time limit.
        after: Duration,
    },
    /// Until the time limit of a connect, this process or this machine had no descriptor, local port or memory left. The
    /// peer is not to blame.
    OutOfResources,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, endpoint: Endpoint, source: Option<io::Error>) -> Self {
        Self { kind, endpoint, address: None, source }
    }

    pub(super) fn at(mut self, address: Option<SocketAddr>) -> Self {
        self.address = address;
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The endpoint that was to be listened at, or connected to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address of the endpoint's name at which connecting failed first.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether the user lacks a permission.
    fn is_denied(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether a timeout expired.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, ErrorKind::ConnectTimeout { .. } | ErrorKind::LookupTimeout { .. })
    }
}

/// One line that says what to do. The system's error is the [`source`](error::Error::source), and comes last if both are
/// shown.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.endpoint;
        let at = self.address.map_or_else(String::new, |address| format!(" at {address}"));
        match self.kind {
            ErrorKind::InvalidEndpoint(error) => write!(f, "{endpoint} is no endpoint; {error}"),
            ErrorKind::WrongKind => write!(
                f,
                "{endpoint} does not fit the transport; TcpTransport takes HOST:PORT, UnixTransport a path with a `/`"
            ),
            ErrorKind::NotASocket { found } => {
                write!(
                    f,
                    "{endpoint} is {found}, not a socket (choose another path, or remove what is there)"
                )
            }
            ErrorKind::AddressInUse => {
                write!(
                    f,
                    "{endpoint} is in use (stop the program that listens there, or choose another address)"
                )
            }
            ErrorKind::FilePermissions => {
                write!(
                    f,
                    "cannot set the mode and owner of {endpoint} (only root may give a file to another user, or to a group that it is not in)"
                )
            }
            ErrorKind::StorageFull => {
                write!(
                    f,
                    "no space left for the socket file of {endpoint} (free some, or choose another path)"
                )
            }
            ErrorKind::Listen => {
                let advice = match (endpoint, self.is_denied()) {
                    (Endpoint::Unix(_), true) => "choose a folder in which this user may create files",
                    (Endpoint::Unix(_), false) => "choose another path",
                    (_, true) => "choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
                    (_, false) => "choose an address of this machine",
                };
                write!(f, "cannot listen on {endpoint} ({advice})")
            }
            ErrorKind::Connect => {
                let advice = match (endpoint, self.is_denied()) {
                    (Endpoint::Unix(_), true) => "let this user write to the socket file",
                    (_, true) => "check the firewall",
                    (_, false) => "check that the server listens there",
                };
                write!(f, "cannot connect to {endpoint}{at} ({advice})")
            }
            ErrorKind::ConnectTimeout { after } => {
                write!(
                    f,
                    "{endpoint} did not answer{at} within {after:?}; check the network and the firewall"
                )
            }
            ErrorKind::Lookup => write!(f, "cannot find the address of {endpoint} (check the name)"),
            ErrorKind::LookupTimeout { after } => {
                write!(
                    f,
                    "no name server knew the address of {endpoint} within {after:?}; check /etc/resolv.conf"
                )
            }
            ErrorKind::OutOfResources => {
                let source = self.source.as_ref().map(io::Error::kind);
                let (what, advice) = match source {
                    Some(io::ErrorKind::AddrNotAvailable) => {
                        ("local port", "allow more; on Linux: sysctl net.ipv4.ip_local_port_range")
                    }
                    Some(io::ErrorKind::OutOfMemory) => ("memory", "free some"),
                    _ => ("descriptor", "raise the limit of open files: ulimit -n"),
                };
                write!(f, "this machine has no {what} left to connect to {endpoint} ({advice})")
            }
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Whether this process or machine has run out of something, so that the peer is not to blame: descriptors, memory, ports,
/// or what can be watched for readiness.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages =
        [Errno::ADDRNOTAVAIL, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC];
    Errno::from_io_error(error).is_some_and(|code| shortages.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do() {
        let said = |endpoint: &str, kind, source: io::ErrorKind| {
            Error::new(kind, endpoint.into(), Some(source.into())).to_string()
        };
        let denied = io::ErrorKind::PermissionDenied;
        for (endpoint, kind, source, advice) in [
            (
                "tcp://[::1]:80",
                ErrorKind::Listen,
                denied,
                "choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
            ),
            ("unix:///s", ErrorKind::Listen, denied, "choose a folder in which this user may create files"),
            ("unix:///s", ErrorKind::Connect, denied, "let this user write to the socket file"),
            ("tcp://a:1", ErrorKind::Connect, denied, "check the firewall"),
            (
                "tcp://a:1",
                ErrorKind::Listen,
                io::ErrorKind::AddrNotAvailable,
                "choose an address of this machine",
            ),
            ("unix:///s", ErrorKind::Listen, io::ErrorKind::ReadOnlyFilesystem, "choose another path"),
            (
                "unix:///s",
                ErrorKind::NotASocket { found: "a file" },
                denied,
                "choose another path, or remove what is there",
            ),
            (
                "unix:///s",
                ErrorKind::FilePermissions,
                denied,
                "only root may give a file to another user, or to a group that it is not in",
            ),
        ] {
            let text = said(endpoint, kind, source);
            assert!(text.contains(endpoint) && text.ends_with(&format!(" ({advice})")), "{text}");
        }
    }
}
