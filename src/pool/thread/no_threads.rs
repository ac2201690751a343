//! What `thread` is without std: no thread keeps anything, so everything goes to the shared queues.

use crate::pool::hooks::Request;
use crate::pool::shared::{Core, Frozen, Slot};
use crate::sync::{Arc, Unique};

/// There is no fast path.
pub(in crate::pool) fn pop(_core: &Arc<Core>, _class: usize) -> Option<Unique<Slot>> {
    None
}

/// There is none.
pub(in crate::pool) fn reclaim(_core: &Arc<Core>, _class: usize) -> Option<Unique<Slot>> {
    None
}

/// A slot of the class; none if the class is the heap, or the budget is spent.
pub(in crate::pool) fn acquire(core: &Arc<Core>, request: Request) -> Option<Unique<Slot>> {
    Core::acquire_cacheless(core, request)
}

/// Takes an empty slot back.
pub(in crate::pool) fn return_slot(slot: Unique<Slot>) {
    Arc::clone(&slot.core).return_cacheless(slot);
}

/// Remembers a slot that was just frozen; hands it back if the pool has no place to follow it.
pub(in crate::pool) fn follow(frozen: Frozen) -> Result<(), Frozen> {
    Arc::clone(frozen.core()).follow_cacheless(frozen)
}

/// There is nothing to lay down.
pub(in crate::pool) fn flush(_core: &Arc<Core>) -> usize {
    0
}

/// There is nothing to drop.
pub(in crate::pool) fn forget(_core: &Arc<Core>) {}
