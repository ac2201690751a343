//! Why a relayed connection failed, and on which side.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::Transferred;
use super::handshake::HandshakeFailure;
use crate::net::{self, ProxyHeaderError};

/// Why a relayed connection failed.
///
/// [`kind`](Self::kind) names the cause and the side, [`transferred`](Self::transferred) what was relayed before, and
/// [`source`](std::error::Error::source) is the underlying error, if there is one.
#[derive(Debug)]
pub struct RelayError {
    cause: Cause,
    transferred: Transferred,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// The last of the servers that were tried.
    Connect {
        error: net::Error,
        tried: usize,
    },
    NoServer,
    ProxyHeader(ProxyHeaderError),
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there is no handshake"))]
    ClientTls(HandshakeFailure, Option<Box<dyn Error + Send + Sync>>),
    /// `None` is the timeout.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there is no handshake"))]
    UpstreamTls(Option<Box<dyn Error + Send + Sync>>),
    Refused(Refusal),
    Read {
        side: Side,
        source: io::Error,
    },
    Write {
        side: Side,
        source: io::Error,
    },
    /// `stalled` is the side that bytes were waiting for.
    Idle {
        after: Duration,
        stalled: Option<Side>,
    },
    /// Of the direction that has not ended, `side` sent or took nothing.
    HalfClosed {
        after: Duration,
        side: Side,
    },
    Stalled {
        after: Duration,
        side: Side,
    },
    Lifetime {
        after: Duration,
    },
}

/// One side of a relayed connection, as seen from the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The peer that connected to the relay.
    Client,
    /// The server that the relay connected to.
    Upstream,
}

/// The cause of a [`RelayError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayErrorKind {
    /// Connecting to the upstream failed: to each of its servers, if there are several.
    Connect,
    /// There was no descriptor, port or memory left to connect to the upstream until the connect timeout.
    OutOfResources,
    /// A proxy that is to send a PROXY header did not send a good one in time.
    ProxyHeader(ProxyHeaderError),
    /// The TLS handshake of the client failed.
    Handshake(HandshakeFailure),
    /// The TLS handshake with the server failed, or took longer than the connect timeout.
    UpstreamTls,
    /// The client is not among those who may connect, or its source has reached a limit.
    Refused(Refusal),
    /// This side reset its connection, or closed it before everything was written to it.
    Reset(Side),
    /// Another I/O error on this side.
    Io(Side),
    /// No bytes were relayed in either direction for the idle timeout. [`RelayError::side`] names a side that took none.
    IdleTimeout,
    /// One direction had ended, and no bytes were relayed in the other for the half-closed timeout. [`RelayError::side`] names
    /// the side that sent none, or took none.
    HalfClosedTimeout,
    /// Bytes waited for the stalled timeout, and this side took none of them.
    StalledTimeout(Side),
    /// The connection was open for its maximum lifetime.
    MaxLifetime,
}

/// Why a client was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The [lists](super::RelayConfig::access) do not admit it.
    Denied,
    /// Its source has as many connections open as it may.
    SourceConnections,
    /// Its source opens connections faster than it may.
    SourceRate,
}

impl Refusal {
    pub(super) const ALL: [Self; 3] = [Self::Denied, Self::SourceConnections, Self::SourceRate];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "the client is not among those who may connect",
            Self::SourceConnections => "its source has as many connections open as it may",
            Self::SourceRate => "its source opens connections faster than it may",
        })
    }
}

impl RelayErrorKind {
    /// The word for it in logs, spans and metrics.
    pub(super) fn cause(self) -> &'static str {
        match self {
            Self::Connect => "connect_error",
            Self::OutOfResources => "out_of_resources",
            Self::ProxyHeader(ProxyHeaderError::Missing) => "proxy_header_missing",
            Self::ProxyHeader(ProxyHeaderError::Malformed) => "proxy_header_malformed",
            Self::ProxyHeader(ProxyHeaderError::TooLong) => "proxy_header_too_long",
            Self::ProxyHeader(ProxyHeaderError::Checksum) => "proxy_header_checksum",
            Self::ProxyHeader(ProxyHeaderError::Truncated) => "proxy_header_truncated",
            Self::ProxyHeader(ProxyHeaderError::Timeout) => "proxy_header_timeout",
            Self::Handshake(failure) => failure.cause(),
            Self::UpstreamTls => "upstream_tls_error",
            Self::Refused(Refusal::Denied) => "refused_denied",
            Self::Refused(Refusal::SourceConnections) => "refused_source_connections",
            Self::Refused(Refusal::SourceRate) => "refused_source_rate",
            Self::Reset(_) => "reset",
            Self::Io(_) => "io_error",
            Self::IdleTimeout => "idle_timeout",
            Self::HalfClosedTimeout => "half_closed_timeout",
            Self::StalledTimeout(_) => "stalled_timeout",
            Self::MaxLifetime => "max_lifetime",
        }
    }
}

impl RelayError {
    pub(super) fn new(cause: Cause, transferred: Transferred) -> Self {
        Self { cause, transferred }
    }

    /// Bytes relayed in each direction before the failure.
    #[must_use]
    pub fn transferred(&self) -> Transferred {
        self.transferred
    }

    /// The cause.
    #[must_use]
    pub fn kind(&self) -> RelayErrorKind {
        match &self.cause {
            Cause::Connect { error, .. } if is_local(error) => RelayErrorKind::OutOfResources,
            Cause::Connect { .. } | Cause::NoServer => RelayErrorKind::Connect,
            Cause::ProxyHeader(error) => RelayErrorKind::ProxyHeader(*error),
            Cause::ClientTls(failure, _) => RelayErrorKind::Handshake(*failure),
            Cause::UpstreamTls(_) => RelayErrorKind::UpstreamTls,
            Cause::Refused(refusal) => RelayErrorKind::Refused(*refusal),
            Cause::Read { side, source } | Cause::Write { side, source } => match source.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => RelayErrorKind::Reset(*side),
                _ => RelayErrorKind::Io(*side),
            },
            Cause::Idle { .. } => RelayErrorKind::IdleTimeout,
            Cause::HalfClosed { .. } => RelayErrorKind::HalfClosedTimeout,
            Cause::Stalled { side, .. } => RelayErrorKind::StalledTimeout(*side),
            Cause::Lifetime { .. } => RelayErrorKind::MaxLifetime,
        }
    }

    /// The side that ended the connection: at a timeout the one that took no bytes, or sent none. `None` for the relay itself, or
    /// if neither had any at the idle timeout.
    #[must_use]
    pub fn side(&self) -> Option<Side> {
        match &self.cause {
            Cause::Connect { error, .. } => (!is_local(error)).then_some(Side::Upstream),
            Cause::ProxyHeader(_) | Cause::ClientTls(..) => Some(Side::Client),
            Cause::UpstreamTls(_) => Some(Side::Upstream),
            Cause::Read { side, .. }
            | Cause::Write { side, .. }
            | Cause::HalfClosed { side, .. }
            | Cause::Stalled { side, .. } => Some(*side),
            Cause::Idle { stalled, .. } => *stalled,
            Cause::NoServer | Cause::Refused(_) | Cause::Lifetime { .. } => None,
        }
    }

    /// Whether a timeout expired: of connecting, of the PROXY header or of the connection.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match &self.cause {
            Cause::Connect { error, .. } => error.is_timeout(),
            Cause::ProxyHeader(error) => *error == ProxyHeaderError::Timeout,
            Cause::ClientTls(failure, _) => *failure == HandshakeFailure::Timeout,
            Cause::UpstreamTls(error) => error.is_none(),
            Cause::Idle { .. }
            | Cause::HalfClosed { .. }
            | Cause::Stalled { .. }
            | Cause::Lifetime { .. } => true,
            Cause::Read { .. } | Cause::Write { .. } | Cause::NoServer | Cause::Refused(_) => false,
        }
    }
}

/// Whether the upstream is not to blame.
fn is_local(error: &net::Error) -> bool {
    error.kind() == net::ErrorKind::OutOfResources
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Connect { error, tried: 1 } => error.fmt(f),
            Cause::Connect { error, tried } => {
                write!(f, "none of {tried} servers can be reached; the last: {error}")
            }
            Cause::NoServer => f.write_str("the backend has no server"),
            Cause::ProxyHeader(error) => error.fmt(f),
            Cause::ClientTls(_, Some(error)) | Cause::UpstreamTls(Some(error)) => error.fmt(f),
            Cause::ClientTls(HandshakeFailure::NotTls, None) => {
                f.write_str("the client does not speak TLS, and no backend serves such clients")
            }
            Cause::ClientTls(_, None) => f.write_str("no backend serves the server name of the client"),
            Cause::UpstreamTls(None) => {
                f.write_str("the server did not finish its TLS handshake within the connect timeout")
            }
            Cause::Refused(refusal) => refusal.fmt(f),
            Cause::Read { side, .. } => write!(f, "reading from the {side} failed"),
            Cause::Write { side, .. } => write!(f, "writing to the {side} failed"),
            Cause::Idle { after, stalled: None } => write!(f, "no bytes in either direction for {after:?}"),
            Cause::Idle { after, stalled: Some(side) } | Cause::Stalled { after, side } => {
                write!(f, "the {side} took no bytes for {after:?}")
            }
            Cause::HalfClosed { after, side } => {
                write!(f, "one direction has ended, and the {side} sent or took no bytes for {after:?}")
            }
            Cause::Lifetime { after } => write!(f, "the connection was open for {after:?}"),
        }
    }
}

impl Error for RelayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            // It is shown in full above.
            Cause::Connect { error, .. } => error.source(),
            Cause::ClientTls(_, error) | Cause::UpstreamTls(error) => error.as_ref()?.source(),
            Cause::Read { source, .. } | Cause::Write { source, .. } => Some(source),
            Cause::Idle { .. }
            | Cause::HalfClosed { .. }
            | Cause::Stalled { .. }
            | Cause::Lifetime { .. }
            | Cause::NoServer
            | Cause::ProxyHeader(_)
            | Cause::Refused(_) => None,
        }
    }
}
