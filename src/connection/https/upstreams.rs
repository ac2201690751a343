//! Pools for many servers: one per server, made when it is first asked for.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, Uri};
use tower_service::Service;

use super::config::HttpsConfig;
use super::connection::HttpsConnection;
use super::connects::ConnectStats;
use super::error::{HttpsError, HttpsErrorKind};
use super::manager::{HttpsConnectionManager, connector};
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use super::upstream_error::UpstreamError;
use crate::connection::{Builder, Pool, PooledConnection, State};
use crate::net::setters;
use crate::net::tls::{TlsConnector, TlsIdentity};
use crate::sync::{Arc, Mutex};

/// The pool of one server.
type HttpsPool = Pool<HttpsConnectionManager>;

/// The response of an upstream server. Its body returns the connection to the pool of that server.
pub type UpstreamResponse = Response<ResponseBody<PooledConnection<'static, HttpsConnectionManager>>>;

/// Pools for many servers: one per server, made when it is first asked for. Clones share the pools.
///
/// Two requests share connections if scheme, host and port are the same, and the TLS settings were when the connections were
/// made: after a [reload](crate::net::tls::TlsConnector::reload) that found changes, a server has a new pool, and the old one
/// ends when it is idle.
///
/// The most connections per server are those of its pool, and requests beyond it wait, first come, first served.
///
/// # Examples
///
/// ```no_run
/// use http::Request;
/// use millpond::connection::https::{RequestBody, Upstreams, UpstreamsConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let upstreams = Upstreams::new(UpstreamsConfig::default())?;
/// let request = Request::get("https://example.com/").body(RequestBody::empty())?;
/// let response = upstreams.send(request).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    config: UpstreamsConfig,
    servers: Mutex<HashMap<Key, Server>>,
}

/// A server that has a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamServer {
    /// Its scheme, host and port.
    pub uri: Uri,
    /// Its pool.
    pub pool: State,
    /// What the connects to it came to.
    pub connects: ConnectStats,
}

/// All that decides whether a connection may carry a request. The other settings are the same for all servers.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    scheme: Scheme,
    authority: Authority,
    tls: Option<TlsIdentity>,
}

struct Server {
    manager: HttpsConnectionManager,
    pool: HttpsPool,
    last_used: Instant,
}

/// The settings of [`Upstreams`].
///
/// | setting | default | why |
/// |---|---|---|
/// | [`https`](field@Self::https) | [`HttpsConfig`]'s | |
/// | [`pool`](field@Self::pool) | [`Builder`]'s, no idle connection ahead of need, and no second try of a connect | many servers are asked once, and a client wants to know at once that one refuses |
/// | [`max_servers`](field@Self::max_servers) | 1024 | bounds what a client can make a proxy connect to |
/// | [`idle_timeout`](field@Self::idle_timeout) | 300 s | as long as a connection lives |
/// | [`replay`](field@Self::replay) | on | a server may close an idle connection just as it is taken |
#[derive(Clone)]
#[non_exhaustive]
pub struct UpstreamsConfig {
    /// The settings of all connections.
    pub https: HttpsConfig,
    /// Makes the settings of a server's pool.
    pub pool: fn() -> Builder<HttpsConnectionManager>,
    /// The most servers.
    pub max_servers: usize,
    /// The time after which a server that nobody asks is forgotten, when there is another new one.
    pub idle_timeout: Duration,
    /// Whether a request is sent once more if its connection, which had served another one before, fails. Only one that the
    /// server has not processed for certain, or that is idempotent and whose body does not stream.
    pub replay: bool,
}

impl Default for UpstreamsConfig {
    fn default() -> Self {
        Self {
            https: HttpsConfig::default(),
            pool: || Pool::builder().min_idle(None).retry_connection(false),
            max_servers: 1024,
            idle_timeout: Duration::from_secs(300),
            replay: true,
        }
    }
}

impl UpstreamsConfig {
    setters! {
        https: HttpsConfig,
        pool: fn() -> Builder<HttpsConnectionManager>,
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
    /// [`HttpsErrorKind::TlsConfig`].
    pub fn new(mut config: UpstreamsConfig) -> Result<Self, HttpsError> {
        config.https.tls = Some(connector(&config.https)?);
        Ok(Self(Arc::new(Inner { config, servers: Mutex::new(HashMap::new()) })))
    }

    /// Sends a request to the server that its URI names, and waits for the head of the response.
    ///
    /// # Errors
    ///
    /// That there is no connection, or why the request failed.
    ///
    /// # Cancel safety
    ///
    /// That of [`Pool::get`] and of [`HttpsConnection::send`].
    pub async fn send(&self, request: Request<RequestBody>) -> Result<UpstreamResponse, UpstreamError> {
        let pool = self.pool(request.uri())?;
        let connection = pool.get_owned().await?;
        // A new connection does not fail for having idled.
        let may_replay = self.0.config.replay && connection.requests() > 0;
        let copy = if may_replay { copy(&request) } else { None };
        let mut error = match HttpsConnection::send(connection, request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let unsent = error.take_request().filter(|_| may_replay);
        let Some(request) = unsent.or(copy.filter(|copy| is_replayable(&error, copy.method()))) else {
            return Err(error.into());
        };
        // What ended one connection has often ended others.
        pool.retain(HttpsConnection::is_usable);
        Ok(HttpsConnection::send(pool.get_owned().await?, request).await?)
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
        let server = |(key, server): (&Key, &Server)| {
            let (pool, connects) = (server.pool.state(), server.manager.connect_stats());
            Some(UpstreamServer { uri: uri(key).ok()?, pool, connects })
        };
        servers.iter().filter_map(server).collect()
    }

    /// The pool of the server that the URI names.
    fn pool(&self, uri: &Uri) -> Result<HttpsPool, UpstreamError> {
        let key = self.key(uri)?;
        let Inner { config, servers } = &*self.0;
        let now = Instant::now();
        let mut servers = servers.lock();
        if let Some(server) = servers.get_mut(&key) {
            server.last_used = now;
            return Ok(server.pool.clone());
        }
        let mut forgotten = forget(&mut servers, now.checked_sub(config.idle_timeout));
        if servers.len() >= config.max_servers {
            let oldest =
                servers.values().filter(|server| server.is_idle()).map(|server| server.last_used).min();
            forgotten.extend(forget(&mut servers, oldest));
        }
        if servers.len() >= config.max_servers {
            return Err(UpstreamError::TooManyServers);
        }
        let manager = HttpsConnectionManager::with_config(
            &format!("{}://{}", key.scheme, key.authority),
            config.https.clone(),
        )?;
        let pool = (config.pool)().build_unchecked(manager.clone());
        servers.insert(key, Server { manager, pool: pool.clone(), last_used: now });
        // Their connections are closed without the lock.
        drop(servers);
        drop(forgotten);
        Ok(pool)
    }

    fn key(&self, uri: &Uri) -> Result<Key, HttpsError> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(HttpsError::new(HttpsErrorKind::InvalidUri).named(uri));
        };
        let is_secure = *scheme == Scheme::HTTPS;
        let default_port = if is_secure { 443 } else { 80 };
        let authority = match authority.port_u16() {
            Some(port) if port == default_port => {
                authority.host().parse().unwrap_or_else(|_| authority.clone())
            }
            _ => authority.clone(),
        };
        let tls = self.0.config.https.tls.as_ref().filter(|_| is_secure).map(TlsConnector::identity);
        Ok(Key { scheme: scheme.clone(), authority, tls })
    }
}

impl Server {
    /// Whether nobody uses a connection or waits for one.
    fn is_idle(&self) -> bool {
        let state = self.pool.state();
        state.connections == state.idle_connections && state.waiting == 0
    }
}

/// Takes out the idle servers that have not been used since then.
fn forget(servers: &mut HashMap<Key, Server>, since: Option<Instant>) -> Vec<Server> {
    let Some(since) = since else { return Vec::new() };
    servers
        .extract_if(|_, server| server.last_used <= since && server.is_idle())
        .map(|(_, server)| server)
        .collect()
}

/// Whether a request whose connection failed with this error may be sent again.
fn is_replayable(error: &HttpsError, method: &Method) -> bool {
    let is_lost =
        matches!(error.kind(), HttpsErrorKind::Closed | HttpsErrorKind::Incomplete | HttpsErrorKind::Io(_));
    error.is_unprocessed() || (is_lost && method.is_idempotent())
}

/// The same request once more, if its body does not stream.
fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let mut copy = Request::new(request.body().try_clone()?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}

impl Service<Request<RequestBody>> for Upstreams {
    type Response = UpstreamResponse;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<UpstreamResponse, UpstreamError>> + Send>>;

    /// Always ready: a request waits for its own server.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.send(request).await })
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
        let upstreams = Upstreams::new(UpstreamsConfig::default()).unwrap();
        let is_same = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|uri| upstreams.key(&uri.parse().unwrap()).unwrap());
            one == other
        };
        for (other, expected) in [
            ("https://mill.example/grist?a=b", true),
            ("https://MILL.example", true),
            ("https://mill.example:443", true),
            ("https://mill.example:8443", false),
            ("http://mill.example:443", false),
            ("https://pond.example", false),
        ] {
            assert_eq!(is_same("https://mill.example", other), expected, "{other}");
        }
    }
}
