use alloc::boxed::Box;
use alloc::vec;

use crate::sync::{Arc, Count};

/// What happened to the buffers of a pool, counted by one thread.
pub(super) struct Counters {
    classes: Box<[Arc<ClassCounters>]>,
    heap: Arc<ClassCounters>,
}

impl Counters {
    pub(super) fn new(classes: usize) -> Self {
        Self { classes: (0..classes).map(|_| Arc::default()).collect(), heap: Arc::default() }
    }

    /// Those of a class; of the heap for every other index.
    #[inline]
    pub(super) fn of(&self, class: usize) -> &Arc<ClassCounters> {
        self.classes.get(class).unwrap_or(&self.heap)
    }
}

/// What happened to the buffers of one class, counted by one thread.
///
/// Only the owning thread writes, with `bump`; those that threads without a cache share, all with `add`. It begins a cache
/// line, so that no other writer shares it.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct ClassCounters {
    /// Served from the thread's own cache.
    pub(super) cache_hits: Count,
    /// Served from the class's shared queue.
    pub(super) shared_hits: Count,
    /// Served with a frozen buffer whose last `Bytes` was found to be gone.
    pub(super) reclaimed_hits: Count,
    /// Served with new storage.
    pub(super) made: Count,
    /// Came back by the drop of a handle.
    pub(super) returned: Count,
    /// Frozen into `Bytes` and remembered.
    pub(super) parked: Count,
    /// Frozen, found to be free, and laid down idle.
    pub(super) unparked: Count,
    /// Asked for, and served from the heap, as the budget was spent.
    pub(super) overruns: Count,
}

/// Sums of [`Counters`] over threads.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    pub(super) classes: Box<[ClassTotals]>,
    pub(super) heap: ClassTotals,
}

impl Totals {
    pub(super) fn new(classes: usize) -> Self {
        Self { classes: vec![ClassTotals::default(); classes].into(), heap: ClassTotals::default() }
    }

    pub(super) fn add(&mut self, counters: &Counters) {
        self.heap.add(&counters.heap);
        for (total, counters) in self.classes.iter_mut().zip(&counters.classes) {
            total.add(counters);
        }
    }
}

/// Sums of [`ClassCounters`] over threads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClassTotals {
    pub(super) cache_hits: u64,
    pub(super) shared_hits: u64,
    pub(super) reclaimed_hits: u64,
    pub(super) made: u64,
    returned: u64,
    parked: u64,
    unparked: u64,
    pub(super) overruns: u64,
}

impl ClassTotals {
    fn add(&mut self, counters: &ClassCounters) {
        self.cache_hits += counters.cache_hits.get();
        self.shared_hits += counters.shared_hits.get();
        self.reclaimed_hits += counters.reclaimed_hits.get();
        self.made += counters.made.get();
        self.returned += counters.returned.get();
        self.parked += counters.parked.get();
        self.unparked += counters.unparked.get();
        self.overruns += counters.overruns.get();
    }

    pub(super) fn acquires(&self) -> u64 {
        self.cache_hits + self.shared_hits + self.reclaimed_hits + self.made
    }

    /// Handed out now. Threads count in their own time, so while they run a return may be seen before
    /// its acquire: then this is 0, not a wrap.
    pub(super) fn in_use(&self) -> u64 {
        self.acquires().saturating_sub(self.returned + self.parked)
    }

    pub(super) fn came_back(&self) -> u64 {
        self.returned + self.parked.saturating_sub(self.parked_now())
    }

    pub(super) fn parked_now(&self) -> u64 {
        self.parked.saturating_sub(self.reclaimed_hits + self.unparked)
    }
}
