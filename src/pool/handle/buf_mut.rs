//! [`BufMut`] for the exclusive handle: the only unsafe code of the buffer pool, as the trait is unsafe.
//!
//! Code that is generic over [`BufMut`] relies on it: the room that `chunk_mut` returns is the room that `advance_mut` adds
//! to the written bytes. [`BytesMut`](bytes::BytesMut) keeps this promise for its own storage, and all three required
//! methods are calls of its methods. What is left to argue is that the storage stays the same, and that no safe code reads
//! what an earlier owner of the storage wrote.
#![expect(unsafe_code, reason = "`BufMut` is an unsafe trait, and generic code asks for it")]

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut};

use super::buffer::PooledBuffer;

/// Grows as [`reserve`](PooledBuffer::reserve) does.
// SAFETY: the trait asks for three things.
// - `chunk_mut` returns the room right after the written bytes, and not more than `remaining_mut`. It is `BytesMut`'s, of
//   the storage that this handle owns alone: no other handle, and no thread of the pool, reads or writes it before the
//   handle is consumed or dropped.
// - `advance_mut` makes the first bytes of that room written ones. The storage can be exchanged by `reserve` only, which
//   `advance_mut` does not call. If the caller calls it in between, the room is that of the new storage, and its bytes
//   count as not written: the caller must take a new chunk, as with `BytesMut` and `Vec`.
// - `remaining_mut` changes with the number of written bytes only. It does not depend on the capacity.
//
// Storage is used again without being zeroed, so the room may hold bytes of an earlier owner. `UninitSlice` gives safe code
// no way to read it, and only `advance_mut` or a write makes a byte readable. The caller of `advance_mut` has to promise
// that it has written the bytes.
unsafe impl BufMut for PooledBuffer {
    #[inline]
    fn remaining_mut(&self) -> usize {
        self.storage().remaining_mut()
    }

    #[inline]
    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has written `count` bytes of the last chunk, which lies in this storage, right after the
        // written bytes. `BytesMut` panics if there is less room.
        unsafe { self.storage_mut().advance_mut(count) };
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        // `BytesMut` reserves by itself if it is full, outside of the classes and of the memory limit. It never is.
        self.reserve(1);
        self.storage_mut().chunk_mut()
    }

    #[inline]
    fn put<T: Buf>(&mut self, mut source: T) {
        self.reserve(source.remaining()); // one move at most
        while source.has_remaining() {
            let chunk = source.chunk();
            let count = chunk.len();
            // It reserves once more: a source may have more than it says.
            self.extend_from_slice(chunk);
            source.advance(count);
        }
    }

    #[inline]
    fn put_slice(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_bytes(&mut self, value: u8, count: usize) {
        self.reserve(count);
        self.storage_mut().put_bytes(value, count);
    }

    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.reserve(1);
        self.storage_mut().put_u8(value);
    }
}
