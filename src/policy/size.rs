//! How many connections a pool may have.

use std::time::Duration;

use super::setters;

/// When a pool grows and shrinks.
///
/// It never grows into an outage: more connections to a server that fails make its recovery harder.
///
/// | setting | default | reason |
/// |---|---|---|
/// | `min` | 10 | the default size of a pool without this policy |
/// | `max` | 500 | it only bounds the memory of this side: a server that accepts fewer stops the growth by refusing |
/// | `interval` | 10 s | new connections need some time to show in the waits |
/// | `max_wait` | 100 ms | longer ones are seen by people |
/// | `grow_percent`, `shrink_percent` | 120, 80 | from 10 to 500 in 22 steps, without a jump that overruns a server |
/// | `idle_percent`, `idle_ticks` | 30, 2 | a pause is not yet the end of the load |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizePolicy {
    /// The smallest size, at least 1.
    pub min: u32,
    /// The largest size.
    pub max: u32,
    /// The time between two ticks.
    pub interval: Duration,
    /// The mean wait above which the pool grows.
    pub max_wait: Duration,
    /// The size after growth, in percent of the one before.
    pub grow_percent: u32,
    /// The size after shrinking, in percent of the one before.
    pub shrink_percent: u32,
    /// The share in use below which the pool shrinks.
    pub idle_percent: u32,
    /// For how many ticks in a row it has to be below that.
    pub idle_ticks: u32,
}

/// A pool since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizeObservation {
    /// The most connections that it may have now.
    pub size: u32,
    /// The most connections that were in use at once.
    pub in_use: u32,
    /// The idle connections that it keeps ready.
    pub min_idle: u32,
    /// Connects on their way.
    pub connecting: u32,
    /// Connects that succeeded.
    pub connected: u64,
    /// Connects that failed or timed out.
    pub connect_failures: u64,
    /// The mean wait of those that got a connection or timed out.
    pub mean_wait: Duration,
    /// Whether a [`Breaker`](super::Breaker) is open or half-open.
    pub is_broken: bool,
}

/// What to do with the size of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeDecision {
    /// Nothing.
    Keep,
    /// Nothing: it would grow, but the server fails.
    Hold,
    /// This many connections, which is more.
    Grow(u32),
    /// This many connections, which is fewer.
    Shrink(u32),
}

/// The size of a pool, which follows its load.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::policy::{AdaptiveSize, SizeDecision, SizeObservation, SizePolicy};
///
/// let mut size = AdaptiveSize::new(SizePolicy::default());
/// let busy = SizeObservation::default().size(100).in_use(100).mean_wait(Duration::from_millis(150));
/// assert_eq!(size.tick(&busy), SizeDecision::Grow(120));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveSize {
    policy: SizePolicy,
    /// Ticks in a row with little in use.
    idle_ticks: u32,
}

impl Default for SizePolicy {
    fn default() -> Self {
        Self {
            min: 10,
            max: 500,
            interval: Duration::from_secs(10),
            max_wait: Duration::from_millis(100),
            grow_percent: 120,
            shrink_percent: 80,
            idle_percent: 30,
            idle_ticks: 2,
        }
    }
}

impl SizePolicy {
    setters! {
        min: u32,
        max: u32,
        interval: Duration,
        max_wait: Duration,
        grow_percent: u32,
        shrink_percent: u32,
        idle_percent: u32,
        idle_ticks: u32,
    }
}

impl SizeObservation {
    setters! {
        size: u32,
        in_use: u32,
        min_idle: u32,
        connecting: u32,
        connected: u64,
        connect_failures: u64,
        mean_wait: Duration,
        is_broken: bool,
    }

    /// Whether at most one connect in ten failed, and not all that began are still on their way.
    fn connects_succeed(&self) -> bool {
        self.connect_failures.saturating_mul(9) <= self.connected
            && (self.connecting == 0 || self.connected > 0)
    }
}

impl AdaptiveSize {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(policy: SizePolicy) -> Self {
        Self { policy, idle_ticks: 0 }
    }

    /// The settings.
    #[must_use]
    pub fn policy(&self) -> &SizePolicy {
        &self.policy
    }

    /// Decides, once per [`interval`](SizePolicy::interval). A size outside of `min` and `max` is moved towards them, but
    /// never below what is in use and is to be idle. A pool of size 0 is paused, and stays so.
    pub fn tick(&mut self, seen: &SizeObservation) -> SizeDecision {
        if seen.size == 0 {
            return SizeDecision::Keep;
        }
        let policy = &self.policy;
        let needed = seen.in_use.saturating_add(seen.min_idle);
        let min = policy.min.max(1);
        let max = policy.max.max(min);
        let is_idle = percent_of(seen.in_use, 100) < percent_of(seen.size, policy.idle_percent);
        self.idle_ticks = if is_idle { self.idle_ticks.saturating_add(1) } else { 0 };

        let wanted = if seen.mean_wait > policy.max_wait {
            if seen.is_broken || !seen.connects_succeed() {
                return SizeDecision::Hold;
            }
            percent_of(seen.size, policy.grow_percent).div_ceil(100)
        } else if self.idle_ticks >= policy.idle_ticks.max(1) {
            self.idle_ticks = 0;
            percent_of(seen.size, policy.shrink_percent) / 100
        } else {
            u64::from(seen.size)
        };
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(min, max);
        if wanted > seen.size {
            SizeDecision::Grow(wanted)
        } else if wanted.max(needed) < seen.size {
            SizeDecision::Shrink(wanted.max(needed))
        } else {
            SizeDecision::Keep
        }
    }
}

/// Hundred times that share of `count`.
fn percent_of(count: u32, percent: u32) -> u64 {
    u64::from(count) * u64::from(percent)
}

#[cfg(test)]
mod tests;
