//! The shared handle: immutable bytes, copied on write.

use core::mem;
use core::ops::{Deref, RangeBounds};

use bytes::{Buf, Bytes};

use super::buffer::PooledBuffer;
use super::pool::BufferPool;
use super::range::within;
use crate::pool::shared::{Core, Slot};
use crate::pool::thread;
use crate::sync::{Arc, Shared};

/// Immutable bytes of a [`BufferPool`](crate::BufferPool), cheap to clone and to slice, and copied on write. The drop
/// of the last handle returns the storage to the pool.
///
/// No operation but a copy on write can allocate. The first handle costs no locked instruction to make or to drop; each
/// further one costs one to make and one to drop. A handle that is left without bytes, as by [`split_to`](Self::split_to) or
/// [`advance`](Buf::advance), lets the storage go.
///
/// It has the methods and traits of [`Bytes`]; [`parity`](crate::parity) says which it cannot have.
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
///
/// As keys, found by plain bytes:
///
/// ```
/// use std::collections::HashMap;
///
/// use millpond::{BufferPool, BufferPoolConfig, PooledBytes};
///
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut name = pool.acquire(16);
/// name.extend_from_slice(b"content-type");
/// let mut headers: HashMap<PooledBytes, u32> = HashMap::new();
/// headers.insert(name.into_shared(), 1);
/// assert_eq!(headers.get(b"content-type".as_slice()), Some(&1));
/// ```
pub struct PooledBytes {
    /// `None` only if `len` is 0.
    slot: Option<Shared<Slot>>,
    /// The part of the written bytes that this handle shows.
    start: usize,
    len: usize,
}

impl PooledBytes {
    /// No bytes, and no storage.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self { slot: None, start: 0, len: 0 }
    }

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
        self.slot.as_ref().map_or(0, |slot| slot.size())
    }

    /// Whether this is the only handle of its storage, so that [`try_into_mut`](Self::try_into_mut) succeeds. False without
    /// storage.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.slot.as_ref().is_some_and(Shared::is_unique)
    }

    /// Whether both handles keep the same storage in use.
    #[cfg(feature = "net")]
    pub(crate) fn shares_storage_with(&self, other: &Self) -> bool {
        self.storage_id() == other.storage_id()
    }

    /// Identifies the storage: equal for all handles of it, and for no other while one of them lives. 0 without storage.
    #[cfg(feature = "net")]
    pub(crate) fn storage_id(&self) -> usize {
        self.slot.as_ref().map_or(0, |slot| core::ptr::from_ref::<Slot>(slot).addr())
    }

    /// Returns a handle to a part of the bytes, without a copy. It keeps the whole buffer in use, unless the part is empty:
    /// see [`detach`](Self::detach).
    ///
    /// # Panics
    ///
    /// If the range is not within `0..len()`.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let range = within(range, self.len);
        self.part(range.start, range.len())
    }

    /// Returns a handle to `part`, a part of these bytes that a parser has found, without a copy.
    ///
    /// # Panics
    ///
    /// If `part` is not a part of these bytes, and not empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let mut buffer = pool.acquire(100);
    /// buffer.extend_from_slice(b" name ");
    /// let line = buffer.into_shared();
    /// assert_eq!(line.slice_ref(line.trim_ascii()), b"name");
    /// ```
    #[must_use]
    pub fn slice_ref(&self, part: &[u8]) -> Self {
        if part.is_empty() {
            return Self::new();
        }
        let from = part.as_ptr().addr().checked_sub(self.as_ptr().addr());
        let from = from.filter(|from| *from <= self.len && part.len() <= self.len - from);
        assert!(from.is_some(), "the part of {} bytes is not one of these {} bytes", part.len(), self.len);
        self.part(from.unwrap_or_default(), part.len())
    }

    /// Splits off and returns the first `at` bytes; this handle keeps the rest.
    ///
    /// # Panics
    ///
    /// If `at > len()`.
    #[must_use = "if the first bytes are not needed, `advance` is cheaper"]
    pub fn split_to(&mut self, at: usize) -> Self {
        if at == self.len {
            return mem::take(self);
        }
        let head = self.slice(..at);
        self.advance(at);
        head
    }

    /// Splits off and returns the bytes from `at` on; this handle keeps the first `at`.
    ///
    /// # Panics
    ///
    /// If `at > len()`.
    #[must_use = "if the last bytes are not needed, `truncate` is cheaper"]
    pub fn split_off(&mut self, at: usize) -> Self {
        if at == 0 {
            return mem::take(self);
        }
        let tail = self.slice(at..);
        self.truncate(at);
        tail
    }

    /// Keeps the first `len` bytes. Does nothing if there are no more.
    pub fn truncate(&mut self, len: usize) {
        if len == 0 {
            self.clear();
        } else if len < self.len {
            self.hide(self.len - len);
            self.len = len;
        }
    }

    /// Drops all bytes, and with them the storage.
    #[inline(never)] // so that `advance` needs no stack for a drop
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Converts the bytes into a buffer that can be written to, without a copy, if this is the only handle.
    ///
    /// # Errors
    ///
    /// Returns the handle if there are others, or if it has no storage.
    pub fn try_into_mut(mut self) -> Result<PooledBuffer, Self> {
        let (start, len) = (self.start, self.len);
        let Some(slot) = self.slot.take() else { return Err(self) };
        match Shared::try_unique(slot) {
            Ok(mut slot) => {
                slot.recover(start, len);
                Ok(PooledBuffer::of(slot))
            }
            Err(slot) => Err(Self { slot: Some(slot), start, len }),
        }
    }

    /// Converts the bytes into a buffer that can be written to: without a copy if this is the only handle, otherwise with a
    /// copy in a buffer that is [acquired](BufferPool::acquire) from `pool`, so this can exceed its memory limit.
    #[must_use]
    #[track_caller]
    pub fn into_mut(self, pool: &BufferPool) -> PooledBuffer {
        self.try_into_mut().unwrap_or_else(|shared| PooledBuffer::copy_of(&shared, &pool.core))
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
        if let Some(slot) = &self.slot
            && self.len > 0
            && !Shared::is_unique(slot)
        {
            *self = PooledBuffer::copy_of(self, &slot.core).into_shared();
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
        let Some(slot) = &self.slot else { return false };
        let (core, storage) = (&slot.core, slot.size());
        let small = self.len.checked_mul(ratio).is_some_and(|bytes| bytes <= storage);
        let class = core.sizes.index_for(self.len);
        if ratio == 0 || !small || class == core.heap() || core.class_size(class) >= storage {
            return false;
        }
        *self = PooledBuffer::copy_of(self, core).into_shared();
        true
    }

    /// Whether the storage is of a class of the pool.
    pub(in crate::pool) fn is_of(&self, core: &Arc<Core>) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.is_of(core))
    }

    /// Another handle of the same storage: `len` bytes from `from`, counted from where this handle starts.
    #[inline]
    fn part(&self, from: usize, len: usize) -> Self {
        let Some(slot) = self.slot.as_ref().filter(|_| len > 0) else { return Self::new() };
        if let Some(sample) = slot.sample {
            // The only handle knows what is shown, even after it was advanced.
            slot.shows(sample, self.is_unique().then_some(self.len), len);
        }
        Self { slot: Some(slot.clone()), start: self.start + from, len }
    }

    /// Tells the detector that this handle shows `gone` bytes less.
    #[inline]
    fn hide(&self, gone: usize) {
        if let Some(slot) = &self.slot
            && let Some(sample) = slot.sample
        {
            slot.hides(sample, gone);
        }
    }

    pub(super) fn slot(&self) -> Option<&Shared<Slot>> {
        self.slot.as_ref()
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

impl Default for PooledBytes {
    #[inline]
    fn default() -> Self {
        Self::new()
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
        match &self.slot {
            Some(slot) => slot.storage.get(self.start..self.start + self.len).unwrap_or_default(),
            None => &[],
        }
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
        if count == self.len {
            return self.clear();
        }
        self.hide(count);
        self.start += count;
        self.len -= count;
    }

    /// Does not copy. All bytes of the only handle are given away as by `Bytes::from`.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.split_to(len).into()
    }
}
