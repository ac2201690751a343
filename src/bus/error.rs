//! Why a connection ended, a message was not published, or none was received.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::frame::{FrameErrorKind, MessageError};
use crate::net::{ReadFrameError, ReadFrameErrorKind};

/// Why a connection did not end well.
#[derive(Debug)]
pub struct ConnectionError(pub(super) Cause);

#[derive(Debug)]
pub(super) enum Cause {
    Read(ReadFrameError),
    Write(io::Error),
    UnknownType(u16),
    Timeout { kind: ConnectionErrorKind, after: Duration },
    Aborted,
    Closed,
}

/// The outcomes that call for different answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionErrorKind {
    /// The peer's bytes are no frames.
    Protocol(FrameErrorKind),
    /// A frame of a type that nobody named, where such are refused.
    UnknownType(u16),
    /// The peer said nothing after it connected.
    FirstByteTimeout,
    /// No byte went either way for the idle timeout.
    IdleTimeout,
    /// A frame was begun and not ended in time.
    FrameTimeout,
    /// The pool had no memory for a frame in time.
    MemoryTimeout,
    /// The peer took no byte of what waits for it.
    WriteTimeout,
    /// The peer reset the connection, or is gone.
    Reset,
    /// Another I/O error.
    Io(io::ErrorKind),
    /// It was cut: at the deadline of a shutdown, or since its transport was dropped.
    Aborted,
    /// It was not begun: its hub is shut down.
    Closed,
}

impl ConnectionError {
    pub(super) fn timeout(kind: ConnectionErrorKind, after: Duration) -> Self {
        Self(Cause::Timeout { kind, after })
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> ConnectionErrorKind {
        let io = |kind| match kind {
            // The last is what a keepalive or TCP's user timeout ends in.
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::TimedOut => ConnectionErrorKind::Reset,
            kind => ConnectionErrorKind::Io(kind),
        };
        match &self.0 {
            Cause::Read(error) => match error.kind() {
                ReadFrameErrorKind::Protocol(kind) => ConnectionErrorKind::Protocol(kind),
                ReadFrameErrorKind::Memory => ConnectionErrorKind::MemoryTimeout,
                ReadFrameErrorKind::Io(kind) => io(kind),
            },
            Cause::Write(error) => io(error.kind()),
            Cause::UnknownType(type_id) => ConnectionErrorKind::UnknownType(*type_id),
            Cause::Timeout { kind, .. } => *kind,
            Cause::Aborted => ConnectionErrorKind::Aborted,
            Cause::Closed => ConnectionErrorKind::Closed,
        }
    }

    /// Whether time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(&self.0, Cause::Timeout { .. })
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Read(_) => f.write_str("no frame could be read from the peer"),
            Cause::Write(_) => f.write_str("writing to the peer failed"),
            Cause::UnknownType(type_id) => write!(
                f,
                "a frame of type {type_id}, which nobody named; subscribe to it, declare it, or let unknown types pass"
            ),
            Cause::Timeout { kind, after } => {
                let what = match kind {
                    ConnectionErrorKind::FirstByteTimeout => ("the peer said nothing", "first_byte_timeout"),
                    ConnectionErrorKind::FrameTimeout => ("a frame was not ended", "frame_timeout"),
                    ConnectionErrorKind::MemoryTimeout => {
                        ("the pool had no memory for a frame", "the pool's memory limit")
                    }
                    ConnectionErrorKind::WriteTimeout => {
                        ("the peer took nothing of what waits for it", "write_timeout")
                    }
                    _ => ("no byte went either way", "idle_timeout"),
                };
                let (what, setting) = what;
                write!(f, "{what} for {after:?}; if that is right for this peer, raise {setting}")
            }
            Cause::Aborted => {
                f.write_str("it was cut by a shutdown; to leave it more time, raise drain_timeout")
            }
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
    /// A field breaks its rules, so that no subscriber would take the message.
    Invalid(MessageError),
    /// The transport is shut down, or its connection ended and it does not connect again.
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
            Self::Closed => f.write_str("the transport is closed"),
        }
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Invalid(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a subscriber got no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// It fell behind and missed so many frames of its topic; the next call has the oldest that is left.
    Lagged(u64),
    /// A payload that is none of the type; the next call goes on behind it.
    Malformed(MessageError),
    /// The transport is gone, and everything was received.
    Closed,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(missed) => write!(
                f,
                "the subscriber fell behind and missed {missed} frames; receive faster or raise channel_capacity or \
                 channel_bytes"
            ),
            Self::Malformed(_) => f.write_str("the payload is not a message of its type"),
            Self::Closed => f.write_str("the transport is closed"),
        }
    }
}

impl Error for RecvError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            _ => None,
        }
    }
}
