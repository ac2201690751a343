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
    /// Whether the checkout has a label. Mostly not, so that a checkout only reads it.
    has_label: AtomicCell<bool>,
    label: AtomicCell<&'static str>,
    checkouts: AtomicCell<u64>,
    /// Microseconds.
    waited: AtomicCell<u64>,
}

pub(crate) struct Checkout {
    pub(crate) caller: &'static Location<'static>,
    pub(crate) since: u64,
    pub(crate) label: Option<&'static str>,
}

impl Facts {
    /// Notes that the item is handed out now.
    #[inline]
    pub(crate) fn on_checkout(&self, caller: &'static Location<'static>, now: u64) {
        self.since.store(now);
        self.caller.store(Some(caller));
        if self.has_label.load() {
            self.has_label.store(false);
        }
    }

    pub(crate) fn set_label(&self, label: &'static str) {
        self.label.store(label);
        self.has_label.store(true);
    }

    /// Counts a checkout that did not wait.
    #[inline]
    pub(crate) fn count_checkout(&self) {
        if !cfg!(millpond_uncounted) {
            self.checkouts.store(self.checkouts.load().wrapping_add(1));
        }
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

    /// The checkout of the item, if it is out.
    pub(crate) fn checkout(&self) -> Option<Checkout> {
        let caller = self.caller.load()?;
        let label = self.has_label.load().then(|| self.label.load());
        Some(Checkout { caller, since: self.since.load(), label })
    }

    pub(crate) fn waited(&self) -> u64 {
        self.waited.load()
    }

    pub(crate) fn checkouts(&self) -> u64 {
        self.checkouts.load()
    }
}
