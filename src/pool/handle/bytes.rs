//! The shared handle: immutable bytes, copied only when written to.

use core::fmt;
use core::ops::{Bound, Deref, RangeBounds};

use bytes::{Buf, Bytes};

use super::buffer::PooledBuffer;
use crate::pool::shared::{Core, Slot};
use crate::pool::thread;
use crate::sync::{Arc, Shared};

/// Immutable bytes of a [`BufferPool`](crate::pool::BufferPool), cheap to clone and to slice, copied only when
/// written to; the storage goes back to the pool at the very drop of the last handle.
///
/// Making the first handle, and dropping the last, takes neither a malloc nor a locked instruction; each
/// further one takes a locked instruction to make and one to drop, and no malloc.
///
/// # Examples
///
/// ```
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut buffer = pool.acquire(5);
/// buffer.extend_from_slice(b"hello");
/// let whole = buffer.into_shared();
/// let mut tail = whole.slice(1..);
/// tail.make_mut()[0] = b'u'; // shared, so this copies first
/// assert_eq!((&whole[..], &tail[..]), (&b"hello"[..], &b"ullo"[..]));
/// drop((whole, tail));
/// assert_eq!(pool.stats().currently_in_use, 0);
/// ```
pub struct PooledBytes {
    /// `None` only while the handle is being consumed.
    slot: Option<Shared<Slot>>,
    /// What this handle sees: part of what was written to the storage.
    start: usize,
    len: usize,
}

impl PooledBytes {
    #[inline]
    pub(in crate::pool) fn of(slot: Shared<Slot>) -> Self {
        Self { start: 0, len: slot.storage.len(), slot: Some(slot) }
    }

    /// Bytes seen through this handle.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it sees no byte.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of storage that this handle keeps from its pool: its class's size, or what the heap gave.
    #[must_use]
    pub fn storage_len(&self) -> usize {
        let slot = self.slot();
        slot.storage.capacity().max(slot.core.class_size(slot.class()))
    }

    /// Whether both keep the same storage from the pool.
    #[cfg(feature = "net")]
    pub(crate) fn shares_storage_with(&self, other: &Self) -> bool {
        self.storage_id() == other.storage_id()
    }

    /// The same for all that keep the same storage, and for nobody else while they do.
    #[cfg(feature = "net")]
    pub(crate) fn storage_id(&self) -> usize {
        core::ptr::from_ref::<Slot>(self.slot()).addr()
    }

    /// A handle to a part of the bytes, without a copy. It keeps the whole buffer from its pool: see
    /// [`detach`](Self::detach).
    ///
    /// # Panics
    ///
    /// If the range lies outside of `0..len()`.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let from = match range.start_bound() {
            Bound::Included(&from) => from,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&to) => to,
            Bound::Unbounded => self.len,
        };
        assert!(from <= to && to <= self.len, "{from}..{to} lies outside of {} bytes", self.len);
        self.part(from, to - from)
    }

    /// Splits off and returns the first `at` bytes; this handle keeps the rest.
    ///
    /// # Panics
    ///
    /// If `at > len()`.
    #[must_use = "dropping it is `advance`, at a higher price"]
    pub fn split_to(&mut self, at: usize) -> Self {
        let head = self.slice(..at);
        self.advance(at);
        head
    }

    /// The bytes as a buffer to write to, without a copy, if this is the only handle.
    ///
    /// # Errors
    ///
    /// The handle itself, if there are others.
    pub fn try_into_unique(mut self) -> Result<PooledBuffer, Self> {
        let (start, len) = (self.start, self.len);
        match Shared::try_unique(self.take_slot()) {
            Ok(mut slot) => {
                slot.recover(start, len);
                Ok(PooledBuffer::of(slot))
            }
            Err(slot) => Err(Self { slot: Some(slot), start, len }),
        }
    }

    /// The bytes to write to: in place if this is the only handle, else in a copy in a buffer of the pool, and
    /// the others keep what they see. To make them longer, turn them into a [`PooledBuffer`].
    #[track_caller]
    pub fn make_mut(&mut self) -> &mut [u8] {
        if !self.is_unique() {
            *self = self.copied().into_shared();
        }
        let (start, end) = (self.start, self.start + self.len);
        let slot = self.slot.as_mut().and_then(Shared::get_mut);
        slot.and_then(|slot| slot.storage.get_mut(start..end)).unwrap_or_default()
    }

    /// If at most one `ratio`th of the storage shows through this handle, copies those bytes to a buffer of
    /// their own size and lets the storage go; says whether it did. Nothing happens if the pool has no
    /// smaller class for them, or if `ratio` is 0.
    ///
    /// A small slice keeps the whole buffer from its pool for as long as it lives: 30 bytes of a header
    /// may pin 64 KiB. A ratio of 8 bounds the waste of what is kept for long to 8 times its size,
    /// and copies at most an eighth of what was read.
    #[track_caller]
    pub fn detach(&mut self, ratio: usize) -> bool {
        let core = &self.slot().core;
        let storage = self.storage_len();
        let small = self.len.checked_mul(ratio).is_some_and(|bytes| bytes <= storage);
        let class = core.sizes.index_for(self.len);
        if ratio == 0 || !small || class == core.heap() || core.class_size(class) >= storage {
            return false;
        }
        *self = self.copied().into_shared();
        true
    }

    /// The bytes in a buffer of their own.
    #[track_caller]
    fn copied(&self) -> PooledBuffer {
        let mut copy = PooledBuffer::acquire(&self.slot().core, self.len);
        copy.extend_from_slice(self);
        copy
    }

    fn is_unique(&self) -> bool {
        self.slot.as_ref().is_some_and(Shared::is_unique)
    }

    /// Whether the storage is of a class of the pool.
    pub(in crate::pool) fn is_of(&self, core: &Arc<Core>) -> bool {
        self.slot().is_of(core)
    }

    /// Another handle of the same storage, to `len` bytes from `from` on of what this one sees.
    #[inline]
    fn part(&self, from: usize, len: usize) -> Self {
        let slot = self.slot();
        if let Some(sample) = slot.sample {
            // Of the only handle it is known what it shows, however it was advanced.
            slot.shows(sample, self.is_unique().then_some(self.len), len);
        }
        Self { slot: self.slot.clone(), start: self.start + from, len }
    }

    #[inline]
    fn slot(&self) -> &Shared<Slot> {
        match &self.slot {
            Some(slot) => slot,
            None => unreachable!("a handle has its slot until it is consumed"),
        }
    }

    #[inline]
    fn take_slot(&mut self) -> Shared<Slot> {
        match self.slot.take() {
            Some(slot) => slot,
            None => unreachable!("a handle has its slot until it is consumed"),
        }
    }
}

impl Drop for PooledBytes {
    #[inline]
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        // Whether it is the only one is a load. If it was not, and the others go at the same time, the decrement tells
        // which is the last: of any number that go at once, exactly one gets the slot.
        let last = Shared::try_unique(slot).or_else(|slot| {
            if let Some(sample) = slot.sample {
                slot.hides(sample, self.len);
            }
            Shared::into_unique(slot).ok_or(())
        });
        if let Ok(mut slot) = last {
            slot.recover(0, 0);
            thread::return_slot(slot);
        }
    }
}

impl Clone for PooledBytes {
    #[inline]
    fn clone(&self) -> Self {
        self.part(0, self.len)
    }
}

impl Deref for PooledBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.slot().storage.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for PooledBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Buf for PooledBytes {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "cannot advance by {count} of {} bytes", self.len);
        if let Some(sample) = self.slot().sample {
            self.slot().hides(sample, count);
        }
        self.start += count;
        self.len -= count;
    }

    /// Without a copy.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.split_to(len).into()
    }
}

/// Without a copy. The only handle becomes what [`PooledBuffer::freeze`] makes, one of several what
/// [`PooledBuffer::freeze_tracked`] makes.
impl From<PooledBytes> for Bytes {
    fn from(shared: PooledBytes) -> Self {
        match shared.try_into_unique() {
            Ok(buffer) => buffer.freeze(),
            Err(shared) if shared.is_empty() => Self::new(),
            Err(shared) => Self::from_owner(shared),
        }
    }
}

/// In place if this is the only handle, else a copy in a buffer of the pool.
impl From<PooledBytes> for PooledBuffer {
    #[track_caller]
    fn from(shared: PooledBytes) -> Self {
        shared.try_into_unique().unwrap_or_else(|shared| shared.copied())
    }
}

/// Equal when the bytes are, whoever holds the other ones.
impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for PooledBytes {
    fn eq(&self, other: &T) -> bool {
        self[..] == *other.as_ref()
    }
}

impl Eq for PooledBytes {}

/// Sizes only: what a buffer holds does not belong into a log.
impl fmt::Debug for PooledBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBytes").field("len", &self.len()).finish_non_exhaustive()
    }
}
