//! Whether and when a request is sent again.

use std::time::{Duration, Instant};

use super::backoff::{Backoff, part_of};
use super::deadline::Deadline;
use super::setters;
use super::window::{Counts, Window};

/// When a request that failed is sent again.
///
/// | setting | default | reason |
/// |---|---|---|
/// | `attempts` | 3 | what two retries do not repair is no short failure |
/// | `backoff` | 50 ms, 100 ms and so on up to 2 s | people do not notice the first, and a process restarts within all |
/// | `jitter_percent` | 50 | those that failed together do not come back together |
/// | `max_retry_after` | 60 s | a request that waits for longer holds its client and its body all the time |
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use millpond::policy::{BudgetPolicy, Failed, RetryBudget, RetryDecision, RetryPolicy};
///
/// let mut budget = RetryBudget::new(BudgetPolicy::default());
/// let failed = Failed::default().replayable(true).retry_after(Some(Duration::from_secs(7)));
/// let decision = RetryPolicy::default().decide(&mut budget, Instant::now(), &failed, 0);
/// assert_eq!(decision, RetryDecision::After(Duration::from_secs(7)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The most attempts, with the first one.
    pub attempts: u32,
    /// The delays.
    pub backoff: Backoff,
    /// How much of a delay is left out at most, at random.
    pub jitter_percent: u32,
    /// The longest pause that a server may ask for. If it asks for more, the request is not sent again.
    pub max_retry_after: Duration,
}

/// How many retries there may be beside the requests: retries repair what a few failures broke, and multiply the load when
/// all fail.
///
/// tower's budget has the same rule, but reads the clock itself.
///
/// | setting | default | reason |
/// |---|---|---|
/// | `percent` | 20 | a server that refuses all gets a fifth more than its load, and room for most short failures is left |
/// | `min_per_second` | 1 | a client with few requests may retry, too |
/// | `window` | 10 s | a burst of failures may use what the seconds before have left |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetPolicy {
    /// Retries per 100 requests.
    pub percent: u32,
    /// Retries per second beside those.
    pub min_per_second: u32,
    /// The time over which both are counted.
    pub window: Duration,
}

/// Requests and retries of the last seconds. One for all requests to a server.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    policy: BudgetPolicy,
    /// Requests, and beside them retries as the marked ones.
    window: Window,
    stats: RetryStats,
}

/// What was done with requests that failed: how many were sent again, and how many were not, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryStats {
    /// They were sent again.
    pub sent: u64,
    /// Sending them twice may do harm, or their body streams.
    pub not_replayable: u64,
    /// The maximum number of attempts was reached.
    pub attempts: u64,
    /// The deadline came first, or the server asked for too long a pause.
    pub deadline: u64,
    /// There were too many retries.
    pub budget: u64,
}

/// A request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// How many attempts there were: 1 by default.
    pub attempts: u32,
    /// Whether it may be sent again: it is idempotent or was not processed, and its body is still there. By default it may
    /// not.
    pub replayable: bool,
    /// How long the server asks to wait; see [`retry_after`](super::retry_after()).
    pub retry_after: Option<Duration>,
    /// When the request has to be done: by default never.
    pub deadline: Deadline,
}

/// What to do with a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Send it again after this time.
    After(Duration),
    /// Do not.
    GiveUp(GiveUp),
}

/// Why a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveUp {
    /// Sending it twice may do harm.
    NotReplayable,
    /// The maximum number of attempts was reached.
    Attempts,
    /// The deadline comes first, or the server asks for a pause of more than [`max_retry_after`](RetryPolicy::max_retry_after).
    Deadline,
    /// There are too many retries.
    Budget,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let backoff = Backoff::default().initial(Duration::from_millis(50)).max(Duration::from_secs(2));
        Self { attempts: 3, backoff, jitter_percent: 50, max_retry_after: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    setters! {
        attempts: u32,
        backoff: Backoff,
        jitter_percent: u32,
        max_retry_after: Duration,
    }

    /// For clients that stay: `min(5 s · 2^n, 600 s)`, without an end.
    #[must_use]
    pub fn persistent() -> Self {
        let backoff = Backoff::persistent();
        Self { attempts: u32::MAX, backoff, max_retry_after: backoff.max, ..Self::default() }
    }

    /// What to do with a request that failed. If the server asks for a longer pause than the backoff, it gets that, and up to a
    /// tenth more. A retry is taken from the budget.
    pub fn decide(
        &self,
        budget: &mut RetryBudget,
        now: Instant,
        failed: &Failed,
        random: u64,
    ) -> RetryDecision {
        let backoff = self.backoff.nth(failed.attempts.saturating_sub(1));
        let backoff = backoff.saturating_sub(part_of(backoff, self.jitter_percent, random));
        let asked = failed.retry_after.unwrap_or_default();
        let delay = asked.saturating_add(part_of(asked, 10, random)).max(backoff);
        let decision = match () {
            () if !failed.replayable => RetryDecision::GiveUp(GiveUp::NotReplayable),
            () if failed.attempts >= self.attempts => RetryDecision::GiveUp(GiveUp::Attempts),
            () if asked > self.max_retry_after || !failed.deadline.allows(now, delay) => {
                RetryDecision::GiveUp(GiveUp::Deadline)
            }
            () if !budget.withdraw(now) => RetryDecision::GiveUp(GiveUp::Budget),
            () => RetryDecision::After(delay),
        };
        budget.count(decision);
        decision
    }
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self { percent: 20, min_per_second: 1, window: Duration::from_secs(10) }
    }
}

impl BudgetPolicy {
    setters! {
        percent: u32,
        min_per_second: u32,
        window: Duration,
    }
}

impl RetryBudget {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(policy: BudgetPolicy) -> Self {
        Self { policy, window: Window::new(policy.window), stats: RetryStats::default() }
    }

    /// What [`RetryPolicy::decide`] has decided with it so far.
    #[must_use]
    pub fn stats(&self) -> RetryStats {
        self.stats
    }

    fn count(&mut self, decision: RetryDecision) {
        *match decision {
            RetryDecision::After(_) => &mut self.stats.sent,
            RetryDecision::GiveUp(GiveUp::NotReplayable) => &mut self.stats.not_replayable,
            RetryDecision::GiveUp(GiveUp::Attempts) => &mut self.stats.attempts,
            RetryDecision::GiveUp(GiveUp::Deadline) => &mut self.stats.deadline,
            RetryDecision::GiveUp(GiveUp::Budget) => &mut self.stats.budget,
        } += 1;
    }

    /// Counts a request. A retry is none.
    pub fn on_request(&mut self, now: Instant) {
        self.window.add(now, Counts { all: 1, marked: 0 });
    }

    /// Takes a retry, if one is left.
    #[must_use]
    pub fn withdraw(&mut self, now: Instant) -> bool {
        let Counts { all: requests, marked: retries } = self.window.sum(now);
        let BudgetPolicy { percent, min_per_second, window } = self.policy;
        let least = u128::from(min_per_second).saturating_mul(window.as_millis()).div_ceil(1000);
        let least = u64::try_from(least).unwrap_or(u64::MAX);
        let is_left = retries < (requests.saturating_mul(u64::from(percent)) / 100).saturating_add(least);
        self.window.add(now, Counts { all: 0, marked: u64::from(is_left) });
        is_left
    }
}

impl Default for Failed {
    fn default() -> Self {
        Self { attempts: 1, replayable: false, retry_after: None, deadline: Deadline::NEVER }
    }
}

impl Failed {
    setters! {
        attempts: u32,
        replayable: bool,
        retry_after: Option<Duration>,
        deadline: Deadline,
    }
}

#[cfg(test)]
mod tests;
