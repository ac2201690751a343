use alloc::vec::Vec;
use core::cmp::min;

use super::slot::{Parked, Slot};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::statistic::AtomicUsize as Statistic;
use crate::sync::{ClassQueue, Unique};

/// Buffers in a chain, at most.
pub(super) const MAX_CHAIN: usize = 32;

/// The shared tier of one size class: what lies in it belongs to no thread.
pub(super) struct Class {
    pub(super) size: usize,
    pub(super) capacity: usize,
    /// Chains: each the first of some ready buffers, which owns the others, so that a batch comes and goes with one
    /// locked instruction of the queue. (`benches/rivals/showdown/tiers.rs` is the bench that chose them.)
    ready: ClassQueue<Unique<Slot>>,
    /// Buffers in a chain, at most.
    longest: usize,
    /// Buffers in all chains, or about to be: a number that is raised before a push and lowered behind a pop.
    stock: AtomicUsize,
    parked: ClassQueue<Parked>,
    /// Buffers that exist, and the most there were.
    live: Statistic,
    most_live: Statistic,
    /// The fewest ready ones since the last step of decay: so many were not needed in all that time.
    low_water: Statistic,
}

impl Class {
    /// Who takes one buffer of a chain holds the others for a moment, in which nobody else sees them. With a byte
    /// limit that could cost somebody a refusal: so an `exact` class has chains of one.
    pub(super) fn new(size: usize, capacity: usize, exact: bool) -> Self {
        Self {
            size,
            capacity,
            ready: ClassQueue::new(capacity),
            longest: if exact { 1 } else { MAX_CHAIN },
            stock: AtomicUsize::new(0),
            parked: ClassQueue::new(capacity),
            live: Statistic::new(0),
            most_live: Statistic::new(0),
            low_water: Statistic::new(0),
        }
    }

    /// Lays down ready buffers, as many as the class keeps, and frees the others. Returns how many. The last
    /// is taken to be the warmest: it is freed last, and lies on top again when its chain is popped.
    pub(super) fn push_ready(
        &self,
        slots: impl IntoIterator<Item = Unique<Slot>, IntoIter: DoubleEndedIterator>,
    ) -> usize {
        let mut slots = slots.into_iter().rev().peekable();
        let mut freed = 0;
        while slots.peek().is_some() {
            let mut len = 0;
            let chain = slots.by_ref().take(self.longest).fold(None, |next, mut slot| {
                len += 1;
                slot.next = next;
                Some(slot)
            });
            let places = self.stock_up(len);
            freed += len - places;
            // There is a place for it: there are no more chains than buffers.
            let refused = cut(chain, len - places).and_then(|chain| self.ready.push(chain).err());
            debug_assert!(refused.is_none());
        }
        freed
    }

    /// Raises the stock by `len`, or as far as it may go. Returns by how much.
    fn stock_up(&self, len: usize) -> usize {
        let mut places = 0;
        // Ordering: Relaxed on all. The number guards no memory: what is in the queue the queue itself orders. A
        // push comes behind it, and a pop sees the push, so it is never lowered below 0.
        let _ = self.stock.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |stock| {
            places = min(len, self.capacity.saturating_sub(stock));
            (places > 0).then_some(stock + places)
        });
        places
    }

    pub(super) fn pop_ready(&self) -> Option<Unique<Slot>> {
        self.pop_ready_and(&mut Vec::new(), 0)
    }

    /// One, and up to `more` of its chain onto the stack.
    pub(super) fn pop_ready_and(&self, stack: &mut Vec<Unique<Slot>>, more: usize) -> Option<Unique<Slot>> {
        let mut first = self.ready.pop()?;
        let before = stack.len();
        let mut rest = first.next.take();
        while stack.len() - before < more
            && let Some(mut slot) = rest
        {
            rest = slot.next.take();
            stack.push(slot);
        }
        // Before the stock is lowered: so there is a place.
        let refused = rest.and_then(|rest| self.ready.push(rest).err());
        debug_assert!(refused.is_none());
        // Ordering: Relaxed, see `stock_up`.
        self.stock.fetch_sub(1 + stack.len() - before, Ordering::Relaxed);
        Some(first)
    }

    /// Ready buffers, at some recent moment.
    pub(super) fn ready_len(&self) -> usize {
        // Ordering: Relaxed, a hint, but for those who look behind a fence: see `Core::settle`.
        self.stock.load(Ordering::Relaxed)
    }

    /// Behind a run of pops: remembers how low the queue went.
    pub(super) fn note_low_water(&self) {
        let len = self.ready_len();
        // Ordering: Relaxed, a hint. If two threads note at once, or a step of decay comes between load and
        // store, a step frees a buffer too many or too few; no other memory hangs on it.
        if len < self.low_water.load(Ordering::Relaxed) {
            self.low_water.store(len, Ordering::Relaxed);
        }
    }

    /// One step of decay: how many ready buffers nobody needed since the last step.
    pub(super) fn take_unneeded(&self) -> usize {
        // Ordering: Relaxed, see `note_low_water`.
        let len = self.ready_len();
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

/// Frees the first `count` of a chain. Returns the rest.
fn cut(mut chain: Option<Unique<Slot>>, count: usize) -> Option<Unique<Slot>> {
    for _ in 0..count {
        chain = chain?.next.take();
    }
    chain
}
