//! What is known of a connection from its accept to its end, how that is counted and logged.

use std::error::Error;
use std::fmt;

use tracing::field::{Empty, display};
use tracing::{debug, debug_span, warn};

use super::Relay;
use super::backend::Backend;
use super::config::RelayConfig;
use super::connections::Connection;
use super::error::{RelayError, Side};
use super::server::Member;
use crate::net::{Peer, SPAN_TARGET, SmallSpan, span_failed};
use crate::sync::{Arc, Shared};

/// The target of the event that each connection ends with.
const TARGET: &str = "millpond::relay::connection";

/// A connection from its accept to its end. Dropped before that, it counts and logs that it was aborted.
pub(super) struct Accepted {
    pub(super) connection: Shared<Connection>,
    /// The settings at its accept.
    pub(super) config: Arc<RelayConfig>,
    /// Where the listener leads.
    pub(super) backend: Backend,
    /// `None` once it has ended.
    relay: Option<Relay>,
    /// Not entered but for the connect: a poll of the relay is on the path of a byte.
    pub(super) span: SmallSpan,
}

/// Without a client, it is recorded later.
fn relay_of(id: u64, client: Option<&Peer>) -> SmallSpan {
    let span = debug_span!(
        target: SPAN_TARGET,
        "relay",
        id = integer(id),
        client = client.map(display),
        proxy = Empty,
        upstream = Empty,
        bytes_to_upstream = Empty,
        bytes_to_client = Empty,
        ended_by = Empty,
        "error.type" = Empty,
        "otel.status_code" = Empty,
        "otel.status_description" = Empty,
    );
    span.into()
}

/// Exporters of spans send an unsigned number as text.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Accepted {
    pub(super) fn new(relay: &Relay, backend: &Backend, peer: Peer) -> Self {
        let (shared, config) = (&relay.shared, relay.config());
        let id = shared.counters.accepted();
        let client = (!config.accept_proxy.contains(&peer)).then_some(&peer);
        Self {
            span: relay_of(id, client),
            connection: shared.open.add(id, peer),
            config,
            backend: backend.clone(),
            relay: Some(relay.clone()),
        }
    }

    /// What all connections share, until it has ended.
    pub(super) fn shared(&self) -> Option<&super::Shared> {
        Some(&self.relay.as_ref()?.shared)
    }

    /// Notes in the span of a connection from a proxy who the client is.
    pub(super) fn trace_client(&self) {
        if let Some(span) = self.span.get() {
            span.record("client", display(self.connection.client()));
            span.record("proxy", self.connection.proxy().map(display));
        }
    }

    /// Notes which server it is about to connect to.
    pub(super) fn leads_to(&self, server: &Member) {
        self.connection.set_upstream(&server.endpoint);
        if let Some(span) = self.span.get() {
            span.record("upstream", display(&server.endpoint));
        }
    }

    /// Counts and logs how it ended, by an error or by a close of both directions.
    pub(super) fn ended(&mut self, error: Option<&RelayError>) {
        let Some(relay) = self.relay.take() else { return };
        relay.shared.open.remove(&self.connection);
        match error {
            None => {
                let Connection { id, activity, .. } = &*self.connection;
                let upstream = self.connection.upstream();
                let bytes = activity.transferred();
                self.trace(None, None);
                debug!(
                                target: TARGET,
                                parent: self.span.id(),
                                id,
                                client = %self.connection.client(),
                proxy = self.connection.proxy().map(display),
                                upstream = upstream.as_deref().map(display),
                                bytes_to_upstream = bytes.to_upstream,
                                bytes_to_client = bytes.to_client,
                                duration_ms = self.milliseconds(),
                                "connection closed"
                                );
            }
            Some(error) => {
                self.log_failure(error.side(), error.kind().cause(), &Causes(error), "connection failed");
            }
        }
        // After the log: a program that waits until none is active may end then.
        relay.shared.counters.ended(error.map(RelayError::kind));
    }

    /// Logs a connection that failed or was aborted. `ended_by` is the side that ended it, or `None` for the relay itself.
    fn log_failure(&self, ended_by: Option<Side>, cause: &str, error: &dyn fmt::Display, message: &str) {
        let Connection { id, activity, .. } = &*self.connection;
        let upstream = self.connection.upstream();
        let bytes = activity.transferred();
        let ended_by = ended_by.map_or("relay", Side::name);
        self.trace(Some(ended_by), Some((cause, error)));
        warn!(
                    target: TARGET,
                    parent: self.span.id(),
                    id,
                    client = %self.connection.client(),
        proxy = self.connection.proxy().map(display),
                    upstream = upstream.as_deref().map(display),
                    bytes_to_upstream = bytes.to_upstream,
                    bytes_to_client = bytes.to_client,
                    duration_ms = self.milliseconds(),
                    ended_by = %ended_by,
                    cause = %cause,
                    error = %error,
                    "{message}"
                );
    }

    fn trace(&self, ended_by: Option<&str>, failure: Option<(&str, &dyn fmt::Display)>) {
        let Some(span) = self.span.get() else { return };
        let bytes = self.connection.activity.transferred();
        span.record("bytes_to_upstream", integer(bytes.to_upstream));
        span.record("bytes_to_client", integer(bytes.to_client));
        span.record("ended_by", ended_by);
        if let Some((cause, error)) = failure {
            span_failed(span, cause);
            span.record("otel.status_description", display(error));
        }
    }

    /// To the microsecond.
    fn milliseconds(&self) -> f64 {
        self.connection.activity.age().as_micros() as f64 / 1000.0
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.shared.open.remove(&self.connection);
            // Before the count, as above.
            self.log_failure(None, "aborted", &"aborted by the shutdown", "connection aborted");
            relay.shared.counters.aborted();
        }
    }
}

/// An error with all its causes, in one line.
struct Causes<'a>(&'a RelayError);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
