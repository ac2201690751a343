//! What went wrong with a socket, and with which one.

use std::error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::endpoint::Endpoint;

/// What went wrong with a socket, and with which.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    endpoint: Endpoint,
    source: Option<io::Error>,
}

/// The outcomes that call for different answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The endpoint is of another kind than what it was given to.
    WrongKind,
    /// Somebody else listens there.
    AddressInUse,
    /// There is no space left for the socket file.
    StorageFull,
    /// Listening failed for another reason.
    Listen,
    /// No connection could be made.
    Connect,
    /// No connection was made within the time given.
    ConnectTimeout {
        /// That time.
        after: Duration,
    },
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, endpoint: Endpoint, source: Option<io::Error>) -> Self {
        Self { kind, endpoint, source }
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, ErrorKind::ConnectTimeout { .. })
    }
}

/// One line that says what to do. What the system said is the [`source`](error::Error::source).
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.endpoint;
        match self.kind {
            ErrorKind::WrongKind => {
                write!(f, "{endpoint} is of another kind; TcpTransport takes HOST:PORT, UnixTransport a path")
            }
            ErrorKind::AddressInUse => {
                write!(f, "{endpoint} is in use; stop who listens there or choose another address")
            }
            ErrorKind::StorageFull => {
                write!(
                    f,
                    "no space for the socket file of {endpoint}; free some there or choose another path"
                )
            }
            ErrorKind::Listen => write!(
                f,
                "cannot listen on {endpoint}; choose an address of this machine that this user may take"
            ),
            ErrorKind::Connect => {
                write!(f, "cannot connect to {endpoint}; check that it listens there")
            }
            ErrorKind::ConnectTimeout { after } => {
                write!(f, "{endpoint} did not answer within {after:?}; check the way there")
            }
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
