//! A bounded queue of slots that move in batches.

use core::cmp::min;

use super::slot::Slot;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{ClassQueue, Unique};

/// The most slots in a chain.
pub(in crate::pool) const MAX_CHAIN: usize = 32;

/// A bounded queue of slots that move in batches. Its elements are chains: a slot that owns the next one, and so on. So a
/// batch costs two locked instructions, one in the queue and one on the count of places.
///
/// `benches/rivals/showdown/tiers.rs` compares it with the alternatives. Vectors as magazines take two thirds of its
/// time, but need a malloc per batch, or a second queue of empty vectors. A locked vector takes half of its time, but the
/// holder of the lock may be descheduled.
pub(in crate::pool) struct Chains {
    queue: ClassQueue<Unique<Slot>>,
    /// The most slots in a chain.
    longest: usize,
    /// The most slots in all chains.
    capacity: usize,
    /// Places taken: by the slots of all chains, by those about to be pushed, and by those just popped. So there are never
    /// more chains than places, and a push always finds a place.
    taken: AtomicUsize,
}

impl Chains {
    /// A thread that pops one slot of a chain holds the others for a moment, in which no other thread sees them. Under a
    /// memory limit another acquire could fail because of that, so an `exact` queue has chains of one slot.
    pub(in crate::pool) fn new(capacity: usize, exact: bool) -> Self {
        Self {
            queue: ClassQueue::new(capacity),
            longest: if exact { 1 } else { MAX_CHAIN },
            capacity,
            taken: AtomicUsize::new(0),
        }
    }

    /// The number of slots, at some recent moment.
    pub(in crate::pool) fn len(&self) -> usize {
        // Ordering: Relaxed. A hint for most callers. The others load after a fence: see `Core::serve_or_sweep`.
        self.taken.load(Ordering::Relaxed)
    }

    /// The number of chains, at some recent moment.
    pub(in crate::pool) fn chains(&self) -> usize {
        self.queue.len()
    }

    /// Takes places for up to `count` slots, at most those of one chain. Returns how many.
    pub(in crate::pool) fn reserve(&self, count: usize) -> usize {
        let mut places = 0;
        // Ordering: Acquire, which synchronizes with the Release of each earlier `vacate`: its pop happens before the push
        // that follows here. Without it the queue could still look full to that push, which would fail with its places
        // reserved. The store needs no Release: a pop synchronizes with the push through the queue, so `taken` never
        // drops below 0.
        let _ = self.taken.fetch_update(Ordering::Acquire, Ordering::Relaxed, |taken| {
            places = min(min(count, self.longest), self.capacity.saturating_sub(taken));
            (places > 0).then_some(taken + places)
        });
        places
    }

    /// Pushes slots as one chain. Their places must be reserved. The last slot becomes the first of the chain.
    pub(in crate::pool) fn push(&self, slots: impl IntoIterator<Item = Unique<Slot>>) {
        let mut chain = Chain::default();
        slots.into_iter().for_each(|slot| chain.prepend(slot));
        self.push_chain(chain);
    }

    /// Pops the oldest chain. Its places stay taken.
    pub(in crate::pool) fn pop(&self) -> Option<Chain> {
        self.queue.pop().map(|first| Chain(Some(first)))
    }

    /// Pushes a chain whose places are still taken.
    pub(in crate::pool) fn push_chain(&self, chain: Chain) {
        if let Some(first) = chain.0 {
            let refused = self.queue.push(first);
            debug_assert!(refused.is_ok(), "there are at most as many chains as places");
        }
    }

    /// Frees `count` places that were reserved, or whose slots were popped.
    pub(in crate::pool) fn vacate(&self, count: usize) {
        // Ordering: Release. The pop happens before every push that takes these places; see `reserve`.
        self.taken.fetch_sub(count, Ordering::Release);
    }
}

/// A list of slots in which each owns the next.
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
