//! The queue of events, and random numbers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// In microseconds.
pub(super) const SECOND: u64 = 1_000_000;
pub(super) const MILLISECOND: u64 = 1000;

/// What happens, in order of time, then of entry.
pub(super) struct Events<E> {
    events: BTreeMap<(u64, u64), E>,
    entered: u64,
    /// Policies look at differences only, so when it begins is of no account.
    begin: Instant,
}

impl<E> Events<E> {
    pub(super) fn new() -> Self {
        Self { events: BTreeMap::new(), entered: 0, begin: Instant::now() }
    }

    pub(super) fn enter(&mut self, time: u64, event: E) {
        self.events.insert((time, self.entered), event);
        self.entered += 1;
    }

    pub(super) fn next(&mut self) -> Option<(u64, E)> {
        self.events.pop_first().map(|((time, _), event)| (time, event))
    }

    pub(super) fn instant(&self, time: u64) -> Instant {
        self.begin + Duration::from_micros(time)
    }
}

/// splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// Up to that share more or less, evenly.
    pub(super) fn around(&mut self, mean: u64, percent: u64) -> u64 {
        let spread = mean * percent / 100;
        mean - spread + self.number() % (2 * spread + 1)
    }
}
