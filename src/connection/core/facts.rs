//! What is known of a slot's item while it is out.

use std::panic::Location;

use crate::sync::statistic::AtomicCell;

/// Only the owner of the slot's item writes, so plain stores suffice. Readers may see the end of one checkout beside the
/// start of the next.
#[derive(Default)]
pub(crate) struct Facts {
    /// Milliseconds on the pool's clock.
    since: AtomicCell<u64>,
    caller: AtomicCell<Option<&'static Location<'static>>>,
    checkouts: AtomicCell<u64>,
    /// Microseconds.
    waited: AtomicCell<u64>,
}

impl Facts {
    /// Notes that the item is handed out now.
    #[inline]
    pub(crate) fn on_checkout(&self, caller: &'static Location<'static>, now: u64) {
        self.since.store(now);
        self.caller.store(Some(caller));
    }

    /// Counts a checkout that did not wait.
    #[inline]
    pub(crate) fn count_checkout(&self) {
        self.checkouts.store(self.checkouts.load().wrapping_add(1));
    }

    /// Notes for how long the item was waited for, in microseconds.
    #[inline]
    pub(crate) fn on_waited(&self, micros: u64) {
        self.waited.store(self.waited.load().wrapping_add(micros));
    }

    #[inline]
    pub(super) fn on_return(&self) {
        self.caller.store(None);
    }

    /// Where and since when the item is out, if it is.
    pub(crate) fn checkout(&self) -> Option<(&'static Location<'static>, u64)> {
        self.caller.load().map(|caller| (caller, self.since.load()))
    }

    pub(crate) fn waited(&self) -> u64 {
        self.waited.load()
    }

    pub(crate) fn checkouts(&self) -> u64 {
        self.checkouts.load()
    }
}
