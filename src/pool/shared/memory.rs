//! The memory limit: bytes reserved, and bytes leased to places that waiters cannot reach.

use core::cmp::min;

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::statistic::AtomicUsize as Statistic;

/// The bytes of storage that a pool has, and may have.
///
/// `live` changes only when storage is allocated or freed: reusing a buffer does not touch it.
///
/// A waiter cannot reach a buffer in the cache of another thread, or one frozen into `Bytes` and not known to be free,
/// no matter how long it waits. So those places *lease* their bytes. The sum of all leases leaves room for one buffer of
/// the largest class, and is at most half of the limit. The caches of all threads, ready and frozen buffers together, get
/// a quarter of that half; the shared queues of frozen buffers, which a waiter searches, get the rest:
///
/// ```text
/// live ≤ limit                          at every instant
/// leased ≤ min(limit / 2, limit - largest class)
/// leased by caches ≤ limit / 8
/// ```
///
/// Therefore, once the buffers in use are returned, the memory within reach serves a request of any class: no waiter
/// starves, whatever the other threads do or fail to do. Once their views are dropped, too, seven eighths of the limit
/// are within reach.
pub(in crate::pool) struct Memory {
    limit: usize,
    live: CachePadded<AtomicUsize>,
    most_live: Statistic,
    /// Bytes that may still be leased.
    lease: AtomicUsize,
    /// Of those, the bytes that caches may still lease, and half of what that was at first.
    cache_lease: Statistic,
    half_cache_lease: usize,
}

impl Memory {
    /// `caches`: whether there are thread caches, so that some of the lease is kept for them.
    pub(in crate::pool) fn new(limit: usize, largest: usize, caches: bool) -> Self {
        let lease = min(limit / 2, limit.saturating_sub(largest));
        let cache_lease = if caches { min(limit / 8, lease) } else { 0 };
        Self {
            limit,
            live: CachePadded::new(AtomicUsize::new(0)),
            most_live: Statistic::new(0),
            lease: AtomicUsize::new(lease),
            cache_lease: Statistic::new(cache_lease),
            half_cache_lease: cache_lease / 2,
        }
    }

    /// The limit in bytes; `usize::MAX` if there is none.
    pub(in crate::pool) fn limit(&self) -> usize {
        self.limit
    }

    pub(in crate::pool) fn is_limited(&self) -> bool {
        self.limit != usize::MAX
    }

    /// Reserves `bytes` for new storage. Returns whether they fit.
    pub(in crate::pool) fn reserve(&self, bytes: usize) -> bool {
        // Ordering: Relaxed on all. The number guards no memory. A read-modify-write reads the last value in the
        // modification order, so two threads cannot both reserve the last bytes. `release` is sequenced after the free,
        // so a stale value counts too many bytes, never too few.
        let fits = |live: usize| live.checked_add(bytes).filter(|&sum| sum <= self.limit);
        match self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(before) => {
                self.most_live.fetch_max(before + bytes, Ordering::Relaxed);
                true
            }
            Err(_) => false,
        }
    }

    /// Bytes that must be released before `bytes` can be reserved, at some recent moment.
    pub(in crate::pool) fn missing(&self, bytes: usize) -> usize {
        // Ordering: Relaxed. A hint: `reserve` decides.
        self.live.load(Ordering::Relaxed).saturating_add(bytes).saturating_sub(self.limit)
    }

    /// Releases `bytes` whose storage was freed, or was never allocated.
    pub(in crate::pool) fn release(&self, bytes: usize) {
        // Ordering: Relaxed, see `reserve`. No other thread reads the freed memory through this number: the allocator
        // synchronizes the free with the next allocation.
        self.live.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of storage now, and the most so far.
    pub(in crate::pool) fn live(&self) -> (usize, usize) {
        // Ordering: Relaxed on both. Numbers for the stats.
        (self.live.load(Ordering::Relaxed), self.most_live.load(Ordering::Relaxed))
    }

    /// Leases up to `count` buffers of `size` bytes for a cache that has leased `held` bytes. Returns how many. Without a
    /// memory limit it grants all.
    ///
    /// No cache gets more than what is left after it, so that later threads get some, too. A thread that is not `busy`, as
    /// it has used the pool a few times only, leaves half of the bytes to those that are: so any number of threads that
    /// used the pool once, and live on, do not take the caches of the others.
    pub(in crate::pool) fn lease_for_cache(
        &self,
        held: usize,
        size: usize,
        mut count: usize,
        busy: bool,
    ) -> usize {
        if !self.is_limited() {
            return count;
        }
        let others = if busy { 0 } else { self.half_cache_lease };
        let take = |free: usize| {
            let most = min(free.saturating_sub(held) / 2, free.saturating_sub(others));
            count = min(count, most / size);
            (count > 0).then(|| free - count * size)
        };
        // Ordering: Relaxed on all. The number guards no memory, as in `reserve`.
        match self.cache_lease.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) if self.take(count * size, 0) => count,
            Ok(_) => {
                self.move_lease(count * size);
                0
            }
            Err(_) => 0,
        }
    }

    /// Leases `bytes` for a frozen buffer in a shared queue, or nothing. Leaves what caches may still lease.
    pub(in crate::pool) fn lease_all(&self, bytes: usize) -> bool {
        // Ordering: Relaxed, as in `lease_for_cache`.
        !self.is_limited() || self.take(bytes, self.cache_lease.load(Ordering::Relaxed))
    }

    /// Takes `bytes` of the lease, if at least `rest` remain.
    fn take(&self, bytes: usize, rest: usize) -> bool {
        let left = |free: usize| free.checked_sub(bytes).filter(|&left| left >= rest);
        // Ordering: Relaxed, as in `lease_for_cache`.
        self.lease.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    /// Moves a lease of `bytes` from a cache to a shared queue.
    pub(in crate::pool) fn move_lease(&self, bytes: usize) {
        if self.is_limited() && bytes > 0 {
            // Ordering: Relaxed, as in `lease_for_cache`.
            self.cache_lease.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Ends a lease of `bytes` for a cache.
    pub(in crate::pool) fn end_cache_lease(&self, bytes: usize) {
        self.end_lease(bytes);
        self.move_lease(bytes);
    }

    /// Ends a lease of `bytes` for a frozen buffer in a shared queue.
    pub(in crate::pool) fn end_lease(&self, bytes: usize) {
        if self.is_limited() && bytes > 0 {
            // Ordering: Relaxed, as in `lease_for_cache`.
            self.lease.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}
