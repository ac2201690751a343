//! Layer 2: size-classed buffers that give themselves back.
//!
//! ```text
//!  BufferPool ── acquire ─▶ PooledBuffer ── drop ──────────────────────────▶ returned
//!      │                        ├── into_shared ─▶ PooledBytes ── last drop ▶ returned
//!      │                        └── freeze ─▶ bytes::Bytes ─ ─ last drop ─ ▶ found later
//!      ▼
//!  Core ── one Class a size: ready queue, parked queue, room
//!      ▲          ▲ batches
//!      └── LocalCache, one a thread and pool: a stack a class, counters
//! ```
//!
//! A new pool holds 0 bytes of buffers. Storage is made when an acquire finds none, and kept, when it
//! comes back, up to the capacity of its class; so idle memory stays within
//! [`max_idle_bytes`](BufferPoolConfig::max_idle_bytes), whatever is asked for.
//!
//! Invariants, per class:
//!
//! * made = idle + handed out + parked + freed + released
//! * idle + parked ≤ capacity
//! * a buffer is in one place, and in no other pool's or class's
//! * no safe call shows bytes that an earlier owner wrote
//!
//! | file | idea |
//! |---|---|
//! | `config` | what may be asked of a pool |
//! | `slot` | storage with its way home |
//! | `class` | the shared queues of one size, and room |
//! | `core` | all classes, closing, counters |
//! | `local`, `thread` | what one thread keeps, and how it finds it |
//! | `buffer`, `shared`, `freeze` | the handles and the ways between them |
//! | `stats` | what happened |
//!
//! After `fork` the child must not use a pool of its parent: another thread's cache is lost to it, and a
//! lock that such a thread held stays locked.
//!
//! Absent on purpose: unsafe code, I/O, tasks, timers, a thread of its own.

mod buffer;
mod class;
mod config;
mod core;
mod freeze;
mod local;
mod shared;
mod slot;
mod stats;
mod thread;

#[cfg(test)]
mod tests;

#[cfg(millpond_loom)]
pub mod model;

use std::error::Error;
use std::fmt;

use self::core::Core;
use crate::sync::Arc;

pub use self::buffer::PooledBuffer;
pub use self::config::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};
pub use self::shared::PooledBytes;
pub use self::stats::BufferPoolStats;

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
    handle: Arc<Handle>,
}

impl BufferPool {
    /// A pool that holds no buffer yet.
    #[must_use]
    pub fn new(config: BufferPoolConfig) -> Self {
        Self { handle: Arc::new(Handle { core: Arc::new(Core::new(&config)) }) }
    }

    /// An empty buffer with room for `min_capacity` bytes. Always serves.
    ///
    /// It comes from the smallest class that fits; if none does, from the heap: then it is counted as a
    /// [heap fallback](BufferPoolStats::heap_fallbacks) and never kept.
    ///
    /// # Panics
    ///
    /// If `min_capacity` exceeds `isize::MAX`, as with `Vec`.
    #[inline]
    #[must_use]
    pub fn acquire(&self, min_capacity: usize) -> PooledBuffer {
        PooledBuffer::acquire(&self.handle.core, min_capacity)
    }

    /// An empty buffer with room for `min_capacity` bytes from one of the classes, never from the heap.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class fits.
    pub fn try_acquire(&self, min_capacity: usize) -> Result<PooledBuffer, AcquireError> {
        let largest = self.handle.core.sizes.largest();
        if min_capacity > largest {
            return Err(AcquireError::TooLarge { requested: min_capacity, largest });
        }
        Ok(self.acquire(min_capacity))
    }

    /// What the pool did and holds. Takes a short lock and reads every thread's counters; for logs and
    /// tests, not for the path of a byte.
    #[must_use]
    pub fn stats(&self) -> BufferPoolStats {
        self.handle.core.stats()
    }

    /// Frees what lies idle in this thread's cache and in the shared queues. Returns the bytes freed.
    ///
    /// What other threads keep for themselves, at most
    /// [`thread_cache_bytes`](BufferPoolConfig::thread_cache_bytes) each, stays.
    pub fn trim(&self) -> usize {
        thread::trim(&self.handle.core)
    }

    /// Lays what this thread keeps for itself into the shared queues, for other threads to use.
    pub fn flush_thread_cache(&self) {
        thread::flush(&self.handle.core);
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// All `BufferPool` clones share one, so that its drop is the end of the last.
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close();
        thread::forget(&self.core);
    }
}

/// Why [`BufferPool::try_acquire`] has no buffer.
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
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLarge { requested, largest } => write!(
                f,
                "{requested} bytes exceed the largest class of {largest}; add a class or use `acquire`"
            ),
        }
    }
}

impl Error for AcquireError {}
