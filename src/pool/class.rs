use core::cmp::min;

use super::slot::{Parked, Slot};
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{ClassQueue, Unique};

/// The shared tier of one size class: what lies in it belongs to no thread.
pub(super) struct Class {
    pub(super) size: usize,
    pub(super) capacity: usize,
    ready: ClassQueue<Unique<Slot>>,
    parked: ClassQueue<Parked>,
    /// Buffers that exist, and the most there were.
    live: AtomicUsize,
    most_live: AtomicUsize,
    /// The fewest ready ones since the last step of decay: so many were not needed in all that time.
    low_water: AtomicUsize,
}

impl Class {
    pub(super) fn new(size: usize, capacity: usize) -> Self {
        Self {
            size,
            capacity,
            ready: ClassQueue::new(capacity),
            parked: ClassQueue::new(capacity),
            live: AtomicUsize::new(0),
            most_live: AtomicUsize::new(0),
            low_water: AtomicUsize::new(0),
        }
    }

    /// Lays down a ready buffer; hands it back if as many lie there as the class keeps.
    pub(super) fn push_ready(&self, slot: Unique<Slot>) -> Result<(), Unique<Slot>> {
        self.ready.push(slot)
    }

    pub(super) fn pop_ready(&self) -> Option<Unique<Slot>> {
        self.ready.pop()
    }

    /// Ready buffers, at some recent moment.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Behind a run of pops: remembers how low the queue went.
    pub(super) fn note_low_water(&self) {
        let len = self.ready.len();
        // Ordering: Relaxed, a hint. If two threads note at once, or a step of decay comes between load and
        // store, a step frees a buffer too many or too few; no other memory hangs on it.
        if len < self.low_water.load(Ordering::Relaxed) {
            self.low_water.store(len, Ordering::Relaxed);
        }
    }

    /// One step of decay: how many ready buffers nobody needed since the last step.
    pub(super) fn take_unneeded(&self) -> usize {
        // Ordering: Relaxed, see `note_low_water`.
        let len = self.ready.len();
        let unneeded = min(self.low_water.load(Ordering::Relaxed), len);
        self.low_water.store(len - unneeded, Ordering::Relaxed);
        unneeded
    }

    /// Like [`push_ready`](Self::push_ready), for a frozen one.
    pub(super) fn push_parked(&self, parked: Parked) -> Result<(), Parked> {
        self.parked.push(parked)
    }

    /// The frozen buffer that waits longest.
    pub(super) fn pop_parked(&self) -> Option<Parked> {
        self.parked.pop()
    }

    /// Frozen buffers in the shared queue, at some recent moment.
    pub(super) fn parked_len(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn count_made(&self) {
        // Ordering: Relaxed. Numbers for the stats; they guard no memory.
        let live = self.live.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_live.fetch_max(live, Ordering::Relaxed);
    }

    pub(super) fn count_freed(&self) {
        // Ordering: Relaxed, as in `count_made`.
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// Buffers that exist, and the most there were at once.
    pub(super) fn live(&self) -> (usize, usize) {
        // Ordering: Relaxed, as in `count_made`.
        (self.live.load(Ordering::Relaxed), self.most_live.load(Ordering::Relaxed))
    }
}
