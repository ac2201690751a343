//! The accept loop: a task per connection, the connection limit, and the drain at shutdown. A filter for accepted
//! connections, such as an allow-list by CIDR, would go here.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::listener::Listener;
use super::stream::Stream;

/// The pause after a failed accept: with no file descriptor left, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How the open connections of a server ended at its shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that were open at the shutdown and ended by themselves before the deadline.
    pub drained: u64,
    /// Connections that were aborted at the deadline.
    pub aborted: u64,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connections: {} drained, {} aborted", self.drained, self.aborted)
    }
}

impl Listener {
    /// Accepts connections until `shutdown` completes, and spawns the future that `connection` makes of each.
    ///
    /// At most `max_connections` are open at once; the system's accept queue holds the next ones. After `shutdown` it
    /// stops listening, waits up to `drain_timeout` for the open connections, and aborts the rest. A failed accept is
    /// logged and tried again.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it stops listening and aborts all connections at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millpond::net::{Listener, Stream};
    /// use tokio::io::AsyncReadExt;
    /// use tokio::sync::oneshot;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = Listener::bind("127.0.0.1:0").await?;
    /// let endpoint = listener.local_endpoint().clone();
    /// let (stop, stopped) = oneshot::channel::<()>();
    /// let stopped = async { drop(stopped.await) };
    /// let greet = |mut stream: Stream| async move {
    ///     let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"hello").await;
    /// };
    /// let server = tokio::spawn(listener.serve(100, Duration::from_secs(10), stopped, greet));
    ///
    /// let mut greeting = String::new();
    /// let mut client = Stream::connect(endpoint, Duration::from_secs(10)).await?;
    /// client.read_to_string(&mut greeting).await?;
    /// assert_eq!(greeting, "hello");
    ///
    /// drop(stop);
    /// assert_eq!(server.await?.aborted, 0);
    /// # Ok(())
    /// # }
    /// ```
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
    // A connection may still end by itself here: its own outcome says which it was.
    connections.abort_all();
    let mut aborted = 0;
    while let Some(ended) = connections.join_next().await {
        aborted += u64::from(ended.is_err_and(|error| error.is_cancelled()));
    }
    DrainReport { drained: open - aborted, aborted }
}
