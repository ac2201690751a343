//! Counters that one thread writes, and their sums.

use alloc::boxed::Box;
use alloc::vec;

use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Count};

/// Counters of all classes of a pool, written by one thread.
pub(in crate::pool) struct Counters {
    classes: Box<[Arc<ClassCounters>]>,
    heap: Arc<ClassCounters>,
    /// Where they are in the registry of the pool, under whose lock this is read and written.
    place: AtomicUsize,
}

impl Counters {
    pub(in crate::pool) fn new(classes: usize) -> Self {
        Self {
            classes: (0..classes).map(|_| Arc::default()).collect(),
            heap: Arc::default(),
            place: AtomicUsize::new(0),
        }
    }

    pub(in crate::pool) fn place(&self) -> usize {
        // Ordering: Relaxed, here and below, as the lock orders them.
        self.place.load(Ordering::Relaxed)
    }

    pub(in crate::pool) fn set_place(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// The counters of a class; those of the heap for any other index.
    #[inline]
    pub(in crate::pool) fn of(&self, class: usize) -> &Arc<ClassCounters> {
        self.classes.get(class).unwrap_or(&self.heap)
    }
}

/// Counters of one class, written by one thread.
///
/// The owning thread writes with `bump`. Threads without a cache share one set of counters, and write with `add`. The
/// alignment keeps other writers out of its cache line.
#[derive(Default)]
#[repr(align(64))]
pub(in crate::pool) struct ClassCounters {
    /// Served from the thread's own cache.
    pub(in crate::pool) cache_hits: Count,
    /// Served from the shared queue of the class.
    pub(in crate::pool) shared_hits: Count,
    /// Served with a frozen buffer that was found free.
    pub(in crate::pool) reclaimed_hits: Count,
    /// Served with new storage.
    pub(in crate::pool) made: Count,
    /// Returned by the drop of a handle.
    pub(in crate::pool) returned: Count,
    /// Frozen into `Bytes` and followed.
    pub(in crate::pool) frozen: Count,
    /// Frozen, found free, and pushed to a queue.
    pub(in crate::pool) found_free: Count,
    /// Served from the heap because the memory limit was reached or others waited.
    pub(in crate::pool) overruns: Count,
}

/// Sums of [`Counters`] over threads.
#[derive(Clone, Debug)]
pub(in crate::pool) struct Totals {
    pub(in crate::pool) classes: Box<[ClassTotals]>,
    pub(in crate::pool) heap: ClassTotals,
}

impl Totals {
    pub(in crate::pool) fn new(classes: usize) -> Self {
        Self { classes: vec![ClassTotals::default(); classes].into(), heap: ClassTotals::default() }
    }

    pub(in crate::pool) fn add(&mut self, counters: &Counters) {
        self.heap.add(&counters.heap);
        for (total, counters) in self.classes.iter_mut().zip(&counters.classes) {
            total.add(counters);
        }
    }
}

/// Sums of [`ClassCounters`] over threads.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pool) struct ClassTotals {
    pub(in crate::pool) cache_hits: u64,
    pub(in crate::pool) shared_hits: u64,
    pub(in crate::pool) reclaimed_hits: u64,
    pub(in crate::pool) made: u64,
    returned: u64,
    frozen: u64,
    found_free: u64,
    pub(in crate::pool) overruns: u64,
}

impl ClassTotals {
    fn add(&mut self, counters: &ClassCounters) {
        self.cache_hits += counters.cache_hits.get();
        self.shared_hits += counters.shared_hits.get();
        self.reclaimed_hits += counters.reclaimed_hits.get();
        self.made += counters.made.get();
        self.returned += counters.returned.get();
        self.frozen += counters.frozen.get();
        self.found_free += counters.found_free.get();
        self.overruns += counters.overruns.get();
    }

    pub(in crate::pool) fn acquires(&self) -> u64 {
        self.cache_hits + self.shared_hits + self.reclaimed_hits + self.made
    }

    /// In use now. While threads run, a return may be seen before its acquire: then this is 0, and does not wrap.
    pub(in crate::pool) fn in_use(&self) -> u64 {
        self.acquires().saturating_sub(self.returned + self.frozen)
    }

    pub(in crate::pool) fn returns(&self) -> u64 {
        self.returned + self.frozen.saturating_sub(self.frozen_now())
    }

    pub(in crate::pool) fn frozen_now(&self) -> u64 {
        self.frozen.saturating_sub(self.reclaimed_hits + self.found_free)
    }
}
