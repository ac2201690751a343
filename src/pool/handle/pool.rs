//! The pool that users hold, and its end.

use core::fmt;
use core::panic::Location;

use super::buffer::PooledBuffer;
use super::bytes::PooledBytes;
use super::error::{AcquireError, refusal};
use crate::pool::config::BufferPoolConfig;
use crate::pool::hooks::{HolderReport, Request};
use crate::pool::shared::Core;
use crate::pool::stats::BufferPoolStats;
use crate::pool::thread;
use crate::sync::Arc;

/// A pool of buffers in size classes. Cheap to clone; all clones are one pool.
///
/// When the last clone goes, what lies idle is freed; buffers still out stay valid and are freed when
/// they come back. What other threads keep in their caches is freed when they next turn to another pool,
/// or exit.
///
/// # Examples
///
/// ```
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut buffer = pool.acquire(1000);
/// buffer.extend_from_slice(b"hello");
/// let bytes: bytes::Bytes = buffer.freeze(); // no copy, no malloc in steady state
/// drop(bytes);
/// let again = pool.acquire(1000); // the same storage
/// assert_eq!((pool.stats().total_acquires, pool.stats().total_allocations), (2, 1));
/// # drop(again);
/// ```
#[derive(Clone)]
pub struct BufferPool {
    pub(in crate::pool) core: Arc<Core>,
    /// All clones share it, so that its drop is the end of the last.
    _handle: Arc<Handle>,
}

impl BufferPool {
    /// A pool that holds no buffer yet.
    #[must_use]
    pub fn new(config: BufferPoolConfig) -> Self {
        let core = Arc::new(Core::new(&config));
        Self { _handle: Arc::new(Handle { core: Arc::clone(&core) }), core }
    }

    /// An empty buffer with room for `min_capacity` bytes. Always serves.
    ///
    /// It comes from the smallest class that fits. If none does, or if the
    /// [memory limit](crate::pool::BufferPoolConfigBuilder::memory_limit) is reached or others wait for memory, it comes from the heap: then it is
    /// counted as a [heap fallback](BufferPoolStats::heap_fallbacks) or an
    /// [overrun](BufferPoolStats::overruns), and never kept.
    ///
    /// # Panics
    ///
    /// If `min_capacity` exceeds `isize::MAX`, as with `Vec`.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn acquire(&self, min_capacity: usize) -> PooledBuffer {
        PooledBuffer::acquire(&self.core, min_capacity)
    }

    /// An empty buffer with room for `min_capacity` bytes from one of the classes, never from the heap.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class fits, [`AcquireError::Exhausted`] if the memory limit is
    /// reached, or others wait for memory, and this thread keeps no buffer of the class.
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self, min_capacity: usize) -> Result<PooledBuffer, AcquireError> {
        let class = self.core.sizes.index_for(min_capacity);
        let request = Request { class, bytes: min_capacity, caller: Location::caller() };
        let slot = thread::pop(&self.core, class).or_else(|| thread::acquire(&self.core, request));
        slot.map(PooledBuffer::of).ok_or_else(|| refusal(&self.core, request))
    }

    /// As [`try_acquire`](Self::try_acquire), but without a memory limit the heap serves what no class holds: for all
    /// storage that a peer causes.
    #[inline]
    #[track_caller]
    pub(crate) fn acquire_within_limit(&self, min_capacity: usize) -> Result<PooledBuffer, AcquireError> {
        match self.try_acquire(min_capacity) {
            Err(AcquireError::TooLarge { .. }) if !self.is_limited() => Ok(self.acquire(min_capacity)),
            outcome => outcome,
        }
    }

    fn is_limited(&self) -> bool {
        self.core.memory.limit() != usize::MAX
    }

    /// What the pool did and holds. Takes a short lock and reads every thread's counters; for logs and
    /// tests, not for the path of a byte.
    #[must_use]
    pub fn stats(&self) -> BufferPoolStats {
        self.core.stats()
    }

    /// The call sites that hold buffers, if the pool
    /// [samples](crate::pool::BufferPoolConfigBuilder::sample_one_in) them.
    #[must_use]
    pub fn holders(&self) -> Option<HolderReport> {
        let detector = self.core.hooks.as_ref()?.detector.as_ref()?;
        Some(detector.report(|class| self.core.class_size(class)))
    }

    /// Whether the buffer's storage belongs to one of this pool's classes: not to another pool, nor to the heap.
    #[must_use]
    pub fn owns(&self, buffer: &PooledBuffer) -> bool {
        buffer.is_of(&self.core)
    }

    /// Whether the storage of the bytes belongs to one of this pool's classes, as [`owns`](Self::owns) says of a
    /// buffer's.
    #[must_use]
    pub fn owns_bytes(&self, bytes: &PooledBytes) -> bool {
        bytes.is_of(&self.core)
    }

    /// A copy of `bytes`, if this thread has a buffer for it at hand: what is taken by every small frame that is read, so
    /// all of it is one piece, without a buffer handed from hand to hand.
    #[inline(always)]
    pub(crate) fn copied_at_hand(&self, bytes: &[u8]) -> Option<PooledBytes> {
        let mut slot = thread::pop(&self.core, self.core.sizes.index_for(bytes.len()))?;
        slot.storage.extend_from_slice(bytes);
        Some(PooledBytes::of(slot.shareable()))
    }

    /// Size of the largest class in bytes.
    #[cfg(feature = "relay")]
    pub(crate) fn largest_class(&self) -> usize {
        self.core.sizes.largest()
    }

    /// Size of the class that a request falls in, in bytes; `None` if it is the heap's.
    pub(crate) fn class_of(&self, min_capacity: usize) -> Option<usize> {
        let class = self.core.sizes.index_for(min_capacity);
        (class != self.core.heap()).then(|| self.core.class_size(class))
    }

    /// Frees what lies idle in this thread's cache and in the shared queues. Returns the bytes freed.
    ///
    /// What other threads keep for themselves stays: at most
    /// [`thread_cache_bytes`](BufferPoolConfig::thread_cache_bytes) each of ready buffers, and of frozen ones.
    ///
    /// The memory goes to the allocator. [`decay`](Self::decay#returning-memory-to-the-system) says how it leaves the
    /// process.
    pub fn trim(&self) -> usize {
        self.core.report(thread::flush(&self.core) + self.core.trim())
    }

    /// Makes a [step of decay](crate::pool::BufferPoolConfigBuilder::decay_interval) now. Returns the bytes freed.
    ///
    /// # Returning memory to the system
    ///
    /// The pool frees memory to the program's allocator. An allocator may keep the pages: glibc's keeps nearly all of a
    /// burst until it is told to return them. Tell it in
    /// [`on_decay`](crate::pool::BufferPoolConfigBuilder::on_decay), in a thread that may block:
    ///
    /// ```ignore
    /// let config = BufferPoolConfig::proxy().to_builder().on_decay(|_freed| {
    ///     // SAFETY: `malloc_trim` has no precondition.
    ///     tokio::task::spawn_blocking(|| unsafe { libc::malloc_trim(0) });
    /// });
    /// ```
    ///
    /// Resident MiB of a program before a burst of 1 GiB, in it, and 30 s after it:
    ///
    /// | allocator | call in `on_decay` | with the call | without it |
    /// |---|---|---|---|
    /// | glibc | `libc::malloc_trim(0)` | 6, 1041, 7 | 6, 1041, 1040 |
    /// | jemalloc | the command `arena.4096.purge` of `tikv_jemalloc_sys::mallctl` | 7, 1084, 20 | 7, 1083, 1053 |
    /// | mimalloc | `libmimalloc_sys::mi_collect(true)` | 12, 1058, 35 | 12, 1058, 1058 |
    ///
    /// Without a call in `on_decay`, jemalloc's `background_thread:true` comes to 19 MiB, and mimalloc's
    /// `MIMALLOC_PURGE_DELAY=0` to 31 MiB. `benches/rivals/burst` has the code of all of them, and
    /// `cargo bench -p rivals --bench burst` repeats the measurement.
    pub fn decay(&self) -> usize {
        self.core.report(self.core.decay())
    }

    /// Lays what this thread keeps for itself into the shared queues, for other threads to use.
    pub fn flush_thread_cache(&self) {
        thread::flush(&self.core);
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close();
        thread::forget(&self.core);
    }
}
