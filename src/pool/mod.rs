//! Layer 2: size-classed buffers that give themselves back.
//!
//! ```text
//!  BufferPool ── acquire ─▶ PooledBuffer ── drop ──────────────────────────▶ returned
//!      │                        ├── into_shared ─▶ PooledBytes ── last drop ▶ returned
//!      │                        └── freeze ─▶ bytes::Bytes ─ ─ last drop ─ ▶ found later
//!      ▼
//!  Core ── Budget: live bytes, leases ── Waiters: first come, first served
//!      ├── one Class a size: ready queue, parked queue
//!      │       ▲ batches
//!      └── LocalCache, one a thread and pool: a stack and a parked line a class, counters
//! ```
//!
//! A new pool holds 0 bytes of buffers. Storage is made when an acquire finds none. What comes back is kept,
//! in a thread's cache up to [`thread_cache_bytes`](BufferPoolConfig::thread_cache_bytes), in the shared queue
//! up to the capacity of its class, and freed beyond that, or when it lay unused for two steps of
//! [decay](BufferPool::decay).
//!
//! Invariants, per class:
//!
//! * made = idle + handed out + parked + freed
//! * handed out = 0 ⇒ all that is live is idle or parked
//! * a buffer is in one place, and in no other pool's or class's
//! * live bytes ≤ byte limit, at every instant
//! * no safe call shows bytes that an earlier owner wrote
//!
//! The three ways out of a [`PooledBuffer`]:
//!
//! | | malloc | back in the pool | locked instructions | for |
//! |---|---|---|---|---|
//! | [`into_shared`](PooledBuffer::into_shared) → [`PooledBytes`] | 0 | at the last drop | 0 while there is one holder | your own code; copy on write |
//! | [`freeze`](PooledBuffer::freeze) → `Bytes` | 0 while the pool can follow it | found after the last drop | 2 | any library |
//! | [`freeze_tracked`](PooledBuffer::freeze_tracked) → `Bytes` | 1 small | at the last drop | 1 | any library, and a tight limit |
//!
//! | file | idea |
//! |---|---|
//! | `config`, `preset`, `suggest` | what may be asked of a pool |
//! | `slot` | storage with its way home |
//! | `chains`, `class` | the shared queues of one size |
//! | `budget`, `wait` | the byte limit, and who waits for it |
//! | `core` | all of it together: closing, giving way, trimming, decay |
//! | `local`, `thread` | what one thread keeps, and how it finds it |
//! | `buffer`, `shared`, `freeze` | the handles and the ways between them |
//! | `care`, `detector`, `switches` | wiping, recording, sampling, debugging: off, they cost nothing |
//! | `counters`, `stats` | what happened |
//! | `decay`, `runtime` | who gives memory back, and when |
//!
//! After `fork` the child must not use a pool of its parent: another thread's cache is lost to it, and a
//! lock that such a thread held stays locked.
//!
//! Absent on purpose: unsafe code, I/O, a thread of its own.

mod budget;
mod buffer;
mod care;
mod chains;
mod class;
mod config;
mod core;
mod counters;
mod decay;
mod detector;
mod freeze;
#[cfg(feature = "std")]
mod line;
#[cfg(feature = "std")]
mod local;
mod preset;
#[cfg(feature = "tokio")]
mod runtime;
mod shared;
mod slot;
mod stats;
mod suggest;
#[cfg_attr(not(feature = "pool-debug"), path = "switches_off.rs")]
mod switches;
#[cfg_attr(not(feature = "std"), path = "threadless.rs")]
mod thread;
mod wait;

#[cfg(test)]
mod tests;

#[cfg(millpond_loom)]
pub mod model;

use ::core::error::Error;
use ::core::fmt;
use ::core::panic::Location;

use self::core::{Ask, Core};
use crate::sync::Arc;

pub use self::buffer::PooledBuffer;
pub use self::config::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};
pub use self::detector::{Holder, HolderReport};
pub use self::shared::PooledBytes;
pub use self::stats::{BufferPoolStats, ClassStats};
pub use self::suggest::Suggestion;
pub use self::wait::Acquire;

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
    core: Arc<Core>,
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
    /// [byte limit](BufferPoolConfigBuilder::byte_limit) is reached or others wait for memory, it comes from the heap: then it is
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
    /// [`AcquireError::TooLarge`] if no class fits, [`AcquireError::Exhausted`] if the byte limit is
    /// reached, or others wait for memory, and this thread keeps no buffer of the class.
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self, min_capacity: usize) -> Result<PooledBuffer, AcquireError> {
        let class = self.core.sizes.index_for(min_capacity);
        let ask = Ask { class, bytes: min_capacity, caller: Location::caller() };
        let slot = thread::pop(&self.core, class).or_else(|| thread::acquire(&self.core, ask));
        slot.map(PooledBuffer::of).ok_or_else(|| self.core.refusal(ask))
    }

    /// An empty buffer with room for `min_capacity` bytes from one of the classes, as soon as the byte limit
    /// allows it. Whoever came first is served first.
    ///
    /// Idle memory of other classes gives way to it, and what comes back in any thread reaches it. Out of its
    /// reach is what another thread keeps for itself, and what is frozen and followed; they get at most half of
    /// the limit, so that a request of any class is served once what is handed out has come back, whatever
    /// those threads do. If much of the limit is handed out for good, that half counts: see
    /// [`byte_limit`](BufferPoolConfigBuilder::byte_limit) for what to do.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class fits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; see [`Acquire`].
    #[track_caller]
    pub fn acquire_async(&self, min_capacity: usize) -> Acquire {
        Acquire::new(self, min_capacity, Location::caller())
    }

    /// What the pool did and holds. Takes a short lock and reads every thread's counters; for logs and
    /// tests, not for the path of a byte.
    #[must_use]
    pub fn stats(&self) -> BufferPoolStats {
        self.core.stats()
    }

    /// The call sites that hold buffers, if the pool
    /// [samples](BufferPoolConfigBuilder::sample_one_in) them.
    #[must_use]
    pub fn holders(&self) -> Option<HolderReport> {
        let detector = self.core.care.as_ref()?.detector.as_ref()?;
        Some(detector.report(|class| self.core.class_size(class)))
    }

    /// Whether the storage of the handle is of one of this pool's classes: not another pool's, and not the
    /// heap's.
    #[must_use]
    pub fn owns(&self, handle: &impl Pooled) -> bool {
        handle.is_of(Of(&self.core))
    }

    /// A copy of `bytes`, if this thread has a buffer for it at hand: what is taken by every small frame that is read, so
    /// all of it is one piece, without a buffer handed from hand to hand.
    #[inline(always)]
    pub(crate) fn copied_at_hand(&self, bytes: &[u8]) -> Option<PooledBytes> {
        let mut slot = thread::pop(&self.core, self.core.sizes.index_for(bytes.len()))?;
        slot.storage.extend_from_slice(bytes);
        Some(PooledBytes::of(slot.shareable()))
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
    pub fn trim(&self) -> usize {
        thread::flush(&self.core) + self.core.trim()
    }

    /// Makes a [step of decay](BufferPoolConfigBuilder::decay_interval) now. Returns the bytes freed.
    pub fn decay(&self) -> usize {
        self.core.decay()
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

/// A handle to storage of a pool: [`PooledBuffer`] or [`PooledBytes`].
pub trait Pooled: sealed::Sealed {
    #[doc(hidden)]
    fn is_of(&self, pool: Of<'_>) -> bool;
}

/// The pool that [`BufferPool::owns`] asks about.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "nobody sees one")]
pub struct Of<'a>(&'a Arc<Core>);

impl Pooled for PooledBuffer {
    fn is_of(&self, pool: Of<'_>) -> bool {
        self.is_of(pool.0)
    }
}

impl Pooled for PooledBytes {
    fn is_of(&self, pool: Of<'_>) -> bool {
        self.is_of(pool.0)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::PooledBuffer {}
    impl Sealed for super::PooledBytes {}
}

/// Why there is no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// No class is that large.
    TooLarge {
        /// Bytes asked for.
        requested: usize,
        /// Bytes of the largest class.
        largest: usize,
    },
    /// The byte limit is reached, or others wait for memory.
    Exhausted {
        /// Bytes asked for.
        requested: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The deadline came before memory did.
    TimedOut {
        /// Bytes asked for.
        requested: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Core {
    fn refusal(&self, ask: Ask) -> AcquireError {
        if ask.class == self.heap() {
            AcquireError::TooLarge { requested: ask.bytes, largest: self.sizes.largest() }
        } else {
            AcquireError::Exhausted { requested: ask.bytes, limit: self.budget.limit() }
        }
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLarge { requested, largest } => write!(
                f,
                "{requested} bytes exceed the largest class of {largest}; add a class or use `acquire`"
            ),
            Self::Exhausted { requested, limit } => write!(
                f,
                "{requested} bytes do not fit the limit of {limit} beside what is in use; \
                 wait with `acquire_async`, or raise the limit"
            ),
            Self::TimedOut { requested, limit } => write!(
                f,
                "{requested} bytes did not fit the limit of {limit} before the deadline; \
                 `BufferPool::holders` tells who holds buffers"
            ),
        }
    }
}

impl Error for AcquireError {}
