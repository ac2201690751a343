//! Pools for many servers: one per server, made when it is first asked for.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Uri};
use tower_service::Service;

use super::breaker::SharedBreaker;
use super::config::{HttpsConfig, out_of_range};
use super::connection_limit::{ConnectionLimit, ConnectionLimitState};
use super::connects::ConnectStats;
use super::error::{HttpsError, HttpsErrorKind};
use super::http2::{Http2PoolConfig, Http2State};
use super::manager::{HttpsConnectionManager, connector};
use super::request_body::RequestBody;
use super::request_errors::RequestErrors;
use super::requests::RequestStats;
use super::server::Server;
use super::server_key::ServerKey;
use super::span::traced;
use super::upstream_body::UpstreamResponse;
use crate::connection::{Builder, Pool, State};
use crate::metric::{Report, Source, VisitRow};
use crate::net::setters;
use crate::policy::{BreakerPolicy, BreakerStats};
use crate::sync::{Arc, Mutex};

/// Pools for many servers: made when a server is first asked for. Clones share the pools.
///
/// A server is a scheme, a host and a port. What it speaks decides who shares its connections:
///
/// | the server speaks | a connection carries | the most connections | requests beyond it |
/// |---|---|---|---|
/// | HTTP/2 | up to [`max_streams`](field@Http2PoolConfig::max_streams) requests | [`max_connections`](field@Http2PoolConfig::max_connections) | wait, by [`Urgency`](super::Urgency) |
/// | HTTP/1.1 | one request | [`max_size`](Builder::max_size) | wait, first come, first served |
///
/// With [`HttpVersion::Negotiated`](super::HttpVersion::Negotiated) a server says by TLS which it speaks. The first requests wait for
/// one connection, and the server's choice holds until a later connection finds another: no request fails for that. Until
/// the first connection, they wait in the longer of the two pools' queues. That of HTTP/1.1 is unlimited by default
/// ([`Builder::max_waiting`]). Without TLS it is HTTP/1.1.
///
/// A server that fails can be given a rest by a [breaker](field@UpstreamsConfig::breaker), and the connections to all servers
/// together a [maximum](field@UpstreamsConfig::max_connections). Limits of requests, rates and retries per server are layers of
/// `resilience`: `PerServerLayer`.
///
/// All servers have the same TLS settings. After a [reload](crate::net::tls::TlsConnector::reload) that found changes,
/// connections from before take no more requests, and end with those under way.
///
/// # Examples
///
/// ```no_run
/// use http::Request;
/// use http_body_util::BodyExt;
/// use millpond::connection::https::{RequestBody, Upstreams, UpstreamsConfig};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let upstreams = Upstreams::new(UpstreamsConfig::default())?;
///     let request = Request::get("https://example.com/").body(RequestBody::empty())?;
///     match upstreams.send(request).await {
///         Ok(response) => println!("{:?}", response.into_body().collect().await?.to_bytes()),
///         Err(error) => eprintln!("{error:?}"), // the message and its causes
///     }
///     Ok(())
/// }
/// ```
///
/// A server whose certificate a private authority has signed:
///
/// ```no_run
/// use millpond::connection::https::{HttpsConfig, Upstreams, UpstreamsConfig};
/// use millpond::net::tls::TlsConfig;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsConfig::new().add_root_file("ca.pem").build()?;
/// let upstreams = Upstreams::new(UpstreamsConfig::default().https(HttpsConfig::default().tls(Some(tls))))?;
/// # Ok(())
/// # }
/// ```
///
/// The [cookbook](crate::cookbook#a-reverse-proxy) has a reverse proxy.
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    config: UpstreamsConfig,
    limit: Arc<ConnectionLimit>,
    servers: Arc<Mutex<Servers>>,
}

#[derive(Default)]
struct Servers {
    by_key: HashMap<ServerKey, Entry>,
    is_closed: bool,
}

/// What [`Upstreams`] have.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct UpstreamsState {
    /// The servers that have pools.
    pub servers: Vec<UpstreamServer>,
    /// The connections of all servers together, also of servers that are forgotten.
    pub connections: ConnectionLimitState,
}

/// A server that has pools.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamServer {
    /// Its scheme, host and port.
    pub uri: Uri,
    /// Its pool for HTTP/1.1, once a connection has spoken that.
    pub http1: Option<State>,
    /// Its pool for HTTP/2, unless its connections speak HTTP/1.1 in any case.
    pub http2: Option<Http2State>,
    /// How the requests to it ended, and how long the heads of their responses took, in both pools.
    pub requests: RequestStats,
    /// The outcomes of the connects to it, in both pools.
    pub connects: ConnectStats,
    /// Requests that failed, and bodies of responses that did, in both pools.
    pub errors: RequestErrors,
    /// Its breaker, if the settings have one.
    pub breaker: Option<BreakerStats>,
}

struct Entry {
    server: Arc<Server>,
    last_used: Instant,
}

/// The settings of [`Upstreams`].
///
/// | setting | default | why |
/// |---|---|---|
/// | [`name`](field@Self::name) | none | |
/// | [`https`](field@Self::https) | [`HttpsConfig`]'s | |
/// | [`http1`](field@Self::http1) | [`Builder`]'s, no idle connection ahead of need, and no second try of a connect | many servers are asked once, and a client wants to know at once that one refuses |
/// | [`http2`](field@Self::http2) | [`Http2PoolConfig`]'s | |
/// | [`breaker`](field@Self::breaker) | none | a proxy passes on what its servers answer |
/// | [`max_connections`](field@Self::max_connections) | no limit | each pool has its own |
/// | [`max_servers`](field@Self::max_servers) | 1024 | bounds what a client can make a proxy connect to |
/// | [`idle_timeout`](field@Self::idle_timeout) | 300 s | as long as a connection lives |
/// | [`replay`](field@Self::replay) | on | a server may close an idle connection just as it is taken |
#[derive(Clone)]
#[non_exhaustive]
pub struct UpstreamsConfig {
    /// What the log calls these servers, for a program with several `Upstreams`: the region, for example. It precedes the server in
    /// the events of [breakers](field@Self::breaker).
    pub name: Option<String>,
    /// The settings of all connections.
    pub https: HttpsConfig,
    /// Makes the settings of a server's pool for HTTP/1.1.
    pub http1: Arc<dyn Fn() -> Builder<HttpsConnectionManager> + Send + Sync>,
    /// The settings of a server's pool for HTTP/2. Its [`https`](field@Http2PoolConfig::https) is not used.
    pub http2: Http2PoolConfig,
    /// When requests to a server are kept back, because it fails. Each server has a breaker of its own, for both versions of
    /// HTTP, as long as it has pools.
    ///
    /// A request ends for it at the head of the response, or by its error: see [`HttpsError::outcome`]. A status above 499
    /// is a failure, but for 501 and 505. While the breaker is open, requests fail with [`HttpsErrorKind::BreakerOpen`]. Each
    /// change is logged with the server; it warns when it opens, and not after each probe that fails.
    pub breaker: Option<BreakerPolicy>,
    /// The most connections to all servers together, those that are being made among them. At least 1.
    ///
    /// Beyond it, an idle connection of the server that was used least recently is closed to make room for a new one. Those that
    /// [`min_idle`](Builder::min_idle) wants stay open. Requests that need a connection take turns, first come, first
    /// served. They wait while others are being made or closed, for
    /// [`handshake_timeout`](field@HttpsConfig::handshake_timeout) at most. If all have been in use for 100 ms, they fail with
    /// [`HttpsErrorKind::TooManyConnections`], and do not wait for another server's. Over HTTP/2, a request waits on if the server
    /// has another connection. Over HTTP/1.1, it does so with [`retry_connection`](Builder::retry_connection).
    ///
    /// No breaker takes such a refusal for a failure of the server.
    pub max_connections: Option<usize>,
    /// The most servers.
    pub max_servers: usize,
    /// The time after which a server that nobody asks is forgotten, when there is another new one.
    pub idle_timeout: Duration,
    /// Whether a request is sent once more if its connection fails before the response: one that is idempotent and whose body
    /// does not stream. Over HTTP/1.1 also one that was not sent at all, and only if the connection was there before it, or has
    /// served another one since: then on a new connection. What a server has refused over HTTP/2 is sent again in any case
    /// ([`max_replays`](field@Http2PoolConfig::max_replays)).
    pub replay: bool,
}

impl Default for UpstreamsConfig {
    fn default() -> Self {
        Self {
            name: None,
            https: HttpsConfig::default(),
            http1: Arc::new(|| Pool::builder().min_idle(None).retry_connection(false)),
            http2: Http2PoolConfig::default(),
            breaker: None,
            max_connections: None,
            max_servers: 1024,
            idle_timeout: Duration::from_secs(300),
            replay: true,
        }
    }
}

impl UpstreamsConfig {
    /// Sets [`name`](field@Self::name).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets [`http1`](field@Self::http1).
    #[must_use]
    pub fn http1(
        mut self,
        http1: impl Fn() -> Builder<HttpsConnectionManager> + Send + Sync + 'static,
    ) -> Self {
        self.http1 = Arc::new(http1);
        self
    }

    /// Sets [`breaker`](field@Self::breaker).
    #[must_use]
    pub fn breaker(mut self, breaker: impl Into<Option<BreakerPolicy>>) -> Self {
        self.breaker = breaker.into();
        self
    }

    /// Sets [`max_connections`](field@Self::max_connections).
    #[must_use]
    pub fn max_connections(mut self, max_connections: impl Into<Option<usize>>) -> Self {
        self.max_connections = max_connections.into();
        self
    }

    setters! {
        https: HttpsConfig,
        http2: Http2PoolConfig,
        max_servers: usize,
        idle_timeout: Duration,
        replay: bool,
    }
}

impl Upstreams {
    /// No server yet. It may block for milliseconds: see [`HttpsConnectionManager::with_config`].
    ///
    /// # Errors
    ///
    /// [`HttpsErrorKind::TlsConfig`], [`HttpsErrorKind::OutOfRange`], or [`HttpsErrorKind::UnlimitedSpill`].
    pub fn new(mut config: UpstreamsConfig) -> Result<Self, HttpsError> {
        config.https.check()?;
        config.http2.check()?;
        if config.max_connections == Some(0) {
            return Err(out_of_range("max_connections"));
        }
        config.https.tls = Some(connector(&config.https)?);
        let servers = Arc::<Mutex<Servers>>::default();
        let all = Arc::downgrade(&servers);
        let make_room = move || all.upgrade().is_some_and(|servers| close_idle(&servers));
        let limit = Arc::new(ConnectionLimit::new(config.max_connections, make_room));
        Ok(Self(Arc::new(Inner { config, limit, servers })))
    }

    /// Sends a request to the server that its URI names, and waits for the head of the response.
    ///
    /// Waiting for a connection and connecting have limits, and the response has none: put a
    /// [`timeout`](tokio::time::timeout) around this, and around the body.
    ///
    /// # Errors
    ///
    /// Why there is no connection, or the request failed. A failed connect has a [phase](HttpsError::phase), and the same
    /// error for all who waited for it. If nothing was sent, the request is in the error: [`HttpsError::take_request`].
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it leaves the queue, closes the HTTP/1.1 connection that it uses, or resets its HTTP/2 stream. A connect
    /// goes on.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<UpstreamResponse, HttpsError> {
        let send = |request: Request<RequestBody>| async {
            match self.server(request.uri()) {
                Ok(server) => server.send(request, self.0.config.replay).await,
                Err(error) => Err(error.with_request(request)),
            }
        };
        traced(request, None, send).await
    }

    /// Closes all pools: no new request begins, those that wait fail, and this waits until those under way have ended
    /// and all connections are closed.
    ///
    /// # Cancel safety
    ///
    /// All is closed at the first poll, and stays closed.
    pub async fn close(&self) {
        let servers: Vec<_> = {
            let mut servers = self.0.servers.lock();
            servers.is_closed = true;
            servers.by_key.values().map(|entry| Arc::clone(&entry.server)).collect()
        };
        let mut closes: Vec<_> = servers.iter().map(|server| Box::pin(server.close())).collect();
        poll_fn(|cx| {
            closes.retain_mut(|close| close.as_mut().poll(cx).is_pending());
            if closes.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The servers that have pools.
    #[must_use]
    pub fn servers(&self) -> Vec<UpstreamServer> {
        let servers = self.0.servers.lock();
        let server = |(key, entry): (&ServerKey, &Entry)| {
            let server = &entry.server;
            let (http1, http2, connects) = (server.http1(), server.http2(), server.connects());
            let (errors, breaker) = (server.errors(http2.as_ref()), server.breaker());
            let requests = server.requests();
            Some(UpstreamServer { uri: key.uri()?, http1, http2, requests, connects, errors, breaker })
        };
        servers.by_key.iter().filter_map(server).collect()
    }

    /// What there is at the moment: the [servers](Self::servers), and all their connections together.
    #[must_use]
    pub fn state(&self) -> UpstreamsState {
        UpstreamsState { servers: self.servers(), connections: self.0.limit.state() }
    }

    /// The server that the URI names.
    fn server(&self, uri: &Uri) -> Result<Arc<Server>, HttpsError> {
        let key = ServerKey::of(uri)?;
        let Inner { config, limit, servers } = &*self.0;
        let now = Instant::now();
        if let Some(server) = servers.lock().find(&key, now)? {
            return Ok(server);
        }
        // Before another one makes room for it: it may be refused.
        let manager = HttpsConnectionManager::with_config(&key.to_string(), config.https.clone())?;
        let manager = manager.limited(Arc::clone(limit));
        let breaker = config.breaker.map(|policy| {
            let name = config.name.as_ref().map_or_else(|| key.to_string(), |name| format!("{name} {key}"));
            SharedBreaker::new(&name, policy)
        });
        let server = Arc::new(Server::new(manager, Arc::clone(&config.http1), &config.http2, breaker));
        // Dropped after the lock, however this ends: their connections are closed without it.
        let mut forgotten = Vec::new();
        let mut locked = servers.lock();
        if let Some(server) = locked.find(&key, now)? {
            return Ok(server);
        }
        let servers = &mut locked.by_key;
        forgotten.extend(forget(servers, now.checked_sub(config.idle_timeout)));
        if servers.len() >= config.max_servers {
            // Only one that would be older is asked, which takes its locks.
            let oldest = servers.values().fold(None, |oldest, entry| {
                let is_older = oldest.is_none_or(|oldest| entry.last_used < oldest);
                if is_older && entry.is_idle() { Some(entry.last_used) } else { oldest }
            });
            forgotten.extend(forget(servers, oldest));
        }
        if servers.len() >= config.max_servers {
            return Err(HttpsError::new(HttpsErrorKind::TooManyServers).named(&key));
        }
        servers.insert(key, Entry { server: Arc::clone(&server), last_used: now });
        Ok(server)
    }
}

impl Servers {
    /// The server, if it has pools. It is used now.
    fn find(&mut self, key: &ServerKey, now: Instant) -> Result<Option<Arc<Server>>, HttpsError> {
        if self.is_closed {
            return Err(HttpsError::new(HttpsErrorKind::PoolClosed).named(key));
        }
        let entry = self.by_key.get_mut(key);
        Ok(entry.map(|entry| {
            entry.last_used = now;
            Arc::clone(&entry.server)
        }))
    }
}

impl Servers {
    /// The server that was used least recently of those with an idle connection that nobody wants to keep.
    fn with_spare(&self) -> Option<Arc<Server>> {
        let oldest = self.by_key.values().fold(None, |oldest: Option<&Entry>, entry| {
            // Only one that would be older is asked, which takes its locks.
            let is_older = oldest.is_none_or(|oldest| entry.last_used < oldest.last_used);
            if is_older && entry.server.has_spare() { Some(entry) } else { oldest }
        });
        oldest.map(|entry| Arc::clone(&entry.server))
    }
}

impl Entry {
    /// Whether nobody uses it. New users come by the lock of the map.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.server) == 1 && self.server.is_idle()
    }
}

/// Takes out the idle servers that have not been used since then.
fn forget(servers: &mut HashMap<ServerKey, Entry>, since: Option<Instant>) -> Vec<Entry> {
    let Some(since) = since else { return Vec::new() };
    servers
        .extract_if(|_, entry| entry.last_used <= since && entry.is_idle())
        .map(|(_, entry)| entry)
        .collect()
}

/// Closes an idle connection of the server that was used least recently. Tells whether there was one.
fn close_idle(servers: &Mutex<Servers>) -> bool {
    loop {
        let oldest = servers.lock().with_spare();
        // Closed without the lock. Somebody may have taken it in the meantime.
        match oldest {
            None => return false,
            Some(server) if server.close_spare() => return true,
            Some(_) => {}
        }
    }
}

impl Service<Request<RequestBody>> for Upstreams {
    type Response = UpstreamResponse;
    type Error = HttpsError;
    type Future = Pin<Box<dyn Future<Output = Result<UpstreamResponse, HttpsError>> + Send>>;

    /// Always ready: a request waits for its own server.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.send(request).await })
    }
}

impl Source for Upstreams {
    type Snapshot = UpstreamsState;

    fn watch(&self) -> impl Fn() -> Option<UpstreamsState> + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.0);
        move || Some(Self(inner.upgrade()?).state())
    }

    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.0);
        move |report, visit| {
            if let (Report::Connections, Some(inner)) = (report, inner.upgrade()) {
                for server in Self(inner).servers() {
                    let uri = server.uri.to_string();
                    let upstream = uri.trim_end_matches('/');
                    server.http2.iter().for_each(|http2| http2.show(&upstream, visit));
                }
            }
            true
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("servers", &self.servers()).finish_non_exhaustive()
    }
}
