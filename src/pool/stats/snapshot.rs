//! The snapshot that users read.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// A snapshot of what a [`BufferPool`](crate::BufferPool) did and holds.
///
/// Exact if the work of the pool's threads happens before the call. While they run, a value may lag by their current
/// operations. Counts are buffers since the pool was created; sizes are bytes. A count has the same name here as in
/// [`ClassStats`], and is the sum over the classes and the heap. `{}` displays one line for a log, `{:#}` adds one line
/// per class. [`Samples`](crate::metric::Samples) has all under the names of the metrics, and so does serde, except for
/// `requested`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BufferPoolStats {
    /// Buffers handed out, from any source.
    pub acquires: u64,
    /// Acquires that allocated: new pooled storage, and all from the heap.
    pub allocations: u64,
    /// Buffers returned: dropped, or frozen and found free.
    pub returns: u64,
    /// In use now, as [`PooledBuffer`](crate::PooledBuffer) or [`PooledBytes`](crate::PooledBytes), frozen with
    /// [`freeze_tracked`](crate::PooledBuffer::freeze_tracked), or granted to a waiter that has not taken it yet.
    pub in_use: u64,
    /// Frozen into `bytes::Bytes` and not yet found free. The pool looks at an acquire, a flush, a trim, a step of decay, and
    /// when it serves waiters.
    pub frozen: u64,
    /// Served from the acquiring thread's own cache.
    pub cache_hits: u64,
    /// Served from the shared queue of a class.
    pub shared_hits: u64,
    /// Served with a frozen buffer that was found free.
    pub reclaimed_hits: u64,
    /// Served from the heap because no class fits. Counted in `allocations`, never kept.
    pub heap_fallbacks: u64,
    /// Served from the heap because the memory limit was reached or others waited for memory. Counted in
    /// `allocations`, never kept.
    pub overruns: u64,
    /// Ready buffers, in shared queues and thread caches.
    pub idle: u64,
    /// Their storage in bytes.
    pub idle_bytes: u64,
    /// All pooled storage in bytes: idle, in use and frozen. Buffers from the heap are not included.
    pub live_bytes: u64,
    /// The highest `live_bytes` so far.
    pub high_water_bytes: u64,
    /// Tasks waiting for memory now.
    pub waiting: u64,
    /// Waits that ended with a buffer.
    pub waits: u64,
    /// Total time of these waits.
    pub wait_time: Duration,
    /// The longest of these waits.
    pub longest_wait: Duration,
    /// Numbers per class, ascending by size.
    pub classes: Vec<ClassStats>,
    /// Requested sizes, ascending; empty unless the pool
    /// [records](crate::BufferPoolConfigBuilder::record_sizes) them.
    pub requested: Vec<RequestedSize>,
}

/// How often a size was requested, in a [`BufferPoolStats`].
///
/// Sizes within one eighth of a power of two count as the largest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RequestedSize {
    /// Bytes requested.
    pub bytes: usize,
    /// Acquires that requested them: exact for the first ones, then [estimated](crate::BufferPoolConfigBuilder::record_sizes).
    pub acquires: u64,
}

/// One size class in a [`BufferPoolStats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Bytes of a buffer.
    pub size: usize,
    /// Ready buffers that the shared queue keeps.
    pub capacity: usize,
    /// Buffers of the class handed out.
    pub acquires: u64,
    /// Of these, from the cache of the acquiring thread.
    pub cache_hits: u64,
    /// Of these, from the shared queue.
    pub shared_hits: u64,
    /// Of these, frozen buffers that were found free.
    pub reclaimed_hits: u64,
    /// Of these, newly allocated.
    pub allocations: u64,
    /// Requests that the heap served because the memory limit was reached or others waited for memory.
    pub overruns: u64,
    /// Buffers returned: dropped, or frozen and found free.
    pub returns: u64,
    /// In use now.
    pub in_use: u64,
    /// Frozen and not yet found free.
    pub frozen: u64,
    /// Ready buffers, in the shared queue and the thread caches.
    pub idle: u64,
    /// The most buffers that existed at once.
    pub high_water: u64,
}

impl BufferPoolStats {
    /// Acquires served without an allocation, in percent; 0 before the first acquire.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        self.hit_ratio() * 100.0
    }

    /// Acquires served without an allocation, from 0 to 1; 0 before the first acquire.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.acquires.saturating_sub(self.allocations), self.acquires)
    }
}

impl ClassStats {
    /// Requests of the class served without an allocation, from 0 to 1; 0 before the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let requests = self.acquires + self.overruns;
        ratio(requests.saturating_sub(self.allocations + self.overruns), requests)
    }

    /// Bytes of the ready buffers.
    #[must_use]
    pub fn idle_bytes(&self) -> u64 {
        self.idle * self.size as u64
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl fmt::Display for BufferPoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acquires {} hit rate {:.2}% (cache {}, shared {}, reclaimed {}) allocations {} (heap {}, over the \
             limit {}) in use {} frozen {} idle {} = {} B of {} B live, at most {} B; waits {} of {:?}, longest {:?}",
            self.acquires,
            self.hit_rate(),
            self.cache_hits,
            self.shared_hits,
            self.reclaimed_hits,
            self.allocations,
            self.heap_fallbacks,
            self.overruns,
            self.in_use,
            self.frozen,
            self.idle,
            self.idle_bytes,
            self.live_bytes,
            self.high_water_bytes,
            self.waits,
            self.wait_time,
            self.longest_wait,
        )?;
        if f.alternate() {
            self.classes.iter().try_for_each(|class| write!(f, "\n  {class}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for ClassStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>9} B x {:<5} acquires {} hit rate {:.2}% allocations {} over the limit {} in use {} frozen {} \
             idle {} at most {}",
            self.size,
            self.capacity,
            self.acquires,
            self.hit_ratio() * 100.0,
            self.allocations,
            self.overruns,
            self.in_use,
            self.frozen,
            self.idle,
            self.high_water,
        )
    }
}
