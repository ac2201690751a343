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
//! use millpond::frame::{Assembler, ReadMode, Tlv, tlv};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let pool = BufferPool::new(BufferPoolConfig::messages());
//! let mut buffer = pool.acquire(tlv::HEADER_LEN + 16);
//! tlv::encode(1002, b"sixteen bytes!!!", &mut buffer)?;
//!
//! let mut frames = Assembler::new(Tlv::default(), pool, ReadMode::PerFrame);
//! frames.push(&mut &buffer[..]);
//! let frame = frames.next_frame()?.expect("the whole frame was there");
//! assert_eq!((frame.type_id, frame.payload.as_ref()), (1002, b"sixteen bytes!!!".as_slice()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use bytes::BufMut;

use super::sink::copied_len;
use super::{Decoder, EncodeError, Encoder, FrameError, FrameErrorKind, FrameSink, Payload, Reader};
use crate::pool::{AcquireError, BufferPool, PooledBytes};

/// Length of a frame's header in bytes: a `u16` type id and a `u32` payload length.
pub const HEADER_LEN: usize = 6;

/// Length of a schema's digest in bytes: SHA-256.
pub const DIGEST_LEN: usize = 32;

/// Length of the handshake in bytes: a `u16` length and the digest.
pub const HANDSHAKE_LEN: usize = 2 + DIGEST_LEN;

/// The longest payload accepted by default, in bytes: 16 MiB, as in the protocol's reference implementation. Some peers
/// have a limit of 4 MiB.
pub const DEFAULT_MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// Appends one frame to `out`.
///
/// # Errors
///
/// [`EncodeError::MessageTooLarge`] if the payload's length does not fit a `u32`, [`EncodeError::NoRoom`] if `out` has no
/// room for the whole frame. Nothing was written then.
#[inline]
pub fn encode(type_id: u16, payload: impl Payload, out: &mut impl FrameSink) -> Result<(), EncodeError> {
    let len = payload.payload_len();
    let header = Header::new(type_id, len)?;
    EncodeError::check_room(HEADER_LEN + len, out.room())?;
    out.push_copy(&header.encode());
    payload.push_rest(0, out);
    Ok(())
}

/// The handshake that a client sends first if the server requires one.
///
/// It is `u16 LE 32` and the SHA-256 of the contracts file's text. There is no reply.
#[must_use]
pub fn handshake(digest: [u8; DIGEST_LEN]) -> [u8; HANDSHAKE_LEN] {
    let mut bytes = [0; HANDSHAKE_LEN];
    let mut out = bytes.as_mut_slice();
    out.put_u16_le(DIGEST_LEN as u16);
    out.put_slice(&digest);
    bytes
}

/// One message: its type and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The number of the message's type in the contracts file.
    pub type_id: u16,
    /// The payload in the pool's storage, shared without a copy or an allocation. The storage returns to the pool when
    /// the last clone is dropped.
    pub payload: PooledBytes,
}

impl Frame {
    /// A message to send.
    #[must_use]
    pub fn new(type_id: u16, payload: PooledBytes) -> Self {
        Self { type_id, payload }
    }
}

/// The header before every payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Header {
    /// The number of the message's type in the contracts file.
    pub type_id: u16,
    /// Length of the payload in bytes, without this header.
    pub payload_len: u32,
}

impl Header {
    /// The header of a payload of `payload_len` bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::MessageTooLarge`] when the length does not fit the header's `u32`.
    #[inline]
    pub fn new(type_id: u16, payload_len: usize) -> Result<Self, EncodeError> {
        match u32::try_from(payload_len) {
            Ok(payload_len) => Ok(Self { type_id, payload_len }),
            Err(_) => Err(EncodeError::MessageTooLarge { size: payload_len, max: u32::MAX as usize }),
        }
    }

    /// Reads the header from its bytes on the wire.
    #[must_use]
    pub fn decode(bytes: [u8; HEADER_LEN]) -> Self {
        let [t0, t1, l0, l1, l2, l3] = bytes;
        Self { type_id: u16::from_le_bytes([t0, t1]), payload_len: u32::from_le_bytes([l0, l1, l2, l3]) }
    }

    /// The header's bytes on the wire.
    #[inline]
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let [t0, t1] = self.type_id.to_le_bytes();
        let [l0, l1, l2, l3] = self.payload_len.to_le_bytes();
        [t0, t1, l0, l1, l2, l3]
    }
}

/// The framing.
///
/// The decoder's first error is final: every later call returns it again and takes nothing.
#[derive(Debug)]
pub struct Tlv {
    max_payload: usize,
    next: Next,
}

/// What a [`Tlv`] decodes next.
#[derive(Debug)]
enum Next {
    /// The [handshake] with this digest.
    Handshake([u8; DIGEST_LEN]),
    Header,
    /// The payload of this header.
    Payload(Header),
    /// Nothing: this error is final.
    Failed(FrameError),
}

impl Tlv {
    /// At the start of a frame. Refuses payloads of more than `max_payload` bytes.
    #[must_use]
    pub fn new(max_payload: usize) -> Self {
        Self { max_payload, next: Next::Header }
    }

    /// Refuses payloads of more than `max_payload` bytes from the next header on.
    pub fn set_max_payload(&mut self, max_payload: usize) {
        self.max_payload = max_payload;
    }

    /// Requires the [handshake] with this digest before the first frame. A stream that begins with anything else is
    /// refused with [`FrameErrorKind::DigestMismatch`].
    #[must_use]
    pub fn expecting(self, digest: [u8; DIGEST_LEN]) -> Self {
        Self { next: Next::Handshake(digest), ..self }
    }

    #[cold]
    fn fail(&mut self, error: FrameError) -> FrameError {
        self.next = Next::Failed(error);
        error
    }
}

/// With a limit of [`DEFAULT_MAX_PAYLOAD`].
impl Default for Tlv {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_PAYLOAD)
    }
}

impl Decoder for Tlv {
    type Frame = Frame;

    /// # Errors
    ///
    /// All are fatal.
    /// - [`MessageTooLarge`](FrameErrorKind::MessageTooLarge) if a header declares a payload over the limit. The offset is
    ///   that of the header. If it is the first header, the error [names](FrameError::looks_like) the protocol that it may
    ///   belong to instead.
    /// - [`DigestMismatch`](FrameErrorKind::DigestMismatch) at the first wrong byte of a required handshake, offset 0.
    /// - [`OutOfMemory`](FrameErrorKind::OutOfMemory) if the memory limit leaves no memory for the payload.
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<Frame>, FrameError> {
        if let Next::Handshake(digest) = self.next {
            let received = input.remaining().min(HANDSHAKE_LEN);
            // Refused at the first wrong byte: a peer of another protocol may never send the rest.
            if !input.look(received).is_some_and(|received| handshake(digest).starts_with(received)) {
                return Err(self.fail(FrameError::fatal(FrameErrorKind::DigestMismatch, 0)));
            }
            if received < HANDSHAKE_LEN {
                return Ok(None);
            }
            input.skip(HANDSHAKE_LEN);
            self.next = Next::Header;
        }
        let (header, begun) = match self.next {
            Next::Payload(header) => (header, true),
            Next::Failed(error) => return Err(error),
            _ => {
                let offset = input.offset();
                let Some(bytes) = input.array() else { return Ok(None) };
                let header = Header::decode(bytes);
                let (size, max) = (header.payload_len as usize, self.max_payload);
                if size > max {
                    let error = FrameError::fatal(FrameErrorKind::MessageTooLarge { size, max }, offset);
                    return Err(self.fail(if offset == 0 { error.with_first_bytes(bytes) } else { error }));
                }
                (header, false)
            }
        };
        match input.take(header.payload_len as usize) {
            Ok(Some(payload)) => {
                if begun {
                    self.next = Next::Header;
                }
                Ok(Some(Frame { type_id: header.type_id, payload }))
            }
            Ok(None) => {
                self.next = Next::Payload(header);
                Ok(None)
            }
            Err(error) => {
                self.next = Next::Payload(header);
                Err(self.refuse(input, error))
            }
        }
    }

    #[inline(always)]
    fn decode_small(&self, unread: &[u8], below: usize, pool: &BufferPool) -> Option<(Frame, usize)> {
        let Next::Header = self.next else { return None };
        let (type_id, behind) = unread.split_first_chunk()?;
        let (len, behind) = behind.split_first_chunk()?;
        let len = u32::from_le_bytes(*len) as usize;
        if len >= below || len > self.max_payload {
            return None;
        }
        let payload = pool.copied_at_hand(behind.get(..len)?)?;
        Some((Frame { type_id: u16::from_le_bytes(*type_id), payload }, HEADER_LEN + len))
    }

    fn needs(&self) -> usize {
        match self.next {
            Next::Handshake(_) => HANDSHAKE_LEN,
            Next::Header | Next::Failed(_) => HEADER_LEN,
            Next::Payload(header) => header.payload_len as usize,
        }
    }

    fn is_partial(&self) -> bool {
        matches!(self.next, Next::Payload(_))
    }

    /// Fatal: the stream could continue only after all of the payload.
    fn refuse(&mut self, input: &mut Reader<'_>, error: AcquireError) -> FrameError {
        match self.next {
            Next::Failed(error) => error,
            _ => self.fail(FrameError::fatal(FrameErrorKind::OutOfMemory(error), input.offset())),
        }
    }

    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
        let left = input.remaining();
        let (received, expected) = match self.next {
            Next::Failed(error) => return Err(error),
            Next::Payload(header) => (HEADER_LEN + left, HEADER_LEN + header.payload_len as usize),
            _ if left == 0 => return Ok(()),
            _ => (left, self.needs()),
        };
        let end = input.offset() + left as u64;
        Err(FrameError::fatal(FrameErrorKind::Truncated { received, expected }, end))
    }
}

/// A type id and a payload.
impl<P: Payload> Encoder<(u16, P)> for Tlv {
    fn encoded_len(&self, (_, payload): &(u16, P)) -> usize {
        HEADER_LEN + payload.payload_len()
    }

    #[inline]
    fn copied_len(&self, (_, payload): &(u16, P)) -> usize {
        HEADER_LEN + copied_len::<P>(payload.payload_len())
    }

    #[inline]
    fn encode(&self, (type_id, payload): (u16, P), out: &mut impl FrameSink) -> Result<(), EncodeError> {
        encode(type_id, payload, out)
    }
}

impl Encoder<Frame> for Tlv {
    fn encoded_len(&self, frame: &Frame) -> usize {
        HEADER_LEN + frame.payload.len()
    }

    #[inline]
    fn copied_len(&self, frame: &Frame) -> usize {
        HEADER_LEN + copied_len::<PooledBytes>(frame.payload.len())
    }

    #[inline]
    fn encode(&self, frame: Frame, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        encode(frame.type_id, frame.payload, out)
    }
}
