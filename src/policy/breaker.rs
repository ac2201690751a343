//! Whether a server is asked at all.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::outcome::Outcome;
use super::setters;
use super::window::{Counts, Window};

/// How long a probe takes at the least until it counts as lost, and how long to wait for the end of one.
const PROBE: Duration = Duration::from_secs(1);

/// When a [`Breaker`] opens and closes.
///
/// | setting | default | reason |
/// |---|---|---|
/// | `failures` | 5 in a row | a server that is down is known after five requests |
/// | `error_percent`, `window`, `min_samples` | 50 % of at least 20 within 10 s | one that fails now and then is known, too |
/// | `open_for` | 60 s | a restart takes about as long |
/// | `first_open_for` | as `open_for` | see [below](#structfield.first_open_for) |
/// | `probes` | 3 | one success may be luck |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerPolicy {
    /// It opens after this many failures in a row.
    pub failures: u32,
    /// It opens when this share of the requests within the window has failed. Above 100, it never does.
    pub error_percent: u32,
    /// The time over which that share is counted.
    pub window: Duration,
    /// The fewest requests of which a share is taken.
    pub min_samples: u32,
    /// How long it stays open.
    pub open_for: Duration,
    /// How long it stays open at first. After a failed probe it is twice as long, and so on up to `open_for`. A server that was
    /// away for seconds is then missed for little longer than that, and not for a minute, at the cost of a few more probes.
    pub first_open_for: Option<Duration>,
    /// How many requests have to succeed until it closes. No more are sent before.
    pub probes: u32,
}

/// Stops requests to a server that fails, and tries it with a few before it lets all through again. One for each server
/// and region.
///
/// # Examples
///
/// ```
/// use std::time::Instant;
///
/// use millpond::policy::{Breaker, BreakerPolicy, Outcome};
///
/// let (mut breaker, now) = (Breaker::new(BreakerPolicy::default()), Instant::now());
/// for _ in 0..5 {
///     let (permit, _) = breaker.ask(now);
///     breaker.record(now, permit.unwrap(), Outcome::Timeout);
/// }
/// assert!(breaker.ask(now).0.is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    phase: Phase,
    /// The number of changes: a permit of an earlier one says nothing about the present.
    generation: u64,
    /// How often it opened again since it was closed.
    failed_probes: u32,
    stats: BreakerStats,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed { in_a_row: u32, window: Window },
    Open { since: Instant, time: Duration },
    HalfOpen { since: Instant, sent: u32, succeeded: u32 },
}

/// The state of a [`Breaker`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// All requests are sent.
    #[default]
    Closed,
    /// None is.
    Open,
    /// A few are, to see whether the server has recovered.
    HalfOpen,
}

/// A request may be sent. Give it back with the outcome by [`Breaker::record`], in any case: a probe whose permit is lost
/// keeps its place for [`open_for`](BreakerPolicy::open_for), and for a second at least.
#[derive(Debug)]
#[must_use = "the breaker waits for the outcome"]
pub struct Permit {
    generation: u64,
}

/// The breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The time after which it makes sense to ask again.
    pub retry_in: Duration,
}

/// A change of a [`Breaker`]'s state, for logs and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerChange {
    /// The state before.
    pub from: BreakerState,
    /// The state from now on.
    pub to: BreakerState,
    /// Why.
    pub reason: BreakerReason,
    /// How long it is open, if it opens.
    pub retry_in: Option<Duration>,
}

/// What a [`Breaker`] has done: its changes by their [`BreakerReason`], and what it refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerStats {
    /// The present state.
    pub state: BreakerState,
    /// How often it opened after failures in a row.
    pub opened_by_failures: u64,
    /// How often it opened because of the share of failures.
    pub opened_by_error_rate: u64,
    /// How often it opened again because a probe failed.
    pub opened_by_probe: u64,
    /// How often it became half-open.
    pub half_opened: u64,
    /// How often it closed, because all probes succeeded.
    pub closed: u64,
    /// Requests that it refused.
    pub refused: u64,
}

/// Why a [`Breaker`] changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerReason {
    /// The maximum number of failures in a row was reached.
    FailuresInARow,
    /// The share of failures reached its maximum.
    ErrorRate,
    /// The time for which it stays open was over.
    WaitOver,
    /// All probes succeeded.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
}

impl BreakerState {
    /// As metrics and logs have it: `half_open`, for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl BreakerReason {
    /// As metrics and logs have it: `failures_in_a_row`, for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailuresInARow => "failures_in_a_row",
            Self::ErrorRate => "error_rate",
            Self::WaitOver => "wait_over",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ProbeFailed => "probe_failed",
        }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 5,
            error_percent: 50,
            window: Duration::from_secs(10),
            min_samples: 20,
            open_for: Duration::from_secs(60),
            first_open_for: None,
            probes: 3,
        }
    }
}

impl BreakerPolicy {
    setters! {
        failures: u32,
        error_percent: u32,
        window: Duration,
        min_samples: u32,
        open_for: Duration,
        first_open_for: Option<Duration>,
        probes: u32,
    }

    fn closed(&self) -> Phase {
        Phase::Closed { in_a_row: 0, window: Window::new(self.window) }
    }

    fn open(&self, since: Instant, failed_probes: u32) -> Phase {
        let initial = self.first_open_for.unwrap_or(self.open_for);
        let time = Backoff::default().initial(initial).max(self.open_for).nth(failed_probes);
        Phase::Open { since, time }
    }
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self {
            phase: policy.closed(),
            policy,
            generation: 0,
            failed_probes: 0,
            stats: BreakerStats::default(),
        }
    }

    /// The state that the last call left.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> BreakerStats {
        BreakerStats { state: self.state(), ..self.stats }
    }

    /// For how long it sends none at all. `None`: it is not open, or it is time to [`ask`](Self::ask).
    #[must_use]
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        let Phase::Open { since, time } = self.phase else { return None };
        let left = time.saturating_sub(now.saturating_duration_since(since));
        (left > Duration::ZERO).then_some(left)
    }

    /// Asks whether a request may be sent. An open breaker whose time is over becomes half-open.
    ///
    /// # Errors
    ///
    /// [`Refused`] while it is open, and while as many probes as allowed are on their way.
    pub fn ask(&mut self, now: Instant) -> (Result<Permit, Refused>, Option<BreakerChange>) {
        let change = match self.phase {
            Phase::Open { since, time } if now.saturating_duration_since(since) >= time => {
                let half_open = Phase::HalfOpen { since: now, sent: 0, succeeded: 0 };
                Some(self.change(half_open, BreakerReason::WaitOver))
            }
            _ => None,
        };
        let lost_after = self.policy.open_for.max(PROBE);
        let wait = match &mut self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { since, time } => Some(time.saturating_sub(now.saturating_duration_since(*since))),
            Phase::HalfOpen { since, sent, .. } => {
                let waited = now.saturating_duration_since(*since);
                if waited >= lost_after {
                    // The probes got lost.
                    (*since, *sent) = (now, 0);
                }
                if *sent < self.policy.probes.max(1) {
                    *sent += 1;
                    None
                } else {
                    // The probes may end at any time.
                    Some(lost_after.saturating_sub(waited).min(PROBE))
                }
            }
        };
        self.stats.refused += u64::from(wait.is_some());
        let permit = Permit { generation: self.generation };
        (wait.map_or(Ok(permit), |retry_in| Err(Refused { retry_in })), change)
    }

    /// Takes the outcome of a request. One that was sent before the last change does not count.
    pub fn record(&mut self, now: Instant, permit: Permit, outcome: Outcome) -> Option<BreakerChange> {
        if permit.generation != self.generation {
            return None;
        }
        let policy = self.policy;
        let (next, reason) = match (&mut self.phase, outcome) {
            (Phase::HalfOpen { sent, .. }, outcome) if !outcome.is_of_the_server() => {
                *sent = sent.saturating_sub(1);
                return None;
            }
            (Phase::HalfOpen { succeeded, .. }, Outcome::Success) => {
                *succeeded += 1;
                if *succeeded < policy.probes {
                    return None;
                }
                self.failed_probes = 0;
                (policy.closed(), BreakerReason::ProbesSucceeded)
            }
            (Phase::HalfOpen { .. }, _) => {
                self.failed_probes = self.failed_probes.saturating_add(1);
                (policy.open(now, self.failed_probes), BreakerReason::ProbeFailed)
            }
            (Phase::Closed { in_a_row, window }, outcome) if outcome.is_of_the_server() => {
                let failed = outcome.is_failure();
                window.add(now, Counts { all: 1, marked: u64::from(failed) });
                *in_a_row = if failed { in_a_row.saturating_add(1) } else { 0 };
                let Counts { all, marked } = window.sum(now);
                let is_high =
                    marked.saturating_mul(100) >= all.saturating_mul(u64::from(policy.error_percent));
                let reason = match () {
                    () if !failed => return None,
                    () if *in_a_row >= policy.failures => BreakerReason::FailuresInARow,
                    () if all >= u64::from(policy.min_samples) && is_high => BreakerReason::ErrorRate,
                    () => return None,
                };
                (policy.open(now, 0), reason)
            }
            _ => return None,
        };
        Some(self.change(next, reason))
    }

    fn change(&mut self, next: Phase, reason: BreakerReason) -> BreakerChange {
        let from = self.state();
        self.phase = next;
        self.generation += 1;
        *match reason {
            BreakerReason::FailuresInARow => &mut self.stats.opened_by_failures,
            BreakerReason::ErrorRate => &mut self.stats.opened_by_error_rate,
            BreakerReason::ProbeFailed => &mut self.stats.opened_by_probe,
            BreakerReason::WaitOver => &mut self.stats.half_opened,
            BreakerReason::ProbesSucceeded => &mut self.stats.closed,
        } += 1;
        let retry_in = if let Phase::Open { time, .. } = self.phase { Some(time) } else { None };
        BreakerChange { from, to: self.state(), reason, retry_in }
    }
}

#[cfg(test)]
mod tests;
