//! Why a connection ended, a message was not published, or none was received.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::frame::{FrameError, FrameErrorKind, MessageError, Protocol};
use crate::net::{ReadFrameError, ReadFrameErrorKind};
use crate::pool::AcquireError;

/// Why a connection failed.
#[derive(Debug)]
pub struct ConnectionError(pub(super) Cause);

#[derive(Debug)]
pub(super) enum Cause {
    Read(ReadFrameError),
    Write(io::Error),
    UnknownType(u16),
    HandshakeRefused,
    Timeout { kind: ConnectionErrorKind, after: Duration },
    Stalled { held: usize, after: Duration },
    Aborted,
    Closed,
}

/// What happened, as far as a program can react to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionErrorKind {
    /// The peer's bytes are not frames. [`DigestMismatch`](FrameErrorKind::DigestMismatch) if its handshake was refused.
    Protocol(FrameErrorKind),
    /// The peer's first bytes are not a frame, and look like another protocol, or like a handshake that nobody expects.
    WrongProtocol(Protocol),
    /// A client's server has probably refused the handshake: it uses another [digest](super::TransportConfig::schema_digest),
    /// or none.
    ///
    /// A server does not reply to a handshake. This is what a client can see: the server ended the connection within
    /// 15 s, before it sent a byte.
    HandshakeRefused,
    /// A frame of an unknown type arrived, and unknown types are [rejected](super::UnknownTypes::Reject).
    UnknownType(u16),
    /// The peer sent nothing after it connected.
    FirstByteTimeout,
    /// No byte was sent or received for the idle timeout.
    IdleTimeout,
    /// A frame did not arrive completely in time.
    FrameTimeout,
    /// The pool had no memory for a frame in time.
    MemoryTimeout,
    /// The connection held memory and made no progress for the [stall timeout](super::TransportConfig::stall_timeout),
    /// while others waited for memory.
    Stalled,
    /// The peer took none of the bytes that waited for it.
    WriteTimeout,
    /// The peer reset the connection, or is gone.
    Reset,
    /// Another I/O error.
    Io(io::ErrorKind),
    /// The connection was aborted: at the deadline of a shutdown, or because its transport was dropped.
    Aborted,
    /// The connection was not served, because the hub is shut down.
    Closed,
}

impl ConnectionError {
    pub(super) fn timeout(kind: ConnectionErrorKind, after: Duration) -> Self {
        Self(Cause::Timeout { kind, after })
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ConnectionErrorKind {
        let io = |kind| match kind {
            // `TimedOut` is what keepalive and TCP's user timeout end in.
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::TimedOut => ConnectionErrorKind::Reset,
            kind => ConnectionErrorKind::Io(kind),
        };
        match &self.0 {
            Cause::Read(error) => match error.kind() {
                ReadFrameErrorKind::Protocol(kind) => {
                    let frame = error.source().and_then(|source| source.downcast_ref::<FrameError>());
                    let other = frame.and_then(FrameError::looks_like);
                    other.map_or(ConnectionErrorKind::Protocol(kind), ConnectionErrorKind::WrongProtocol)
                }
                ReadFrameErrorKind::Memory => ConnectionErrorKind::MemoryTimeout,
                ReadFrameErrorKind::Io(kind) => io(kind),
            },
            Cause::Write(error) => io(error.kind()),
            Cause::UnknownType(type_id) => ConnectionErrorKind::UnknownType(*type_id),
            Cause::HandshakeRefused => ConnectionErrorKind::HandshakeRefused,
            Cause::Timeout { kind, .. } => *kind,
            Cause::Stalled { .. } => ConnectionErrorKind::Stalled,
            Cause::Aborted => ConnectionErrorKind::Aborted,
            Cause::Closed => ConnectionErrorKind::Closed,
        }
    }

    /// Whether a timeout expired.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(&self.0, Cause::Timeout { .. } | Cause::Stalled { .. })
    }

    /// Whether bytes of the peer were refused.
    pub(super) fn is_refusal(&self) -> bool {
        let kind = self.kind();
        kind.is_handshake()
            || matches!(
                kind,
                ConnectionErrorKind::Protocol(_)
                    | ConnectionErrorKind::WrongProtocol(_)
                    | ConnectionErrorKind::UnknownType(_)
            )
    }
}

impl ConnectionErrorKind {
    /// Whether the two sides do not agree on a schema's digest.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        matches!(
            self,
            Self::HandshakeRefused
                | Self::WrongProtocol(Protocol::Handshake)
                | Self::Protocol(FrameErrorKind::DigestMismatch)
        )
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Read(_) => f.write_str("no frame could be read from the peer"),
            Cause::Write(_) => f.write_str("writing to the peer failed"),
            Cause::UnknownType(type_id) => write!(
                f,
                "a frame of unknown type {type_id}; subscribe to it, declare it, or set unknown_types"
            ),
            Cause::HandshakeRefused => f.write_str(
                "the server ended the connection after the handshake: it probably uses another schema_digest, or none; \
                 compare the contracts files",
            ),
            Cause::Timeout { kind, after } => {
                let what = match kind {
                    ConnectionErrorKind::FirstByteTimeout => ("the peer sent nothing", "first_byte_timeout"),
                    ConnectionErrorKind::FrameTimeout => ("a frame was not completed", "frame_timeout"),
                    ConnectionErrorKind::MemoryTimeout => {
                        ("the pool had no memory for a frame", "the pool's memory limit")
                    }
                    ConnectionErrorKind::WriteTimeout => {
                        ("the peer took none of the bytes that wait for it", "write_timeout")
                    }
                    _ => ("no byte was sent or received", "idle_timeout"),
                };
                let (what, setting) = what;
                write!(f, "{what} for {after:?}; if that is right for this peer, raise {setting}")
            }
            Cause::Stalled { held, after } => write!(
                f,
                "the connection held {held} B and made no progress for {after:?} while others waited for memory; if that \
                 is right for this peer, raise stall_timeout or the pool's memory limit"
            ),
            Cause::Aborted => f.write_str(
                "the connection was aborted by a shutdown; to leave it more time, raise drain_timeout",
            ),
            Cause::Closed => f.write_str("the hub is shut down"),
        }
    }
}

impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Read(error) => Some(error),
            Cause::Write(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ReadFrameError> for ConnectionError {
    fn from(error: ReadFrameError) -> Self {
        Self(Cause::Read(error))
    }
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The message is longer than the transport's limit.
    MessageTooLarge {
        /// Length of the payload in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A field breaks its constraints, so no subscriber would accept the message.
    Invalid(MessageError),
    /// The pool's memory limit has no room for the message now, or none of its classes is large enough.
    OutOfMemory(AcquireError),
    /// The transport is shut down, or its connection ended and it does not reconnect.
    Closed,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLarge { size, max } => {
                write!(
                    f,
                    "a message of {size} bytes is over the transport's limit of {max}; raise max_payload"
                )
            }
            Self::Invalid(_) => f.write_str("a field of the message breaks its constraints"),
            Self::OutOfMemory(_) => f.write_str("there is no memory for the message"),
            Self::Closed => f.write_str("the transport is closed"),
        }
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Invalid(error) => Some(error),
            Self::OutOfMemory(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a subscriber received no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The subscriber was too slow and missed this many frames. The next call returns the oldest frame that is left.
    Lagged(u64),
    /// The transport is closed, and everything was received.
    Closed,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(missed) => write!(
                f,
                "the subscriber was too slow and missed {missed} frames; receive faster or raise channel_capacity or \
                 channel_bytes"
            ),
            Self::Closed => f.write_str("the transport is closed"),
        }
    }
}

impl Error for RecvError {}
