//! KISS frames: packets between a host and a radio modem.
//!
//! ```text
//! C0 command payload C0        in the payload: C0 → DB DC, DB → DB DD
//! ```
//!
//! The low nibble of the command is 0 for data, the high one numbers a port of the modem. Other commands set the modem
//! up and are ignored here.
//!
//! # Examples
//!
//! ```
//! use millpond::frame::{Assembler, Encoder, Kiss, ReadMode};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let mut wire = Vec::new();
//! Kiss::default().encode(&[0x01, 0xC0, 0x02, 0xDB, 0x03], &mut wire)?;
//! assert_eq!(wire, [0xC0, 0x00, 0x01, 0xDB, 0xDC, 0x02, 0xDB, 0xDD, 0x03, 0xC0]);
//!
//! let pool = BufferPool::new(BufferPoolConfig::embedded());
//! let mut frames = Assembler::new(Kiss::default(), pool, ReadMode::PerFrame);
//! frames.push(&mut wire.as_slice());
//! assert_eq!(frames.next_frame()?.unwrap(), [0x01, 0xC0, 0x02, 0xDB, 0x03]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use super::stuffing::{Alphabet, Unstuffing};
use super::{Decoder, EncodeError, Encoder, FrameError, FrameSink, Payload, Reader};
use crate::pool::PooledBytes;

/// The longest payload accepted unless configured otherwise, in bytes: as for [`hdlc`](super::hdlc), so that what
/// comes over the one link goes over the other.
pub const DEFAULT_MAX_FRAME: usize = super::hdlc::DEFAULT_MAX_FRAME;

/// As in Chepponis and Karn, "The KISS TNC: A simple Host-to-TNC communications protocol", 1987.
static ALPHABET: Alphabet =
    Alphabet { flag: 0xC0, escape: 0xDB, escaped_flag: 0xDC, escaped_escape: 0xDD, command: Some(0) };

/// The framing. As a decoder:
/// it skips what stands before the first flag, empty frames, and commands other than data, whatever their length. After
/// an error it goes on at the next flag, and holds nothing of what it skips; that the stream ends in a frame that was
/// refused already is no further error.
///
/// A payload without an escape stays where it was read, if the [`ReadMode`](super::ReadMode) lets it; one with escapes is
/// put together in a buffer of its own class.
#[derive(Debug)]
pub struct Kiss(Unstuffing);

impl Kiss {
    /// Before the first flag of a stream; refuses payloads longer than `max_frame` bytes.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self(Unstuffing::new(&ALPHABET, max_frame, 1))
    }

    /// Drops payloads below `min_frame` bytes. Empty ones are skipped in any case.
    #[must_use]
    pub fn with_min_frame(mut self, min_frame: usize) -> Self {
        self.0.min_frame = min_frame;
        self
    }

    /// Frames that were dropped for being too short; empty ones and other commands do not count.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped
    }
}

/// With a limit of [`DEFAULT_MAX_FRAME`], and none below.
impl Default for Kiss {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_FRAME)
    }
}

impl Decoder for Kiss {
    /// The payload, without the command.
    type Frame = PooledBytes;

    /// # Errors
    ///
    /// None is fatal.
    /// - [`MessageTooLarge`](super::FrameErrorKind::MessageTooLarge) as soon as the payload is over the limit, and
    ///   its size is so the limit and 1; the offset is that of the command.
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

/// A payload, as data for port 0. One that is empty is skipped by whoever reads it.
impl<P: Payload> Encoder<P> for Kiss {
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
