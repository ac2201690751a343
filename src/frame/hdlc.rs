//! HDLC-like frames of mesh packets, as Reticulum sends them over TCP and serial lines.
//!
//! ```text
//! 7E payload 7E        in the payload: 7D → 7D 5D, 7E → 7D 5E
//! ```
//!
//! Between two frames one flag is enough, and there may be many. There is no checksum and no address: all bytes
//! between two flags are the payload.
//!
//! # Examples
//!
//! ```
//! use millpond::frame::{Assembler, Encoder, Hdlc, ReadMode};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let mut wire = Vec::new();
//! let framing = Hdlc::default();
//! framing.encode(&[0x01, 0x7E, 0x02, 0x7D, 0x03], &mut wire)?;
//! assert_eq!(wire, [0x7E, 0x01, 0x7D, 0x5E, 0x02, 0x7D, 0x5D, 0x03, 0x7E]);
//!
//! let pool = BufferPool::new(BufferPoolConfig::embedded());
//! let mut frames = Assembler::new(framing, pool, ReadMode::PerFrame);
//! frames.push(&mut wire.as_slice())?;
//! assert_eq!(frames.next_frame()?.unwrap(), [0x01, 0x7E, 0x02, 0x7D, 0x03]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use super::stuffing::{Alphabet, Stuffing};
use crate::pool::PooledBytes;

/// The longest payload accepted by default, in bytes: the hardware MTU of Reticulum's TCP interface.
pub const DEFAULT_MAX_FRAME: usize = 262_144;

/// The shortest payload of [`Hdlc::reticulum`], in bytes: a packet is longer than its header, and the shortest header of
/// Reticulum has 19 bytes.
pub const RETICULUM_MIN_FRAME: usize = 20;

/// The HDLC framing, by default with a limit of [`DEFAULT_MAX_FRAME`], and no lower one.
pub type Hdlc = Stuffing<HdlcAlphabet>;

/// The bytes of [`Hdlc`].
#[derive(Debug)]
pub enum HdlcAlphabet {}

/// As in RFC 1662, section 4.2, but only the flag and the escape are escaped.
impl Alphabet for HdlcAlphabet {
    type Frame = PooledBytes;

    const FLAG: u8 = 0x7E;
    const ESCAPE: u8 = 0x7D;
    const ESCAPED_FLAG: u8 = 0x5E;
    const ESCAPED_ESCAPE: u8 = 0x5D;
    const COMMAND: Option<u8> = None;
    const MAX_FRAME: usize = DEFAULT_MAX_FRAME;

    fn frame(_: u8, payload: PooledBytes) -> PooledBytes {
        payload
    }
}

impl Hdlc {
    /// With the limits of Reticulum's interfaces: [`RETICULUM_MIN_FRAME`] and [`DEFAULT_MAX_FRAME`]. Shorter payloads are
    /// dropped when it reads, and refused when it writes.
    #[must_use]
    pub fn reticulum() -> Self {
        Self::default().with_min_frame(RETICULUM_MIN_FRAME)
    }
}
