//! The twin of `registry` without std: there are no thread caches, so everything uses the shared queues.

use crate::pool::hooks::Request;
use crate::pool::shared::{Core, Frozen, Slot};
use crate::sync::{Arc, Unique};

/// There is no fast path without a cache.
pub(in crate::pool) fn pop(_core: &Arc<Core>, _class: usize) -> Option<Unique<Slot>> {
    None
}

/// There is no fast path without a cache.
pub(in crate::pool) fn reclaim(_core: &Arc<Core>, _class: usize) -> Option<Unique<Slot>> {
    None
}

/// A slot of the class; `None` if the class is the heap, or the memory limit is reached.
pub(in crate::pool) fn acquire(core: &Arc<Core>, request: Request) -> Option<Unique<Slot>> {
    Core::acquire_cacheless(core, request)
}

/// Returns an empty slot to its pool.
pub(in crate::pool) fn return_slot(slot: Unique<Slot>) {
    Arc::clone(&slot.core).return_cacheless(slot);
}

/// Follows a slot that was just frozen, or fails with it if the pool cannot follow it.
pub(in crate::pool) fn follow(frozen: Frozen) -> Result<(), Frozen> {
    Arc::clone(frozen.core()).follow_cacheless(frozen)
}

/// There is nothing to flush.
pub(in crate::pool) fn flush(_core: &Arc<Core>) -> usize {
    0
}

/// There is no cache to drop.
pub(in crate::pool) fn forget(_core: &Arc<Core>) {}
