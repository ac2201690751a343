//! The accept loop: a task per connection, the connection limit, and the drain at shutdown.

use std::error::Error;
use std::fmt;
use std::io;
#[cfg(feature = "relay")]
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Span, debug, warn};

use super::async_stream::AsyncStream;
use super::connect::is_in_need;
use super::listener::Listener;
use super::open::OpenConnections;
use super::peer::Peer;
use super::places::Places;
use super::runtimes::Runtimes;
use super::span;
use super::stream::Stream;
use crate::sync::Arc;

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
        let places = Arc::new(Places::new(max_connections));
        let server = Server::new(self, places, Runtimes::new([]), |_: &_| Ok(()), admit);
        server.run(move || drain_timeout, shutdown).await
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
        let places = Arc::new(Places::new(max_connections));
        let mut server = Server::new(self, places, Runtimes::new([]), |_: &_| Ok(()), admit);
        server.is_traced = false;
        server.run(move || drain_timeout, shutdown).await
    }

    /// As [`serve`](Self::serve), for connections that soon open a second descriptor. `connection` gets one to hold until
    /// then, so that no connection is accepted for which there is no second one, and learns who connected. The connections
    /// run on `runtimes`, and take `places`, which other loops may share.
    #[cfg(feature = "relay")]
    pub(crate) async fn serve_pairs<F>(
        self,
        places: Arc<Places>,
        runtimes: Runtimes,
        drain_timeout: impl FnOnce() -> Duration,
        shutdown: impl Future<Output = ()>,
        connection: impl FnMut(Stream, Peer, OwnedFd) -> F,
    ) -> DrainReport
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let reserve = |listener: &Self| listener.as_fd().try_clone_to_owned();
        Server::new(self, places, runtimes, reserve, connection).run(drain_timeout, shutdown).await
    }
}

/// A listener and its connections.
struct Server<R, C> {
    listener: Listener,
    places: Arc<Places>,
    runtimes: Runtimes,
    /// Takes what a connection needs beside its own descriptor.
    reserve: R,
    connection: C,
    /// Whether each connection has a span.
    is_traced: bool,
    open: OpenConnections,
    spawned: u64,
    /// The client that was accepted, has a place, and waits for its reserve. Then `paused` is set.
    waiting: Option<Accepted>,
    /// Until when nothing is accepted, unless a connection ends before.
    paused: Option<Instant>,
    /// When a shortage was last logged.
    logged: Option<Instant>,
}

/// A client, and the index of the runtime that its socket belongs to.
type Accepted = (Stream, Peer, usize);

impl<T, F, R, C> Server<R, C>
where
    R: FnMut(&Listener) -> io::Result<T>,
    C: FnMut(Stream, Peer, T) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    fn new(listener: Listener, places: Arc<Places>, runtimes: Runtimes, reserve: R, connection: C) -> Self {
        Self {
            listener,
            open: OpenConnections::new(Arc::clone(&places), runtimes.clone()),
            places,
            runtimes,
            reserve,
            connection,
            is_traced: true,
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
            self.serve_waiting();
            let (listener, runtimes) = (&self.listener, &self.runtimes);
            let accept = |cx: &mut Context<'_>| poll_accept(listener, runtimes, cx);
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = self.open.ended() => self.paused = None,
                () = pause_ends(self.paused), if self.paused.is_some() => self.paused = None,
                accepted = self.places.take_for(accept), if self.paused.is_none() => self.accepted(accepted),
            }
        }
        let ended = self.spawned - self.open.len() as u64;
        let deadline = Instant::now() + drain_timeout().min(NEVER);
        let _ = timeout_at(deadline, self.serve_queue()).await;
        if let Some((client, ..)) = &mut self.waiting {
            client.reset_on_close();
            self.places.give_back(1);
        }
        drop(self.listener);
        let _ = timeout_at(deadline, self.open.all_ended()).await;
        let aborted = self.open.abort().await;
        DrainReport { drained: self.spawned - ended - aborted, aborted }
    }

    /// Accepts and serves what is in the accept queue, as places become free. With a full house the queue takes no more.
    async fn serve_queue(&mut self) {
        for _ in 0..=self.listener.backlog() {
            self.serve_waiting();
            while self.paused.is_some() || !self.places.try_take() {
                if self.listener.is_shared() {
                    return; // Others may have places.
                }
                // If this fails, some clients more are accepted, or are reset at the end.
                let _ = self.listener.set_backlog(0);
                tokio::select! {
                    biased;
                    () = self.open.ended() => self.paused = None,
                    () = pause_ends(self.paused), if self.paused.is_some() => self.paused = None,
                    () = self.places.take(), if self.paused.is_none() => self.places.give_back(1),
                }
                self.serve_waiting();
            }
            let index = self.runtimes.least();
            match self.runtimes.within(index, || self.listener.try_accept()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.places.give_back(1);
                }
                accepted => self.accepted(accepted.map(|(stream, peer)| (stream, peer, index))),
            }
        }
    }

    /// A connect that waits for a descriptor takes it first, and then the client that waits here.
    fn serve_waiting(&mut self) {
        if self.paused.is_none() && is_in_need() {
            self.paused = Some(Instant::now() + SHORTAGE_PAUSE);
        }
        if self.paused.is_none()
            && let Some(waiting) = self.waiting.take()
        {
            self.admit(waiting);
        }
    }

    fn accepted(&mut self, accepted: io::Result<Accepted>) {
        match accepted {
            Ok(accepted) => return self.admit(accepted),
            Err(error) if concerns_one_connection(&error) => {
                debug!(error = &error as &dyn Error, "a client left before it was accepted");
            }
            Err(error) => self.pause(&error),
        }
        self.places.give_back(1);
    }

    fn admit(&mut self, (stream, peer, index): Accepted) {
        match (self.reserve)(&self.listener) {
            Ok(reserved) => {
                let span = if self.is_traced { span::accept(&peer) } else { Span::none() };
                let connection = span.in_scope(|| (self.connection)(stream, peer, reserved));
                self.open.spawn(index, connection);
                self.spawned += 1;
            }
            Err(error) => {
                self.waiting = Some((stream, peer, index));
                self.pause(&error);
            }
        }
    }

    fn pause(&mut self, error: &io::Error) {
        let now = Instant::now();
        self.paused = Some(now + SHORTAGE_PAUSE);
        if self.logged.is_none_or(|logged| now - logged >= SHORTAGE_LOG_INTERVAL) {
            self.logged = Some(now);
            let open = self.open.len();
            warn!(
                error = error as &dyn Error,
                open, "no room for another connection: the next clients wait until one ends"
            );
        }
    }
}

async fn pause_ends(paused: Option<Instant>) {
    sleep_until(paused.unwrap_or_else(Instant::now)).await;
}

/// The next client, with its socket on the runtime that has the fewest connections now.
fn poll_accept(listener: &Listener, runtimes: &Runtimes, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
    let index = runtimes.least();
    let accepted = runtimes.within(index, || listener.poll_accept(cx));
    accepted.map_ok(|(stream, peer)| (stream, peer, index))
}

/// Whether the next accept may succeed at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    // The last two are what macOS says when it is to set an option of a connection that was reset.
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}
