//! A bounded queue of slots that move in batches.

use core::cmp::min;

use super::slot::Slot;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{ClassQueue, Unique};

/// Slots in a chain, at most.
pub(in crate::pool) const MAX_CHAIN: usize = 32;

/// A bounded queue of slots that come and go in batches: what lies in it are chains, each the first of some slots,
/// which owns the others, so that a batch costs two locked instructions, of the queue and of the count of places.
///
/// `benches/rivals/showdown/tiers.rs` is the bench that chose them before single slots. Vectors as magazines take two
/// thirds of their time there, but need a malloc or a second queue of empty ones for each batch; a locked vector
/// half, but is a lock, whose holder may be descheduled.
pub(in crate::pool) struct Chains {
    queue: ClassQueue<Unique<Slot>>,
    /// Slots in a chain, at most.
    longest: usize,
    /// Slots in all chains, at most.
    capacity: usize,
    /// Places that are taken: by the slots in all chains, by those that are about to be laid down, and by those that
    /// were just popped. So there are never more chains than places, and a push finds one.
    taken: AtomicUsize,
}

impl Chains {
    /// Who takes one slot of a chain holds the others for a moment, in which nobody else sees them. With a memory limit
    /// that could cost somebody a refusal: so an `exact` one has chains of one.
    pub(in crate::pool) fn new(capacity: usize, exact: bool) -> Self {
        Self {
            queue: ClassQueue::new(capacity),
            longest: if exact { 1 } else { MAX_CHAIN },
            capacity,
            taken: AtomicUsize::new(0),
        }
    }

    /// Slots that lie here, at some recent moment.
    pub(in crate::pool) fn len(&self) -> usize {
        // Ordering: Relaxed, a hint, but for those who look behind a fence: see `Core::serve_or_sweep`.
        self.taken.load(Ordering::Relaxed)
    }

    /// Chains that lie here, at some recent moment.
    pub(in crate::pool) fn chains(&self) -> usize {
        self.queue.len()
    }

    /// Takes places for `count` slots, as far as there are any, and at most for a chain. Returns how many.
    pub(in crate::pool) fn reserve(&self, count: usize) -> usize {
        let mut places = 0;
        // Ordering: Acquire, which pairs with the Release of everybody who made room before. Without it the queue may
        // still look full to the push that comes behind this, and refuse a chain that has its places. That the
        // number is raised may be seen at any time: a pop sees the push, so it is never lowered below 0.
        let _ = self.taken.fetch_update(Ordering::Acquire, Ordering::Relaxed, |taken| {
            places = min(min(count, self.longest), self.capacity.saturating_sub(taken));
            (places > 0).then_some(taken + places)
        });
        places
    }

    /// Lays down slots, for which places were reserved, as one chain. The last one becomes the first of it.
    pub(in crate::pool) fn push(&self, slots: impl IntoIterator<Item = Unique<Slot>>) {
        let mut chain = Chain::default();
        slots.into_iter().for_each(|slot| chain.prepend(slot));
        self.push_chain(chain);
    }

    /// The chain that lies here longest. Its places stay taken.
    pub(in crate::pool) fn pop(&self) -> Option<Chain> {
        self.queue.pop().map(|first| Chain(Some(first)))
    }

    /// What is left of a chain goes to the back.
    pub(in crate::pool) fn push_chain(&self, chain: Chain) {
        if let Some(first) = chain.0 {
            let refused = self.queue.push(first);
            debug_assert!(refused.is_ok(), "there are places, so there are at most as many chains");
        }
    }

    /// So many of those that were popped, or for which places were reserved, do not come back.
    pub(in crate::pool) fn vacate(&self, count: usize) {
        // Ordering: Release, so that whoever takes the places finds them in the queue; see `reserve`.
        self.taken.fetch_sub(count, Ordering::Release);
    }
}

/// Slots, of which each owns the next.
#[derive(Default)]
pub(in crate::pool) struct Chain(Option<Unique<Slot>>);

impl Chain {
    pub(in crate::pool) fn prepend(&mut self, mut slot: Unique<Slot>) {
        slot.next = self.0.take();
        self.0 = Some(slot);
    }

    pub(in crate::pool) fn reversed(self) -> Self {
        self.fold(Self::default(), |mut chain, slot| {
            chain.prepend(slot);
            chain
        })
    }
}

impl Iterator for Chain {
    type Item = Unique<Slot>;

    fn next(&mut self) -> Option<Unique<Slot>> {
        let mut slot = self.0.take()?;
        self.0 = slot.next.take();
        Some(slot)
    }
}
