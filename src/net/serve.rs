//! Accepting connections, and ending well.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::listener::Listener;
use super::stream::Stream;

/// The pause after a failed accept: without a descriptor left it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that were open at the shutdown and ended by themselves.
    pub drained: u64,
    /// Connections that were aborted at the deadline.
    pub aborted: u64,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections drained, {} aborted", self.drained, self.aborted)
    }
}

impl Listener {
    /// Accepts connections and runs the task that `connection` makes of each, at most `max_connections` at once,
    /// until `shutdown` completes; then it stops to listen, waits for the open ones up to `drain_timeout`, and cuts the
    /// rest.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it stops to listen and cuts all connections at once.
    pub async fn serve<F>(
        self,
        max_connections: usize,
        drain_timeout: Duration,
        shutdown: impl Future<Output = ()>,
        mut connection: impl FnMut(Stream) -> F,
    ) -> DrainReport
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = self.accept(), if connections.len() < max_connections => match accepted {
                    Ok(stream) => {
                        connections.spawn(connection(stream));
                    }
                    Err(error) => {
                        warn!(error = &error as &dyn Error, "accept failed, trying again");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self);
        drain(connections, drain_timeout).await
    }
}

async fn drain(mut connections: JoinSet<()>, drain_timeout: Duration) -> DrainReport {
    let open = connections.len() as u64;
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(drain_timeout, all_ended).await;
    // Some may end by themselves while they are cut: each says how it was.
    connections.abort_all();
    let mut aborted = 0;
    while let Some(ended) = connections.join_next().await {
        aborted += u64::from(ended.is_err_and(|error| error.is_cancelled()));
    }
    DrainReport { drained: open - aborted, aborted }
}
