//! Relaying every connection that a listener accepts.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::error::{Cause, RelayError};
use super::{Relay, Transferred};
use crate::net::{DrainReport, Endpoint, Listener, Stream};
use crate::sync::Arc;

/// How often idle buffers are weighed against what was borrowed since: often enough that a burst's memory
/// is gone within 10 s.
const TRIM_EVERY: Duration = Duration::from_secs(2);
impl Relay {
    /// Accepts connections and relays each to `upstream`, until `shutdown` completes; then it stops to
    /// listen, waits for the open connections up to the drain timeout, and cuts the rest.
    ///
    /// Between bursts it gives idle buffers back to the system.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it stops to listen and cuts all connections at once.
    pub async fn serve(
        &self,
        listener: Listener,
        upstream: Endpoint,
        shutdown: impl Future<Output = ()>,
    ) -> DrainReport {
        let upstream = Arc::new(upstream);
        let config = &self.shared.config;
        let serve = listener.serve(config.max_connections, config.drain_timeout, shutdown, |client| {
            self.shared.counters.accepted();
            self.clone().connect(client, Arc::clone(&upstream))
        });
        let report = tokio::select! {
            report = serve => report,
            never = self.trim_between_bursts() => match never {},
        };
        self.shared.counters.aborted(report.aborted);
        report
    }

    /// One connection from its accept to its end.
    async fn connect(self, client: Stream, upstream: Arc<Endpoint>) {
        let outcome = self.connect_and_relay(client, &upstream).await;
        self.shared.counters.ended(outcome.as_ref().err().map(RelayError::kind));
        if let Err(error) = outcome {
            debug!(%error, "connection failed");
        }
    }

    async fn connect_and_relay(
        &self,
        client: Stream,
        upstream: &Endpoint,
    ) -> Result<Transferred, RelayError> {
        match Stream::connect(upstream, self.shared.config.connect_timeout).await {
            Ok(upstream) => self.relay(client, upstream).await,
            Err(error) => {
                client.reset_on_close();
                Err(RelayError(Cause::Connect(error)))
            }
        }
    }

    /// Frees idle buffers whenever more lie idle than were borrowed since the last look: memory that earns nothing.
    async fn trim_between_bursts(&self) -> Infallible {
        let mut look = interval(TRIM_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut acquires_before = 0;
        loop {
            look.tick().await;
            let stats = self.pool().stats();
            if stats.total_acquires.saturating_sub(acquires_before) < stats.idle_buffers {
                self.pool().trim();
            }
            acquires_before = stats.total_acquires;
        }
    }
}
