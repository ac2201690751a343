//! Counters of a relay: connections by outcome, and bytes per direction.

use std::fmt;

use crossbeam_utils::CachePadded;

use super::error::{Refusal, RelayErrorKind};
use super::handshake::HandshakeFailure;
use crate::net::ProxyHeaderError;
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Count, thread_local};

/// Threads that count bytes without sharing a cache line. Further ones share.
const STRIPES: usize = 16;

thread_local! {
    static STRIPE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Ordering: Relaxed. Any number will do.
        NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

/// Shared by all connections.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: Count,
    closed: Count,
    connect_errors: Count,
    out_of_resources: Count,
    /// In the order of [`ProxyHeaderError::ALL`].
    proxy_header_errors: [Count; ProxyHeaderError::ALL.len()],
    /// In the order of [`HandshakeFailure::ALL`].
    handshake_failures: [Count; HandshakeFailure::ALL.len()],
    upstream_tls_errors: Count,
    /// In the order of [`Refusal::ALL`].
    refused: [Count; Refusal::ALL.len()],
    reset: Count,
    io_failed: Count,
    idle_timeouts: Count,
    half_closed_timeouts: Count,
    stalled_timeouts: Count,
    max_lifetimes: Count,
    aborted: Count,
    flows: [CachePadded<Flows>; STRIPES],
}

/// Bytes of connections that began on one thread. Each write adds once. That costs about a thousandth of its system call, and
/// more where other threads write to the same cache line.
#[derive(Debug, Default)]
pub(super) struct Flows {
    pub(super) to_upstream: Flow,
    pub(super) to_client: Flow,
}

/// Bytes written in one direction.
#[derive(Debug, Default)]
pub(super) struct Flow(Count);

impl Flow {
    pub(super) fn add(&self, bytes: usize) {
        self.0.add(bytes as u64);
    }
}

impl Counters {
    /// Counts a connection. Returns its number, from 1.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.next()
    }

    pub(super) fn aborted(&self) {
        self.aborted.add(1);
    }

    /// Counts a connection that ended before any abort. `None` means that both directions were closed.
    pub(super) fn ended(&self, error: Option<RelayErrorKind>) {
        let counter = match error {
            None => &self.closed,
            Some(RelayErrorKind::Connect) => &self.connect_errors,
            Some(RelayErrorKind::OutOfResources) => &self.out_of_resources,
            Some(RelayErrorKind::ProxyHeader(error)) => {
                let Some(counter) = self.proxy_header_errors.get(error as usize) else { return };
                counter
            }
            Some(RelayErrorKind::Handshake(failure)) => {
                let Some(counter) = self.handshake_failures.get(failure as usize) else { return };
                counter
            }
            Some(RelayErrorKind::UpstreamTls) => &self.upstream_tls_errors,
            Some(RelayErrorKind::Refused(refusal)) => {
                let Some(counter) = self.refused.get(refusal as usize) else { return };
                counter
            }
            Some(RelayErrorKind::Reset(_)) => &self.reset,
            Some(RelayErrorKind::Io(_)) => &self.io_failed,
            Some(RelayErrorKind::IdleTimeout) => &self.idle_timeouts,
            Some(RelayErrorKind::HalfClosedTimeout) => &self.half_closed_timeouts,
            Some(RelayErrorKind::StalledTimeout(_)) => &self.stalled_timeouts,
            Some(RelayErrorKind::MaxLifetime) => &self.max_lifetimes,
        };
        counter.add(1);
    }

    /// Where a connection of this thread counts its bytes.
    pub(super) fn flows(&self) -> &Flows {
        let [first, ..] = &self.flows;
        STRIPE.try_with(|stripe| self.flows.get(*stripe)).ok().flatten().unwrap_or(first)
    }

    pub(super) fn snapshot(&self) -> RelayStats {
        // Each counter is read on its own, so the values may be from slightly different times.
        let get = Count::get;
        let mut stats = RelayStats {
            accepted: get(&self.accepted),
            active: 0,
            closed: get(&self.closed),
            connect_errors: get(&self.connect_errors),
            out_of_resources: get(&self.out_of_resources),
            proxy_header_errors: self.proxy_header_errors.each_ref().map(get),
            handshake_failures: self.handshake_failures.each_ref().map(get),
            upstream_tls_errors: get(&self.upstream_tls_errors),
            refused: self.refused.each_ref().map(get),
            reset: get(&self.reset),
            io_failed: get(&self.io_failed),
            idle_timeouts: get(&self.idle_timeouts),
            half_closed_timeouts: get(&self.half_closed_timeouts),
            stalled_timeouts: get(&self.stalled_timeouts),
            max_lifetimes: get(&self.max_lifetimes),
            aborted: get(&self.aborted),
            bytes_to_upstream: self.flows.iter().map(|flows| get(&flows.to_upstream.0)).sum(),
            bytes_to_client: self.flows.iter().map(|flows| get(&flows.to_client.0)).sum(),
        };
        let ended = stats.closed + stats.failed() + stats.aborted;
        stats.active = stats.accepted.saturating_sub(ended);
        stats
    }
}

/// A snapshot of the counters of a [`Relay`](super::Relay) since its creation.
///
/// Every accepted connection is active or has one of the outcomes, from `closed` to `aborted`. The counters are read
/// one after another, so a snapshot taken under load may be off by the connections that change meanwhile.
///
/// Connections passed to [`Relay::relay`](super::Relay::relay) add to the bytes only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that are open now.
    pub active: u64,
    /// Connections that ended when both sides had closed.
    pub closed: u64,
    /// Connections that ended because connecting to the upstream failed.
    pub connect_errors: u64,
    /// Connections that ended because the system had no descriptor, memory or port for one to the upstream.
    pub out_of_resources: u64,
    /// Connections that ended because a trusted proxy sent no good PROXY header, in the order of
    /// [`ProxyHeaderError::ALL`](crate::net::ProxyHeaderError::ALL).
    pub proxy_header_errors: [u64; ProxyHeaderError::ALL.len()],
    /// Connections that ended because the TLS handshake of the client failed, in the order of
    /// [`HandshakeFailure::ALL`](super::HandshakeFailure::ALL).
    pub handshake_failures: [u64; HandshakeFailure::ALL.len()],
    /// Connections that ended because the TLS handshake with the server failed.
    pub upstream_tls_errors: u64,
    /// Connections that were refused: of denied clients, of sources with too many connections, and of sources that opened them
    /// too fast.
    pub refused: [u64; Refusal::ALL.len()],
    /// Connections that either side reset.
    pub reset: u64,
    /// Connections that ended with another I/O error.
    pub io_failed: u64,
    /// Connections that ended at the idle timeout.
    pub idle_timeouts: u64,
    /// Connections that ended at the half-closed timeout.
    pub half_closed_timeouts: u64,
    /// Connections that ended at the stalled timeout.
    pub stalled_timeouts: u64,
    /// Connections that ended at their maximum lifetime.
    pub max_lifetimes: u64,
    /// Connections that were aborted: by a shutdown at its deadline, or because [`Relay::serve`](super::Relay::serve) was
    /// cancelled.
    pub aborted: u64,
    /// Bytes written to upstreams.
    pub bytes_to_upstream: u64,
    /// Bytes written to clients.
    pub bytes_to_client: u64,
}

impl RelayStats {
    /// Connections that ended with an error: the outcomes from `connect_errors` to `max_lifetimes`.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.connect_errors
            + self.out_of_resources
            + self.proxy_header_errors.iter().sum::<u64>()
            + self.handshake_failures.iter().sum::<u64>()
            + self.upstream_tls_errors
            + self.refused.iter().sum::<u64>()
            + self.reset
            + self.io_failed
            + self.idle_timeouts
            + self.half_closed_timeouts
            + self.stalled_timeouts
            + self.max_lifetimes
    }
}

/// A single line, for logs.
impl fmt::Display for RelayStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections {} open, {} accepted, {} closed, {} failed (connect errors {}, out of resources {}, PROXY headers {}, handshakes {}, upstream TLS {}, refused {}, reset {}, io {}, idle {}, \
             half-closed {}, stalled {}, max lifetime {}), \
             {} aborted; bytes {} up, {} down",
            self.active,
            self.accepted,
            self.closed,
            self.failed(),
            self.connect_errors,
            self.out_of_resources,
            self.proxy_header_errors.iter().sum::<u64>(),
            self.handshake_failures.iter().sum::<u64>(),
            self.upstream_tls_errors,
            self.refused.iter().sum::<u64>(),
            self.reset,
            self.io_failed,
            self.idle_timeouts,
            self.half_closed_timeouts,
            self.stalled_timeouts,
            self.max_lifetimes,
            self.aborted,
            self.bytes_to_upstream,
            self.bytes_to_client,
        )
    }
}
