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
//! frames.push(&mut wire.as_slice())?;
//! assert_eq!(frames.next_frame()?.unwrap(), [0x01, 0xC0, 0x02, 0xDB, 0x03]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use super::stuffing::{Alphabet, Stuffing};

/// The longest payload accepted by default, in bytes: the same as for [`hdlc`](super::hdlc), so that every packet of one
/// link fits the other.
pub const DEFAULT_MAX_FRAME: usize = super::hdlc::DEFAULT_MAX_FRAME;

/// The KISS framing, by default with a limit of [`DEFAULT_MAX_FRAME`], and no lower one.
pub type Kiss = Stuffing<KissAlphabet>;

/// The bytes of [`Kiss`].
#[derive(Debug)]
pub enum KissAlphabet {}

/// As in Chepponis and Karn, "The KISS TNC: A simple Host-to-TNC communications protocol", 1987.
impl Alphabet for KissAlphabet {
    const FLAG: u8 = 0xC0;
    const ESCAPE: u8 = 0xDB;
    const ESCAPED_FLAG: u8 = 0xDC;
    const ESCAPED_ESCAPE: u8 = 0xDD;
    const COMMAND: Option<u8> = Some(0);
    const MAX_FRAME: usize = DEFAULT_MAX_FRAME;
    const MIN_FRAME: usize = 1;
}
