use std::fmt;
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use super::error::{Cause, RelayError};
use super::{Relay, Transferred};
use crate::sync::Arc;
use crate::transport::{Endpoint, Listener, Stream};

/// How often idle buffers are weighed against what was borrowed since: often enough that a burst's memory
/// is gone within 10 s.
const TRIM_EVERY: Duration = Duration::from_secs(2);
/// The pause after a failed accept: without a descriptor left it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that were open at the shutdown and ended by themselves.
    pub drained: u64,
    /// Connections that were cut at the deadline.
    pub cut: u64,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections drained, {} cut", self.drained, self.cut)
    }
}

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
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut trim = interval(TRIM_EVERY);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut acquires = 0;
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                _ = trim.tick() => acquires = self.trim_unused(acquires),
                accepted = listener.accept(), if connections.len() < self.shared.config.max_connections => {
                    match accepted {
                        Ok(client) => {
                            self.shared.counters.accepted();
                            connections.spawn(self.clone().connect(client, Arc::clone(&upstream)));
                        }
                        Err(error) => {
                            warn!(%error, "accept failed, trying again");
                            sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
        drop(listener);
        self.drain(connections).await
    }

    async fn drain(&self, mut connections: JoinSet<()>) -> DrainReport {
        let open = connections.len() as u64;
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(self.shared.config.drain_timeout, all_ended).await;
        // Some may end by themselves while they are cut: each says how it was.
        connections.abort_all();
        let mut cut = 0;
        while let Some(ended) = connections.join_next().await {
            cut += u64::from(ended.is_err_and(|error| error.is_cancelled()));
        }
        self.shared.counters.cut(cut);
        DrainReport { drained: open - cut, cut }
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

    /// Frees idle buffers if more lie idle than were borrowed since the last look: memory that earns nothing.
    fn trim_unused(&self, acquires_before: u64) -> u64 {
        let stats = self.pool().stats();
        if stats.total_acquires.saturating_sub(acquires_before) < stats.idle_buffers {
            self.pool().trim();
        }
        stats.total_acquires
    }
}
