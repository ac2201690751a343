//! The shared handle: immutable bytes, copied on write.

use core::fmt;
use core::ops::{Bound, Deref, RangeBounds};

use bytes::{Buf, Bytes};

use super::buffer::PooledBuffer;
use crate::pool::shared::{Core, Slot};
use crate::pool::thread;
use crate::sync::{Arc, Shared};

/// Immutable bytes of a [`BufferPool`](crate::BufferPool), cheap to clone and to slice, and copied on write. The drop
/// of the last handle returns the storage to the pool.
///
/// No operation but a copy on write can allocate. The first handle costs no locked instruction to make or to drop; each
/// further one costs one to make and one to drop.
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
/// assert_eq!(pool.stats().in_use, 0);
/// ```
pub struct PooledBytes {
    /// `None` only while the handle is being consumed.
    slot: Option<Shared<Slot>>,
    /// The part of the written bytes that this handle shows.
    start: usize,
    len: usize,
}

impl PooledBytes {
    #[inline]
    pub(in crate::pool) fn of(slot: Shared<Slot>) -> Self {
        Self { start: 0, len: slot.storage.len(), slot: Some(slot) }
    }

    /// The number of bytes that this handle shows.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether this handle shows no byte.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of storage that this handle keeps in use: the size of its class, or what the heap allocated.
    #[must_use]
    pub fn storage_len(&self) -> usize {
        self.slot().size()
    }

    /// Whether both handles keep the same storage in use.
    #[cfg(feature = "net")]
    pub(crate) fn shares_storage_with(&self, other: &Self) -> bool {
        self.storage_id() == other.storage_id()
    }

    /// Identifies the storage: equal for all handles of it, and for no other while one of them lives.
    #[cfg(feature = "net")]
    pub(crate) fn storage_id(&self) -> usize {
        core::ptr::from_ref::<Slot>(self.slot()).addr()
    }

    /// Returns a handle to a part of the bytes, without a copy. It keeps the whole buffer in use: see
    /// [`detach`](Self::detach).
    ///
    /// # Panics
    ///
    /// If the range is not within `0..len()`.
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
        assert!(from <= to && to <= self.len, "{from}..{to} is out of the range of {} bytes", self.len);
        self.part(from, to - from)
    }

    /// Splits off and returns the first `at` bytes; this handle keeps the rest.
    ///
    /// # Panics
    ///
    /// If `at > len()`.
    #[must_use = "if the first bytes are not needed, `advance` is cheaper"]
    pub fn split_to(&mut self, at: usize) -> Self {
        let head = self.slice(..at);
        self.advance(at);
        head
    }

    /// Converts the bytes into a buffer that can be written to, without a copy, if this is the only handle.
    ///
    /// # Errors
    ///
    /// Returns the handle if there are others.
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

    /// Returns the bytes for writing: in place if this is the only handle, otherwise in a copy in another buffer of the
    /// pool, and the other handles keep the old bytes. To append, convert them into a [`PooledBuffer`].
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let mut buffer = pool.acquire(100);
    /// buffer.extend_from_slice(b"hop 1");
    /// let mut packet = buffer.into_shared();
    /// packet.make_mut()[4] = b'2'; // the only handle: in place
    /// let kept = packet.clone();
    /// packet.make_mut()[4] = b'3'; // shared: copied first
    /// assert_eq!((&kept[..], &packet[..]), (&b"hop 2"[..], &b"hop 3"[..]));
    /// assert_eq!(pool.stats().acquires, 2);
    /// ```
    #[track_caller]
    pub fn make_mut(&mut self) -> &mut [u8] {
        if !self.is_unique() {
            *self = self.copied().into_shared();
        }
        let (start, end) = (self.start, self.start + self.len);
        let slot = self.slot.as_mut().and_then(Shared::get_mut);
        slot.and_then(|slot| slot.storage.get_mut(start..end)).unwrap_or_default()
    }

    /// Copies a small part of a large buffer to a buffer of its own size, so that the large one can be returned. Does so
    /// if this handle shows at most one `ratio`th of the storage; returns whether it did. Does nothing if the pool has no
    /// smaller class for the bytes, or if `ratio` is 0.
    ///
    /// A small slice keeps the whole buffer in use as long as it lives: 30 bytes of a header may pin 64 KiB. A ratio of
    /// 8 bounds what a slice pins to 8 times its size, and copies at most an eighth of the bytes read.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let mut read = pool.acquire(65_536);
    /// read.resize(60_000, 7);
    /// let mut header = read.into_shared().slice(..30);
    /// assert_eq!(header.storage_len(), 65_536);
    /// assert!(header.detach(8));
    /// assert_eq!((header.len(), header.storage_len()), (30, 128));
    /// ```
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

    /// A copy of the bytes in another buffer.
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

    /// Another handle of the same storage: `len` bytes from `from`, counted from where this handle starts.
    #[inline]
    fn part(&self, from: usize, len: usize) -> Self {
        let slot = self.slot();
        if let Some(sample) = slot.sample {
            // The only handle knows what is shown, even after it was advanced.
            slot.shows(sample, self.is_unique().then_some(self.len), len);
        }
        Self { slot: self.slot.clone(), start: self.start + from, len }
    }

    #[inline]
    pub(super) fn slot(&self) -> &Shared<Slot> {
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
        // Whether it is the only one takes a load. If it is not, and the others drop at the same time, the decrement
        // decides which is the last: of any number that drop at once, exactly one gets the slot.
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
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Buf for PooledBytes {
    #[inline]
    fn remaining(&self) -> usize {
        self.len
    }

    #[inline]
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

    /// Does not copy.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.split_to(len).into()
    }
}

/// Does not copy. The only handle is frozen as by [`PooledBuffer::freeze`], one of several as by
/// [`PooledBuffer::freeze_tracked`].
impl From<PooledBytes> for Bytes {
    fn from(shared: PooledBytes) -> Self {
        match shared.try_into_unique() {
            Ok(buffer) => buffer.freeze(),
            Err(shared) if shared.is_empty() => Self::new(),
            Err(shared) => Self::from_owner(shared),
        }
    }
}

/// In place if this is the only handle, otherwise a copy in another buffer of the pool.
impl From<PooledBytes> for PooledBuffer {
    #[track_caller]
    fn from(shared: PooledBytes) -> Self {
        shared.try_into_unique().unwrap_or_else(|shared| shared.copied())
    }
}

/// Compares the bytes, with those of any type.
impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for PooledBytes {
    fn eq(&self, other: &T) -> bool {
        self[..] == *other.as_ref()
    }
}

impl Eq for PooledBytes {}

/// Sizes only: the content of a buffer does not belong in a log.
impl fmt::Debug for PooledBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBytes").field("len", &self.len()).finish_non_exhaustive()
    }
}
