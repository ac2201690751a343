//! TLV frames of the typed message bus.
//!
//! ```text
//! offset 0  u16 LE  type id
//! offset 2  u32 LE  payload length, header not counted
//! offset 6  payload
//! ```
//!
//! Frames follow each other without a delimiter or a checksum, so nothing after a refused length can be
//! trusted: the connection has to be closed. A payload of length 0 is legal.
//!
//! # Examples
//!
//! ```
//! use millpond::frame::tlv::{self, Decoder};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let pool = BufferPool::new(BufferPoolConfig::proxy());
//! let mut wire = Vec::new();
//! tlv::encode(1002, b"sixteen bytes!!!", &mut wire)?;
//!
//! let mut decoder = Decoder::new(tlv::DEFAULT_MAX_PAYLOAD);
//! let mut input = wire.as_slice();
//! let frame = decoder.decode(&mut input, &pool)?.expect("the whole frame was there");
//! assert_eq!((frame.type_id, frame.payload.as_ref()), (1002, b"sixteen bytes!!!".as_slice()));
//! # Ok::<(), tlv::TlvError>(())
//! ```

#[cfg(test)]
mod tests;

use core::error::Error;
use core::fmt;

use bytes::{Buf, BufMut};

use crate::pool::{BufferPool, PooledBuffer, PooledBytes};

/// Bytes of a frame's header: a `u16` type id and a `u32` payload length.
pub const HEADER_LEN: usize = 6;

/// The longest payload accepted unless configured otherwise, in bytes: 16 MiB, the limit of the protocol's
/// reference implementation. Peers with a limit of 4 MiB exist.
pub const DEFAULT_MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// First loan, in bytes, for a payload that no class of the pool can hold. From there the room doubles as
/// bytes arrive, so what a peer costs is bounded by what it sent and not by what it announced.
const FIRST_UNPOOLED_LOAN: usize = 64 * 1024;

/// Appends one frame to `out`.
///
/// To send a frame without a copy of the payload, use `transport::write_frame`.
///
/// # Errors
///
/// [`TlvError::MessageTooLarge`] for a payload whose length is no `u32`, [`TlvError::NoRoom`] when `out`
/// cannot take the whole frame. Nothing was written then.
pub fn encode(type_id: u16, payload: &[u8], out: &mut impl BufMut) -> Result<(), TlvError> {
    let header = Header::new(type_id, payload.len())?;
    let (needed, available) = (HEADER_LEN + payload.len(), out.remaining_mut());
    if needed > available {
        return Err(TlvError::NoRoom { needed, available });
    }
    out.put_slice(&header.encode());
    out.put_slice(payload);
    Ok(())
}

/// One message: its type and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is, as the contracts file numbers it.
    pub type_id: u16,
    /// The payload in the pool's storage, shared without a copy or an allocation. The storage returns to
    /// the pool when the last clone is dropped.
    pub payload: PooledBytes,
}

/// What stands before every payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// What the payload is, as the contracts file numbers it.
    pub type_id: u16,
    /// Length of the payload in bytes, this header not counted.
    pub payload_len: u32,
}

impl Header {
    /// The header of a payload of `payload_len` bytes.
    ///
    /// # Errors
    ///
    /// [`TlvError::MessageTooLarge`] when the length does not fit the header's `u32`.
    pub fn new(type_id: u16, payload_len: usize) -> Result<Self, TlvError> {
        match u32::try_from(payload_len) {
            Ok(payload_len) => Ok(Self { type_id, payload_len }),
            Err(_) => Err(TlvError::MessageTooLarge { size: payload_len, max: u32::MAX as usize }),
        }
    }

    /// Reads a header and refuses a payload longer than `max_payload` bytes.
    ///
    /// # Errors
    ///
    /// [`TlvError::MessageTooLarge`]: nothing was reserved for the payload, and the stream cannot be read
    /// any further.
    pub fn decode(bytes: &[u8; HEADER_LEN], max_payload: usize) -> Result<Self, TlvError> {
        let [t0, t1, l0, l1, l2, l3] = *bytes;
        let header =
            Self { type_id: u16::from_le_bytes([t0, t1]), payload_len: u32::from_le_bytes([l0, l1, l2, l3]) };
        match header.payload_len as usize {
            size if size > max_payload => Err(TlvError::MessageTooLarge { size, max: max_payload }),
            _ => Ok(header),
        }
    }

    /// The header as it stands on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let [t0, t1] = self.type_id.to_le_bytes();
        let [l0, l1, l2, l3] = self.payload_len.to_le_bytes();
        [t0, t1, l0, l1, l2, l3]
    }
}

/// Takes frames out of a stream of bytes that may be cut anywhere, down to single bytes.
///
/// Memory: 6 bytes for a header under way; one pooled buffer of the payload's own class from the end of the
/// header to the end of the payload. A payload that no class can hold is given room as its bytes arrive.
///
/// The first error is final: every later call returns it again, takes no input and holds no buffer.
#[derive(Debug)]
pub struct Decoder {
    max_payload: usize,
    header: PartialHeader,
    /// `Ok(None)` until the header is complete.
    payload: Result<Option<PartialFrame>, TlvError>,
}

impl Decoder {
    /// A decoder at the start of a frame, which refuses payloads longer than `max_payload` bytes.
    #[must_use]
    pub fn new(max_payload: usize) -> Self {
        Self { max_payload, header: PartialHeader::default(), payload: Ok(None) }
    }

    /// Takes at most one frame's bytes from `input`, and returns the frame once it is complete.
    ///
    /// `None` means that `input` is used up and the frame is not at its end. After a frame, `input` may hold
    /// the next one: call again until `None`.
    ///
    /// # Errors
    ///
    /// [`TlvError::MessageTooLarge`] at the end of a header that announces too much.
    pub fn decode(&mut self, input: &mut impl Buf, pool: &BufferPool) -> Result<Option<Frame>, TlvError> {
        if let Ok(None) = self.payload {
            let Some(bytes) = self.header.fill_from(input) else { return Ok(None) };
            self.payload = Header::decode(&bytes, self.max_payload)
                .map(|header| Some(PartialFrame::with_room_for(header, pool)));
        }
        match &mut self.payload {
            Ok(payload) => {
                Ok(payload.take_if(|partial| partial.fill_from(input)).map(PartialFrame::into_frame))
            }
            Err(error) => Err(*error),
        }
    }

    /// To be asked when the stream ends: did it end between two frames?
    ///
    /// # Errors
    ///
    /// [`TlvError::Truncated`] when a frame was half read, or the error that the decoder stopped at.
    pub fn finish(&self) -> Result<(), TlvError> {
        match &self.payload {
            Ok(None) => self.header.finish(),
            Ok(Some(partial)) => Err(partial.truncated()),
            Err(error) => Err(*error),
        }
    }
}

/// What is wrong with the bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlvError {
    /// The header announces a payload of `size` bytes where `max` are allowed.
    MessageTooLarge {
        /// Announced length of the payload, in bytes.
        size: usize,
        /// Longest payload allowed, in bytes.
        max: usize,
    },
    /// The stream ended inside a frame. Both lengths count the header.
    Truncated {
        /// Bytes of the frame that arrived.
        received: usize,
        /// Length of the frame, or of its header when not even that arrived.
        expected: usize,
    },
    /// The output has less room than the frame is long. Both lengths count the header.
    NoRoom {
        /// Length of the frame in bytes.
        needed: usize,
        /// Room of the output in bytes.
        available: usize,
    },
}

impl fmt::Display for TlvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLarge { size, max } => {
                write!(f, "TLV payload of {size} bytes is over the limit of {max}")
            }
            Self::Truncated { received, expected } => {
                write!(f, "stream ended {received} bytes into a TLV frame of at least {expected}")
            }
            Self::NoRoom { needed, available } => {
                write!(f, "TLV frame of {needed} bytes does not fit into {available}")
            }
        }
    }
}

impl Error for TlvError {}

#[derive(Debug, Default)]
struct PartialHeader {
    bytes: [u8; HEADER_LEN],
    filled: usize,
}

impl PartialHeader {
    /// Returns the header once it is complete, and starts over.
    fn fill_from(&mut self, input: &mut impl Buf) -> Option<[u8; HEADER_LEN]> {
        for slot in self.bytes.iter_mut().skip(self.filled) {
            *slot = input.try_get_u8().ok()?;
            self.filled += 1;
        }
        self.filled = 0;
        Some(self.bytes)
    }

    fn finish(&self) -> Result<(), TlvError> {
        match self.filled {
            0 => Ok(()),
            received => Err(TlvError::Truncated { received, expected: HEADER_LEN }),
        }
    }
}

/// A frame whose header is known and whose payload is on its way into a pooled buffer. Whoever drops it,
/// for an error or a cancelled read, gives the buffer back.
#[derive(Debug)]
pub(crate) struct PartialFrame {
    type_id: u16,
    payload_len: usize,
    payload: PooledBuffer,
}

impl PartialFrame {
    pub(crate) fn with_room_for(header: Header, pool: &BufferPool) -> Self {
        let payload_len = header.payload_len as usize;
        let payload = pool
            .try_acquire(payload_len)
            .unwrap_or_else(|_| pool.acquire(payload_len.min(FIRST_UNPOOLED_LOAN)));
        Self { type_id: header.type_id, payload_len, payload }
    }

    /// Bytes of the payload that have not arrived.
    pub(crate) fn missing(&self) -> usize {
        self.payload_len.saturating_sub(self.payload.len())
    }

    /// Where the next bytes go: never more than is missing, so that a read cannot run into the next frame,
    /// and never empty while something is.
    pub(crate) fn room(&mut self) -> impl BufMut {
        let missing = self.missing();
        self.payload.reserve(missing.min(1));
        self.payload.as_buf_mut().limit(missing)
    }

    /// What the stream's end at this point means.
    pub(crate) fn truncated(&self) -> TlvError {
        TlvError::Truncated {
            received: HEADER_LEN.saturating_add(self.payload.len()),
            expected: HEADER_LEN.saturating_add(self.payload_len),
        }
    }

    /// For a frame with nothing [`missing`](Self::missing).
    pub(crate) fn into_frame(self) -> Frame {
        Frame { type_id: self.type_id, payload: self.payload.into_shared() }
    }

    /// Takes what is missing, or all there is; true when nothing is missing any more.
    fn fill_from(&mut self, input: &mut impl Buf) -> bool {
        while self.missing() > 0 && input.has_remaining() {
            let mut room = self.room();
            let fits = room.remaining_mut();
            room.put(input.take(fits));
        }
        self.missing() == 0
    }
}
