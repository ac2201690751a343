//! The exclusive handle: a buffer that can be written to.

use core::mem::{self, MaybeUninit};
use core::ops::{Deref, DerefMut, RangeBounds};
use core::panic::Location;

use bytes::{Buf, BytesMut};

use super::error::{AcquireError, refusal};
use super::range::within;
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
/// While the pool lives, a `Bytes` of `freeze` or `freeze_tracked` is never unique: `is_unique` is false, and `try_into_mut`
/// fails, as the pool keeps a reference to the storage, through which it gets it back. To write to the bytes again, share
/// them and use [`PooledBytes::try_into_mut`](crate::PooledBytes::try_into_mut).
///
/// It has the methods and traits of [`BytesMut`]; [`parity`](crate::parity) says which it cannot have. There is no `split`,
/// `split_to` or `split_off`: share it, then use [`PooledBytes::split_to`](crate::PooledBytes::split_to). There is no
/// `set_len`: use [`advance_mut`](bytes::BufMut::advance_mut).
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
/// assert_eq!(buffer, b"hello world");
/// ```
///
/// Encoders and readers write to it:
///
/// ```
/// use std::fmt::Write;
///
/// use millpond::{BufferPool, BufferPoolConfig};
/// use prost::Message;
/// use tokio::io::AsyncReadExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut pooled = pool.acquire(100);
/// write!(pooled, "{} ms ", 5)?; // `fmt::Write`, or `io::Write`
/// serde_json::to_writer(&mut pooled, &["a", "b"])?; // `io::Write`
/// assert_eq!(pooled, r#"5 ms ["a","b"]"#);
///
/// pooled.clear();
/// prost::bytes::Bytes::from_static(b"payload").encode(&mut pooled)?; // `BufMut`
/// assert_eq!(Vec::<u8>::decode(&mut pooled)?, b"payload"); // `Buf`
///
/// let mut socket = &[7; 30_000][..];
/// while socket.read_buf(&mut pooled).await? > 0 {} // grows, and never reports an end that is none
/// assert_eq!(pooled.len(), 30_000);
/// # Ok(())
/// # }
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

    /// A buffer of one of the classes, never of the heap.
    #[inline]
    #[track_caller]
    pub(super) fn try_acquire(core: &Arc<Core>, min_capacity: usize) -> Result<Self, AcquireError> {
        let class = core.sizes.index_for(min_capacity);
        let request = Request { class, bytes: min_capacity, caller: Location::caller() };
        let slot = thread::pop(core, class).or_else(|| thread::acquire(core, request));
        slot.map(Self::of).ok_or_else(|| refusal(core, request))
    }

    /// As [`try_acquire`](Self::try_acquire), but without a memory limit the heap serves requests that no class fits. For
    /// all storage that a peer can make this program acquire.
    #[inline]
    #[track_caller]
    pub(super) fn acquire_within_limit(core: &Arc<Core>, min_capacity: usize) -> Result<Self, AcquireError> {
        match Self::try_acquire(core, min_capacity) {
            Err(AcquireError::TooLarge { .. }) if !core.memory.is_limited() => {
                Ok(Self::acquire(core, min_capacity))
            }
            outcome => outcome,
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

    /// Appends a copy of a part of the written bytes.
    ///
    /// # Panics
    ///
    /// If the range is not within `0..len()`, or the new length exceeds `isize::MAX`.
    #[track_caller]
    pub fn extend_from_within(&mut self, range: impl RangeBounds<usize>) {
        let range = within(range, self.len());
        self.reserve(range.len());
        self.storage_mut().extend_from_within(range);
    }

    /// Returns the room after the written bytes: `capacity() - len()` bytes. [`BufMut::advance_mut`](bytes::BufMut) makes
    /// the first of them written ones.
    #[inline]
    pub fn spare_capacity_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        self.storage_mut().spare_capacity_mut()
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

    /// A copy of `bytes` in a buffer of the smallest class that holds it, or of the heap.
    #[track_caller]
    pub(super) fn copy_of(bytes: &[u8], core: &Arc<Core>) -> Self {
        let mut copy = Self::acquire(core, bytes.len());
        copy.extend_from_slice(bytes);
        copy
    }

    /// As [`reserve`](Self::reserve), but never exceeds the memory limit: for bytes that a peer sends. Without a limit the
    /// heap serves what no class fits.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Exhausted`] at the memory limit, or if tasks that it may not pass wait for memory;
    /// [`AcquireError::TooLarge`] if there is a limit and no class fits. Nothing has changed then.
    ///
    /// # Panics
    ///
    /// As [`reserve`](Self::reserve).
    #[inline]
    #[track_caller]
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), AcquireError> {
        if additional > self.capacity() - self.len() { self.try_grow(additional) } else { Ok(()) }
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
        if let Some((_, wanted)) = self.sizes_for(additional)
            && let Some(slot) = &self.slot
        {
            let larger = Self::acquire(&slot.core, wanted);
            self.move_to(larger);
        }
    }

    #[cold]
    #[track_caller]
    fn try_grow(&mut self, additional: usize) -> Result<(), AcquireError> {
        if let Some((least, wanted)) = self.sizes_for(additional)
            && let Some(slot) = &self.slot
        {
            let larger = Self::acquire_within_limit(&slot.core, wanted);
            let larger = larger.or_else(|_| Self::acquire_within_limit(&slot.core, least))?;
            self.move_to(larger);
        }
        Ok(())
    }

    /// The least size and the best size of a buffer with room for `additional` more bytes; `None` if they fit into the
    /// room of bytes that were read.
    fn sizes_for(&mut self, additional: usize) -> Option<(usize, usize)> {
        let slot = self.slot.as_mut()?;
        if slot.reclaim_front(additional) {
            return None;
        }
        let least = slot.storage.len().saturating_add(additional);
        let doubled = slot.storage.capacity().saturating_mul(2).max(least);
        // A class that fits is better than the heap, even if it is less than twice as large.
        let largest = slot.core.sizes.largest();
        Some((least, if doubled > largest && least <= largest { least } else { doubled }))
    }

    /// Moves the written bytes to another buffer, which has room for them.
    pub(super) fn move_to(&mut self, mut other: Self) {
        other.storage_mut().extend_from_slice(self);
        *self = other;
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
    pub(super) fn slot_mut(&mut self) -> &mut Slot {
        match &mut self.slot {
            Some(slot) => slot,
            None => unreachable!("a handle owns its slot until it is consumed"),
        }
    }

    #[inline]
    pub(super) fn storage_mut(&mut self) -> &mut BytesMut {
        &mut self.slot_mut().storage
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

/// Copies the bytes to another buffer of the same pool, which is [acquired](crate::BufferPool::acquire) for them, so this can
/// exceed the memory limit. To have several handles without a copy, [share](Self::into_shared) them.
impl Clone for PooledBuffer {
    #[track_caller]
    fn clone(&self) -> Self {
        match &self.slot {
            Some(slot) => Self::copy_of(&slot.storage, &slot.core),
            None => unreachable!("a handle owns its slot until it is consumed"),
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
