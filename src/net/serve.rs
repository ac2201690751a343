//! The accept loop: a task per connection, the connection limit, and the drain at shutdown. A filter for accepted
//! connections, such as an allow-list by CIDR, would go here.

use std::error::Error;
use std::fmt;
use std::io;
#[cfg(feature = "relay")]
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Span, debug, warn};

use super::async_stream::AsyncStream;
use super::connect::is_in_need;
use super::listener::Listener;
use super::peer::Peer;
use super::span;
use super::stream::Stream;

/// The pause after the system had no descriptor or memory left, if no connection ends before.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// How often a shortage that lasts is logged.
const SHORTAGE_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Longer than any program runs, and within the range of every clock.
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);

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
    /// Accepts connections until `shutdown` completes, and spawns the future that `connection` makes of each. While it makes
    /// it, it is in the [span](crate::spans) `accept`.
    ///
    /// At most `max_connections` are open at once; the system's accept queue holds the next ones. It holds them also
    /// while the system has no descriptor or memory left for them, which is logged: the next is accepted when a
    /// connection has ended, or some milliseconds later.
    ///
    /// After `shutdown` it serves what is in the accept queue, stops listening, waits for the open connections until
    /// `drain_timeout` has passed, and aborts the rest. While others have the socket, too, it leaves the clients for whom
    /// it has no place to them.
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
        let admit = |stream, _peer, ()| connection(stream);
        Server::new(self, move || max_connections, |_: &_| Ok(()), admit)
            .run(move || drain_timeout, shutdown)
            .await
    }

    /// As [`serve`](Self::serve), without spans: for connections of who observes the program.
    #[cfg(feature = "admin")]
    pub(crate) async fn serve_untraced<F>(
        self,
        max_connections: usize,
        drain_timeout: Duration,
        shutdown: impl Future<Output = ()>,
        mut connection: impl FnMut(Stream) -> F,
    ) -> DrainReport
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let admit = |stream, _peer, ()| connection(stream);
        let mut server = Server::new(self, move || max_connections, |_: &_| Ok(()), admit);
        server.is_traced = false;
        server.run(move || drain_timeout, shutdown).await
    }

    /// As [`serve`](Self::serve), for connections that soon open a second descriptor. `connection` gets one to hold until
    /// then, so that no connection is accepted for which there is no second one, and learns who connected. The limits may change
    /// meanwhile.
    #[cfg(feature = "relay")]
    pub(crate) async fn serve_pairs<F>(
        self,
        max_connections: impl Fn() -> usize,
        drain_timeout: impl FnOnce() -> Duration,
        shutdown: impl Future<Output = ()>,
        connection: impl FnMut(Stream, Peer, OwnedFd) -> F,
    ) -> DrainReport
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let reserve = |listener: &Self| listener.as_fd().try_clone_to_owned();
        Server::new(self, max_connections, reserve, connection).run(drain_timeout, shutdown).await
    }
}

/// A listener and its connections.
struct Server<L, R, C> {
    listener: Listener,
    max_connections: L,
    /// Takes what a connection needs beside its own descriptor.
    reserve: R,
    connection: C,
    /// Whether each connection has a span.
    is_traced: bool,
    connections: JoinSet<()>,
    spawned: u64,
    /// The client that was accepted and waits for its reserve. Then `paused` is set.
    waiting: Option<(Stream, Peer)>,
    /// Until when nothing is accepted, unless a connection ends before.
    paused: Option<Instant>,
    /// When a shortage was last logged.
    logged: Option<Instant>,
}

impl<T, F, L, R, C> Server<L, R, C>
where
    L: Fn() -> usize,
    R: FnMut(&Listener) -> io::Result<T>,
    C: FnMut(Stream, Peer, T) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    fn new(listener: Listener, max_connections: L, reserve: R, connection: C) -> Self {
        Self {
            listener,
            max_connections,
            reserve,
            connection,
            is_traced: true,
            connections: JoinSet::new(),
            spawned: 0,
            waiting: None,
            paused: None,
            logged: None,
        }
    }

    async fn run(
        mut self,
        drain_timeout: impl FnOnce() -> Duration,
        shutdown: impl Future<Output = ()>,
    ) -> DrainReport {
        let mut shutdown = pin!(shutdown);
        loop {
            let may_accept = self.may_accept();
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                true = place(&mut self.connections, &mut self.paused) => {}
                accepted = self.listener.accept_peer(), if may_accept => self.accepted(accepted),
            }
        }
        let ended = self.spawned - self.connections.len() as u64;
        let deadline = Instant::now() + drain_timeout().min(NEVER);
        let _ = timeout_at(deadline, self.serve_queue()).await;
        if let Some((client, _)) = &mut self.waiting {
            client.reset_on_close();
        }
        drop(self.listener);
        let aborted = drain(self.connections, deadline).await;
        DrainReport { drained: self.spawned - ended - aborted, aborted }
    }

    /// Accepts and serves what is in the accept queue, as places become free. With a full house the queue takes no more.
    async fn serve_queue(&mut self) {
        for _ in 0..=self.listener.backlog() {
            while !self.may_accept() {
                if self.listener.is_shared() {
                    return; // Others may have places.
                }
                // If this fails, some clients more are accepted, or are reset at the end.
                let _ = self.listener.set_backlog(0);
                if !place(&mut self.connections, &mut self.paused).await {
                    return;
                }
            }
            match self.listener.try_accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                accepted => self.accepted(accepted),
            }
        }
    }

    /// Whether there is a place for another connection. A connect that waits for a descriptor takes it first, and then the
    /// client that waits here.
    fn may_accept(&mut self) -> bool {
        if self.paused.is_none() && is_in_need() {
            self.paused = Some(Instant::now() + SHORTAGE_PAUSE);
        }
        if self.paused.is_none()
            && let Some((stream, peer)) = self.waiting.take()
        {
            self.admit(stream, peer);
        }
        self.paused.is_none() && self.connections.len() < (self.max_connections)()
    }

    fn accepted(&mut self, accepted: io::Result<(Stream, Peer)>) {
        match accepted {
            Ok((stream, peer)) => self.admit(stream, peer),
            Err(error) if concerns_one_connection(&error) => {
                debug!(error = &error as &dyn Error, "a client left before it was accepted");
            }
            Err(error) => self.pause(&error),
        }
    }

    fn admit(&mut self, stream: Stream, peer: Peer) {
        match (self.reserve)(&self.listener) {
            Ok(reserved) => {
                let span = if self.is_traced { span::accept(&peer) } else { Span::none() };
                let connection = span.in_scope(|| (self.connection)(stream, peer, reserved));
                self.connections.spawn(connection);
                self.spawned += 1;
            }
            Err(error) => {
                self.waiting = Some((stream, peer));
                self.pause(&error);
            }
        }
    }

    fn pause(&mut self, error: &io::Error) {
        let now = Instant::now();
        self.paused = Some(now + SHORTAGE_PAUSE);
        if self.logged.is_none_or(|logged| now - logged >= SHORTAGE_LOG_INTERVAL) {
            self.logged = Some(now);
            let open = self.connections.len();
            warn!(
                error = error as &dyn Error,
                open, "no room for another connection: the next clients wait until one ends"
            );
        }
    }
}

/// Waits until a connection or a pause ends. `false` if there is neither.
async fn place(connections: &mut JoinSet<()>, paused: &mut Option<Instant>) -> bool {
    tokio::select! {
        biased;
        Some(_) = connections.join_next() => {}
        () = sleep_until(paused.unwrap_or_else(Instant::now)), if paused.is_some() => {}
        else => return false,
    }
    *paused = None;
    true
}

/// Whether the next accept may succeed at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    // The last two are what macOS says when it is to set an option of a connection that was reset.
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}

/// Waits for the connections until the deadline and aborts the rest. Returns how many those were.
async fn drain(mut connections: JoinSet<()>, deadline: Instant) -> u64 {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout_at(deadline, all_ended).await;
    // A connection may still end by itself here: its own outcome says which it was.
    connections.abort_all();
    let mut aborted = 0;
    while let Some(ended) = connections.join_next().await {
        aborted += u64::from(ended.is_err_and(|error| error.is_cancelled()));
    }
    aborted
}
