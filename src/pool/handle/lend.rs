//! Storage of a buffer, lent as a plain `BytesMut` to code that fills or empties one.

use core::{fmt, mem};

use bytes::BytesMut;

use super::buffer::PooledBuffer;
use crate::pool::shared::Slot;
use crate::sync::Unique;

/// A buffer whose storage is lent. Dropped, it is returned to its pool with new storage.
pub(crate) struct Lent {
    /// `None` only while the handle is being consumed.
    slot: Option<Unique<Slot>>,
    capacity: usize,
    /// The address after the storage. It stays the same while the front is read and the back is written.
    end: usize,
}

impl PooledBuffer {
    /// Lends the storage with the written bytes, in exchange for what is in `to`, which is dropped.
    pub(crate) fn lend(self, to: &mut BytesMut) -> Lent {
        let mut slot = self.into_slot();
        *to = mem::take(&mut slot.storage);
        Lent { slot: Some(slot), capacity: to.capacity(), end: end(to) }
    }
}

impl Lent {
    /// Bytes that were lent.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The buffer with all that is in `from` now.
    ///
    /// `None` if that is not the storage that was lent: the borrower has exchanged it, or has split off a part. `from`
    /// keeps its bytes then. Storage that was read in part can be taken back once it is empty.
    pub(crate) fn take_back(mut self, from: &mut BytesMut) -> Option<PooledBuffer> {
        let was_lent = end(from) == self.end;
        let is_whole =
            from.capacity() == self.capacity || (from.is_empty() && from.try_reclaim(self.capacity));
        if !was_lent || !is_whole {
            return None;
        }
        let mut slot = self.slot.take()?;
        slot.adopt(mem::take(from));
        Some(PooledBuffer::of(slot))
    }
}

fn end(storage: &BytesMut) -> usize {
    storage.as_ptr().addr() + storage.capacity()
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            slot.renew();
            drop(PooledBuffer::of(slot));
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
