//! The counters of all threads, and the snapshot of the stats: their sums, and the numbers of the shared part.

use alloc::vec::Vec;

use super::class::Class;
use super::pool_core::Core;
use crate::pool::hooks::Hooks;
use crate::pool::stats::{BufferPoolStats, ClassStats, ClassTotals, Counters, Totals};
use crate::sync::Arc;

/// The counters of every thread cache of a pool, each at its [place](Counters::place), and the sums of the caches that were
/// dropped.
pub(super) struct Registry {
    threads: Vec<Arc<Counters>>,
    gone: Totals,
}

impl Registry {
    pub(super) fn new(classes: usize) -> Self {
        Self { threads: Vec::new(), gone: Totals::new(classes) }
    }
}

impl Core {
    /// Registers a new thread cache. Returns its counters.
    #[cfg(feature = "std")]
    pub(in crate::pool) fn register(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(self.classes().len()));
        let mut registry = self.registry.lock();
        counters.set_place(registry.threads.len());
        registry.threads.push(Arc::clone(&counters));
        counters
    }

    /// Adds the counters of a thread cache that is dropped to the sums. The last one takes its place, so that the time does
    /// not depend on the number of threads.
    #[cfg(feature = "std")]
    pub(in crate::pool) fn unregister(&self, counters: &Counters) {
        let mut registry = self.registry.lock();
        let place = counters.place();
        registry.threads.swap_remove(place);
        if let Some(moved) = registry.threads.get(place) {
            moved.set_place(place);
        }
        registry.gone.add(counters);
    }

    pub(in crate::pool) fn stats(&self) -> BufferPoolStats {
        let registry = self.registry.lock();
        let mut totals = registry.gone.clone();
        totals.add(&self.cacheless);
        for counters in &registry.threads {
            totals.add(counters);
        }
        drop(registry);
        self.assemble(&totals)
    }

    /// Completes the sums with the numbers of the shared part.
    fn assemble(&self, totals: &Totals) -> BufferPoolStats {
        let heap = &totals.heap;
        let (live, most_live) = self.memory.live();
        let (waits, wait_time, longest_wait) = self.waiters.waits();
        let mut stats = BufferPoolStats {
            acquires: heap.made,
            allocations: heap.made,
            returns: heap.returns(),
            in_use: heap.in_use(),
            live_bytes: live as u64,
            high_water_bytes: most_live as u64,
            waiting: self.waiters.waiting() as u64,
            waits,
            wait_time,
            longest_wait,
            classes: totals
                .classes
                .iter()
                .enumerate()
                .map(|(i, totals)| self.class_stats(i, totals))
                .collect(),
            requested: self.hooks.as_ref().map_or_else(Vec::new, Hooks::requested),
            ..BufferPoolStats::default()
        };
        for class in &stats.classes {
            stats.acquires += class.acquires;
            stats.allocations += class.allocations;
            stats.returns += class.returns;
            stats.in_use += class.in_use;
            stats.frozen += class.frozen;
            stats.cache_hits += class.cache_hits;
            stats.shared_hits += class.shared_hits;
            stats.reclaimed_hits += class.reclaimed_hits;
            stats.overruns += class.overruns;
            stats.idle += class.idle;
            stats.idle_bytes += class.idle_bytes();
        }
        stats.heap_fallbacks = heap.made.saturating_sub(stats.overruns);
        stats
    }

    fn class_stats(&self, index: usize, totals: &ClassTotals) -> ClassStats {
        let class = self.class(index);
        let (live, high_water) = class.map_or((0, 0), Class::live);
        ClassStats {
            size: self.class_size(index),
            capacity: class.map_or(0, |class| class.capacity),
            acquires: totals.acquires(),
            cache_hits: totals.cache_hits,
            shared_hits: totals.shared_hits,
            reclaimed_hits: totals.reclaimed_hits,
            allocations: totals.made,
            overruns: totals.overruns,
            returns: totals.returns(),
            in_use: totals.in_use(),
            frozen: totals.frozen_now(),
            idle: (live as u64).saturating_sub(totals.in_use() + totals.frozen_now()),
            high_water: high_water as u64,
        }
    }
}
