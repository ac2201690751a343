//! The exclusive handle: a buffer that can be written to.

use core::fmt;
use core::mem;
use core::ops::{Deref, DerefMut};
use core::panic::Location;

use bytes::{Buf, BytesMut};

use crate::pool::hooks::Request;
use crate::pool::shared::{Core, Slot};
use crate::pool::thread;
use crate::sync::{Arc, Unique};

/// An exclusive buffer of a [`BufferPool`](crate::BufferPool): a handle of 8 bytes, `'static` and `Send`.
///
/// It starts empty, shows only the bytes written to it, and is returned to its pool when dropped, in any thread. Its
/// capacity is the size of its class, less what was read by [`advance`](Buf::advance), here or before it was
/// [`PooledBytes`](crate::PooledBytes). Writing more than the capacity takes the room of bytes that were read, or moves the
/// bytes to a buffer of a larger class, or of the heap, and returns the old one.
///
/// It is a [`Buf`], and a [`BufMut`](bytes::BufMut) that grows in the same way, so a reader or an encoder never finds it
/// full. To keep what others write within the capacity, [limit](bytes::BufMut::limit) them.
///
/// To pass the bytes on without a copy, freeze them:
///
/// | | mallocs | returned | locked instructions | for |
/// |---|---|---|---|---|
/// | [`into_shared`](Self::into_shared) → [`PooledBytes`](crate::PooledBytes) | 0 | at the last drop | 0 while there is one handle | your own code; copy on write |
/// | [`freeze`](Self::freeze) → `bytes::Bytes` | 0 while the pool can follow them | found free some time after the last drop | 2 | any library |
/// | [`freeze_tracked`](Self::freeze_tracked) → `bytes::Bytes` | 1 small | at the last drop | 1 | any library, under a tight memory limit |
///
/// # Examples
///
/// ```
/// use bytes::BufMut;
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut buffer = pool.acquire(100);
/// assert_eq!((buffer.len(), buffer.capacity()), (0, 128));
/// buffer.extend_from_slice(b"hello ");
/// buffer.put_slice(b"world");
/// assert_eq!(&buffer[..], b"hello world");
/// ```
pub struct PooledBuffer {
    /// `None` only while the handle is being consumed.
    slot: Option<Unique<Slot>>,
}

impl PooledBuffer {
    #[inline]
    pub(in crate::pool) fn of(slot: Unique<Slot>) -> Self {
        Self { slot: Some(slot) }
    }

    /// A buffer of the smallest class that holds `min_capacity` bytes, or of the heap.
    #[inline]
    #[track_caller]
    pub(in crate::pool) fn acquire(core: &Arc<Core>, min_capacity: usize) -> Self {
        match thread::pop(core, core.sizes.index_for(min_capacity)) {
            Some(slot) => Self::of(slot),
            None => Self::acquire_slowly(core, min_capacity, Location::caller()),
        }
    }

    /// Takes the arguments of its caller unchanged, so that the fast path ends in a jump.
    #[inline(never)]
    fn acquire_slowly(core: &Arc<Core>, min_capacity: usize, caller: &'static Location<'static>) -> Self {
        let class = core.sizes.index_for(min_capacity);
        if let Some(slot) = thread::reclaim(core, class) {
            return Self::of(slot);
        }
        let request = Request { class, bytes: min_capacity, caller };
        Self::of(thread::acquire(core, request).unwrap_or_else(|| Core::overrun(core, request)))
    }

    /// The number of bytes written.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.storage().len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.storage().is_empty()
    }

    /// The number of bytes that fit without a move to a larger buffer.
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> usize {
        self.storage().capacity()
    }

    /// Removes all bytes. The capacity stays.
    pub fn clear(&mut self) {
        self.storage_mut().clear();
    }

    /// Shortens the buffer to `len` bytes. Does nothing if it is shorter.
    pub fn truncate(&mut self, len: usize) {
        self.storage_mut().truncate(len);
    }

    /// Changes the length to `len`: shortens the buffer, or fills the new bytes with `value`.
    ///
    /// # Panics
    ///
    /// If `len` exceeds `isize::MAX`, as with `Vec`.
    #[track_caller]
    pub fn resize(&mut self, len: usize, value: u8) {
        self.reserve(len.saturating_sub(self.len()));
        self.storage_mut().resize(len, value);
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    ///
    /// If the new length exceeds `isize::MAX`, as with `Vec`.
    #[inline]
    #[track_caller]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.storage_mut().extend_from_slice(bytes);
    }

    /// Writes `bytes` at the end, for which there is room.
    #[cfg(feature = "net")]
    #[inline(always)]
    pub(crate) fn extend_within_capacity(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.capacity() - self.len(), "there is room");
        self.storage_mut().extend_from_slice(bytes);
    }

    /// Makes room for `additional` more bytes. If they do not fit, moves the written bytes, in one copy: to the start of the
    /// storage, if at least as many bytes were [read](Buf::advance) and their room is enough; otherwise to a larger buffer,
    /// at least twice as large, unless only the largest class holds it.
    ///
    /// The larger buffer comes from [`acquire`](crate::BufferPool::acquire), so this can exceed the memory limit.
    ///
    /// # Panics
    ///
    /// If the new length exceeds `isize::MAX`, as with `Vec`.
    #[inline]
    #[track_caller]
    pub fn reserve(&mut self, additional: usize) {
        if additional > self.capacity() - self.len() {
            self.grow(additional);
        }
    }

    /// Consumes the handle without returning the slot.
    #[inline]
    pub(in crate::pool) fn into_slot(mut self) -> Unique<Slot> {
        let slot = self.slot.take();
        // Nothing is left to drop. The compiler does not see that.
        mem::forget(self);
        match slot {
            Some(slot) => slot,
            None => unreachable!("a handle owns its slot until it is consumed"),
        }
    }

    /// Whether the storage is of a class of the pool.
    pub(in crate::pool) fn is_of(&self, core: &Arc<Core>) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.is_of(core))
    }

    #[cold]
    #[track_caller]
    fn grow(&mut self, additional: usize) {
        let Some(slot) = &mut self.slot else { return };
        if slot.reclaim_front(additional) {
            return;
        }
        let least = slot.storage.len().saturating_add(additional);
        let doubled = slot.storage.capacity().saturating_mul(2).max(least);
        // A class that fits is better than the heap, even if it is less than twice as large.
        let sizes = &slot.core.sizes;
        let wanted = if doubled > sizes.largest() && least <= sizes.largest() { least } else { doubled };
        let mut larger = Self::acquire(&slot.core, wanted);
        larger.storage_mut().extend_from_slice(&slot.storage);
        *self = larger;
    }

    #[inline]
    pub(super) fn storage(&self) -> &BytesMut {
        &self.slot().storage
    }

    #[inline]
    pub(super) fn slot(&self) -> &Slot {
        match &self.slot {
            Some(slot) => slot,
            None => unreachable!("a handle owns its slot until it is consumed"),
        }
    }

    #[inline]
    pub(super) fn storage_mut(&mut self) -> &mut BytesMut {
        match &mut self.slot {
            Some(slot) => &mut slot.storage,
            None => unreachable!("a handle owns its slot until it is consumed"),
        }
    }
}

impl Drop for PooledBuffer {
    #[inline]
    fn drop(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            slot.storage.clear();
            thread::return_slot(slot);
        }
    }
}

impl Deref for PooledBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.storage()
    }
}

impl DerefMut for PooledBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.storage_mut()
    }
}

/// [`advance`](Buf::advance) drops the bytes that were read. Their room is used again when the buffer next grows, and at
/// once if nothing is left. [`copy_to_bytes`](Buf::copy_to_bytes) copies: to pass on the bytes themselves, freeze them.
impl Buf for PooledBuffer {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        if let Some(slot) = &mut self.slot {
            slot.advance(count);
        }
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for PooledBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Sizes only: the content of a buffer does not belong in a log.
impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBuffer").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
