//! Relays every connection that a listener accepts: the steps from the accept to the relay.
//!
//! ```text
//!  accept ─▶ PROXY header ─▶ admit ─▶ TLS, route ─▶ reach (a server, or the next one) ─▶ PROXY header, TLS ─▶ Pair
//!            └──────────────────────────── of these nothing stays in memory ──────────────────┘
//! ```

use std::os::fd::OwnedFd;
use std::pin::Pin;

use super::accepted::Accepted;
use super::backend::Backend;
use super::error::{Cause, RelayError, Side};
use super::pair::Pair;
use super::server::Chosen;
use super::tls::{BoxedStream, Wire};
use super::{Relay, Transferred};
use crate::net::{AsyncStream, DrainReport, Listener, Peer, ProxyHeader, Runtimes, SourcePermit, Stream};
use crate::sync::Arc;

/// What is relayed: both streams, and the server that the connection counts at.
struct Ready {
    client: Wire,
    upstream: Wire,
    server: Chosen,
    /// Boxed, since few settings limit sources.
    permit: Option<Box<SourcePermit>>,
}

/// Both pairs in one place, which the task keeps as long as it runs.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Relayed<'a> {
    Plain(Pair<'a, Stream, Stream>),
    /// On the heap, so that plain connections take no more memory than without TLS.
    Secure(Box<Pair<'a, BoxedStream, BoxedStream>>),
}

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
        backend: impl Into<Backend>,
        shutdown: impl Future<Output = ()>,
    ) -> DrainReport {
        self.serve_on(&Runtimes::new([]), listener, backend, shutdown).await
    }

    /// As [`serve`](Self::serve), on several runtimes: each connection runs on the one that has the fewest. The accept loop
    /// runs where this future is polled, which may be one of them or another. [`Runtimes`] has an example.
    pub async fn serve_on(
        &self,
        runtimes: &Runtimes,
        listener: Listener,
        backend: impl Into<Backend>,
        shutdown: impl Future<Output = ()>,
    ) -> DrainReport {
        let backend = backend.into();
        backend.start_checks();
        let connection = |client: Stream, peer: Peer, reserved: OwnedFd| {
            let mut accepted = Accepted::new(self, &backend, peer);
            // A block holds it once. A future that takes it by value would hold it twice, as an argument and as a variable.
            async move {
                let outcome = accepted.relay(client, reserved).await;
                accepted.ended(outcome.as_ref().err());
            }
        };
        let (places, runtimes) = (Arc::clone(&self.shared.places), runtimes.clone());
        let drain_timeout = || self.config().drain_timeout;
        listener.serve_pairs(places, runtimes, drain_timeout, shutdown, connection).await
    }
}

impl Accepted {
    /// Relays it, after all that comes before.
    fn relay(&self, client: Stream, reserved: OwnedFd) -> impl Future<Output = Result<(), RelayError>> {
        let prepare = self.prepare(client, reserved);
        async move {
            let Some(Ready { client, upstream, server: _server, permit: _permit }) = prepare.await? else {
                return Ok(());
            };
            let Some(shared) = self.shared() else { return Ok(()) };
            let activity = &self.connection.activity;
            let mut relayed = match Wire::sockets(client, upstream) {
                Ok((client, upstream)) => {
                    Relayed::Plain(Pair::new(client, upstream, shared, &self.config, activity))
                }
                Err((client, upstream)) => {
                    Relayed::Secure(Box::new(Pair::new(client, upstream, shared, &self.config, activity)))
                }
            };
            match &mut relayed {
                Relayed::Plain(pair) => pair.run().await.map(drop),
                Relayed::Secure(pair) => Box::pin(pair.run()).await.map(drop),
            }
        }
    }

    /// The steps before the relay. `None` if the client has left.
    ///
    /// On the heap, so that a task is not larger for the rest of its life because it once took them.
    fn prepare<'a>(
        &'a self,
        client: Stream,
        reserved: OwnedFd,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Ready>, RelayError>> + Send + 'a>> {
        Box::pin(async move {
            let ready = self.steps(client, reserved).await;
            ready.map_err(|cause| RelayError::new(cause, Transferred::default()))
        })
    }

    async fn steps(&self, mut client: Stream, reserved: OwnedFd) -> Result<Option<Ready>, Cause> {
        let met = match self.read_header(&mut client).await {
            Ok(Some(header)) => self.admit().map(|permit| (header, permit.map(Box::new))),
            Ok(None) => return Ok(None),
            Err(cause) => Err(cause),
        };
        let (header, permit) = met.inspect_err(|_| client.reset_on_close())?;
        let Some((mut client, backend)) = self.meet(client).await? else { return Ok(None) };
        let led = self.lead(&client, &backend, header, reserved).await;
        let led = led.inspect_err(|_| client.socket_mut().reset_on_close())?;
        Ok(led.map(|(upstream, server)| Ready { client, upstream, server, permit }))
    }

    /// Connects to a server, as far as that the relay can begin.
    async fn lead(
        &self,
        client: &Wire,
        backend: &Backend,
        header: ProxyHeader,
        reserved: OwnedFd,
    ) -> Result<Option<(Wire, Chosen)>, Cause> {
        let socket = client.socket();
        let (mut upstream, server) = tokio::select! {
            biased;
            reached = self.reach(backend, socket, reserved) => reached?,
            left = socket.hung_up() => return match left {
                Ok(()) => Ok(None),
                Err(source) => Err(Cause::Read { side: Side::Client, source }),
            },
        };
        let config = backend.config();
        if let Some(version) = config.send_proxy {
            self.send_header(header, client, &mut upstream, version).await?;
        }
        for (stream, keepalive) in [socket, &upstream].into_iter().zip(self.config.keepalive.iter().cycle()) {
            // It fails only for a connection that is reset already.
            let _ = stream.set_keepalive(keepalive);
        }
        let upstream = self.secure(upstream, &config, &server, client).await?;
        Ok(Some((upstream, server)))
    }
}
