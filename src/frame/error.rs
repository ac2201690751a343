//! Why bytes are not a frame, and why a message cannot be one.

use core::error::Error;
use core::fmt;

use super::protocol::Protocol;
use super::tlv::HEADER_LEN;
use crate::pool::AcquireError;

/// What is wrong with the bytes of a stream, and where.
///
/// After an error that [is not fatal](Self::is_fatal) the decoder continues at the next place where a frame can begin.
/// After a fatal one nothing can be trusted, and the decoder returns the same error again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameError {
    kind: FrameErrorKind,
    offset: u64,
    fatal: bool,
    looks_like: Option<Protocol>,
}

/// What a [`FrameError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameErrorKind {
    /// A frame is longer than allowed: its header says so, or that many bytes have arrived without an end.
    MessageTooLarge {
        /// Declared or received length in bytes.
        size: usize,
        /// Allowed length in bytes.
        max: usize,
    },
    /// The stream ended inside a frame.
    Truncated {
        /// Bytes of the frame that arrived.
        received: usize,
        /// Length of the frame in bytes, or the least it can be.
        expected: usize,
    },
    /// The stream does not begin with the digest of the expected schema.
    DigestMismatch,
    /// The escape byte stands before a byte that it cannot escape.
    BadEscape {
        /// That byte.
        byte: u8,
    },
    /// An error of the decoder's own protocol, such as a wrong checksum. No framing of this crate has one.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::frame::{FrameError, FrameErrorKind};
    ///
    /// #[derive(Clone, Copy)]
    /// enum Fault {
    ///     Checksum = 1,
    ///     Version = 2,
    /// }
    ///
    /// impl From<Fault> for FrameErrorKind {
    ///     fn from(fault: Fault) -> Self {
    ///         let text = match fault {
    ///             Fault::Checksum => "the checksum is wrong",
    ///             Fault::Version => "the peer has another version",
    ///         };
    ///         Self::Custom { code: fault as u32, text }
    ///     }
    /// }
    ///
    /// let error = FrameError::fatal(Fault::Version.into(), 17);
    /// assert!(matches!(error.kind(), FrameErrorKind::Custom { code: 2, .. }));
    /// assert_eq!(error.to_string(), "the peer has another version (at byte 17 of the stream)");
    /// ```
    Custom {
        /// For programs: which error it is, as the decoder numbers them.
        code: u32,
        /// For people: what it says.
        text: &'static str,
    },
    /// The pool's memory limit left no memory for a frame. The peer is not to blame, unless all of the memory is
    /// its own.
    OutOfMemory(AcquireError),
}

impl FrameError {
    /// An error after which the decoder continues with the next frame. `offset`: bytes of the stream before the error.
    #[must_use]
    pub fn new(kind: FrameErrorKind, offset: u64) -> Self {
        Self { kind, offset, fatal: false, looks_like: None }
    }

    /// An error that ends the stream.
    #[must_use]
    pub fn fatal(kind: FrameErrorKind, offset: u64) -> Self {
        Self { kind, offset, fatal: true, looks_like: None }
    }

    /// Notes the first bytes of the stream, which may be those of another protocol.
    pub(super) fn with_first_bytes(self, first: [u8; HEADER_LEN]) -> Self {
        Self { looks_like: Protocol::guess(first), ..self }
    }

    /// The likely cause, if the stream does not begin with a frame: another protocol.
    #[must_use]
    pub fn looks_like(&self) -> Option<Protocol> {
        self.looks_like
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> FrameErrorKind {
        self.kind
    }

    /// Where it was found: bytes of the stream before the place.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the stream cannot be read any further and the connection has to be closed.
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
            Self::DigestMismatch => f.write_str(
                "the stream does not begin with this schema's digest: the peer uses another contracts file, \
                 sends no digest, or speaks another protocol",
            ),
            Self::BadEscape { byte } => write!(f, "an escape before the byte {byte:#04x}"),
            Self::Custom { text, .. } => f.write_str(text),
            Self::OutOfMemory(_) => f.write_str("the pool has no memory for a frame"),
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {} of the stream)", self.kind, self.offset)?;
        self.looks_like.map_or(Ok(()), |protocol| write!(f, "; it begins like {protocol}"))
    }
}

impl Error for FrameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            FrameErrorKind::OutOfMemory(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a message could not be encoded. Nothing was written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message is longer than the framing's length field can express.
    MessageTooLarge {
        /// Length of the message in bytes.
        size: usize,
        /// The longest possible length in bytes.
        max: usize,
    },
    /// The message is shorter than the framing allows: readers would drop it.
    MessageTooShort {
        /// Length of the message in bytes.
        size: usize,
        /// The shortest allowed length in bytes.
        min: usize,
    },
    /// No command byte of KISS means this command for this port.
    Command {
        /// The port.
        port: u8,
        /// The command.
        command: u8,
    },
    /// The frame is longer than the room in the output.
    NoRoom {
        /// Length of the frame in bytes.
        needed: usize,
        /// Room of the output in bytes.
        available: usize,
    },
    /// The message contains bytes that would end it, for example a line feed in a line.
    Delimiter {
        /// Where in the message, or in the field of an event, in bytes.
        at: usize,
    },
    /// The encoder is wrong: it copies more than its [`copied_len`](super::Encoder::copied_len) says.
    CopiedLen {
        /// What it says, in bytes.
        declared: usize,
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
            Self::MessageTooShort { size, min } => {
                write!(f, "a message of {size} bytes is below the minimum of {min}")
            }
            Self::Command { port, command } => {
                write!(f, "no command byte means command {command} for port {port}")
            }
            Self::NoRoom { needed, available } => {
                write!(f, "a frame of {needed} bytes does not fit into {available}")
            }
            Self::Delimiter { at } => write!(f, "the message contains a delimiter, at byte {at}"),
            Self::CopiedLen { declared } => {
                write!(f, "the encoder copies more than the {declared} bytes that its copied_len declares")
            }
        }
    }
}

impl Error for EncodeError {}
