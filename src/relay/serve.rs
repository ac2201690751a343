//! Relays every connection that a listener accepts, and counts and logs how each ended.

use std::error::Error;
use std::fmt;
use std::os::fd::OwnedFd;

use tracing::field::{Empty, display};
use tracing::{debug, debug_span, warn};

use super::connections::Connection;
use super::error::{Cause, RelayError, Side};
use super::pair::Pair;
use super::{Relay, Transferred};
use crate::net::{
    self, AsyncStream, DrainReport, Endpoint, Listener, Peer, SPAN_TARGET, SmallSpan, Stream, span_failed,
};
use crate::sync::{Arc, Shared};

/// The target of the event that each connection ends with.
const TARGET: &str = "millpond::relay::connection";

impl Relay {
    /// Accepts connections and relays each to `upstream` until `shutdown` completes.
    ///
    /// A client that resets its connection before the upstream has answered frees its place at once, and so does one that
    /// closes a Unix socket. TCP does not tell the close of a client from the end of its direction, after which it may wait
    /// for an answer, so such a client keeps its place until the attempt to connect ends.
    ///
    /// After `shutdown` it serves the clients in the accept queue, stops listening, waits up to the drain timeout for the
    /// open connections, and aborts the rest.
    /// [`stats`](Self::stats) counts how each connection ends, and an event says it: see [the events](super#events).
    ///
    /// Start [`spawn_decay`](crate::BufferPool::spawn_decay) to free idle buffers.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops listening and aborts all connections at once.
    pub async fn serve(
        &self,
        listener: Listener,
        upstream: impl Into<Endpoint>,
        shutdown: impl Future<Output = ()>,
    ) -> DrainReport {
        let upstream = Arc::new(upstream.into());
        let config = &self.shared.config;
        let connection = |client: Stream, peer: Peer, reserved: OwnedFd| {
            let id = self.shared.counters.accepted();
            let mut accepted = Accepted {
                span: relay_of(id, &peer, &upstream),
                connection: self.shared.open.add(id, peer, Arc::clone(&upstream)),
                relay: Some(self.clone()),
            };
            // A block holds it once. A future that takes it by value would hold it twice, as an argument and as a variable.
            async move {
                let outcome = accepted.connect_and_relay(client, reserved).await;
                accepted.ended(outcome.as_ref().err());
            }
        };
        listener.serve_pairs(config.max_connections, config.drain_timeout, shutdown, connection).await
    }
}

/// A connection from its accept to its end. Dropped before that, it counts and logs that it was aborted.
struct Accepted {
    connection: Shared<Connection>,
    /// `None` once it has ended.
    relay: Option<Relay>,
    /// Not entered but for the connect: a poll of the relay is on the path of a byte.
    span: SmallSpan,
}

fn relay_of(id: u64, client: &Peer, upstream: &Endpoint) -> SmallSpan {
    let span = debug_span!(
        target: SPAN_TARGET,
        "relay",
        id = integer(id),
        %client,
        %upstream,
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
    async fn connect_and_relay(&self, mut client: Stream, reserved: OwnedFd) -> Result<(), RelayError> {
        let Some(Relay { shared }) = &self.relay else { return Ok(()) };
        let connected = tokio::select! {
            biased;
            connected = self.connect(shared, reserved) => {
                self.note_connect(shared, &connected);
                connected.map_err(Cause::Connect)
            }
            left = client.hung_up() => match left {
                Ok(()) => return Ok(()),
                Err(source) => Err(Cause::Read { side: Side::Client, source }),
            },
        };
        let upstream = connected.map_err(|cause| {
            client.reset_on_close();
            RelayError::new(cause, Transferred::default())
        })?;
        for (stream, keepalive) in
            [&client, &upstream].into_iter().zip(shared.config.keepalive.iter().cycle())
        {
            // It fails only for a connection that is reset already.
            let _ = stream.set_keepalive(keepalive);
        }
        Pair::new(client, upstream, shared, &self.connection.activity).run().await.map(drop)
    }

    fn connect(
        &self,
        shared: &super::Shared,
        reserved: OwnedFd,
    ) -> impl Future<Output = Result<Stream, net::Error>> + use<> {
        let limit = shared.config.connect_timeout;
        self.span.in_scope(|| Stream::connect_with(&self.connection.upstream, limit, reserved))
    }

    fn note_connect(&self, shared: &super::Shared, connected: &Result<Stream, net::Error>) {
        let upstream = &self.connection.upstream;
        match connected {
            Ok(_) => shared.down.on_connected(upstream),
            // The upstream is not to blame.
            Err(error) if error.kind() == net::ErrorKind::OutOfResources => {}
            Err(error) => shared.down.on_failed(upstream, error),
        }
    }

    /// Counts and logs how it ended, by an error or by a close of both directions.
    fn ended(&mut self, error: Option<&RelayError>) {
        let Some(relay) = self.relay.take() else { return };
        relay.shared.open.remove(&self.connection);
        match error {
            None => {
                let Connection { id, client, upstream, activity, .. } = &*self.connection;
                let bytes = activity.transferred();
                self.trace(None, None);
                debug!(
                target: TARGET,
                parent: self.span.id(),
                id,
                client = %client,
                upstream = %upstream,
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
        let Connection { id, client, upstream, activity, .. } = &*self.connection;
        let bytes = activity.transferred();
        let ended_by = ended_by.map_or("relay", Side::name);
        self.trace(Some(ended_by), Some((cause, error)));
        warn!(
            target: TARGET,
            parent: self.span.id(),
            id,
            client = %client,
            upstream = %upstream,
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
