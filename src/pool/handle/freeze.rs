//! The ways out of a [`PooledBuffer`]. Each is an upward conversion, so it stands above both its ends.

use bytes::Bytes;

use super::buffer::PooledBuffer;
use super::bytes::PooledBytes;
use crate::pool::shared::Frozen;
use crate::pool::thread;

impl PooledBuffer {
    /// Freezes what was written into a plain [`Bytes`], for any library that takes one.
    ///
    /// No copy, and no malloc in steady state. The pool keeps an empty tail of the storage and finds it free
    /// some time after the last `Bytes` is gone: at a later [`acquire`](crate::pool::BufferPool::acquire) that would
    /// have to make storage, of this thread, or of any if this one follows many or has ended; at a
    /// [`flush_thread_cache`](crate::pool::BufferPool::flush_thread_cache), a [`trim`](crate::pool::BufferPool::trim) or a step of
    /// [`decay`](crate::pool::BufferPool::decay). Each looks at a bounded number. Until then it counts as
    /// [`currently_frozen`](crate::pool::BufferPoolStats::currently_frozen).
    ///
    /// Each thread follows up to [`thread_cache_bytes`](crate::pool::BufferPoolConfig::thread_cache_bytes) of such
    /// storage, all classes together, and the shared queue of each class its capacity. Beyond that, and while somebody waits for memory, this is
    /// [`freeze_tracked`](Self::freeze_tracked).
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
