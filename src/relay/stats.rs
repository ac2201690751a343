//! What a relay did and holds.

use std::fmt;

use super::error::RelayErrorKind;
use crate::sync::Count;

/// Counted by all connections. One addition a read or write, beside a system call that costs a thousand of them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: Count,
    closed: Count,
    connect_errors: Count,
    reset: Count,
    io_failed: Count,
    idle_timeouts: Count,
    aborted: Count,
    pub(super) to_upstream: Flow,
    pub(super) to_client: Flow,
}

/// Bytes of one direction.
#[derive(Debug, Default)]
pub(super) struct Flow(Count);

impl Flow {
    pub(super) fn add(&self, bytes: usize) {
        self.0.add(bytes as u64);
    }
}

impl Counters {
    pub(super) fn accepted(&self) {
        self.accepted.add(1);
    }

    pub(super) fn aborted(&self, connections: u64) {
        self.aborted.add(connections);
    }

    /// A connection ended by itself; `None`: well.
    pub(super) fn ended(&self, error: Option<RelayErrorKind>) {
        let counter = match error {
            None => &self.closed,
            Some(RelayErrorKind::Connect) => &self.connect_errors,
            Some(RelayErrorKind::Reset(_)) => &self.reset,
            Some(RelayErrorKind::Io(_)) => &self.io_failed,
            Some(RelayErrorKind::IdleTimeout) => &self.idle_timeouts,
        };
        counter.add(1);
    }

    pub(super) fn snapshot(&self) -> RelayStats {
        // Each is a sum of its own; a snapshot is not a transaction over them.
        let get = Count::get;
        let mut stats = RelayStats {
            accepted: get(&self.accepted),
            active: 0,
            closed: get(&self.closed),
            connect_errors: get(&self.connect_errors),
            reset: get(&self.reset),
            io_failed: get(&self.io_failed),
            idle_timeouts: get(&self.idle_timeouts),
            aborted: get(&self.aborted),
            bytes_to_upstream: get(&self.to_upstream.0),
            bytes_to_client: get(&self.to_client.0),
        };
        let ended = stats.closed + stats.failed() + stats.aborted;
        stats.active = stats.accepted.saturating_sub(ended);
        stats
    }
}

/// A snapshot of what a [`Relay`](super::Relay)'s servers did and hold: connections and bytes since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RelayStats {
    /// Connections taken in.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Ended by the end of both directions.
    pub closed: u64,
    /// Ended because the upstream could not be reached.
    pub connect_errors: u64,
    /// Ended by a reset of either side.
    pub reset: u64,
    /// Ended by another I/O error.
    pub io_failed: u64,
    /// Ended by the idle timeout.
    pub idle_timeouts: u64,
    /// Ended by the deadline of a shutdown.
    pub aborted: u64,
    /// Bytes written to upstreams.
    pub bytes_to_upstream: u64,
    /// Bytes written to clients.
    pub bytes_to_client: u64,
}

impl RelayStats {
    /// Connections that ended with an error.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.connect_errors + self.reset + self.io_failed + self.idle_timeouts
    }
}

/// One line for a log.
impl fmt::Display for RelayStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections {} open, {} accepted, {} closed, {} failed (connect errors {}, reset {}, io {}, idle {}), \
             {} aborted; bytes {} up, {} down",
            self.active,
            self.accepted,
            self.closed,
            self.failed(),
            self.connect_errors,
            self.reset,
            self.io_failed,
            self.idle_timeouts,
            self.aborted,
            self.bytes_to_upstream,
            self.bytes_to_client,
        )
    }
}
