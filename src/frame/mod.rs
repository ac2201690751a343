//! Framings: where one message ends and the next begins, free of I/O.
//!
//! A framing is a [`Decoder`]: it looks through a [`Reader`] at the bytes that have arrived and takes frames out of them.
//! The [`Assembler`] collects the bytes in buffers of a pool, for any decoder. It never reads, writes, waits or looks at
//! a clock, so sockets, property tests and the fuzzer run the same code. A framing is an [`Encoder`] as well, and writes
//! frames to a [`FrameSink`].
//!
//! | framing | a frame ends | after an error it continues | limits (default) |
//! |---|---|---|---|
//! | [`hdlc`] | at a flag | at the next flag | payload (256 KiB) |
//! | [`kiss`] | at a flag | at the next flag | payload (256 KiB) |
//! | [`lines`] | at a line feed | after the next line feed | line (1 MiB) |
//! | [`sse`] | at a blank line | after the next blank line | event as it arrives (1 MiB) |
//! | [`tlv`] | where its header says | never: the connection has to be closed | payload (16 MiB) |
//!
//! Invariants of every framing here:
//! - The result does not depend on how the input was cut into pieces.
//! - A declared length is checked against its limit first, and alone it reserves nothing: what is reserved grows with the
//!   bytes that arrive.
//! - No input causes a panic: a [`Reader`] is the only way to look at bytes.
//! - Between frames, and after a fatal error, no buffer is held, except for the last id of an SSE stream.
//! - No byte is held of a frame that is over its limit: it is skipped as it arrives.
//! - What a peer sends never takes memory above the pool's
//!   [memory limit](crate::pool::BufferPoolConfigBuilder::memory_limit): a frame without memory is
//!   [refused](FrameErrorKind::OutOfMemory).
//!
//! The payload of a frame is a [`Message`]. The types of generated messages' fields are in `fields`.
//!
//! Deliberately absent: which messages exist (see `schema`), and waiting for bytes (see
//! `net`).

#[cfg(feature = "messages")]
pub mod fields;
pub mod hdlc;
pub mod kiss;
pub mod lines;
pub mod sse;
pub mod tlv;

mod assembler;
mod error;
#[cfg(test)]
mod limit;
mod message;
#[cfg(test)]
mod pieces;
mod protocol;
mod reader;
mod sink;
mod stuffing;

pub use assembler::{Assembler, ReadMode};
pub use error::{EncodeError, FrameError, FrameErrorKind};
pub use hdlc::Hdlc;
pub use kiss::Kiss;
pub use lines::Lines;
pub use message::{Constraint, Message, MessageError};
pub use protocol::Protocol;
pub use reader::Reader;
pub use sink::{FrameSink, Payload, SHARE_ABOVE};
pub use sse::Sse;
pub use stuffing::Stuffing;
pub use tlv::Tlv;

use crate::pool::{AcquireError, BufferPool};

/// Takes frames out of a stream of bytes, as they arrive.
///
/// # Examples
///
/// A framing of one length byte and a payload:
///
/// ```
/// use millpond::frame::{Assembler, Decoder, FrameError, FrameErrorKind, ReadMode, Reader};
/// use millpond::{AcquireError, BufferPool, BufferPoolConfig, PooledBytes};
///
/// #[derive(Default)]
/// struct Short {
///     payload_len: Option<u8>,
/// }
///
/// impl Decoder for Short {
///     type Frame = PooledBytes;
///
///     fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<PooledBytes>, FrameError> {
///         self.payload_len = self.payload_len.or_else(|| input.u8());
///         let Some(len) = self.payload_len else { return Ok(None) };
///         let payload = input.take(len.into()).map_err(|error| self.refuse(input, error))?;
///         if payload.is_some() {
///             self.payload_len = None;
///         }
///         Ok(payload)
///     }
///
///     fn needs(&self) -> usize {
///         self.payload_len.map_or(1, |len| usize::from(len).max(1))
///     }
///
///     fn is_partial(&self) -> bool {
///         self.payload_len.is_some()
///     }
///
///     fn refuse(&mut self, input: &mut Reader<'_>, error: AcquireError) -> FrameError {
///         FrameError::fatal(FrameErrorKind::OutOfMemory(error), input.offset())
///     }
///
///     fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
///         let Some(len) = self.payload_len else { return Ok(()) };
///         let (received, expected) = (1 + input.remaining(), 1 + usize::from(len));
///         let kind = FrameErrorKind::Truncated { received, expected };
///         Err(FrameError::fatal(kind, input.offset() + input.remaining() as u64))
///     }
/// }
///
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut frames = Assembler::new(Short::default(), pool, ReadMode::PerFrame);
/// frames.push(&mut &b"\x02ab\x00\x03c"[..])?;
/// assert_eq!(frames.next_frame()?.unwrap(), b"ab");
/// assert_eq!(frames.next_frame()?.unwrap(), b"");
/// assert_eq!(frames.next_frame()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Decoder {
    /// What it takes out.
    type Frame;

    /// The next frame, if all of it is there.
    ///
    /// `input` begins after the last byte that was taken. A decoder may take a part of a frame, such as a header, and
    /// remember it; or leave the part, and see it again when more has arrived. It takes nothing after the frame that it
    /// returns.
    ///
    /// # Errors
    ///
    /// [`FrameError`], of one of its kinds, or of the decoder's own as a [`Custom`](FrameErrorKind::Custom) one. After one
    /// that is not fatal, the next call continues after the bytes that were wrong.
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<Self::Frame>, FrameError>;

    /// A shortcut for small frames, and the frame's length in bytes on the wire.
    ///
    /// The [`Assembler`] asks it before [`decode`](Self::decode). If a whole frame lies at the start of `unread`, and its
    /// payload has less than `below` bytes, a decoder may copy the payload into a buffer of `pool` and return the frame,
    /// which must be the one that [`decode`](Self::decode) would return. In all other cases, and whenever the copy would
    /// take more than a [`try_acquire`](BufferPool::try_acquire), it returns `None`, and [`decode`](Self::decode) is
    /// called. Unless overridden, it always does.
    #[inline]
    fn decode_small(&self, unread: &[u8], below: usize, pool: &BufferPool) -> Option<(Self::Frame, usize)> {
        let _ = (unread, below, pool);
        None
    }

    /// Bytes that have to lie in one piece, from the first that was not taken, for the next step: all of the payload,
    /// once its length is known; at least 1.
    fn needs(&self) -> usize;

    /// Whether it took a part of a frame that it has not returned.
    fn is_partial(&self) -> bool;

    /// Refuses the frame under way, or the next one, because the pool has no memory for it: takes what is there of it, and
    /// skips the rest as it arrives. Returns the [`FrameErrorKind::OutOfMemory`]; a fatal one if the decoder cannot skip.
    fn refuse(&mut self, input: &mut Reader<'_>, error: AcquireError) -> FrameError;

    /// The stream has ended, and `input` is what is left of it: did it end between two frames?
    ///
    /// # Errors
    ///
    /// [`FrameErrorKind::Truncated`] if not, or the fatal error that the decoder stopped at.
    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError>;
}

/// Makes frames of messages.
///
/// # Examples
///
/// ```
/// use millpond::frame::{Encoder, Lines};
///
/// let lines = Lines::default();
/// let mut wire = Vec::new();
/// assert_eq!(lines.encoded_len(&"{\"id\":1}"), 9);
/// lines.encode("{\"id\":1}", &mut wire)?;
/// assert_eq!(wire, b"{\"id\":1}\n");
/// # Ok::<(), millpond::frame::EncodeError>(())
/// ```
pub trait Encoder<M> {
    /// Length of the message's frame in bytes.
    fn encoded_len(&self, message: &M) -> usize;

    /// Bytes of the frame that are copied by a sink that [keeps shared bytes](FrameSink::push_shared), at most. All of
    /// them unless overridden. A queue refuses a frame that copies more than it reserved for it
    /// ([`EncodeError::CopiedLen`]).
    fn copied_len(&self, message: &M) -> usize {
        self.encoded_len(message)
    }

    /// Appends the message's frame to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; nothing was written then.
    fn encode(&self, message: M, out: &mut impl FrameSink) -> Result<(), EncodeError>;
}
