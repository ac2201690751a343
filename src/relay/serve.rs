//! Relays every connection that a listener accepts, and counts and logs how each ended.

use std::error::Error;
use std::os::fd::OwnedFd;

use tracing::debug;

use super::error::{Cause, RelayError};
use super::{Relay, Transferred};
use crate::net::{AsyncStream, DrainReport, Endpoint, Listener, Stream};
use crate::sync::Arc;

impl Relay {
    /// Accepts connections and relays each to `upstream` until `shutdown` completes.
    ///
    /// After `shutdown` it stops listening, waits up to the drain timeout for the open connections, and aborts the rest.
    /// A failed connection is logged at debug level and counted in [`stats`](Self::stats).
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
        let connection = |client, reserved| {
            self.shared.counters.accepted();
            self.clone().connect(client, Arc::clone(&upstream), reserved)
        };
        let report =
            listener.serve_pairs(config.max_connections, config.drain_timeout, shutdown, connection).await;
        self.shared.counters.aborted(report.aborted);
        report
    }

    /// Serves one connection from its accept to its end. The descriptor keeps the place of the upstream's.
    async fn connect(self, client: Stream, upstream: Arc<Endpoint>, reserved: OwnedFd) {
        drop(reserved);
        let outcome = self.connect_and_relay(client, &upstream).await;
        self.shared.counters.ended(outcome.as_ref().err().map(RelayError::kind));
        if let Err(error) = outcome {
            debug!(error = &error as &dyn Error, "connection failed");
        }
    }

    async fn connect_and_relay(
        &self,
        mut client: Stream,
        upstream: &Endpoint,
    ) -> Result<Transferred, RelayError> {
        match Stream::connect(upstream, self.shared.config.connect_timeout).await {
            Ok(upstream) => self.relay(client, upstream).await,
            Err(error) => {
                client.reset_on_close();
                Err(RelayError::new(Cause::Connect(error), Transferred::default()))
            }
        }
    }
}
