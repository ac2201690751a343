//! The metrics of a pool of connections.

use bb8::ManageConnection;

use super::histogram::Histogram;
use super::pool::{Pool, RegionPool, RegionPoolState};
use super::statistics::{Holder, State, Statistics};
use crate::metric::{
    Bucket, Label, Metrics, Report, Row, Source, Value, Visit, VisitRow, each_labelled, metrics,
};
use crate::policy::BreakerState;
use crate::sync::Arc;

metrics! {
    "millpond_connection_pool": State as state {
        Gauge "connections" [state]
            "Connections that are open."
            {
                ["idle"] = state.idle_connections,
                ["in_use"] = state.in_use(),
            }
        Gauge "connecting" []
            "Connects that are under way, or wait for another attempt."
            { [] = state.connecting }
        Gauge "waiting" []
            "Gets that wait for a connection."
            { [] = state.waiting }
        Gauge "max_connections" []
            "The most connections."
            { [] = state.max_size }
        Gauge "breaker_state" [state]
            "The state of the breaker, if there is one: 1 for the present one, 0 for the others."
            for breaker in state.breaker.as_slice() => {
                ["closed"] = u64::from(breaker.state == BreakerState::Closed),
                ["half_open"] = u64::from(breaker.state == BreakerState::HalfOpen),
                ["open"] = u64::from(breaker.state == BreakerState::Open),
            }
        Counter "breaker_changes_total" [to, reason]
            "Changes of the breaker's state, by the new one and by why."
            for breaker in state.breaker.as_slice() => {
                ["open", "failures_in_a_row"] = breaker.opened_by_failures,
                ["open", "error_rate"] = breaker.opened_by_error_rate,
                ["open", "probe_failed"] = breaker.opened_by_probe,
                ["half_open", "wait_over"] = breaker.half_opened,
                ["closed", "probes_succeeded"] = breaker.closed,
            }
    } then &state.statistics
}

metrics! {
    "millpond_connection_pool": Statistics as statistics {
        Counter "started_gets_total" []
            "Gets that began, counted before they wait."
            { [] = statistics.get_started }
        Counter "gets_total" [outcome]
            "Gets that ended: with a connection at once or after a wait, at the timeout, refused because the connect failed or too many waited or the pool was closed, refused because the breaker was open, or cancelled."
            {
                ["direct"] = statistics.get_direct,
                ["waited"] = statistics.get_waited,
                ["timed_out"] = statistics.get_timed_out,
                ["refused"] = statistics.get_refused,
                ["breaker_open"] = statistics.get_breaker_open,
                ["cancelled"] = statistics.get_cancelled,
            }
        Counter "new_gets_total" []
            "Gets whose connection had never been used."
            { [] = statistics.get_new }
        Histogram "wait_seconds" []
            "How long the gets waited that had to wait."
            { [] = Buckets::of(&statistics.wait_times).value() }
        Counter "created_connections_total" []
            "Connections that were opened by the pool or added to it."
            { [] = statistics.connections_created }
        Histogram "connect_seconds" []
            "How long successful connects took."
            { [] = Buckets::of(&statistics.connect_times).value() }
        Counter "connect_errors_total" [reason]
            "Connects that failed: by the manager's error, at the timeout, or because the manager panicked."
            {
                ["error"] = statistics.connect_errors,
                ["timeout"] = statistics.connect_timeouts,
                ["panic"] = statistics.connect_panics,
            }
        Counter "closed_connections_total" [reason]
            "Connections that the pool closed: those called broken are mostly closed by the server already, as after a response without keep-alive."
            {
                ["broken"] = statistics.connections_closed_broken,
                ["invalid"] = statistics.connections_closed_invalid,
                ["max_lifetime"] = statistics.connections_closed_max_lifetime,
                ["idle_timeout"] = statistics.connections_closed_idle_timeout,
                ["surplus"] = statistics.connections_closed_surplus,
            }
        Counter "detached_connections_total" []
            "Connections that were taken out of the pool."
            { [] = statistics.connections_detached }
    }
}

impl<M: ManageConnection> Source for Pool<M> {
    type Snapshot = State;

    fn watch(&self) -> impl Fn() -> Option<State> + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || Some(Self { shared: shared.upgrade()? }.state())
    }

    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move |report, visit| {
            if let (Report::Holders, Some(shared)) = (report, shared.upgrade()) {
                show_holders(shared.holders(), visit);
            }
            true
        }
    }
}

/// The samples of its pools have the label `region`, too.
impl Metrics for RegionPoolState {
    fn each(&self, visit: &mut Visit<'_>) {
        self.regions.each(visit);
        for (region, pool) in self.regions.iter().zip(&self.pools) {
            each_labelled(Label::new("region", region.name.as_str()), pool, visit);
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for RegionPoolState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::metric::Samples(self).serialize(serializer)
    }
}

impl<M: ManageConnection> Source for RegionPool<M> {
    type Snapshot = RegionPoolState;

    fn watch(&self) -> impl Fn() -> Option<RegionPoolState> + Send + Sync + 'static {
        let upgrade = self.downgrade();
        move || Some(upgrade()?.state())
    }

    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        let upgrade = self.downgrade();
        move |report, visit| {
            if let (Report::Holders, Some(pool)) = (report, upgrade()) {
                pool.pools().iter().for_each(|pool| show_holders(pool.holders(), visit));
            }
            true
        }
    }
}

fn show_holders(holders: Vec<Holder>, visit: &mut VisitRow<'_>) {
    for holder in holders {
        visit(Row::new(
            &[("caller", holder.caller), ("label", &holder.label.unwrap_or_default())],
            &[("samples", 1.0), ("sampled_one_in", 1.0), ("longest_seconds", holder.age.as_secs_f64())],
        ));
    }
}

/// The buckets whose bounds are powers of four, from 16 µs to 67 s, and that of infinity.
pub(super) struct Buckets {
    cumulative: [Bucket; BOUNDS + 1],
    sum: f64,
}

const BOUNDS: usize = 12;

impl Buckets {
    pub(super) fn of(histogram: &Histogram) -> Self {
        let mut cumulative = [Bucket::default(); BOUNDS + 1];
        let mut count = 0;
        let mut places = cumulative.iter_mut();
        for (at, (bound, more)) in histogram.buckets().enumerate() {
            count += more;
            let is_shown = at >= 4 && at % 2 == 0 && at < 4 + 2 * BOUNDS;
            if is_shown && let Some(place) = places.next() {
                *place = Bucket { le: bound.as_secs_f64(), count };
            }
        }
        places.for_each(|last| *last = Bucket { le: f64::INFINITY, count });
        Self { cumulative, sum: histogram.sum().as_secs_f64() }
    }

    pub(super) fn value(&self) -> Value<'_> {
        Value::Histogram { buckets: &self.cumulative, sum: self.sum }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::Recorder;
    use super::*;
    use crate::metric::integers;
    use crate::policy::BreakerStats;

    #[test]
    fn every_counter_is_shown() {
        let statistics = Statistics {
            get_started: 101,
            get_direct: 102,
            get_waited: 103,
            get_timed_out: 104,
            get_refused: 105,
            get_breaker_open: 118,
            get_cancelled: 106,
            get_new: 107,
            get_wait_time: Duration::ZERO, // the sum of the next
            wait_times: Histogram::default(),
            connections_created: 108,
            connect_times: Histogram::default(),
            connect_errors: 109,
            connect_timeouts: 110,
            connect_panics: 111,
            connections_closed_broken: 112,
            connections_closed_invalid: 113,
            connections_closed_max_lifetime: 114,
            connections_closed_idle_timeout: 115,
            connections_closed_surplus: 116,
            connections_detached: 117,
        };
        let state = State {
            connections: 18 + 19,
            idle_connections: 18,
            connecting: 20,
            waiting: 21,
            max_size: 22,
            breaker: Some(breaker()),
            statistics,
        };
        // Of the states of the breaker, one is 1.
        let expected = [0, 0, 1].into_iter().chain(18..=22).chain(101..=123);
        assert_eq!(integers(&state, ""), Vec::from_iter(expected));
    }

    /// One that has refused a connect, which is not shown: what matters are the gets.
    fn breaker() -> BreakerStats {
        BreakerStats {
            opened_by_failures: 119,
            opened_by_error_rate: 120,
            opened_by_probe: 121,
            half_opened: 122,
            closed: 123,
            refused: 124,
            ..BreakerStats::default()
        }
    }

    #[test]
    fn durations_are_in_the_buckets_of_their_bounds() {
        let recorder = Recorder::default();
        for micros in [1, 15, 60, 1_000_000, 3_600_000_000] {
            recorder.record(Duration::from_micros(micros));
        }
        let buckets = Buckets::of(&recorder.snapshot());
        let up_to = |le: f64| buckets.cumulative.iter().find(|bucket| bucket.le == le).unwrap().count;
        assert_eq!([0.000_016, 0.000_064, 0.262_144, 1.048_576].map(up_to), [2, 3, 3, 4]);
        assert_eq!(up_to(67.108_864), 4);
        assert_eq!(up_to(f64::INFINITY), 5);
        assert_eq!(buckets.sum, 3_601.000_076);
    }
}
