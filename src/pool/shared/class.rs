//! The shared queues of one size class.

use alloc::vec::Vec;
use core::cmp::min;

use super::chains::Chains;
use super::slot::Slot;
use crate::sync::Unique;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// The shared queues of one size class. Their slots are in no thread's cache.
pub(in crate::pool) struct Class {
    pub(in crate::pool) size: usize,
    pub(in crate::pool) capacity: usize,
    ready: Chains,
    /// Frozen slots, the oldest first.
    pub(in crate::pool) frozen: Chains,
    /// Buffers that exist, and the most that existed at once.
    live: AtomicUsize,
    most_live: AtomicUsize,
    /// The fewest ready slots since the last step of decay: that many were not needed since then.
    low_water: AtomicUsize,
}

impl Class {
    pub(in crate::pool) fn new(size: usize, capacity: usize, exact: bool) -> Self {
        Self {
            size,
            capacity,
            ready: Chains::new(capacity, exact),
            frozen: Chains::new(capacity, exact),
            live: AtomicUsize::new(0),
            most_live: AtomicUsize::new(0),
            low_water: AtomicUsize::new(0),
        }
    }

    /// Pushes as many ready slots as there are places for, and frees the others. Returns the number freed. The last slot
    /// counts as the warmest: it is pushed first, and is the first of its chain.
    pub(in crate::pool) fn push_ready(
        &self,
        slots: impl IntoIterator<Item = Unique<Slot>, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
    ) -> usize {
        let mut slots = slots.into_iter();
        while slots.len() > 0 {
            let places = self.ready.reserve(slots.len());
            if places == 0 {
                break;
            }
            self.ready.push(slots.by_ref().rev().take(places));
        }
        slots.count()
    }

    pub(in crate::pool) fn pop_ready(&self) -> Option<Unique<Slot>> {
        self.pop_ready_and(&mut Vec::new(), 0)
    }

    /// Pops a chain: returns one slot, and pushes up to `more` to `stack`. The rest goes to the end of the queue.
    pub(in crate::pool) fn pop_ready_and(
        &self,
        stack: &mut Vec<Unique<Slot>>,
        more: usize,
    ) -> Option<Unique<Slot>> {
        let mut chain = self.ready.pop()?;
        let first = chain.next();
        let before = stack.len();
        stack.extend(chain.by_ref().take(more));
        self.ready.push_chain(chain);
        self.ready.vacate(1 + stack.len() - before);
        first
    }

    /// The number of ready slots, at some recent moment.
    pub(in crate::pool) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Records how short the queue is after a run of pops.
    pub(in crate::pool) fn note_low_water(&self) {
        let len = self.ready.len();
        // Ordering: Relaxed. A hint that guards no memory. If two threads record at once, or a step of decay runs between
        // load and store, a step frees one buffer too many or too few.
        if len < self.low_water.load(Ordering::Relaxed) {
            self.low_water.store(len, Ordering::Relaxed);
        }
    }

    /// At a step of decay: the number of ready slots that were not needed since the last step.
    pub(in crate::pool) fn take_unneeded(&self) -> usize {
        // Ordering: Relaxed, see `note_low_water`.
        let len = self.ready.len();
        let unneeded = min(self.low_water.load(Ordering::Relaxed), len);
        self.low_water.store(len - unneeded, Ordering::Relaxed);
        unneeded
    }

    pub(in crate::pool) fn count_made(&self) {
        // Ordering: Relaxed on both. Numbers for the stats; they guard no memory.
        let live = self.live.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_live.fetch_max(live, Ordering::Relaxed);
    }

    pub(in crate::pool) fn count_freed(&self) {
        // Ordering: Relaxed, as in `count_made`.
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// Buffers that exist, and the most that existed at once.
    pub(in crate::pool) fn live(&self) -> (usize, usize) {
        // Ordering: Relaxed, as in `count_made`.
        (self.live.load(Ordering::Relaxed), self.most_live.load(Ordering::Relaxed))
    }
}
