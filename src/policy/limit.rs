//! How many requests a server takes at once.

use std::time::{Duration, Instant};

use super::outcome::Outcome;
use super::setters;

/// How much of the way to a new limit is gone per window.
const STEP: f64 = 0.2;
/// After this many windows the latency without load is measured anew, for two windows at a lower limit: the server may have
/// become slower for good, and an average would take its queue for that.
const RELEARN: u32 = 300;
const RELEARN_OVER: u32 = RELEARN + 2;
/// The limit meanwhile, times the tolerance: at half of the limit the server has no queue if its latency is half again as long.
const RELEARN_AT: f64 = 0.75;
/// How much of the way to a lower latency without load is gone per window: a few fast answers are not what it is.
const FALL: f64 = 0.1;
/// What latencies that rise, and failures, leave of the limit at the least and at the most.
const SHRINK: (f64, f64) = (0.5, 0.9);

/// How an [`AdaptiveLimit`] follows the latency.
///
/// | setting | default | reason |
/// |---|---|---|
/// | `initial` | 20 | few enough for most servers; under load it grows to 100 within 6 s, and to 1000 within 30 s |
/// | `min` | 4 | one slow request leaves room for others, and the latency can still be measured |
/// | `max` | 1000 | more hold memory and streams of this side, whatever the server bears |
/// | `tolerance_percent` | 150 | half again as long as without load is still no queue |
/// | `window`, `min_samples` | 100 ms, 10 | one slow request is no overload |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitPolicy {
    /// The limit at first.
    pub initial: u32,
    /// The smallest limit.
    pub min: u32,
    /// The largest limit.
    pub max: u32,
    /// Above this share of the latency without load, the limit falls.
    pub tolerance_percent: u32,
    /// The shortest time between two changes.
    pub window: Duration,
    /// The fewest requests between two changes.
    pub min_samples: u32,
}

/// A limit of requests at once that follows the latency: requests beyond what a server works on at once only queue there.
///
/// It compares the mean latency with that without load and shrinks by their ratio, their gradient, as Netflix's
/// [concurrency-limits](https://github.com/Netflix/concurrency-limits) does. An additive increase with a multiplicative
/// decrease would need a latency in milliseconds, one for each server, and after a load step one round trip for each
/// request more.
///
/// A load that never has half of the limit in flight changes nothing, unless requests fail.
///
/// Every 300 windows it falls to half for two, with other tolerances to 75 % of their inverse, to see what the latency without
/// load is now. A load that uses less of the limit does not notice. With the default window, a greater one waits for 0.2 s in
/// 30 s, or is refused if the queue is short.
///
/// It suits servers whose requests take about the same time, or whose mix of fast and slow ones is about the same in each
/// window. Where fast ones prevail for seconds, slow ones that follow seem to queue, and the limit falls until the latency is
/// measured anew. Give such kinds of requests a limit each.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use millpond::policy::{AdaptiveLimit, LimitPolicy, Outcome};
///
/// let (mut limit, begin) = (AdaptiveLimit::new(LimitPolicy::default()), Instant::now());
/// for ms in 0..500 {
///     // All that is allowed is in flight, and the latency stays as it is: there is room for more.
///     limit.record(begin + Duration::from_millis(ms), Duration::from_millis(5), limit.limit(), Outcome::Success);
/// }
/// assert!(limit.limit() > 20);
/// ```
#[derive(Clone, Debug)]
pub struct AdaptiveLimit {
    policy: LimitPolicy,
    limit: f64,
    /// The latency without load, in seconds.
    base: Option<f64>,
    /// Windows since it was measured anew.
    age: u32,
    /// The limit before that.
    saved: f64,
    window: LatencyWindow,
}

#[derive(Clone, Debug, Default)]
struct LatencyWindow {
    began: Option<Instant>,
    /// Seconds.
    sum: f64,
    samples: u32,
    /// Time-outs are among both.
    failures: u32,
    requests: u32,
    most_in_flight: u32,
}

impl Default for LimitPolicy {
    fn default() -> Self {
        Self {
            initial: 20,
            min: 4,
            max: 1000,
            tolerance_percent: 150,
            window: Duration::from_millis(100),
            min_samples: 10,
        }
    }
}

impl LimitPolicy {
    setters! {
        initial: u32,
        min: u32,
        max: u32,
        tolerance_percent: u32,
        window: Duration,
        min_samples: u32,
    }

    /// At least 1.
    fn tolerance(&self) -> f64 {
        f64::from(self.tolerance_percent.max(100)) / 100.0
    }

    fn clamp(&self, limit: f64) -> f64 {
        let min = self.min.max(1);
        limit.clamp(f64::from(min), f64::from(self.max.max(min)))
    }
}

impl AdaptiveLimit {
    /// With the initial limit.
    #[must_use]
    pub fn new(policy: LimitPolicy) -> Self {
        let limit = policy.clamp(f64::from(policy.initial));
        Self { policy, limit, base: None, age: 0, saved: limit, window: LatencyWindow::default() }
    }

    /// The most requests at once.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Takes the outcome of a request that took `latency`, and how many were in flight, itself among them. Returns the limit if
    /// it has changed.
    pub fn record(
        &mut self,
        now: Instant,
        latency: Duration,
        in_flight: u32,
        outcome: Outcome,
    ) -> Option<u32> {
        let window = &mut self.window;
        let began = *window.began.get_or_insert(now);
        window.most_in_flight = window.most_in_flight.max(in_flight);
        if !outcome.is_of_the_server() {
            return None;
        }
        window.requests += 1;
        window.failures += u32::from(outcome.is_failure());
        // How fast it fails says nothing.
        if outcome != Outcome::Failure {
            window.sum += latency.as_secs_f64();
            window.samples += 1;
        }
        let is_full = window.requests >= self.policy.min_samples.max(1);
        if !is_full || now.saturating_duration_since(began) < self.policy.window {
            return None;
        }
        let window = std::mem::take(window);
        let before = self.limit();
        let wanted = self.wanted(&window);
        // One that is not used makes no queue, and says nothing about a higher one.
        let is_used = window.most_in_flight >= before / 2 || window.fails();
        // While it still falls, half of it is too much to learn by.
        let falls = is_used && wanted < self.limit * SHRINK.1 && self.limit > self.policy.clamp(0.0);
        self.age += u32::from(self.age != RELEARN - 1 || !falls);
        match self.age {
            RELEARN => {
                (self.base, self.saved) = (None, self.limit);
                self.limit = self.policy.clamp(self.limit * RELEARN_AT / self.policy.tolerance());
            }
            RELEARN_OVER => (self.limit, self.age) = (self.saved, 0),
            ..RELEARN if is_used => {
                self.limit = self.policy.clamp(self.limit + (wanted - self.limit) * STEP);
            }
            _ => {}
        }
        (self.limit() != before).then(|| self.limit())
    }

    fn wanted(&mut self, window: &LatencyWindow) -> f64 {
        let mut rest: f64 = 1.0;
        if window.samples > 0 {
            let mean = window.sum / f64::from(window.samples);
            let weight = if self.age < RELEARN { FALL } else { 1.0 };
            let base = self.base.map_or(mean, |base| base + (mean - base).min(0.0) * weight);
            self.base = Some(base);
            rest = (base * self.policy.tolerance() / mean.max(1e-9)).clamp(SHRINK.0, 1.0);
        }
        if window.fails() {
            return self.limit * rest.min(SHRINK.1);
        }
        // A few more than fit, so that a higher limit is found.
        self.limit * rest + self.limit.sqrt()
    }
}

impl LatencyWindow {
    /// Whether there is more than one failure per ten successes.
    fn fails(&self) -> bool {
        self.failures > (self.requests - self.failures) / 10
    }
}

#[cfg(test)]
mod tests;
