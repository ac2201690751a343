//! The conversions of a [`PooledBuffer`]. This file imports both handles, so that neither imports the other.

use alloc::vec::Vec;

use bytes::Bytes;

use super::buffer::PooledBuffer;
use super::bytes::PooledBytes;
use crate::pool::shared::Frozen;
use crate::pool::thread;

impl PooledBuffer {
    /// Freezes the written bytes into a plain [`Bytes`], for any library that takes one.
    ///
    /// No copy, and no malloc in steady state. The pool follows the storage: it keeps an empty tail of it, and finds it
    /// free some time after the last `Bytes` is dropped. It looks when this thread would otherwise allocate, and at a
    /// [`flush_thread_cache`](crate::BufferPool::flush_thread_cache), a [`trim`](crate::BufferPool::trim) or a step of
    /// [`decay`](crate::BufferPool::decay). Other threads look, too, once this thread follows many or has exited. Each
    /// acquire looks at a bounded number. Until the storage is found free it counts as
    /// [`frozen`](crate::BufferPoolStats::frozen).
    ///
    /// Each thread follows up to [`thread_cache_bytes`](crate::BufferPoolConfig::thread_cache_bytes) of storage, all
    /// classes together, and the shared queue of each class follows up to its capacity. Beyond that, and while a task
    /// waits for memory, this does what [`freeze_tracked`](Self::freeze_tracked) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let mut buffer = pool.acquire(100);
    /// buffer.extend_from_slice(b"for hyper");
    /// let body: Bytes = buffer.freeze();
    /// assert_eq!(pool.stats().frozen, 1);
    /// drop(body);
    /// let again = pool.acquire(100); // finds the storage free
    /// assert_eq!(pool.stats().reclaimed_hits, 1);
    /// # drop(again);
    /// ```
    #[must_use = "dropping the bytes at once is a slow way to drop the buffer"]
    pub fn freeze(self) -> Bytes {
        if self.is_empty() {
            return self.freeze_nothing();
        }
        let (frozen, bytes) = Frozen::freeze(self.into_slot());
        match thread::follow(frozen) {
            Ok(()) => bytes,
            Err(frozen) => Self::freeze_after_all(frozen, bytes),
        }
    }

    #[cold]
    fn freeze_nothing(self) -> Bytes {
        Bytes::new()
    }

    #[cold]
    fn freeze_after_all(frozen: Frozen, bytes: Bytes) -> Bytes {
        Self::of(frozen.unfreeze(bytes)).freeze_tracked()
    }

    /// Freezes the written bytes into a plain [`Bytes`] whose last drop returns the storage at once.
    ///
    /// No copy, one small malloc: the `Bytes` owns a handle that returns the storage.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let mut buffer = pool.acquire(100);
    /// buffer.extend_from_slice(b"hello");
    /// let bytes: bytes::Bytes = buffer.freeze_tracked();
    /// assert_eq!(pool.stats().in_use, 1);
    /// drop(bytes);
    /// assert_eq!(pool.stats().in_use, 0);
    /// ```
    #[must_use = "dropping the bytes at once is a slow way to drop the buffer"]
    pub fn freeze_tracked(self) -> Bytes {
        if self.is_empty() { self.freeze_nothing() } else { Bytes::from_owner(self.into_shared()) }
    }

    /// Freezes the written bytes into [`PooledBytes`], whose last drop returns the storage at once.
    ///
    /// No copy, no malloc, and no locked instruction as long as they are not cloned. If nothing was written, the empty
    /// handle keeps the storage in use until it is dropped: a check here would cost each message 12 instructions.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let mut buffer = pool.acquire(100);
    /// buffer.extend_from_slice(b"to many subscribers");
    /// let first = buffer.into_shared();
    /// let second = first.clone(); // no copy
    /// assert_eq!(first, second);
    /// ```
    #[doc(alias = "split")]
    #[doc(alias = "split_to")]
    #[inline]
    #[must_use = "dropping the bytes at once is a slow way to drop the buffer"]
    pub fn into_shared(self) -> PooledBytes {
        PooledBytes::of(self.into_slot().shareable())
    }
}

/// As by [`PooledBuffer::into_shared`].
impl From<PooledBuffer> for PooledBytes {
    #[inline]
    fn from(buffer: PooledBuffer) -> Self {
        buffer.into_shared()
    }
}

/// As by [`PooledBuffer::freeze`].
impl From<PooledBuffer> for Bytes {
    fn from(buffer: PooledBuffer) -> Self {
        buffer.freeze()
    }
}

/// Does not copy. The only handle is frozen as by [`PooledBuffer::freeze`], one of several as by
/// [`PooledBuffer::freeze_tracked`].
impl From<PooledBytes> for Bytes {
    fn from(shared: PooledBytes) -> Self {
        match shared.try_into_mut() {
            Ok(buffer) => buffer.freeze(),
            Err(shared) if shared.is_empty() => Self::new(),
            Err(shared) => Self::from_owner(shared),
        }
    }
}

/// Copies: the storage stays with its pool.
impl From<PooledBytes> for Vec<u8> {
    fn from(shared: PooledBytes) -> Self {
        shared.to_vec()
    }
}

/// Copies: the storage stays with its pool.
impl From<PooledBuffer> for Vec<u8> {
    fn from(buffer: PooledBuffer) -> Self {
        buffer.to_vec()
    }
}
