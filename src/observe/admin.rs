//! The admin endpoint: metrics, health and readiness over HTTP/1.1, on a listener of its own.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | all samples of the registry, as Prometheus' text or OpenMetrics, whichever the client prefers |
//! | `/stats` | the same as JSON |
//! | `/healthz` | `ok`, as long as the program answers at all |
//! | `/` | a page that draws the last five minutes, for browsers |
//! | `/events` | what that page reads: `/stats`, `/connections` and `/holders` once a second, as server-sent events |
//! | `/connections` | of relays, `Http2Pool`s and `Upstreams`, the 20 open connections that hold the most memory; `?by=idle_seconds&top=100` asks for the 100 that have been idle longest, and `by` may be any [number](crate::metric::Report::numbers) of the report |
//! | `/holders` | the leak report in the same way |
//! | `/readyz` | `ready`, or status 503 and why not, as the [check](Admin::ready) says |
//!
//! It has no password and no TLS, so by default it serves on loopback addresses and Unix sockets only. Whoever can connect sees
//! all numbers, the addresses of clients and upstreams, and lines of code that hold buffers. On a loopback address these are all
//! users of the machine; a Unix socket in a folder of its own keeps others out. No request changes anything.
//!
//! Web sites in a browser on the machine see nothing. On a loopback address, requests must name `localhost` or a loopback
//! address, with any port, or no host at all. Others get status 421: a site may have given its own name a loopback address (DNS
//! rebinding). A reverse proxy on the same machine must send such a `Host`, as most do by default. On every listener, requests
//! of other sites get status 403, except a link that somebody follows.
//!
//! Its memory is bounded. At rest it is a task with a listener, 2 KiB. An open connection takes 20 KiB, and the text of an answer
//! until it is sent; there are [16](field@AdminConfig::max_connections) at most. Bodies of requests are not read. A connection
//! that is slow to send a request is closed after [5 s](field@AdminConfig::header_timeout), and each after
//! [60 s](field@AdminConfig::connection_timeout). `tests/scrape_cost.rs` has the figures.
//!
//! `millpond top` shows the same in a terminal:
//!
//! ```text
//!  millpond top  tcp://127.0.0.1:9900  every 1s  ready
//! ┌ Traffic ────────────────┐┌ Connections ───────────┐┌ Memory of buffers ──────┐
//! │1.02 MB/s to upstreams   ││6 of clients, 0 in pools││lent     65.5 kB  ██████ │
//! │0 B/s to clients         ││waits: 0 memory, 0 pools││idle     81.9 kB  ███████│
//! │▅▄▅▂▄▃▅▃▅▁▄▄▁▄ ▅▄▄▃▅▃█▃▁▄││errors/s: 0, upstreams 0││frozen       0 B         │
//! │█████████████████████████││                        ││█████████████████████████│
//! └─────────────────────────┘└────────────────────────┘└─────────────────────────┘
//! ┌ Greediest connections, by held memory ───────────────────────────────────────┐
//! │client             holds  to upstream  to client   idle    age  upstream      │
//! │127.0.0.1:59814  65.5 kB          0 B     196 kB  3.3 s  3.3 s  tcp://127.0.0.│
//! │127.0.0.1:59800      0 B      2.91 MB        0 B  23 ms  3.3 s  tcp://127.0.0.│
//! │127.0.0.1:59842      0 B      39.0 kB        0 B  23 ms  3.0 s  tcp://127.0.0.│
//! └──────────────────────────────────────────────────────────────────────────────┘
//!  q quit  s order  h other table  p pause  arrows scroll
//! ```
//!
//! # Examples
//!
//! ```
//! use millpond::net::Listener;
//! use millpond::observe::Registry;
//! use millpond::observe::admin::{Admin, AdminConfig};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = BufferPool::new(BufferPoolConfig::proxy());
//! let registry = Registry::new();
//! registry.add("clients", &pool);
//!
//! let listener = Listener::bind("127.0.0.1:0").await?; // 127.0.0.1:9900, for example
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let admin = Admin::new(registry, AdminConfig::default());
//! let serving = tokio::spawn(admin.serve(listener, async { drop(stopped.await) })?);
//! drop(stop);
//! serving.await?;
//! # Ok(())
//! # }
//! ```

mod config;
mod events;
mod respond;
mod rows;

use std::error;
use std::fmt;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use self::config::AdminConfig;
use super::registry::Registry;
use crate::net::{Endpoint, Listener, Stream};
use crate::sync::Arc;

/// The admin endpoint of a program. The [module documentation](self) says what it answers.
pub struct Admin {
    registry: Registry,
    config: AdminConfig,
    ready: Box<ReadyCheck>,
    /// Places for those who look at the page. The others are left for collectors and probes.
    viewers: Arc<Semaphore>,
    /// Whether requests must name a loopback address.
    is_loopback: bool,
}

/// Longer than any connection lasts, and within the range of every clock.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

type ReadyCheck = dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

impl Admin {
    /// An endpoint that shows this registry, and is always ready.
    #[must_use]
    pub fn new(registry: Registry, mut config: AdminConfig) -> Self {
        for time in [&mut config.header_timeout, &mut config.connection_timeout] {
            *time = LONGEST.min(*time);
        }
        let viewers = (config.max_connections / 2).clamp(1, Semaphore::MAX_PERMITS);
        let ready: Box<ReadyCheck> = Box::new(|| Box::pin(async { Ok(()) }));
        Self { registry, config, ready, viewers: Arc::new(Semaphore::new(viewers)), is_loopback: false }
    }

    /// Sets what `/readyz` asks: whether the program should get new work, or else why not. It has
    /// [2 s](field@AdminConfig::ready_timeout).
    ///
    /// It should refuse while the program drains, and if its upstream cannot be reached. It is called for each request, so
    /// what it costs is up to the clients that ask.
    ///
    /// # Cancel safety
    ///
    /// The future of the check is dropped at the timeout, and when the client leaves.
    #[must_use]
    pub fn ready<F>(mut self, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.ready = Box::new(move || Box::pin(check()));
        self
    }

    /// Answers until `shutdown` completes, and then the requests under way, for the
    /// [header timeout](field@AdminConfig::header_timeout) at most.
    ///
    /// # Errors
    ///
    /// [`PublicAddress`], unless the listener is on a loopback address or a Unix socket, or the configuration
    /// [allows](field@AdminConfig::allow_public) others. No connection has been accepted then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops listening and closes all connections at once.
    pub fn serve(
        mut self,
        listener: Listener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<impl Future<Output = ()>, PublicAddress> {
        if let Endpoint::Tcp(address) = listener.local_endpoint() {
            self.is_loopback = address.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback());
            if !self.is_loopback && !self.config.allow_public {
                return Err(PublicAddress { endpoint: listener.local_endpoint().clone() });
            }
        }
        let AdminConfig { max_connections, header_timeout, .. } = self.config;
        let admin = Arc::new(self);
        let stopping = CancellationToken::new();
        let stop = stopping.clone().drop_guard();
        let shutdown = async move {
            shutdown.await;
            drop(stop);
        };
        let connection = move |stream| {
            let (admin, stopping) = (Arc::clone(&admin), stopping.clone());
            async move { admin.connection(stream, stopping).await }
        };
        Ok(async move {
            listener.serve_untraced(max_connections, header_timeout, shutdown, connection).await;
        })
    }

    async fn connection(&self, stream: Stream, stopping: CancellationToken) {
        let AdminConfig { header_timeout, connection_timeout, .. } = self.config;
        let service = service_fn(|request| self.respond(request));
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(header_timeout)
                .max_buf_size(respond::MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service)
        );
        let served = tokio::select! {
            served = connection.as_mut() => served,
            _ = timeout(connection_timeout, stopping.cancelled()) => {
                connection.as_mut().graceful_shutdown();
                timeout(header_timeout, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = served {
            debug!(error = &error as &dyn error::Error, "a connection of the admin endpoint failed");
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, config, .. } = self;
        f.debug_struct("Admin").field("registry", registry).field("config", config).finish_non_exhaustive()
    }
}

/// The admin endpoint was to serve on an address that others can reach, and is not allowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicAddress {
    /// Where the listener is.
    pub endpoint: Endpoint,
}

impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} can be reached by others, and the admin endpoint has no password: use 127.0.0.1, [::1] or a Unix socket, or \
             allow public addresses",
            self.endpoint
        )
    }
}

impl error::Error for PublicAddress {}
