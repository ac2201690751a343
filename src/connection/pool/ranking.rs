//! What the pools of several regions share: which of them serves.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use crate::connection::error::RunError;
use crate::policy::{Ejection, Outcome, RegionPolicy, RegionState, Regions};
use crate::sync::{Arc, Mutex};

pub(super) struct Ranking {
    names: Vec<String>,
    known: Mutex<Known>,
    /// Notified when a region was ejected, for gets that wait there, or has come back, for those that wait elsewhere.
    pub(super) changed: Notify,
}

struct Known {
    regions: Regions,
    /// Whether the program says how long answers take. Then the times of connects do not count: they are longer, and the
    /// region with the most new connections would seem the slowest.
    has_latencies: bool,
}

/// The place of a pool in the ranking.
pub(super) struct Rank {
    pub(super) ranking: Arc<Ranking>,
    pub(super) region: usize,
}

impl Ranking {
    pub(super) fn new(policy: RegionPolicy, names: Vec<String>) -> Self {
        let regions = Regions::new(policy, names.len());
        let known = Mutex::new(Known { regions, has_latencies: false });
        Self { names, known, changed: Notify::new() }
    }

    pub(super) fn name(&self, region: usize) -> &str {
        self.names.get(region).map_or("", String::as_str)
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }

    pub(super) fn state(&self) -> Vec<RegionState> {
        self.known.lock().regions.state(now(), &self.names)
    }

    /// The region for a get, which stays in that one if it can.
    pub(super) fn pick(&self, stay: Option<usize>) -> usize {
        let random = RandomState::new().hash_one(0);
        self.known.lock().regions.pick(now(), stay, random).region
    }

    /// The region for a get that these have failed. One that is ejected only if all are, as a get does not wait there otherwise.
    pub(super) fn next(&self, failed: &[usize]) -> Option<usize> {
        let regions = &mut self.known.lock().regions;
        let all_are_ejected = (0..self.names.len()).all(|region| regions.is_ejected(region, now()));
        let next =
            if all_are_ejected { regions.last_resort(failed) } else { regions.fall_back(now(), failed) };
        Some(next?.region)
    }

    /// Whether a region is the last resort, and another one may be so, too.
    pub(super) fn is_one_of_the_last(&self, region: usize) -> bool {
        self.names.len() > 1 && self.known.lock().regions.is_ejected(region, now())
    }

    /// Whether a get that waits in a region should go elsewhere.
    pub(super) fn is_left(&self, region: usize) -> bool {
        let regions = &self.known.lock().regions;
        let is_ejected = |region| regions.is_ejected(region, now());
        is_ejected(region) && (0..self.names.len()).any(|other| !is_ejected(other))
    }

    /// Whether a get that this region and those before have failed would have another one.
    pub(super) fn has_other(&self, region: usize, failed: &[usize]) -> bool {
        let regions = &self.known.lock().regions;
        let mut others = (0..self.names.len()).filter(|other| *other != region && !failed.contains(other));
        others.any(|other| !regions.is_ejected(other, now()))
    }

    /// Takes what the program says.
    pub(super) fn record_answer(&self, region: usize, latency: Duration, outcome: Outcome) {
        self.known.lock().has_latencies = true;
        self.record(region, latency, outcome);
    }

    /// A get has waited for this time.
    pub(super) fn on_get_failed<E>(&self, region: usize, waited: Duration, error: &RunError<E>) {
        match error {
            RunError::BreakerOpen { retry_in } => {
                let ejection = self.known.lock().regions.eject(now(), region, *retry_in);
                self.on_ejected(ejection);
            }
            RunError::PoolFull => self.record(region, waited, Outcome::Refused),
            error if error.is_timeout() => self.record(region, waited, Outcome::Timeout),
            _ => self.record(region, waited, Outcome::Failure),
        }
    }

    pub(super) fn record(&self, region: usize, latency: Duration, outcome: Outcome) {
        let (mut known, now) = (self.known.lock(), now());
        let was_ejected = known.regions.is_ejected(region, now);
        let ejection = known.regions.record(now, region, latency, outcome);
        let is_back = was_ejected && !known.regions.is_ejected(region, now);
        drop(known);
        self.on_ejected(ejection);
        if is_back {
            self.changed.notify_waiters();
        }
    }

    fn on_ejected(&self, ejection: Option<Ejection>) {
        if let Some(Ejection { region, duration }) = ejection {
            warn!(region = self.name(region), ?duration, "the region fails, and gets no requests");
            self.changed.notify_waiters();
        }
    }
}

impl Rank {
    /// Takes the outcome of a connect of the pool.
    pub(super) fn on_connect_ended(&self, took: Duration, outcome: Outcome) {
        let known = self.ranking.known.lock();
        // While all are ejected, a success brings the region back, whatever its time is.
        let is_counted = !known.has_latencies || known.regions.is_ejected(self.region, now());
        drop(known);
        if is_counted || outcome != Outcome::Success {
            self.ranking.record(self.region, took, outcome);
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
