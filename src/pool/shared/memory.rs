//! The memory limit: bytes reserved, and bytes leased to what a waiter cannot reach.

use core::cmp::min;

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::statistic::AtomicUsize as Statistic;

/// The bytes of storage that a pool may have, and those that it has.
///
/// `live` changes only when storage is made or freed: a buffer that circulates pays nothing for it.
///
/// What lies in a thread's cache, or is frozen into foreign `Bytes` and not known to be free, cannot be reached
/// by a waiter, however long it waits. So those places *lease* their bytes, and the sum of all leases is at
/// most what the limit leaves beside the largest class (and at most half of it):
///
/// ```text
/// live ≤ limit                          at every instant
/// leased ≤ min(limit / 2, limit - largest class)
/// ```
///
/// Therefore, once what is handed out has come back, a request of any class can be met out of what
/// is reachable: no waiter starves, whatever the other threads do or fail to do.
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

    /// In bytes; `usize::MAX` for none.
    pub(in crate::pool) fn limit(&self) -> usize {
        self.limit
    }

    /// Storage of `bytes` may be made.
    pub(in crate::pool) fn reserve(&self, bytes: usize) -> bool {
        // Ordering: Relaxed on all. The number guards no memory. A read-modify-write reads the latest value,
        // so two that reserve at once cannot both get the last bytes; and as `release` comes behind the
        // free in program order, an outdated value only errs towards too many bytes, never too few.
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
        // Ordering: Relaxed, a hint.
        self.live.load(Ordering::Relaxed).saturating_add(bytes).saturating_sub(self.limit)
    }

    /// Storage of `bytes` is freed, or was not made after all.
    pub(in crate::pool) fn release(&self, bytes: usize) {
        // Ordering: Relaxed, see `reserve`. It comes behind the free in program order, and no other thread can
        // see the memory that was freed: what it gets from the allocator, the allocator has ordered.
        self.live.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of storage now, and the most there were at once.
    pub(in crate::pool) fn live(&self) -> (usize, usize) {
        // Ordering: Relaxed, numbers for the stats.
        (self.live.load(Ordering::Relaxed), self.most_live.load(Ordering::Relaxed))
    }

    /// Leases up to `wanted` bytes, and at most half of what is left, so that later threads find some, too.
    /// Without a limit there is nothing to count.
    pub(in crate::pool) fn lease(&self, wanted: usize) -> usize {
        if self.limit == usize::MAX {
            return wanted;
        }
        // Ordering: Relaxed on all: a number that guards no memory, as in `reserve`.
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
