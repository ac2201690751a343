//! The snapshot of the stats: the counters of all threads, and the numbers of the shared part.

use alloc::vec::Vec;

use super::class::Class;
use super::pool_core::Core;
use crate::pool::hooks::Hooks;
use crate::pool::stats::{BufferPoolStats, ClassStats, ClassTotals, Totals};

impl Core {
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
