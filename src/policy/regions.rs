//! Which of several regions serves.

use std::mem;
use std::time::{Duration, Instant};

use super::ejection::{Standing, Terms};
use super::outcome::Outcome;
use super::setters;

/// How much one request weighs at most, however rare they are.
const MAX_WEIGHT: f64 = 0.3;

/// How a region is chosen.
///
/// A region's score is its mean latency plus its share of errors times `error_penalty`: without that, the region that
/// fails fast would win.
///
/// | setting | default | reason |
/// |---|---|---|
/// | `error_penalty` | 1 s | one error in 100 weighs as much as 10 ms |
/// | `memory` | 5 s | a region that has become slow is left within seconds, and one slow request is no reason |
/// | `hysteresis_percent` | 20 | two regions of the same speed do not take turns |
/// | `min_samples` | 5 | a few samples are luck |
/// | `probe_interval` | 2 s | what other regions are like is known by one request in a while |
/// | `eject_after` | 5 failures in a row | as the [breaker](super::BreakerPolicy) |
/// | `eject_for` | 30 s | a trial costs one request, and most restarts take less |
/// | `max_eject_for` | 300 s | after 30, 60, 120 and 240 s; what is repaired serves within five minutes |
/// | `return_over` | 20 s | its caches and connections are cold |
/// | `sticky` | no | the fastest serves; set it where a change costs more than latency, such as sessions |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionPolicy {
    /// What an error counts, as if it were latency.
    pub error_penalty: Duration,
    /// The time over which latencies and errors are averaged.
    pub memory: Duration,
    /// How much better than the present one another region has to be.
    pub hysteresis_percent: u32,
    /// The fewest requests after which a region is known.
    pub min_samples: u32,
    /// How often a region that does not serve is tried by one request.
    pub probe_interval: Duration,
    /// After this many failures in a row, a region is ejected.
    pub eject_after: u32,
    /// How long it is ejected the first time, and then twice as long each time.
    pub eject_for: Duration,
    /// How long it is ejected at most.
    pub max_eject_for: Duration,
    /// The time over which a region that was ejected gets its share of requests back, once it is the best again. One that answers
    /// after as long, whether it is the best or not, is ejected for `eject_for` the next time.
    pub return_over: Duration,
    /// Whether the present region stays until it is ejected, however fast others are.
    pub sticky: bool,
}

/// Several regions that serve the same, in the order in which they are preferred as long as nothing is known of them.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use millpond::policy::{Outcome, RegionPolicy, Regions};
///
/// let (mut regions, now) = (Regions::new(RegionPolicy::default(), 2), Instant::now());
/// for _ in 0..5 {
///     regions.record(now, 0, Duration::from_millis(2), Outcome::Failure);
/// }
/// assert_eq!(regions.pick(now, None, 0).region, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Regions {
    policy: RegionPolicy,
    regions: Vec<Region>,
    current: usize,
    /// How often there was a last resort.
    resorts: u64,
}

/// Where to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The index of the region.
    pub region: usize,
    /// Why.
    pub reason: PickReason,
}

/// Why a request goes to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PickReason {
    /// It serves: it is the best, or no other one is known to be better.
    Best,
    /// The best one has just come back, and does not get all requests yet.
    Returning,
    /// To see what it is like.
    Probe,
    /// The caller asked for it.
    Sticky,
    /// Others have failed the request.
    Fallback,
    /// No other is left: all are ejected, or have failed the request. They take turns, so one that serves again is found soon.
    LastResort,
}

/// A region was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// The index of the region.
    pub region: usize,
    /// For how long.
    pub duration: Duration,
}

/// A region, for people and exporters: what is known of it, and how many requests it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionState {
    /// Its name.
    pub name: String,
    /// Whether it serves.
    pub is_current: bool,
    /// Whether it gets no requests for now.
    pub is_ejected: bool,
    /// Its mean latency and the penalty for its errors, if enough is known.
    pub score: Option<Duration>,
    /// Requests that it got as the best one.
    pub best: u64,
    /// Requests that it got while another one was coming back.
    pub returning: u64,
    /// Requests that it got to see what it is like.
    pub probes: u64,
    /// Requests that it got because the caller asked for it.
    pub sticky: u64,
    /// Requests that it got because other regions had failed them.
    pub fallback: u64,
    /// Requests that it got because no other region was left.
    pub last_resort: u64,
    /// How often it was ejected.
    pub ejections: u64,
}

/// What is known of a region.
#[derive(Clone, Debug, Default)]
struct Region {
    /// Seconds.
    latency: f64,
    /// From 0 to 1.
    errors: f64,
    samples: u32,
    sampled: Option<Instant>,
    /// When it was last tried while another one served.
    probed: Option<Instant>,
    standing: Standing,
    /// Of these, only the counts are kept up.
    seen: RegionState,
}

impl Default for RegionPolicy {
    fn default() -> Self {
        Self {
            error_penalty: Duration::from_secs(1),
            memory: Duration::from_secs(5),
            hysteresis_percent: 20,
            min_samples: 5,
            probe_interval: Duration::from_secs(2),
            eject_after: 5,
            eject_for: Duration::from_secs(30),
            max_eject_for: Duration::from_secs(300),
            return_over: Duration::from_secs(20),
            sticky: false,
        }
    }
}

impl RegionPolicy {
    setters! {
        error_penalty: Duration,
        memory: Duration,
        hysteresis_percent: u32,
        min_samples: u32,
        probe_interval: Duration,
        eject_after: u32,
        eject_for: Duration,
        max_eject_for: Duration,
        return_over: Duration,
        sticky: bool,
    }

    fn terms(&self) -> Terms {
        let Self { eject_after, eject_for, max_eject_for, return_over, .. } = *self;
        Terms { after: eject_after, initial: eject_for, max: max_eject_for, return_over }
    }
}

impl Regions {
    /// That many regions, at least one. The first serves until more is known.
    #[must_use]
    pub fn new(policy: RegionPolicy, count: usize) -> Self {
        Self { policy, regions: vec![Region::default(); count.max(1)], current: 0, resorts: 0 }
    }

    /// The region that serves.
    #[must_use]
    pub fn current(&self) -> usize {
        self.current
    }

    /// What is compared: the mean latency and the penalty for errors. `None` as long as there are too few samples.
    #[must_use]
    pub fn score(&self, region: usize) -> Option<Duration> {
        let score = self.regions.get(region)?.score(&self.policy)?;
        Duration::try_from_secs_f64(score).ok()
    }

    /// Whether a region is ejected.
    #[must_use]
    pub fn is_ejected(&self, region: usize, now: Instant) -> bool {
        self.regions.get(region).is_some_and(|region| region.standing.is_ejected(now))
    }

    /// All regions, under these names.
    #[must_use]
    pub fn state<N: Into<String>>(
        &self,
        now: Instant,
        names: impl IntoIterator<Item = N>,
    ) -> Vec<RegionState> {
        let named = self.regions.iter().zip(names).enumerate();
        let states = named.map(|(index, (region, name))| RegionState {
            name: name.into(),
            is_current: index == self.current,
            is_ejected: region.standing.is_ejected(now),
            score: self.score(index),
            ..region.seen.clone()
        });
        states.collect()
    }

    /// Where to send a request. A client that should stay where it was names that region, and is sent there unless it is
    /// ejected.
    pub fn pick(&mut self, now: Instant, stay: Option<usize>, random: u64) -> Pick {
        let pick = self.choose(now, stay, random);
        self.count(pick)
    }

    /// Where to send a request that these regions have failed: to the best of the others that is not ejected. As long as
    /// nothing is known of them, that is the first.
    pub fn fall_back(&mut self, now: Instant, failed: &[usize]) -> Option<Pick> {
        let region = self.best_but(failed, now)?;
        Some(self.count(Pick { region, reason: PickReason::Fallback }))
    }

    /// Where to send a request that these regions have failed, and all others are ejected: to one of those, in turn. It may
    /// serve again.
    pub fn last_resort(&mut self, failed: &[usize]) -> Option<Pick> {
        let pick = self.resort(failed)?;
        Some(self.count(pick))
    }

    fn count(&mut self, pick: Pick) -> Pick {
        if let Some(Region { seen, .. }) = self.regions.get_mut(pick.region) {
            *match pick.reason {
                PickReason::Best => &mut seen.best,
                PickReason::Returning => &mut seen.returning,
                PickReason::Probe => &mut seen.probes,
                PickReason::Sticky => &mut seen.sticky,
                PickReason::Fallback => &mut seen.fallback,
                PickReason::LastResort => &mut seen.last_resort,
            } += 1;
        }
        pick
    }

    fn choose(&mut self, now: Instant, stay: Option<usize>, random: u64) -> Pick {
        let terms = self.policy.terms();
        self.regions.iter_mut().for_each(|region| region.standing.end_ejection(now, &terms));
        if let Some(region) = stay.filter(|&stay| stay < self.regions.len() && !self.is_ejected(stay, now)) {
            return Pick { region, reason: PickReason::Sticky };
        }
        let Some(best) = self.best(now) else {
            return self.resort(&[]).unwrap_or(Pick { region: 0, reason: PickReason::LastResort });
        };
        if let Some(region) = self.regions.get_mut(best) {
            region.standing.begin_return(now, best != self.current);
        }
        self.current = best;
        if let Some(region) = self.due_for_probe(now) {
            return Pick { region, reason: PickReason::Probe };
        }
        let share = self.regions.get_mut(best).map_or(1.0, |region| region.standing.share(now, &terms));
        let is_of_the_share = ((random % 1000) as f64) < share * 1000.0;
        match self.best_but(&[best], now).filter(|_| !is_of_the_share) {
            Some(region) => Pick { region, reason: PickReason::Returning },
            None => Pick { region: best, reason: PickReason::Best },
        }
    }

    /// Takes the outcome of a request: the time of the connect, if there was one, and until the first byte of the response, or
    /// until it failed. While all regions are ejected, a success ends the ejection of its region. A request that was
    /// [refused](Outcome::Refused) is an error in the score, and does not eject.
    pub fn record(
        &mut self,
        now: Instant,
        region: usize,
        latency: Duration,
        outcome: Outcome,
    ) -> Option<Ejection> {
        let policy = self.policy;
        let index = region;
        let all_are_ejected = self.regions.iter().all(|region| region.standing.is_ejected(now));
        let region = self.regions.get_mut(index)?;
        if outcome == Outcome::Success && all_are_ejected {
            region.standing.readmit(now, &policy.terms());
        }
        // What was sent before the ejection is no news.
        let standing = &mut region.standing;
        if outcome == Outcome::Cancelled || standing.is_ejected(now) || !standing.is_news(now, latency) {
            return None;
        }
        let ejection = standing.record(now, outcome, &policy.terms());
        region.sample(now, latency, outcome, &policy);
        self.eject(now, index, ejection?)
    }

    /// Ejects a region of which the caller knows that it will not serve for that long, such as one whose breaker is open. Ten
    /// years are the most, and ejections by failures get no longer by it. `None` if it is ejected already.
    pub fn eject(&mut self, now: Instant, region: usize, duration: Duration) -> Option<Ejection> {
        let index = region;
        let region = self.regions.get_mut(index).filter(|region| !region.standing.is_ejected(now))?;
        let duration = region.standing.eject(now, duration);
        region.seen.ejections += 1;
        // It is known anew afterwards.
        let (standing, seen) = (mem::take(&mut region.standing), mem::take(&mut region.seen));
        *region = Region { standing, seen, ..Region::default() };
        Some(Ejection { region: index, duration })
    }

    /// The present region, unless another one is better by the hysteresis. `None` if all are ejected.
    fn best(&self, now: Instant) -> Option<usize> {
        let best = self.best_but(&[], now)?;
        let current = self.regions.get(self.current).filter(|region| !region.standing.is_ejected(now));
        let Some(current) = current else { return Some(best) };
        if self.policy.sticky {
            return Some(self.current);
        }
        let hysteresis = 1.0 - f64::from(self.policy.hysteresis_percent.min(100)) / 100.0;
        let scores = (self.regions.get(best)?.score(&self.policy), current.score(&self.policy));
        let is_better = matches!(scores, (Some(best), Some(current)) if best < current * hysteresis);
        Some(if is_better { best } else { self.current })
    }

    /// The region with the lowest score, then of those that are not known the first.
    fn best_but(&self, except: &[usize], now: Instant) -> Option<usize> {
        let score = |region: &Region| region.score(&self.policy).unwrap_or(f64::INFINITY);
        let regions = self.regions.iter().enumerate();
        let usable =
            regions.filter(|(index, region)| !except.contains(index) && !region.standing.is_ejected(now));
        usable.min_by(|(_, a), (_, b)| score(a).total_cmp(&score(b))).map(|(index, _)| index)
    }

    fn resort(&mut self, except: &[usize]) -> Option<Pick> {
        let regions = self.regions.iter_mut().enumerate().filter(|(index, _)| !except.contains(index));
        let (index, region) = regions.min_by_key(|(_, region)| region.standing.turn())?;
        self.resorts += 1;
        region.standing.note_resort(self.resorts);
        Some(Pick { region: index, reason: PickReason::LastResort })
    }

    /// A region that does not serve, and was not tried within the interval.
    fn due_for_probe(&mut self, now: Instant) -> Option<usize> {
        let (current, interval) = (self.current, self.policy.probe_interval);
        let mut regions = self.regions.iter_mut().enumerate();
        let (index, region) = regions.find(|(index, region)| {
            let is_due = region.probed.is_none_or(|at| now.saturating_duration_since(at) >= interval);
            *index != current && is_due && !region.standing.is_ejected(now)
        })?;
        region.probed = Some(now);
        Some(index)
    }
}

impl Region {
    fn sample(&mut self, now: Instant, latency: Duration, outcome: Outcome, policy: &RegionPolicy) {
        let latency = latency.as_secs_f64();
        let failed = outcome != Outcome::Success;
        let gap = self.sampled.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)).as_secs_f64();
        self.sampled = Some(now);
        // The plain mean of the first samples; then each weighs what it has lasted.
        let of_time = (gap / (gap + policy.memory.as_secs_f64())).min(MAX_WEIGHT);
        let weight = if self.samples < policy.min_samples.max(1) {
            1.0 / (f64::from(self.samples) + 1.0)
        } else {
            of_time
        };
        self.samples = self.samples.saturating_add(1);
        self.errors += (f64::from(u8::from(failed)) - self.errors) * weight;
        // How fast it fails says nothing; that it takes longer than usual does.
        if !failed || latency > self.latency {
            self.latency += (latency - self.latency) * weight;
        }
    }

    fn score(&self, policy: &RegionPolicy) -> Option<f64> {
        let score = self.latency + self.errors * policy.error_penalty.as_secs_f64();
        (self.samples >= policy.min_samples).then_some(score)
    }
}

#[cfg(test)]
mod tests;
