//! What `thread` is without std: no thread keeps anything, so everything goes to the shared queues.

use super::core::{Ask, Core};
use super::slot::{Parked, Slot};
use crate::sync::{Arc, Unique};

/// There is no fast path.
pub(super) fn pop(_core: &Arc<Core>, _class: usize) -> Option<Unique<Slot>> {
    None
}

/// There is none.
pub(super) fn reclaim(_core: &Arc<Core>, _class: usize) -> Option<Unique<Slot>> {
    None
}

/// A slot of the class; none if the class is the heap, or the budget is spent.
pub(super) fn acquire(core: &Arc<Core>, ask: Ask) -> Option<Unique<Slot>> {
    Core::acquire_cacheless(core, ask)
}

/// Takes an empty slot back.
pub(super) fn give_back(slot: Unique<Slot>) {
    Arc::clone(&slot.core).give_back_cacheless(slot);
}

/// Remembers a slot that was just frozen; hands it back if the pool has no place to follow it.
pub(super) fn park(parked: Parked) -> Result<(), Parked> {
    Arc::clone(parked.core()).park_cacheless(parked)
}

/// There is nothing to lay down.
pub(super) fn flush(_core: &Arc<Core>) -> usize {
    0
}

/// There is nothing to drop.
pub(super) fn forget(_core: &Arc<Core>) {}
