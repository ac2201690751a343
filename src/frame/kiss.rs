//! KISS frames: packets between a host and a radio modem.
//!
//! ```text
//! C0 command payload C0        in the payload: C0 → DB DC, DB → DB DD
//! ```
//!
//! The low nibble of the command is 0 for data, the high one numbers a port of the modem. Other commands set the modem
//! up, and are skipped unless [`Kiss::with_commands`] asks for them.
//!
//! # Examples
//!
//! ```
//! use millpond::frame::{Assembler, Encoder, Kiss, ReadMode, kiss};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let mut wire = Vec::new();
//! Kiss::default().encode(&[0x01, 0xC0, 0x02, 0xDB, 0x03], &mut wire)?;
//! assert_eq!(wire, [0xC0, 0x00, 0x01, 0xDB, 0xDC, 0x02, 0xDB, 0xDD, 0x03, 0xC0]);
//!
//! let pool = BufferPool::new(BufferPoolConfig::embedded());
//! let mut frames = Assembler::new(Kiss::default(), pool, ReadMode::PerFrame);
//! frames.push(&mut wire.as_slice())?;
//! let frame = frames.next_frame()?.unwrap();
//! assert_eq!((frame.port, frame.command), (0, kiss::DATA));
//! assert_eq!(frame.payload, [0x01, 0xC0, 0x02, 0xDB, 0x03]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use super::stuffing::{Alphabet, Stuffing};
use super::{EncodeError, Encoder, FrameSink, Payload};
use crate::pool::PooledBytes;

/// The longest payload accepted by default, in bytes: the same as for [`hdlc`](super::hdlc), so that every packet of one
/// link fits the other.
pub const DEFAULT_MAX_FRAME: usize = super::hdlc::DEFAULT_MAX_FRAME;

/// The [command](Frame::command) of data.
pub const DATA: u8 = 0;

/// The KISS framing, by default with a limit of [`DEFAULT_MAX_FRAME`], and no lower one.
pub type Kiss = Stuffing<KissAlphabet>;

/// The bytes of [`Kiss`].
#[derive(Debug)]
pub enum KissAlphabet {}

/// As in Chepponis and Karn, "The KISS TNC: A simple Host-to-TNC communications protocol", 1987.
impl Alphabet for KissAlphabet {
    type Frame = Frame;

    const FLAG: u8 = 0xC0;
    const ESCAPE: u8 = 0xDB;
    const ESCAPED_FLAG: u8 = 0xDC;
    const ESCAPED_ESCAPE: u8 = 0xDD;
    const COMMAND: Option<u8> = Some(DATA);
    const MAX_FRAME: usize = DEFAULT_MAX_FRAME;

    fn frame(command: u8, payload: PooledBytes) -> Frame {
        Frame { port: command >> 4, command: command & 0x0F, payload }
    }
}

/// One frame: as it was decoded, or to be encoded, with any [`Payload`].
///
/// # Examples
///
/// ```
/// use millpond::frame::{Encoder, Kiss, kiss::Frame};
///
/// let mut wire = Vec::new();
/// Kiss::default().encode(Frame::new(b"packet").with_port(2), &mut wire)?;
/// assert_eq!(wire, b"\xC0\x20packet\xC0");
/// # Ok::<(), millpond::frame::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame<P = PooledBytes> {
    /// The modem's port, 0 to 15.
    pub port: u8,
    /// [`DATA`], or another command, 0 to 15.
    pub command: u8,
    /// The data, or the parameter of another command.
    pub payload: P,
}

impl<P> Frame<P> {
    /// Data for port 0.
    #[must_use]
    pub fn new(payload: P) -> Self {
        Self { port: 0, command: DATA, payload }
    }

    /// For this port, 0 to 15.
    #[must_use]
    pub fn with_port(self, port: u8) -> Self {
        Self { port, ..self }
    }

    /// With this command, 0 to 15.
    #[must_use]
    pub fn with_command(self, command: u8) -> Self {
        Self { command, ..self }
    }
}

impl Kiss {
    /// Decodes frames of all commands, and not only data: for the side of a modem.
    #[must_use]
    pub fn with_commands(self) -> Self {
        self.with_all_commands()
    }
}

impl<P: Payload> Encoder<Frame<P>> for Kiss {
    fn encoded_len(&self, frame: &Frame<P>) -> usize {
        self.wire_len(&frame.payload)
    }

    fn copied_len(&self, frame: &Frame<P>) -> usize {
        self.copied(&frame.payload)
    }

    /// # Errors
    ///
    /// As for a payload. [`EncodeError::Command`] if the port or the command is above 15, or both together are the flag
    /// (data for port 12) or the escape (command 11 for port 13).
    fn encode(&self, frame: Frame<P>, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        let Frame { port, command, payload } = frame;
        match port << 4 | command {
            KissAlphabet::FLAG | KissAlphabet::ESCAPE => Err(EncodeError::Command { port, command }),
            _ if port > 15 || command > 15 => Err(EncodeError::Command { port, command }),
            byte => self.encode_with(Some(byte), payload, out),
        }
    }
}
