//! What a request at the limit gets, and what is freed for it.

use super::class::Class;
use super::pool_core::{Core, FROZEN_SCAN};
use super::slot::Slot;
use crate::sync::{Arc, Unique};

/// The result of [`Core::obtain`], counted as an acquire.
pub(in crate::pool) enum Grant {
    Slot(Unique<Slot>),
    /// Bytes for one buffer of the class, reserved.
    Room,
}

impl Core {
    /// Obtains a grant for a waiter or an acquire at the limit: a slot of the shared queues of the class, or room for new
    /// storage, for which it evicts idle memory of other classes. Of the frozen slots of other classes it takes none: see
    /// [`find_some_free`](Self::find_some_free). The caller must call `serve_or_sweep`.
    pub(in crate::pool) fn obtain(&self, index: usize) -> Option<Grant> {
        let class = self.class(index)?;
        let counters = self.cacheless.of(index);
        if let Some(slot) = class.pop_ready() {
            class.note_low_water();
            counters.shared_hits.add(1);
            return Some(Grant::Slot(slot));
        }
        let mut free = None;
        self.scan_frozen(class, FROZEN_SCAN, false, |slot| {
            if let Some(another) = free.replace(slot) {
                self.push_found_free(class, another);
            }
        });
        if let Some(slot) = free {
            counters.reclaimed_hits.add(1);
            return Some(Grant::Slot(slot));
        }
        if self.reserve(index) {
            counters.made.add(1);
            return Some(Grant::Room);
        }
        if self.next_class
            && let Some(slot) = self.class(index + 1).and_then(Class::pop_ready)
        {
            self.cacheless.of(index + 1).shared_hits.add(1);
            return Some(Grant::Slot(slot));
        }
        self.evict_for(index).then(|| {
            counters.made.add(1);
            Grant::Room
        })
    }

    /// Reserves the bytes of one buffer of the class, for which it frees idle memory: the largest buffers first, so that the
    /// fewest are freed. None, if all of them together are not enough.
    fn evict_for(&self, index: usize) -> bool {
        if !self.memory.fits_without(index, |other| self.idle_bytes(other)) {
            return false;
        }
        for other in self.classes().iter().rev() {
            while let Some(slot) = other.pop_ready() {
                drop(slot);
                if self.reserve(index) {
                    return true;
                }
            }
        }
        self.reserve(index)
    }

    /// Bytes of the ready slots in the shared queue of the class, at some recent moment.
    pub(super) fn idle_bytes(&self, index: usize) -> usize {
        self.class(index).map_or(0, |class| class.ready_len() * class.size)
    }

    /// Turns a grant into a slot.
    pub(in crate::pool) fn redeem(core: &Arc<Self>, index: usize, grant: Grant) -> Unique<Slot> {
        match grant {
            Grant::Slot(slot) => slot,
            Grant::Room => Self::make(core, index),
        }
    }

    /// Returns a grant that is not needed any more.
    pub(super) fn return_grant(&self, index: usize, grant: Grant) {
        match grant {
            Grant::Slot(slot) => {
                self.cacheless.of(slot.index()).returned.add(1);
                if let Some(class) = self.class(slot.index()) {
                    self.push_idle(class, [slot]);
                }
            }
            Grant::Room => {
                self.cacheless.of(index).returned.add(1);
                self.unmake(index);
            }
        }
        self.serve_or_sweep();
    }

    /// Bytes of a grant for the class.
    pub(super) fn granted_bytes(&self, index: usize, grant: &Grant) -> usize {
        match grant {
            Grant::Slot(slot) => slot.size(),
            Grant::Room => self.class_size(index),
        }
    }
}
