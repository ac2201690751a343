//! When the next step of decay is due. The interval and its default are in `config/builder.rs`.

use core::time::Duration;

use crate::sync::Stopwatch;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Decides when the next step of decay is due.
pub(in crate::pool) struct Clock {
    interval_millis: usize,
    since: Stopwatch,
    last_millis: AtomicUsize,
}

impl Clock {
    /// With `None`, no step is ever due.
    pub(in crate::pool) fn new(interval: Option<Duration>) -> Self {
        let millis = |interval: Duration| usize::try_from(interval.as_millis()).unwrap_or(usize::MAX).max(1);
        Self {
            interval_millis: interval.map_or(0, millis),
            since: Stopwatch::start(),
            last_millis: AtomicUsize::new(0),
        }
    }

    #[cfg(feature = "tokio")]
    pub(in crate::pool) fn interval(&self) -> Option<Duration> {
        (self.interval_millis > 0).then(|| Duration::from_millis(self.interval_millis as u64))
    }

    /// Whether an interval has passed since the last step. Returns true to one caller per interval.
    pub(super) fn is_due(&self) -> bool {
        if self.interval_millis == 0 {
            return false;
        }
        let now = self.since.elapsed().as_millis() as usize; // wraps
        // Ordering: Relaxed on all. If several threads find that an interval has passed, the exchange succeeds in one of
        // them. The number guards no memory.
        let last = self.last_millis.load(Ordering::Relaxed);
        now.wrapping_sub(last) >= self.interval_millis
            && self.last_millis.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
