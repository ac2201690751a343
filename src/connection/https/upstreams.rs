//! Pools for many servers: one per server, made when it is first asked for.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::uri::{Authority, Scheme};
use http::{Request, Uri};
use tower_service::Service;

use super::config::HttpsConfig;
use super::connects::ConnectStats;
use super::error::{HttpsError, HttpsErrorKind};
use super::http2::{Http2PoolConfig, Http2State};
use super::manager::{HttpsConnectionManager, connector};
use super::origin::{is_host_and_port, without_user};
use super::request_body::RequestBody;
use super::request_errors::RequestErrors;
use super::server::Server;
use super::upstream_body::UpstreamResponse;
use crate::connection::{Builder, Pool, State};
use crate::metric::Source;
use crate::net::setters;
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
    servers: Mutex<Servers>,
}

#[derive(Default)]
struct Servers {
    by_key: HashMap<Key, Entry>,
    is_closed: bool,
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
    /// The outcomes of the connects to it, in both pools.
    pub connects: ConnectStats,
    /// Requests that failed, and bodies of responses that did, in both pools.
    pub errors: RequestErrors,
}

/// What tells servers apart. The settings are the same for all of them, and their TLS settings may change: each connection
/// knows by itself whether it was made with those of now.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    scheme: Scheme,
    authority: Authority,
}

struct Entry {
    server: Arc<Server>,
    last_used: Instant,
}

/// The settings of [`Upstreams`].
///
/// | setting | default | why |
/// |---|---|---|
/// | [`https`](field@Self::https) | [`HttpsConfig`]'s | |
/// | [`http1`](field@Self::http1) | [`Builder`]'s, no idle connection ahead of need, and no second try of a connect | many servers are asked once, and a client wants to know at once that one refuses |
/// | [`http2`](field@Self::http2) | [`Http2PoolConfig`]'s | |
/// | [`max_servers`](field@Self::max_servers) | 1024 | bounds what a client can make a proxy connect to |
/// | [`idle_timeout`](field@Self::idle_timeout) | 300 s | as long as a connection lives |
/// | [`replay`](field@Self::replay) | on | a server may close an idle connection just as it is taken |
#[derive(Clone)]
#[non_exhaustive]
pub struct UpstreamsConfig {
    /// The settings of all connections.
    pub https: HttpsConfig,
    /// Makes the settings of a server's pool for HTTP/1.1.
    pub http1: Arc<dyn Fn() -> Builder<HttpsConnectionManager> + Send + Sync>,
    /// The settings of a server's pool for HTTP/2. Its [`https`](field@Http2PoolConfig::https) is not used.
    pub http2: Http2PoolConfig,
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
            https: HttpsConfig::default(),
            http1: Arc::new(|| Pool::builder().min_idle(None).retry_connection(false)),
            http2: Http2PoolConfig::default(),
            max_servers: 1024,
            idle_timeout: Duration::from_secs(300),
            replay: true,
        }
    }
}

impl UpstreamsConfig {
    /// Sets [`http1`](field@Self::http1).
    #[must_use]
    pub fn http1(
        mut self,
        http1: impl Fn() -> Builder<HttpsConnectionManager> + Send + Sync + 'static,
    ) -> Self {
        self.http1 = Arc::new(http1);
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
        config.https.tls = Some(connector(&config.https)?);
        Ok(Self(Arc::new(Inner { config, servers: Mutex::default() })))
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
        match self.server(request.uri()) {
            Ok(server) => server.send(request, self.0.config.replay).await,
            Err(error) => Err(error.with_request(request)),
        }
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
        let uri = |key: &Key| {
            Uri::builder()
                .scheme(key.scheme.clone())
                .authority(key.authority.clone())
                .path_and_query("/")
                .build()
        };
        let server = |(key, entry): (&Key, &Entry)| {
            let server = &entry.server;
            let (http1, http2, connects) = (server.http1(), server.http2(), server.connects());
            let errors = server.errors(http2.as_ref());
            Some(UpstreamServer { uri: uri(key).ok()?, http1, http2, connects, errors })
        };
        servers.by_key.iter().filter_map(server).collect()
    }

    /// The server that the URI names.
    fn server(&self, uri: &Uri) -> Result<Arc<Server>, HttpsError> {
        let key = Key::of(uri)?;
        let Inner { config, servers } = &*self.0;
        let now = Instant::now();
        if let Some(server) = servers.lock().find(&key, now)? {
            return Ok(server);
        }
        // Before another one makes room for it: it may be refused.
        let manager = HttpsConnectionManager::with_config(&key.to_string(), config.https.clone())?;
        let server = Arc::new(Server::new(manager, Arc::clone(&config.http1), &config.http2));
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
    fn find(&mut self, key: &Key, now: Instant) -> Result<Option<Arc<Server>>, HttpsError> {
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

impl Key {
    fn of(uri: &Uri) -> Result<Self, HttpsError> {
        let authority = uri.authority().filter(|authority| is_host_and_port(authority));
        let (Some(scheme), Some(authority)) = (uri.scheme(), authority) else {
            return Err(HttpsError::new(HttpsErrorKind::InvalidUri).named(&without_user(uri)));
        };
        let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        // One text for each server: `h:08443` and `h:8443` are the same.
        let text = match authority.port_u16() {
            Some(port) if port != default_port => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        let authority = text.parse().unwrap_or_else(|_| authority.clone());
        Ok(Self { scheme: scheme.clone(), authority })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl Entry {
    /// Whether nobody uses it. New users come by the lock of the map.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.server) == 1 && self.server.is_idle()
    }
}

/// Takes out the idle servers that have not been used since then.
fn forget(servers: &mut HashMap<Key, Entry>, since: Option<Instant>) -> Vec<Entry> {
    let Some(since) = since else { return Vec::new() };
    servers
        .extract_if(|_, entry| entry.last_used <= since && entry.is_idle())
        .map(|(_, entry)| entry)
        .collect()
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
    type Snapshot = Vec<UpstreamServer>;

    fn watch(&self) -> impl Fn() -> Option<Vec<UpstreamServer>> + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.0);
        move || Some(Self(inner.upgrade()?).servers())
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("servers", &self.servers()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_tell_servers_apart() {
        let is_same = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|uri| Key::of(&uri.parse().unwrap()).unwrap());
            one == other
        };
        for (other, expected) in [
            ("https://mill.example/grist?a=b", true),
            ("https://MILL.example", true),
            ("https://mill.example:443", true),
            ("https://mill.example:00443", true),
            ("https://mill.example:", true),
            ("https://mill.example:8443", false),
            ("http://mill.example:443", false),
            ("https://pond.example", false),
        ] {
            assert_eq!(is_same("https://mill.example", other), expected, "{other}");
        }
    }
}
