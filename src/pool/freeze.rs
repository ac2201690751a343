//! The ways out of a [`PooledBuffer`]. Each is an upward conversion, so it stands above both its ends.

use bytes::Bytes;

use super::buffer::PooledBuffer;
use super::shared::PooledBytes;
use super::slot::Parked;
use super::thread;

impl PooledBuffer {
    /// Freezes what was written into a plain [`Bytes`], for any library that takes one.
    ///
    /// No copy, and no malloc in steady state. The pool keeps an empty tail of the storage and finds it free
    /// some time after the last `Bytes` is gone: at a later [`acquire`](super::BufferPool::acquire) that would
    /// have to make storage, of this thread, or of any if this one follows many or has ended; at a
    /// [`flush_thread_cache`](super::BufferPool::flush_thread_cache), a [`trim`](super::BufferPool::trim) or a step of
    /// [`decay`](super::BufferPool::decay). Each looks at a bounded number. Until then it counts as
    /// [`currently_parked`](super::BufferPoolStats::currently_parked).
    ///
    /// Each thread follows up to [`thread_cache_bytes`](super::BufferPoolConfig::thread_cache_bytes) of such
    /// storage, all classes together, and the shared queue of each class its capacity. Beyond that, and while somebody waits for memory, this is
    /// [`freeze_tracked`](Self::freeze_tracked).
    #[must_use = "dropping the bytes at once is a slow way to drop the buffer"]
    pub fn freeze(self) -> Bytes {
        if self.is_empty() {
            return self.freeze_nothing();
        }
        let (parked, bytes) = Parked::freeze(self.into_slot());
        match thread::park(parked) {
            Ok(()) => bytes,
            Err(parked) => Self::freeze_after_all(parked, bytes),
        }
    }

    #[cold]
    fn freeze_nothing(self) -> Bytes {
        Bytes::new()
    }

    #[cold]
    fn freeze_after_all(parked: Parked, bytes: Bytes) -> Bytes {
        Self::of(parked.unfreeze(bytes)).freeze_tracked()
    }

    /// Freezes what was written into a plain [`Bytes`] whose last drop returns the storage at once.
    ///
    /// No copy, one small malloc: the handle that returns it is the owner of the `Bytes`.
    #[must_use = "dropping the bytes at once is a slow way to drop the buffer"]
    pub fn freeze_tracked(self) -> Bytes {
        Bytes::from_owner(self.into_shared())
    }

    /// Freezes what was written into [`PooledBytes`], whose last drop returns the storage at once.
    ///
    /// No copy, no malloc, and no locked instruction as long as it is not cloned.
    #[inline]
    #[must_use = "dropping the bytes at once is a slow way to drop the buffer"]
    pub fn into_shared(self) -> PooledBytes {
        PooledBytes::of(self.into_slot().shareable())
    }
}
