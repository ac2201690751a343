//! The pool that users hold, and its end.

use core::fmt;

use super::buffer::PooledBuffer;
use super::bytes::PooledBytes;
use super::error::AcquireError;
use crate::metric::{Report, Source, VisitRow};
use crate::pool::config::BufferPoolConfig;
use crate::pool::hooks::HolderReport;
use crate::pool::shared::{Core, WAITING};
use crate::pool::stats::BufferPoolStats;
use crate::pool::thread;
#[cfg(feature = "net")]
use crate::size::ReadSize;
use crate::sync::Arc;

/// A pool of buffers in size classes. Cheap to clone; all clones are the same pool.
///
/// A new pool holds 0 bytes of buffers. Storage is allocated when an acquire finds none. A returned buffer stays in
/// its thread's cache, up to [`thread_cache_bytes`](BufferPoolConfig::thread_cache_bytes), or in the shared queue of
/// its class, up to the class's capacity; beyond that it is freed. Buffers that stay unused for two steps of
/// [decay](Self::decay) are freed, too.
///
/// Dropping the last clone closes the pool and frees its idle buffers. Buffers in use stay valid, and are freed when
/// they are returned. Another thread frees the buffers in its cache when it next uses another pool, or when it
/// exits.
///
/// With a [`memory_limit`](crate::BufferPoolConfigBuilder::memory_limit), requests share the memory fairly: the page
/// [`fairness`](crate::fairness) says what is guaranteed.
///
/// After `fork`, the child must not use a pool of its parent: the caches of other threads are out of its reach, and a
/// lock that another thread held stays locked.
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
/// assert_eq!((pool.stats().acquires, pool.stats().allocations), (2, 1));
/// # drop(again);
/// ```
#[derive(Clone)]
pub struct BufferPool {
    pub(in crate::pool) core: Arc<Core>,
    /// All clones share it, so its drop marks the drop of the last clone.
    _handle: Arc<Handle>,
}

impl BufferPool {
    /// Creates a pool that holds no buffer yet.
    #[must_use]
    pub fn new(config: BufferPoolConfig) -> Self {
        let core = Arc::new(Core::new(&config));
        Self { _handle: Arc::new(Handle { core: Arc::clone(&core) }), core }
    }

    /// Returns an empty buffer with room for `min_capacity` bytes. Never fails and never waits.
    ///
    /// The buffer comes from the smallest class that fits, or from the heap in two cases: no class fits, which counts
    /// as a [heap fallback](BufferPoolStats::heap_fallbacks); or the
    /// [memory limit](crate::BufferPoolConfigBuilder::memory_limit) is reached, or tasks that it may not pass wait for
    /// memory, which counts as an [overrun](BufferPoolStats::overruns). The pool never keeps a buffer from the heap.
    ///
    /// So `acquire` can exceed the memory limit. For buffers that peers can make you acquire, use
    /// [`try_acquire`](Self::try_acquire) or [`acquire_async`](Self::acquire_async).
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

    /// Returns an empty buffer with room for `min_capacity` bytes from one of the classes, never from the heap.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class fits. [`AcquireError::Exhausted`] if the memory limit is reached, or
    /// tasks that it may not pass wait for memory, and this thread's cache has no buffer of the class.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{AcquireError, BufferPool, BufferPoolConfig};
    ///
    /// let config = BufferPoolConfig::builder().class(1024, 4).memory_limit(1024).build()?;
    /// let pool = BufferPool::new(config);
    /// let held = pool.try_acquire(1000)?;
    /// let refused = pool.try_acquire(1000).unwrap_err();
    /// assert_eq!(refused, AcquireError::Exhausted { requested: 1000, limit: 1024 });
    /// drop(held);
    /// assert!(pool.try_acquire(1000).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self, min_capacity: usize) -> Result<PooledBuffer, AcquireError> {
        PooledBuffer::try_acquire(&self.core, min_capacity)
    }

    /// As [`try_acquire`](Self::try_acquire), but in a pool without a memory limit the heap serves requests that no class
    /// fits. For all storage that a peer can make this program acquire.
    #[inline]
    #[track_caller]
    pub(crate) fn acquire_within_limit(&self, min_capacity: usize) -> Result<PooledBuffer, AcquireError> {
        PooledBuffer::acquire_within_limit(&self.core, min_capacity)
    }

    /// The largest request that [`acquire_within_limit`](Self::acquire_within_limit) can serve, in bytes.
    pub(crate) fn largest_within_limit(&self) -> usize {
        if self.core.memory.is_limited() { self.core.sizes.largest() } else { usize::MAX }
    }

    /// Whether it has a memory limit.
    #[cfg(feature = "https")]
    pub(crate) fn is_limited(&self) -> bool {
        self.core.memory.is_limited()
    }

    /// Whether tasks wait for memory now. One load of a word that every return reads anyway: a layer above may ask before
    /// each read, to use less memory while others wait. The answer may be out of date.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// assert!(!pool.has_waiters());
    /// ```
    #[must_use]
    #[inline]
    pub fn has_waiters(&self) -> bool {
        self.core.state() & WAITING != 0
    }

    /// Returns a snapshot of what the pool did and holds.
    ///
    /// It takes a short lock and reads the counters of every thread: call it for logs and tests, not per message.
    #[must_use]
    pub fn stats(&self) -> BufferPoolStats {
        self.core.stats()
    }

    /// Returns the leak report: the call sites that hold buffers, and for how long. `None` unless the pool
    /// [samples](crate::BufferPoolConfigBuilder::sample_one_in) acquires. [`set_label`](crate::PooledBuffer::set_label)
    /// distinguishes buffers that are acquired by the same line.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let config = BufferPoolConfig::messages().to_builder().sample_one_in(NonZeroU32::MIN);
    /// let pool = BufferPool::new(config.build()?);
    /// let leaked = pool.acquire(1000);
    /// let report = pool.holders().unwrap();
    /// assert_eq!(report.holders[0].storage_bytes, 1024);
    /// println!("{report}"); // one line per call site and label, the longest held first
    /// # drop(leaked);
    /// # Ok::<(), millpond::ConfigError>(())
    /// ```
    #[must_use]
    pub fn holders(&self) -> Option<HolderReport> {
        self.core.holders()
    }

    /// Whether the buffer's storage belongs to one of this pool's classes, not to another pool or the heap.
    #[must_use]
    pub fn owns(&self, buffer: &PooledBuffer) -> bool {
        buffer.is_of(&self.core)
    }

    /// Whether the storage of the bytes belongs to one of this pool's classes, not to another pool or the heap.
    #[must_use]
    pub fn owns_bytes(&self, bytes: &PooledBytes) -> bool {
        bytes.is_of(&self.core)
    }

    /// A copy of `bytes` if this thread's cache has a buffer for it. Every small frame that is read takes this path,
    /// so it is one inlined function.
    #[inline(always)]
    pub(crate) fn copied_at_hand(&self, bytes: &[u8]) -> Option<PooledBytes> {
        let mut slot = thread::pop(&self.core, self.core.sizes.index_for(bytes.len()))?;
        slot.storage.extend_from_slice(bytes);
        Some(PooledBytes::of(slot.shareable()))
    }

    /// Bytes of the largest class.
    pub(crate) fn largest_class(&self) -> usize {
        self.core.sizes.largest()
    }

    /// A buffer of the adaptive read size, or a small one if the memory limit is near.
    #[cfg(feature = "net")]
    #[track_caller]
    pub(crate) fn acquire_for_read(&self, size: ReadSize) -> Result<PooledBuffer, AcquireError> {
        let (small, size) = (size.small(), size.size());
        match self.try_acquire(size) {
            Err(_) if size > small => self.try_acquire(small),
            outcome => outcome,
        }
    }

    /// Bytes of the class that serves a request; `None` if the heap does.
    pub(crate) fn class_of(&self, min_capacity: usize) -> Option<usize> {
        let class = self.core.sizes.index_for(min_capacity);
        (class != self.core.heap()).then(|| self.core.class_size(class))
    }

    /// Frees the idle buffers of this thread's cache and of the shared queues. Returns the bytes freed.
    ///
    /// The caches of other threads stay: per thread at most
    /// [`thread_cache_bytes`](BufferPoolConfig::thread_cache_bytes) of ready buffers, and as many of frozen ones.
    ///
    /// The memory goes to the allocator. [`decay`](Self::decay) says how it leaves the
    /// process.
    pub fn trim(&self) -> usize {
        self.core.report(thread::flush(&self.core) + self.core.trim())
    }

    /// Makes a [step of decay](crate::BufferPoolConfigBuilder::decay_interval) now. Returns the bytes freed.
    ///
    /// # Returning memory to the system
    ///
    /// The pool frees memory to the program's allocator. An allocator may keep the pages: glibc's keeps nearly all of a
    /// burst until it is told to return them. Tell it in
    /// [`on_decay`](crate::BufferPoolConfigBuilder::on_decay), in a thread that may block:
    ///
    /// ```no_run
    /// # use millpond::BufferPoolConfig;
    /// # #[cfg(all(target_os = "linux", target_env = "gnu"))]
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
    /// | jemalloc | the command `arena.4096.purge` of `tikv_jemalloc_sys::mallctl` | 7, 1084, 20 | 7, 1084, 1015 |
    /// | mimalloc | `libmimalloc_sys::mi_collect(true)` | 12, 1060, 33 | 12, 1060, 1060 |
    ///
    /// Without a call in `on_decay`, jemalloc's `background_thread:true` comes to 20 MiB, and mimalloc's
    /// `MIMALLOC_PURGE_DELAY=0` to 33 MiB. `benches/rivals/burst` has the code of all of them, and
    /// `cargo bench -p rivals --bench burst` repeats the measurement.
    pub fn decay(&self) -> usize {
        self.core.report(self.core.decay())
    }

    /// Moves the buffers of this thread's cache to the shared queues, where other threads and decay find them.
    pub fn flush_thread_cache(&self) {
        thread::flush(&self.core);
    }
}

/// What never changes: it takes no lock, so types that hold a pool can be logged anywhere.
impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.core.memory.is_limited().then(|| self.core.memory.limit());
        f.debug_struct("BufferPool")
            .field("classes", &self.core.sizes.all())
            .field("memory_limit", &limit)
            .finish_non_exhaustive()
    }
}

impl Source for BufferPool {
    type Snapshot = BufferPoolStats;

    fn watch(&self) -> impl Fn() -> Option<BufferPoolStats> + Send + Sync + 'static {
        // A closed core holds no buffer.
        let core = Arc::clone(&self.core);
        move || (!core.is_closed()).then(|| core.stats())
    }

    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        let core = Arc::clone(&self.core);
        move |report, visit| {
            let is_mine = report == Report::Holders && !core.is_closed();
            let holders = is_mine.then(|| core.holders());
            holders.is_none_or(|holders| holders.map(|holders| holders.show(visit)).is_some())
        }
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
