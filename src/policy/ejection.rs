//! When who fails is ejected, for how long, and how it gets its share back.

use std::time::{Duration, Instant};

use super::outcome::Outcome;

/// The longest ejection: later times may be out of the clock's range.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The settings.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Failures in a row.
    pub(super) after: u32,
    /// How long the first time, and then twice as long each time.
    pub(super) initial: Duration,
    pub(super) max: Duration,
    pub(super) return_over: Duration,
}

/// What is known of one of several: whether it is ejected, and how far it has come back.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    failures_in_a_row: u32,
    /// How often it was ejected by failures since it last served well.
    ejections: u32,
    ejected_at: Option<Instant>,
    ejected_until: Option<Instant>,
    /// When its ejection ended, as long as it is not forgiven.
    back_since: Option<Instant>,
    /// Whether it has not got its share back.
    is_cold: bool,
    /// When it began to get that back.
    returning: Option<Instant>,
    /// When it was last the last resort, by the number of that.
    resorted: u64,
}

impl Standing {
    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// Ends an ejection whose time is over. One that comes back is on trial: the first failure ejects it again.
    pub(super) fn end_ejection(&mut self, now: Instant, terms: &Terms) {
        if self.ejected_until.is_some_and(|until| now >= until) {
            self.ejected_until = None;
            self.back_since = Some(now);
            self.failures_in_a_row = terms.after.saturating_sub(1);
        }
    }

    /// Ends an ejection before its time.
    pub(super) fn readmit(&mut self, now: Instant, terms: &Terms) {
        self.ejected_until = Some(now);
        self.end_ejection(now, terms);
    }

    /// Whether what began that long ago began after the ejection.
    pub(super) fn is_news(&self, now: Instant, took: Duration) -> bool {
        self.ejected_at.is_none_or(|at| now.checked_sub(took).is_some_and(|began| began >= at))
    }

    /// Takes an outcome of one that is not ejected. Returns for how long to eject it.
    pub(super) fn record(&mut self, now: Instant, outcome: Outcome, terms: &Terms) -> Option<Duration> {
        match outcome {
            Outcome::Success => self.failures_in_a_row = 0,
            Outcome::Failure | Outcome::Timeout => {
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            }
            Outcome::Cancelled | Outcome::Refused => {}
        }
        if outcome == Outcome::Success
            && self.back_since.is_some_and(|at| now.saturating_duration_since(at) >= terms.return_over)
        {
            (self.ejections, self.back_since) = (0, None);
        }
        if self.failures_in_a_row < terms.after.max(1) {
            return None;
        }
        let times = 1_u32.checked_shl(self.ejections).unwrap_or(u32::MAX);
        self.ejections = self.ejections.saturating_add(1);
        Some(terms.initial.saturating_mul(times).min(terms.max))
    }

    /// Ejects it. Returns for how long.
    pub(super) fn eject(&mut self, now: Instant, duration: Duration) -> Duration {
        let duration = duration.min(LONGEST);
        *self = Self {
            ejections: self.ejections,
            ejected_at: Some(now),
            ejected_until: now.checked_add(duration),
            is_cold: true,
            ..Self::default()
        };
        duration
    }

    /// It is about to get its share back, from now on. `anew` starts over.
    pub(super) fn begin_return(&mut self, now: Instant, anew: bool) {
        if self.is_cold && (anew || self.returning.is_none()) {
            self.returning = Some(now);
        }
    }

    /// The share that it gets. A tenth at least, or it would never get better than unknown.
    pub(super) fn share(&mut self, now: Instant, terms: &Terms) -> f64 {
        let Some(since) = self.returning else { return 1.0 };
        let share =
            now.saturating_duration_since(since).as_secs_f64() / terms.return_over.as_secs_f64().max(1e-9);
        if share >= 1.0 {
            (self.returning, self.is_cold) = (None, false);
        }
        share.clamp(0.1, 1.0)
    }

    pub(super) fn is_returning(&self) -> bool {
        self.returning.is_some()
    }

    /// What decides the turn of a last resort: the one that was it longest ago, then the one that comes back first.
    pub(super) fn turn(&self) -> impl Ord + use<> {
        (self.resorted, self.ejected_until)
    }

    pub(super) fn note_resort(&mut self, number: u64) {
        self.resorted = number;
    }
}
