//! Where encoders put frames, and the rule for what is copied and what is shared. The copying itself is the sink's: for
//! sockets that is `net/write_queue.rs`.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use crate::pool::PooledBytes;

/// Pooled pieces of a payload are shared above this length in bytes, and copied up to it: a copy of 1 KiB takes less
/// time than a slice of its own takes in a gathering write, and in the socket.
pub const SHARE_ABOVE: usize = 1024;

/// Where an [`Encoder`](super::Encoder) puts a frame.
///
/// Every [`BufMut`] is one, and copies everything. A queue that writes with gathering writes keeps shared bytes without
/// a copy.
pub trait FrameSink {
    /// How many more bytes fit.
    fn room(&self) -> usize;

    /// Appends a copy of `bytes`.
    ///
    /// # Panics
    ///
    /// May panic if there is less [`room`](Self::room). Encoders check it before the first byte of a frame.
    fn push_copy(&mut self, bytes: &[u8]);

    /// Appends `bytes`, without a copy if the sink can keep them.
    ///
    /// # Panics
    ///
    /// As [`push_copy`](Self::push_copy).
    fn push_shared(&mut self, bytes: PooledBytes);
}

impl<B: BufMut> FrameSink for B {
    #[inline]
    fn room(&self) -> usize {
        self.remaining_mut()
    }

    #[inline]
    fn push_copy(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }

    #[inline]
    fn push_shared(&mut self, bytes: PooledBytes) {
        self.put_slice(&bytes);
    }
}

/// Bytes that a frame can carry.
///
/// Pooled bytes are shared with the sink in pieces of more than [`SHARE_ABOVE`] bytes. All others are copied.
pub trait Payload: AsRef<[u8]> + Sized {
    /// Whether pieces of more than [`SHARE_ABOVE`] bytes are [shared](FrameSink::push_shared).
    const IS_SHARED: bool = false;

    /// How many bytes it has.
    #[inline]
    fn payload_len(&self) -> usize {
        self.as_ref().len()
    }

    /// Appends the bytes of this range, which lies within the payload, to `out`.
    fn push_part(&self, range: Range<usize>, out: &mut impl FrameSink) {
        out.push_copy(self.as_ref().get(range).unwrap_or_default());
    }

    /// Appends the bytes from `start` on, which lies within the payload, to `out`.
    fn push_rest(self, start: usize, out: &mut impl FrameSink) {
        self.push_part(start..self.as_ref().len(), out);
    }
}

/// Bytes of a payload's piece of `len` bytes that are copied by a sink that keeps shared bytes.
#[inline]
pub(super) fn copied_len<P: Payload>(len: usize) -> usize {
    if P::IS_SHARED && len > SHARE_ABOVE { 0 } else { len }
}

/// Copied.
impl<T: AsRef<[u8]> + ?Sized> Payload for &T {}

/// Copied.
impl Payload for Vec<u8> {}

/// Copied.
impl Payload for Bytes {}

/// Shared.
impl Payload for PooledBytes {
    const IS_SHARED: bool = true;

    #[inline]
    fn payload_len(&self) -> usize {
        self.len()
    }

    fn push_part(&self, range: Range<usize>, out: &mut impl FrameSink) {
        if range.len() > SHARE_ABOVE {
            out.push_shared(self.slice(range));
        } else {
            out.push_copy(self.get(range).unwrap_or_default());
        }
    }

    #[inline]
    fn push_rest(mut self, start: usize, out: &mut impl FrameSink) {
        if self.len() - start.min(self.len()) > SHARE_ABOVE {
            self.advance(start);
            out.push_shared(self);
        } else {
            out.push_copy(self.get(start..).unwrap_or_default());
        }
    }
}
