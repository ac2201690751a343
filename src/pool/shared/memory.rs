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
/// the largest class, and is at most half of the limit:
///
/// ```text
/// live ≤ limit                          at every instant
/// leased ≤ min(limit / 2, limit - largest class)
/// ```
///
/// Therefore, once the buffers in use are returned, the memory within reach serves a request of any class: no waiter
/// starves, whatever the other threads do or fail to do.
pub(in crate::pool) struct Memory {
    limit: usize,
    live: CachePadded<AtomicUsize>,
    most_live: Statistic,
    /// Bytes that may still be leased.
    lease: AtomicUsize,
}

impl Memory {
    pub(in crate::pool) fn new(limit: usize, largest: usize) -> Self {
        let lease = min(limit / 2, limit.saturating_sub(largest));
        Self {
            limit,
            live: CachePadded::new(AtomicUsize::new(0)),
            most_live: Statistic::new(0),
            lease: AtomicUsize::new(lease),
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

    /// Leases up to `wanted` bytes, but at most half of the rest, so that later threads get some, too. Without a memory
    /// limit it grants all.
    pub(in crate::pool) fn lease(&self, wanted: usize) -> usize {
        if self.limit == usize::MAX {
            return wanted;
        }
        // Ordering: Relaxed on all. The number guards no memory, as in `reserve`.
        let mut granted = 0;
        let _ = self.lease.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            granted = min(free / 2, wanted);
            Some(free - granted)
        });
        granted
    }

    /// Leases `bytes`, or nothing.
    pub(in crate::pool) fn lease_all(&self, bytes: usize) -> bool {
        let rest = |free: usize| free.checked_sub(bytes);
        // Ordering: Relaxed, as in `lease`.
        self.limit == usize::MAX
            || self.lease.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok()
    }

    /// Ends a lease of `bytes`.
    pub(in crate::pool) fn end_lease(&self, bytes: usize) {
        if self.limit != usize::MAX && bytes > 0 {
            // Ordering: Relaxed, as in `lease`.
            self.lease.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}
