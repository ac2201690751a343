//! Why listening or connecting failed, and at which endpoint.

use std::error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::endpoint::Endpoint;

/// Why listening or connecting failed, and at which endpoint.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    endpoint: Endpoint,
    source: Option<io::Error>,
}

/// What happened, as far as a program can react to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A Unix endpoint was given to a TCP transport, or the other way round.
    WrongKind,
    /// Another listener has the endpoint.
    AddressInUse,
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
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, endpoint: Endpoint, source: Option<io::Error>) -> Self {
        Self { kind, endpoint, source }
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

    /// Whether a timeout expired.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, ErrorKind::ConnectTimeout { .. })
    }
}

/// One line that says what to do. The system's error is the [`source`](error::Error::source).
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.endpoint;
        match self.kind {
            ErrorKind::WrongKind => {
                write!(
                    f,
                    "{endpoint} does not fit the transport; TcpTransport takes HOST:PORT, UnixTransport a path"
                )
            }
            ErrorKind::AddressInUse => {
                write!(
                    f,
                    "{endpoint} is in use; stop the program that listens there or choose another address"
                )
            }
            ErrorKind::StorageFull => {
                write!(f, "no space left for the socket file of {endpoint}; free some or choose another path")
            }
            ErrorKind::Listen => write!(
                f,
                "cannot listen on {endpoint}; choose an address of this machine that this user may listen on"
            ),
            ErrorKind::Connect => {
                write!(f, "cannot connect to {endpoint}; check that the server listens there")
            }
            ErrorKind::ConnectTimeout { after } => {
                write!(f, "{endpoint} did not answer within {after:?}; check the network and the firewall")
            }
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
