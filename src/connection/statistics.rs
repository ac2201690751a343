//! What a pool reports.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use super::histogram::{Histogram, Recorder};
use crate::policy::BreakerStats;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// The state of a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct State {
    /// Open connections, idle and in use.
    pub connections: u32,
    /// Idle connections.
    pub idle_connections: u32,
    /// Connects that are under way, or wait for another attempt.
    pub connecting: u32,
    /// Gets that wait for a connection.
    pub waiting: u32,
    /// The most connections.
    pub max_size: u32,
    /// The [breaker](super::Builder::breaker), if there is one. What it has refused are gets, as
    /// [`get_breaker_open`](Statistics::get_breaker_open) says.
    pub breaker: Option<BreakerStats>,
    /// What has happened since the pool was built.
    pub statistics: Statistics,
}

/// What has happened in a pool. The fields that bb8 has too have its meaning.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Gets that began, counted before they wait.
    pub get_started: u64,
    /// Gets that got a connection without waiting for it.
    pub get_direct: u64,
    /// Gets that got a connection after waiting for it.
    pub get_waited: u64,
    /// Gets that timed out.
    pub get_timed_out: u64,
    /// Gets that were refused, because too many waited, the pool was closed, or the connect failed and is not tried again.
    pub get_refused: u64,
    /// Gets that were refused, because the breaker was open, and so was no connection.
    pub get_breaker_open: u64,
    /// Gets that were cancelled while they waited or tested a connection.
    pub get_cancelled: u64,
    /// Gets whose connection had never been used.
    pub get_new: u64,
    /// The time that all gets have waited together.
    pub get_wait_time: Duration,
    /// How long the gets waited that had to wait.
    pub wait_times: Histogram,
    /// Connections that were opened by the pool or added to it.
    pub connections_created: u64,
    /// How long successful connects took.
    pub connect_times: Histogram,
    /// Connects that the manager reported as failed.
    pub connect_errors: u64,
    /// Connects that did not end within [`connection_timeout`](super::Builder::connection_timeout).
    pub connect_timeouts: u64,
    /// Connects during which the manager panicked.
    pub connect_panics: u64,
    /// Connections that were closed because the manager called them broken. Mostly it is no fault: the server has closed them, as
    /// HTTP servers do after some time or some responses.
    pub connections_closed_broken: u64,
    /// Connections that were closed because the manager did not call them valid.
    pub connections_closed_invalid: u64,
    /// Connections that were closed at their maximum lifetime.
    pub connections_closed_max_lifetime: u64,
    /// Connections that were closed at the idle timeout.
    pub connections_closed_idle_timeout: u64,
    /// Connections that were closed because there were too many after a resize, by `retain`, or because the pool was closed.
    pub connections_closed_surplus: u64,
    /// Connections that were taken out of the pool.
    pub connections_detached: u64,
}

impl Statistics {
    /// Gets that wait now.
    #[must_use]
    pub fn pending_gets(&self) -> u64 {
        self.get_started.saturating_sub(self.completed_gets())
    }

    /// Gets that have ended.
    #[must_use]
    pub fn completed_gets(&self) -> u64 {
        self.get_direct
            + self.get_waited
            + self.get_timed_out
            + self.get_refused
            + self.get_breaker_open
            + self.get_cancelled
    }

    pub(super) fn failed_connects(&self) -> u64 {
        self.connect_errors + self.connect_timeouts + self.connect_panics
    }

    /// Connections that were closed, for whatever reason.
    #[must_use]
    pub fn connections_closed(&self) -> u64 {
        self.connections_closed_broken
            + self.connections_closed_invalid
            + self.connections_closed_max_lifetime
            + self.connections_closed_idle_timeout
            + self.connections_closed_surplus
    }

    /// The share of gets whose connection had been used before, from 0 to 1.
    #[must_use]
    pub fn reuse_rate(&self) -> f64 {
        let served = self.get_direct + self.get_waited;
        if served == 0 { 0.0 } else { served.saturating_sub(self.get_new) as f64 / served as f64 }
    }
}

impl State {
    /// Connections that are checked out.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        self.connections.saturating_sub(self.idle_connections)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections={} idle={} connecting={} waiting={} max={} {}",
            self.connections,
            self.idle_connections,
            self.connecting,
            self.waiting,
            self.max_size,
            self.statistics,
        )?;
        self.breaker.map_or(Ok(()), |breaker| write!(f, " breaker={:?}", breaker.state))
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gets={} waited={} timed_out={} reuse={:.1}% created={} connect_errors={} closed={} closed_invalid={}",
            self.get_started,
            self.get_waited,
            self.get_timed_out,
            self.reuse_rate() * 100.0,
            self.connections_created,
            self.failed_connects(),
            self.connections_closed(),
            self.connections_closed_invalid,
        )
    }
}

/// A connection that is checked out: an entry of the leak report.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// Where [`Pool::get`](super::Pool::get) was called.
    pub caller: &'static Location<'static>,
    /// What [`PooledConnection::set_label`](super::PooledConnection::set_label) said.
    pub label: Option<&'static str>,
    /// How long ago it was checked out.
    pub age: Duration,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held for {:?} by {}", self.age, self.caller)?;
        self.label.map_or(Ok(()), |label| write!(f, " ({label})"))
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closed {
    Broken,
    Invalid,
    MaxLifetime,
    IdleTimeout,
    Surplus,
}

/// The counters that the hit path does not touch: what it counts is beside the slots.
#[derive(Default)]
pub(super) struct Counters {
    /// Gets that found no idle connection that needs no look, and did not join the queue at once.
    slow: AtomicUsize,
    slow_direct: AtomicUsize,
    timed_out: AtomicUsize,
    refused: AtomicUsize,
    breaker_open: AtomicUsize,
    cancelled: AtomicUsize,
    new: AtomicUsize,
    /// Of gets that were served. The sum of their times is beside the slots.
    wait_times: Recorder,
    /// Of the others.
    vain_wait_times: Recorder,
    vain_wait_micros: AtomicUsize,
    created: AtomicUsize,
    connect_times: Recorder,
    connect_errors: AtomicUsize,
    connect_timeouts: AtomicUsize,
    connect_panics: AtomicUsize,
    closed: [AtomicUsize; 5],
    detached: AtomicUsize,
}

/// How a get ended that was not served at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    Served,
    TimedOut,
    Refused,
    BreakerOpen,
    Cancelled,
}

/// Why a connect failed.
#[derive(Clone, Copy, Debug)]
pub(super) enum ConnectFailure {
    Error,
    TimedOut,
    Panicked,
}

impl Counters {
    pub(super) fn on_slow_get(&self) {
        add(&self.slow, 1);
    }

    pub(super) fn on_direct_get(&self) {
        add(&self.slow_direct, 1);
    }

    /// A get was served after this time.
    pub(super) fn on_waited(&self, waited: Duration) {
        self.wait_times.record(waited);
    }

    pub(super) fn on_get_ended(&self, ended: Ended, waits_since: Option<Instant>) {
        let count = match ended {
            Ended::Served => return,
            Ended::TimedOut => &self.timed_out,
            Ended::Refused => &self.refused,
            Ended::BreakerOpen => &self.breaker_open,
            Ended::Cancelled => &self.cancelled,
        };
        add(count, 1);
        if let Some(since) = waits_since {
            let waited = since.elapsed();
            add(&self.vain_wait_micros, usize::try_from(waited.as_micros()).unwrap_or(usize::MAX));
            self.vain_wait_times.record(waited);
        }
    }

    pub(super) fn on_new(&self) {
        add(&self.new, 1);
    }

    pub(super) fn on_created(&self, took: Option<Duration>) {
        add(&self.created, 1);
        if let Some(took) = took {
            self.connect_times.record(took);
        }
    }

    pub(super) fn on_connect_failed(&self, failure: ConnectFailure) {
        let count = match failure {
            ConnectFailure::Error => &self.connect_errors,
            ConnectFailure::TimedOut => &self.connect_timeouts,
            ConnectFailure::Panicked => &self.connect_panics,
        };
        add(count, 1);
    }

    pub(super) fn on_closed(&self, reason: Closed) {
        if let Some(count) = self.closed.get(reason as usize) {
            add(count, 1);
        }
    }

    pub(super) fn on_detached(&self) {
        add(&self.detached, 1);
    }

    /// `direct` are the gets that the hit path served, and `waited` the microseconds that served gets waited. Gets that
    /// joined the queue are still to be added to those that began.
    pub(super) fn snapshot(&self, direct: u64, waited: u64) -> Statistics {
        let wait_times = self.wait_times.snapshot();
        let closed = |reason| self.closed.get(reason as usize).map_or(0, get);
        // The ends before the starts, so that no more gets end than began.
        let mut statistics = Statistics {
            get_direct: direct + get(&self.slow_direct),
            get_waited: wait_times.count(),
            get_timed_out: get(&self.timed_out),
            get_refused: get(&self.refused),
            get_breaker_open: get(&self.breaker_open),
            get_cancelled: get(&self.cancelled),
            get_new: get(&self.new),
            get_wait_time: Duration::from_micros(waited + get(&self.vain_wait_micros)),
            wait_times: wait_times + self.vain_wait_times.snapshot(),
            connections_created: get(&self.created),
            connect_times: self.connect_times.snapshot(),
            connect_errors: get(&self.connect_errors),
            connect_timeouts: get(&self.connect_timeouts),
            connect_panics: get(&self.connect_panics),
            connections_closed_broken: closed(Closed::Broken),
            connections_closed_invalid: closed(Closed::Invalid),
            connections_closed_max_lifetime: closed(Closed::MaxLifetime),
            connections_closed_idle_timeout: closed(Closed::IdleTimeout),
            connections_closed_surplus: closed(Closed::Surplus),
            connections_detached: get(&self.detached),
            get_started: 0,
        };
        statistics.get_started = direct + get(&self.slow);
        statistics
    }
}

fn add(count: &AtomicUsize, more: usize) {
    // Ordering: Relaxed, a count.
    count.fetch_add(more, Ordering::Relaxed);
}

fn get(count: &AtomicUsize) -> u64 {
    // Ordering: Relaxed, a count.
    count.load(Ordering::Relaxed) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_all_closes_and_those_that_a_test_caused() {
        let counters = Counters::default();
        for reason in
            [Closed::Broken, Closed::Invalid, Closed::MaxLifetime, Closed::IdleTimeout, Closed::Surplus]
        {
            counters.on_closed(reason);
        }
        let said = counters.snapshot(0, 0).to_string();
        assert!(said.ends_with(" closed=5 closed_invalid=1"), "{said}");
    }
}
