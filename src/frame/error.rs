//! Why bytes are not a frame, and why a message cannot be one.

use core::error::Error;
use core::fmt;

/// What is wrong with the bytes of a stream, and where.
///
/// After an error that [is not fatal](Self::is_fatal) the decoder goes on at the next place where a frame can begin;
/// after a fatal one it repeats it, for nothing behind it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameError {
    kind: FrameErrorKind,
    offset: u64,
    fatal: bool,
}

/// What a [`FrameError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameErrorKind {
    /// A frame is longer than allowed: its header says so, or so much of it has arrived without an end.
    MessageTooLarge {
        /// Announced or arrived, in bytes.
        size: usize,
        /// Allowed, in bytes.
        max: usize,
    },
    /// The stream ended inside a frame.
    Truncated {
        /// Bytes of the frame that arrived.
        received: usize,
        /// Length of the frame in bytes, or the least it can be.
        expected: usize,
    },
    /// The stream does not begin with the digest of the schema that is spoken here.
    DigestMismatch,
    /// The escape byte stands before a byte that it cannot escape.
    BadEscape {
        /// That byte.
        byte: u8,
    },
}

impl FrameError {
    pub(super) fn new(kind: FrameErrorKind, offset: u64) -> Self {
        Self { kind, offset, fatal: false }
    }

    pub(super) fn fatal(kind: FrameErrorKind, offset: u64) -> Self {
        Self { kind, offset, fatal: true }
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> FrameErrorKind {
        self.kind
    }

    /// Where it was found: bytes of the stream in front of the place.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the stream cannot be read any further: close the connection.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }
}

impl fmt::Display for FrameErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLarge { size, max } => {
                write!(f, "a message of {size} bytes is over the limit of {max}")
            }
            Self::Truncated { received, expected } => {
                write!(f, "the stream ended {received} bytes into a frame of at least {expected}")
            }
            Self::DigestMismatch => {
                f.write_str("the peer speaks another schema: compare the contracts files")
            }
            Self::BadEscape { byte } => write!(f, "an escape before the byte {byte:#04x}"),
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {} of the stream)", self.kind, self.offset)
    }
}

impl Error for FrameError {}

/// Why a message could not be encoded. Nothing was written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message is longer than the framing can say.
    MessageTooLarge {
        /// Length of the message in bytes.
        size: usize,
        /// The most that fits, in bytes.
        max: usize,
    },
    /// The output has less room than the frame is long.
    NoRoom {
        /// Length of the frame in bytes.
        needed: usize,
        /// Room of the output in bytes.
        available: usize,
    },
    /// The message contains what ends one: a line feed in a line, for one.
    Delimiter {
        /// Where in the message.
        at: usize,
    },
}

impl EncodeError {
    /// Whether `needed` bytes fit.
    #[inline]
    pub(super) fn check_room(needed: usize, available: usize) -> Result<(), Self> {
        if needed > available { Err(Self::NoRoom { needed, available }) } else { Ok(()) }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLarge { size, max } => {
                write!(f, "a message of {size} bytes is over the limit of {max}")
            }
            Self::NoRoom { needed, available } => {
                write!(f, "a frame of {needed} bytes does not fit into {available}")
            }
            Self::Delimiter { at } => write!(f, "the message contains a delimiter, at byte {at}"),
        }
    }
}

impl Error for EncodeError {}
