//! Framings: where one message ends and the next begins, free of I/O.
//!
//! A framing is a [`Decoder`]: it is shown what has arrived through a [`Reader`] and takes frames out of it. The
//! [`Assembler`] brings the bytes together, in buffers of a pool, for any of them. It never reads, writes, waits or
//! looks at a clock, so that sockets, property tests and the fuzzer drive the same code.
//!
//! | framing | a frame ends | after an error it goes on | limits (default) |
//! |---|---|---|---|
//! | [`hdlc`] | at a flag | at the next flag | payload (20 bytes to 256 KiB) |
//! | [`kiss`] | at a flag | at the next flag | payload (256 KiB) |
//! | [`lines`] | at a line feed | behind the next line feed | line (1 MiB) |
//! | [`sse`] | at a blank line | behind the next blank line | event as it arrives (1 MiB) |
//! | [`tlv`] | where its header says | nowhere: the connection has to be closed | payload (16 MiB) |
//!
//! Invariants of every framing here:
//! - the result does not depend on how the input was cut into pieces;
//! - an announced length is checked against its limit before anything is reserved for it, and what is reserved
//!   for it grows with what arrives;
//! - no input panics: a [`Reader`] is the only way to look at bytes;
//! - between frames, and after a fatal error, no buffer is held, but for the last id of an SSE stream;
//! - of a frame that is over its limit nothing is held: it is skipped as it arrives.
//!
//! The payload of a frame is a [`Message`]. The types of generated messages' fields are in `fields`.
//!
//! Deliberately absent: which messages there are (that is the schema's), and waiting for bytes (that is the
//! transport's).

#[cfg(feature = "messages")]
pub mod fields;
pub mod hdlc;
pub mod kiss;
pub mod lines;
pub mod sse;
pub mod tlv;

mod assembler;
mod error;
mod message;
#[cfg(test)]
mod pieces;
mod reader;
mod sink;
mod stuffing;

pub use assembler::{Assembler, ReadMode};
pub use error::{EncodeError, FrameError, FrameErrorKind};
pub use hdlc::Hdlc;
pub use kiss::Kiss;
pub use lines::Lines;
pub use message::{Constraint, Message, MessageError};
pub use reader::Reader;
pub use sink::{FrameSink, Payload, SHARE_ABOVE};
pub use sse::Sse;
pub use tlv::Tlv;

use crate::pool::BufferPool;

/// Takes frames out of a stream of bytes, as they arrive.
pub trait Decoder {
    /// What it takes out.
    type Frame;

    /// The next frame, if all of it is there.
    ///
    /// `input` begins where the call before stopped to take. A decoder may take a part of a frame, a header for
    /// one, and remember it; or leave the part, and see it again with more behind it. It takes nothing of a
    /// frame behind the one it returns.
    ///
    /// # Errors
    ///
    /// [`FrameError`]. After one that is not fatal, the next call goes on behind what was wrong.
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<Self::Frame>, FrameError>;

    /// The shortcut of [`decode`](Self::decode) for a small frame that lies whole at the start of `unread`, with a
    /// payload of less than `below` bytes, which is copied into the pool: the frame, and its length. `None`: ask
    /// [`decode`](Self::decode), as if this had not been called. A framing may do without it.
    #[doc(hidden)]
    #[inline]
    fn decode_small(&self, unread: &[u8], below: usize, pool: &BufferPool) -> Option<(Self::Frame, usize)> {
        let _ = (unread, below, pool);
        None
    }

    /// Bytes that have to lie before it in one piece, from where it stopped to take, for it to get any further: all of
    /// the payload, once its length is known; at least 1.
    fn needs(&self) -> usize;

    /// Whether it took a part of a frame that it has not returned.
    fn is_partial(&self) -> bool;

    /// The stream has ended, and `input` is what is left of it: did it end between two frames?
    ///
    /// # Errors
    ///
    /// [`FrameErrorKind::Truncated`] if not, or the fatal error that the decoder stopped at.
    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError>;
}

/// Makes frames of messages.
pub trait Encoder<M> {
    /// Length in bytes of the message's frame.
    fn encoded_len(&self, message: &M) -> usize;

    /// How many of them are copied by a sink that keeps shared bytes: at most this many, and all of them unless said
    /// otherwise.
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
