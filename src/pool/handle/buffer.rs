//! The exclusive handle: a buffer to write to.

use core::fmt;
use core::mem;
use core::ops::{Deref, DerefMut};
use core::panic::Location;

use bytes::{BufMut, BytesMut};

use crate::pool::hooks::Request;
use crate::pool::shared::{Core, Slot};
use crate::pool::thread;
use crate::sync::{Arc, Unique};

/// An exclusive buffer of a [`BufferPool`](crate::pool::BufferPool): 8 bytes, `'static`, `Send`.
///
/// It starts empty, shows only what was written to it, and goes back to its pool when dropped, in any
/// thread. Its capacity is its class's size (less what [`PooledBytes`](crate::pool::PooledBytes) that it was made of
/// had advanced by) as long as what is written fits; writing more moves the
/// bytes to a buffer of a larger class, or of the heap, and the outgrown one goes back.
///
/// Three ways lead on: dropping it, [`freeze`](Self::freeze) and [`into_shared`](Self::into_shared).
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
/// buffer.extend_from_slice(b"way of ");
/// buffer.as_buf_mut().put_slice(b"a byte");
/// assert_eq!(&buffer[..], b"way of a byte");
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

    /// With the arguments as they came, so that the fast path ends in a jump.
    #[inline(never)]
    fn acquire_slowly(core: &Arc<Core>, min_capacity: usize, caller: &'static Location<'static>) -> Self {
        let class = core.sizes.index_for(min_capacity);
        if let Some(slot) = thread::reclaim(core, class) {
            return Self::of(slot);
        }
        let request = Request { class, bytes: min_capacity, caller };
        Self::of(thread::acquire(core, request).unwrap_or_else(|| Core::overrun(core, request)))
    }

    /// Bytes written.
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

    /// Bytes that fit without a move to a larger buffer.
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> usize {
        self.storage().capacity()
    }

    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.storage_mut().clear();
    }

    /// Forgets what was written behind the first `len` bytes; nothing happens if there is less.
    pub fn truncate(&mut self, len: usize) {
        self.storage_mut().truncate(len);
    }

    /// Makes the length `len`, by forgetting or by writing `value` to what is new.
    #[track_caller]
    pub fn resize(&mut self, len: usize, value: u8) {
        self.reserve(len.saturating_sub(self.len()));
        self.storage_mut().resize(len, value);
    }

    /// Writes `bytes` at the end.
    #[inline]
    #[track_caller]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.storage_mut().extend_from_slice(bytes);
    }

    /// Makes sure that `additional` more bytes fit. If they do not, what was written moves, in one copy,
    /// to a buffer at least twice as large.
    ///
    /// # Panics
    ///
    /// If the sum does not fit `isize`, as with `Vec`.
    #[inline]
    #[track_caller]
    pub fn reserve(&mut self, additional: usize) {
        if additional > self.capacity() - self.len() {
            self.grow(additional);
        }
    }

    /// The room that is left, as a [`BufMut`] for readers and encoders: `capacity() - len()` bytes, never more.
    ///
    /// `BufMut` is an unsafe trait, and this crate forbids itself unsafe code: a type of its own cannot
    /// implement it, but it can lend one that does.
    pub fn as_buf_mut(&mut self) -> impl BufMut + '_ {
        let storage = self.storage_mut();
        let room = storage.capacity() - storage.len();
        // Behind it nothing: a full `BytesMut` that is asked for its chunk would reserve more.
        let nothing: &mut [u8] = &mut [];
        storage.limit(room).chain_mut(nothing)
    }

    /// Ends the handle without returning the slot.
    #[inline]
    pub(in crate::pool) fn into_slot(mut self) -> Unique<Slot> {
        let slot = self.slot.take();
        // Nothing is left to drop, which the compiler does not find out by itself.
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
        let Some(slot) = &self.slot else { return };
        let least = slot.storage.len().saturating_add(additional);
        let doubled = slot.storage.capacity().saturating_mul(2).max(least);
        // A class that holds it is better than the heap, even if it does not double.
        let sizes = &slot.core.sizes;
        let wanted = if doubled > sizes.largest() && least <= sizes.largest() { least } else { doubled };
        let mut larger = Self::acquire(&slot.core, wanted);
        larger.storage_mut().extend_from_slice(&slot.storage);
        *self = larger;
    }

    #[inline]
    fn storage(&self) -> &BytesMut {
        match &self.slot {
            Some(slot) => &slot.storage,
            None => unreachable!("a handle owns its slot until it is consumed"),
        }
    }

    #[inline]
    fn storage_mut(&mut self) -> &mut BytesMut {
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

/// Sizes only: what a buffer holds does not belong into a log.
impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBuffer").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
