//! The ways out of a [`PooledBuffer`]. Each is an upward conversion, so it stands above both its ends.

use bytes::Bytes;

use super::buffer::PooledBuffer;
use super::shared::PooledBytes;
use super::slot::Parked;
use super::thread;

impl PooledBuffer {
    /// Freezes what was written into a plain [`Bytes`], for any library that takes one.
    ///
    /// No copy, and no malloc in steady state. The pool keeps a view of its own and finds the storage free
    /// some time after the last `Bytes` of it is gone: at a later [`acquire`](super::BufferPool::acquire)
    /// of this thread, a [`flush_thread_cache`](super::BufferPool::flush_thread_cache) or a
    /// [`trim`](super::BufferPool::trim). Until then it counts as
    /// [`currently_parked`](super::BufferPoolStats::currently_parked). At most the class's capacity is
    /// followed so; beyond it the storage belongs to its `Bytes` and is freed with them.
    #[must_use = "dropping the bytes at once is a slow way to drop the buffer"]
    pub fn freeze(self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        let Some(mut slot) = self.into_slot() else { return Bytes::new() };
        let bytes = slot.freeze();
        thread::park(Parked::new(slot, bytes.clone()));
        bytes
    }

    /// Freezes what was written into [`PooledBytes`], whose last drop returns the storage at once.
    ///
    /// No copy, no malloc, and no locked instruction as long as it is not cloned.
    #[must_use = "dropping the bytes at once is a slow way to drop the buffer"]
    pub fn into_shared(self) -> PooledBytes {
        match self.into_slot() {
            Some(slot) => PooledBytes::new(slot),
            None => unreachable!("a handle owns its slot until it is consumed"),
        }
    }
}
