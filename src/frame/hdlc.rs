//! HDLC-like frames of mesh packets, as Reticulum sends them over TCP and serial lines.
//!
//! ```text
//! 7E payload 7E        in the payload: 7D → 7D 5D, 7E → 7D 5E
//! ```
//!
//! Between two frames one flag is enough, and there may be many. There is no checksum and no address: what
//! stands between two flags is the payload.
//!
//! # Examples
//!
//! ```
//! use millpond::frame::{Assembler, Encoder, Hdlc, ReadMode};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let mut wire = Vec::new();
//! let framing = Hdlc::default().with_min_frame(1);
//! framing.encode(&[0x01, 0x7E, 0x02, 0x7D, 0x03], &mut wire)?;
//! assert_eq!(wire, [0x7E, 0x01, 0x7D, 0x5E, 0x02, 0x7D, 0x5D, 0x03, 0x7E]);
//!
//! let pool = BufferPool::new(BufferPoolConfig::embedded());
//! let mut frames = Assembler::new(framing, pool, ReadMode::PerFrame);
//! frames.push(&mut wire.as_slice());
//! assert_eq!(frames.next_frame()?.unwrap(), [0x01, 0x7E, 0x02, 0x7D, 0x03]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use super::stuffing::{Alphabet, Unstuffing};
use super::{Decoder, EncodeError, Encoder, FrameError, FrameSink, Payload, Reader};
use crate::pool::PooledBytes;

/// The longest payload accepted unless configured otherwise, in bytes: the hardware MTU of Reticulum's TCP
/// interface.
pub const DEFAULT_MAX_FRAME: usize = 262_144;

/// The shortest payload accepted unless configured otherwise, in bytes: a packet is longer than its header, and the
/// shortest header of Reticulum has 19 bytes.
pub const MIN_FRAME: usize = 20;

/// As in RFC 1662, section 4.2, but only the flag and the escape are escaped.
static ALPHABET: Alphabet =
    Alphabet { flag: 0x7E, escape: 0x7D, escaped_flag: 0x5E, escaped_escape: 0x5D, command: None };

/// The framing. As a decoder:
/// it skips what stands before the first flag, and empty frames; it drops frames that are too short, and counts them.
/// After an error it goes on at the next flag, and holds nothing of what it skips; that the stream ends in a frame that
/// was refused already is no further error.
///
/// A payload without an escape stays where it was read, if the [`ReadMode`](super::ReadMode) lets it; one with escapes is
/// put together in a buffer of its own class.
#[derive(Debug)]
pub struct Hdlc(Unstuffing);

impl Hdlc {
    /// Before the first flag of a stream; refuses payloads longer than `max_frame` bytes, and drops those below
    /// [`MIN_FRAME`].
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self(Unstuffing::new(&ALPHABET, max_frame, MIN_FRAME))
    }

    /// Drops payloads below `min_frame` bytes, and no others. Empty ones are skipped in any case.
    #[must_use]
    pub fn with_min_frame(mut self, min_frame: usize) -> Self {
        self.0.min_frame = min_frame;
        self
    }

    /// Frames that were dropped for being too short; empty ones do not count.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped
    }
}

/// With limits of [`MIN_FRAME`] and [`DEFAULT_MAX_FRAME`].
impl Default for Hdlc {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_FRAME)
    }
}

impl Decoder for Hdlc {
    /// The payload.
    type Frame = PooledBytes;

    /// # Errors
    ///
    /// None is fatal.
    /// - [`MessageTooLarge`](super::FrameErrorKind::MessageTooLarge) as soon as the payload is over the limit, and
    ///   its size is so the limit and 1; the offset is that of the frame's first byte.
    /// - [`BadEscape`](super::FrameErrorKind::BadEscape), with the offset of the escape.
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<PooledBytes>, FrameError> {
        self.0.decode(input)
    }

    fn needs(&self) -> usize {
        1
    }

    fn is_partial(&self) -> bool {
        self.0.is_partial()
    }

    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
        self.0.finish(input)
    }
}

/// A payload. One that is empty is skipped by whoever reads it, and one below [`MIN_FRAME`] dropped by Reticulum.
impl<P: Payload> Encoder<P> for Hdlc {
    fn encoded_len(&self, payload: &P) -> usize {
        ALPHABET.encoded_len(payload.as_ref())
    }

    fn copied_len(&self, payload: &P) -> usize {
        ALPHABET.copied_len(payload)
    }

    /// # Errors
    ///
    /// [`EncodeError::NoRoom`].
    fn encode(&self, payload: P, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        ALPHABET.encode(payload, out)
    }
}
