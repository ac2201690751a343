//! When the next step of decay is due. The interval and its default are in `config/builder.rs`.

use core::time::Duration;

use crate::sync::Stopwatch;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Decides when the next step of decay is due: an interval after the end of the last one, however many were missed.
pub(in crate::pool) struct Clock {
    interval_millis: usize,
    since: Stopwatch,
    /// When the last step ended, or [`IN_STEP`].
    last_millis: AtomicUsize,
}

/// A thread makes the step that is due. Until it ends, no other begins.
const IN_STEP: usize = usize::MAX;

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

    /// Whether a step is ever due.
    #[cfg(feature = "tokio")]
    pub(in crate::pool) fn runs(&self) -> bool {
        self.interval_millis > 0
    }

    /// The time until the next step is due, at least a millisecond.
    #[cfg(feature = "tokio")]
    pub(in crate::pool) fn left(&self) -> Duration {
        // Ordering: Relaxed. A hint: `begin_if_due` decides.
        let since = self.since(self.last_millis.load(Ordering::Relaxed), self.now());
        Duration::from_millis(self.interval_millis.saturating_sub(since).max(1) as u64)
    }

    /// Whether an interval has passed since the last step ended. Returns true to one caller, which must make a step, and then
    /// call [`end_step`](Self::end_step).
    pub(super) fn begin_if_due(&self) -> bool {
        self.begin(|| self.now())
    }

    /// A step ended, whether or not it was due.
    pub(super) fn end_step(&self) {
        // Ordering: Relaxed, see `begin`.
        self.last_millis.store(self.now(), Ordering::Relaxed);
    }

    fn begin(&self, now: impl FnOnce() -> usize) -> bool {
        if self.interval_millis == 0 {
            return false;
        }
        // Ordering: Relaxed on all. If several threads find that an interval has passed, the exchange succeeds in one of
        // them. The number guards no memory.
        //
        // The time is read after `last`, and the exchange fails if another step was made in between. So a thread that was
        // preempted anywhere in here begins no step within an interval of the last one.
        let last = self.last_millis.load(Ordering::Relaxed);
        last != IN_STEP
            && self.since(last, now()) >= self.interval_millis
            && self.last_millis.compare_exchange(last, IN_STEP, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Milliseconds between the last step and now; 0 if a step is being made, or was made after `now`.
    fn since(&self, last: usize, now: usize) -> usize {
        let since = now.wrapping_sub(last); // both wrap
        if last == IN_STEP || since > usize::MAX / 2 { 0 } else { since }
    }

    fn now(&self) -> usize {
        (self.since.elapsed().as_millis() as usize).min(IN_STEP - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::new(Some(Duration::from_secs(3600)))
    }

    fn end_step_at(clock: &Clock, millis: usize) {
        clock.last_millis.store(millis, Ordering::Relaxed);
    }

    const HOUR: usize = 3_600_000;

    /// A clock that was read before another thread's step was taken for one of long after it, as the difference wrapped.
    #[test]
    fn a_thread_that_was_preempted_after_it_had_read_the_clock_makes_no_second_step() {
        let clock = clock();
        let preempted = || {
            assert!(clock.begin(|| HOUR + 1));
            end_step_at(&clock, HOUR + 1);
            HOUR
        };
        assert!(!clock.begin(preempted));
        assert!(!clock.begin(|| HOUR), "the last step is later than now");
    }

    #[test]
    fn the_interval_begins_when_a_step_ends() {
        let clock = clock();
        assert!(clock.begin(|| HOUR));
        assert!(!clock.begin(|| 3 * HOUR), "the step is not over");
        end_step_at(&clock, 3 * HOUR);
        assert!(!clock.begin(|| 4 * HOUR - 1));
        assert!(clock.begin(|| 4 * HOUR));
    }
}
