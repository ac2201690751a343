//! The memory limit: bytes reserved, and bytes leased to places that waiters cannot reach.

use alloc::boxed::Box;
use alloc::vec;
use core::cmp::min;

use crossbeam_utils::CachePadded;

use super::policy::Shares;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::statistic::AtomicUsize as Statistic;

/// The bytes of storage that a pool has, and may have.
///
/// They change only when storage is allocated or freed: reusing a buffer does not touch them.
///
/// A waiter cannot reach a buffer in the cache of another thread, or one frozen into `Bytes` and not known to be free,
/// no matter how long it waits. So those places *lease* their bytes. The sum of all leases leaves room for one buffer of
/// any class within the class's [share](Shares), and is at most half of the limit. The caches of all threads, ready and
/// frozen buffers together, get a quarter of that half; the shared queues of frozen buffers, which a waiter searches, get
/// the rest:
///
/// ```text
/// live ≤ limit                                  at every instant
/// leased ≤ min(limit / 2, share of the largest class - largest class)
/// leased by caches ≤ limit / 8
/// ```
///
/// Therefore, once the buffers in use are returned, the memory within reach serves a request of any class: no waiter
/// starves, whatever the other threads do or fail to do. Once their views are dropped, too, seven eighths of the limit
/// are within reach.
pub(in crate::pool) struct Memory {
    limit: usize,
    shares: Shares,
    /// Bytes of each class. Not kept without a limit. Locked last, after the queue of waiters.
    used: CachePadded<Mutex<Box<[usize]>>>,
    /// Their sum, and the greatest so far.
    live: CachePadded<Statistic>,
    most_live: Statistic,
    /// Bytes that may still be leased.
    lease: AtomicUsize,
    /// Of those, the bytes that caches may still lease, and half of what that was at first.
    cache_lease: Statistic,
    half_cache_lease: usize,
}

impl Memory {
    /// `caches`: whether there are thread caches, so that some of the lease is kept for them.
    pub(in crate::pool) fn new(limit: usize, sizes: &[usize], caches: bool) -> Self {
        let shares = Shares::new(limit, sizes);
        let lease = shares.leasable();
        let cache_lease = if caches { min(limit / 8, lease) } else { 0 };
        Self {
            limit,
            used: CachePadded::new(Mutex::new(vec![0; sizes.len()].into())),
            live: CachePadded::new(Statistic::new(0)),
            most_live: Statistic::new(0),
            lease: AtomicUsize::new(lease),
            cache_lease: Statistic::new(cache_lease),
            half_cache_lease: cache_lease / 2,
            shares,
        }
    }

    /// The limit in bytes; `usize::MAX` if there is none.
    pub(in crate::pool) fn limit(&self) -> usize {
        self.limit
    }

    pub(in crate::pool) fn is_limited(&self) -> bool {
        self.limit != usize::MAX
    }

    /// Reserves the bytes of new storage of the class. Returns whether they fit.
    pub(in crate::pool) fn reserve(&self, class: usize) -> bool {
        if !self.is_limited() {
            self.add_live(class);
            return true;
        }
        // A lock, and not one atomic: the bounds of all smaller classes must hold, too. It is held for a few additions,
        // and its two locked instructions are few beside those of the allocator.
        let mut used = self.used.lock();
        let fits = self.shares.fits(class, |i| used.get(i).copied().unwrap_or(0));
        if fits && let Some(used) = used.get_mut(class) {
            *used += self.shares.size(class);
            // Within the lock, so that the stats never show more than the limit.
            self.add_live(class);
        }
        fits
    }

    fn add_live(&self, class: usize) {
        // Ordering: Relaxed on both. Numbers for the stats.
        let size = self.shares.size(class);
        let before = self.live.fetch_add(size, Ordering::Relaxed);
        self.most_live.fetch_max(before + size, Ordering::Relaxed);
    }

    /// Whether a buffer of the class would fit if all `idle` bytes of each class were freed, at some recent moment.
    pub(in crate::pool) fn fits_without(&self, class: usize, idle: impl Fn(usize) -> usize) -> bool {
        let used = self.used.lock();
        let in_use = |i| in_use(&used, &idle, i);
        !self.is_limited() || self.shares.fits(class, in_use)
    }

    /// As [`Shares::may_pass`], with the bytes of each class that are not `idle`.
    pub(in crate::pool) fn may_pass(
        &self,
        class: usize,
        larger: usize,
        passed: usize,
        idle: impl Fn(usize) -> usize,
    ) -> bool {
        let used = self.used.lock();
        self.shares.may_pass(class, larger, passed, |i| in_use(&used, &idle, i))
    }

    /// Releases the bytes of storage of the class that was freed, or was never allocated.
    pub(in crate::pool) fn release(&self, class: usize) {
        let size = self.shares.size(class);
        let mut used = self.is_limited().then(|| self.used.lock());
        if let Some(used) = used.as_mut().and_then(|used| used.get_mut(class)) {
            *used -= size;
        }
        // Ordering: Relaxed, a number for the stats.
        self.live.fetch_sub(size, Ordering::Relaxed);
    }

    /// Releases the bytes that storage of the class `from` has lost, as it was shrunk to the smaller class `to`.
    pub(in crate::pool) fn exchange(&self, from: usize, to: usize) {
        let (larger, smaller) = (self.shares.size(from), self.shares.size(to));
        let mut used = self.is_limited().then(|| self.used.lock());
        if let Some(used) = &mut used {
            used.get_mut(from).into_iter().for_each(|used| *used -= larger);
            used.get_mut(to).into_iter().for_each(|used| *used += smaller);
        }
        // Ordering: Relaxed, a number for the stats.
        self.live.fetch_sub(larger - smaller, Ordering::Relaxed);
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
        // Ordering: Relaxed on all. The number guards no memory. A read-modify-write reads the last value in the
        // modification order, so two threads cannot both lease the last bytes.
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

/// The bytes of a class that are not idle. Queues change while they are read, so idle bytes may exceed those used.
fn in_use(used: &[usize], idle: impl Fn(usize) -> usize, class: usize) -> usize {
    used.get(class).copied().unwrap_or(0).saturating_sub(idle(class))
}
