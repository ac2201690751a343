//! Why a relayed connection did not end well.

use std::error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::net;

/// Why a connection did not end well.
#[derive(Debug)]
pub struct RelayError(pub(super) Cause);

#[derive(Debug)]
pub(super) enum Cause {
    Connect(net::Error),
    Read { side: Side, source: io::Error },
    Write { side: Side, source: io::Error },
    Idle { after: Duration },
}

/// One end of a relayed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who connected to the relay.
    Client,
    /// Whom the relay connected to.
    Upstream,
}

/// The outcomes that call for different answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayErrorKind {
    /// The upstream could not be reached.
    Connect,
    /// A side reset its connection.
    Reset(Side),
    /// Another I/O error of a side.
    Io(Side),
    /// No byte went either way for the idle timeout.
    IdleTimeout,
}

impl RelayError {
    /// What happened.
    #[must_use]
    pub fn kind(&self) -> RelayErrorKind {
        match &self.0 {
            Cause::Connect(_) => RelayErrorKind::Connect,
            Cause::Read { side, source } | Cause::Write { side, source } => match source.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => RelayErrorKind::Reset(*side),
                _ => RelayErrorKind::Io(*side),
            },
            Cause::Idle { .. } => RelayErrorKind::IdleTimeout,
        }
    }

    /// Whether time ran out, connecting or idle.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match &self.0 {
            Cause::Connect(error) => error.is_timeout(),
            Cause::Idle { .. } => true,
            Cause::Read { .. } | Cause::Write { .. } => false,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        })
    }
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Connect(_) => f.write_str("the upstream cannot be reached"),
            Cause::Read { side, .. } => write!(f, "reading from the {side} failed"),
            Cause::Write { side, .. } => write!(f, "writing to the {side} failed"),
            Cause::Idle { after } => write!(f, "no byte went either way for {after:?}"),
        }
    }
}

impl error::Error for RelayError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.0 {
            Cause::Connect(error) => Some(error),
            Cause::Read { source, .. } | Cause::Write { source, .. } => Some(source),
            Cause::Idle { .. } => None,
        }
    }
}
