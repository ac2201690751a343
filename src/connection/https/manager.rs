//! Connections are made, checked and given up: what a pool calls.

use std::fmt;
use std::time::Duration;

use bb8::ManageConnection;
use http::{Request, Uri};
use tokio::time::timeout;

use super::config::{HealthCheck, HttpVersion, HttpsConfig};
use super::connection::{ConnectTimings, Facts, HttpsConnection, Made, Protocol, State};
use super::connection_limit::{Connecting, ConnectionLimit, ConnectionPermit};
use super::connects::{ConnectStats, Connects};
use super::error::{ConnectPhase, HttpsError, HttpsErrorKind};
use super::multiplexed;
use super::origin::Origin;
use super::request_body::RequestBody;
use super::request_errors::{Failures, RequestErrors};
use super::span::error_type;
use super::wire::{Traffic, Transport, Wire};
use crate::net::tls::{TlsConfig, TlsConnector, TlsIdentity};
use crate::net::{self, Endpoint, Stream, connect_to};
use crate::sync::Arc;

/// Makes and checks connections to one server, for a pool.
///
/// Each is one real connection: one TCP connection, with a TLS session of its own.
///
/// # Examples
///
/// ```no_run
/// use millpond::connection::Pool;
/// use millpond::connection::https::{HttpVersion, HttpsConfig, HttpsConnectionManager};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = HttpsConfig::default().version(HttpVersion::Http1).max_requests(Some(1_000));
/// let manager = HttpsConnectionManager::with_config("https://example.com", config)?;
/// let pool = Pool::builder().max_size(100).build(manager).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpsConnectionManager {
    origin: Arc<Origin>,
    config: Arc<HttpsConfig>,
    tls: Option<TlsConnector>,
    connects: Arc<Connects>,
    failures: Arc<Failures>,
    limit: Option<Arc<ConnectionLimit>>,
}

impl HttpsConnectionManager {
    /// A manager with the default settings for a server, such as `https://example.com` or `http://10.0.0.1:8080`. The path
    /// of the URI is ignored.
    ///
    /// # Errors
    ///
    /// [`HttpsErrorKind::InvalidUri`], or [`HttpsErrorKind::TlsConfig`] if the system's roots cannot be read.
    pub fn new(server: &str) -> Result<Self, HttpsError> {
        Self::with_config(server, HttpsConfig::default())
    }

    /// A manager for a server.
    ///
    /// It may block for milliseconds if [`HttpsConfig::tls`](field@HttpsConfig::tls) is not set: the system's roots are
    /// read. Managers for several servers should share a connector, and with it the sessions.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), or [`HttpsErrorKind::OutOfRange`].
    pub fn with_config(server: &str, config: HttpsConfig) -> Result<Self, HttpsError> {
        config.check()?;
        let invalid = |_| HttpsError::new(HttpsErrorKind::InvalidUri).named(&server);
        let origin = Origin::new(&server.parse::<Uri>().map_err(invalid)?)?;
        let tls = if origin.is_secure() {
            Some(connector(&config).map_err(|error| error.named(&origin))?)
        } else {
            None
        };
        let (connects, failures) = Default::default();
        Ok(Self { origin: Arc::new(origin), config: Arc::new(config), tls, connects, failures, limit: None })
    }

    /// The same manager, whose connections have a limit with those of others.
    pub(super) fn limited(self, limit: Arc<ConnectionLimit>) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The outcomes of the connects of this manager and of its clones. Clone the manager before a pool takes it.
    #[must_use]
    pub fn connect_stats(&self) -> ConnectStats {
        self.connects.snapshot()
    }

    /// The requests that failed on connections of this manager and of its clones. Clone the manager before a pool takes it.
    #[must_use]
    pub fn request_errors(&self) -> RequestErrors {
        self.failures.snapshot()
    }

    /// Counts a connect that has failed after the dial.
    pub(super) fn on_failed(&self, error: &HttpsError) {
        self.connects.on_failed(error);
    }

    /// Whether any connection was made.
    pub(super) fn has_connected(&self) -> bool {
        self.connects.has_connected()
    }

    /// Whether the last connection speaks HTTP/1.1.
    pub(super) fn last_speaks_http1(&self) -> bool {
        self.connects.last_speaks_http1()
    }

    async fn make(&self, kept: Option<ConnectionPermit>) -> Result<HttpsConnection, HttpsError> {
        let Dialed { wire, is_http2, facts, connecting: _connecting } = self.dial(kept).await?;
        let state = if is_http2 {
            let begun = self.in_time(ConnectPhase::Http, multiplexed::begin(wire, &self.config)).await;
            let begun = begun.flatten().map_err(|error| error.in_phase(ConnectPhase::Http));
            let begun = begun.map_err(|error| error.at(facts.remote_address));
            let (client, driver, _) = begun.inspect_err(|error| self.on_failed(error))?;
            tokio::spawn(driver.run(Arc::clone(&self.origin)));
            State::Http2(client)
        } else {
            State::Http1(wire)
        };
        Ok(self.made(state, facts))
    }

    fn made(&self, state: State, facts: Facts) -> HttpsConnection {
        let (origin, config) = (Arc::clone(&self.origin), Arc::clone(&self.config));
        let failures = Arc::clone(&self.failures);
        HttpsConnection::new(Made { state, origin, config, failures, facts })
    }

    /// As `connect`, with the permit of another connection.
    pub(super) async fn connect_with(
        &self,
        kept: Option<ConnectionPermit>,
    ) -> Result<HttpsConnection, HttpsError> {
        // On the heap, so that a task is not larger for the rest of its life because it once connected.
        Box::pin(self.make(kept)).await.map_err(|error| error.named(&self.origin))
    }

    /// A connection on which the server has chosen HTTP/1.1.
    pub(super) fn http1(&self, dialed: Dialed) -> HttpsConnection {
        self.made(State::Http1(dialed.wire), dialed.facts)
    }

    /// Connects, and begins TLS. A permit that was kept takes the place of a new one.
    pub(super) async fn dial(&self, kept: Option<ConnectionPermit>) -> Result<Dialed, HttpsError> {
        let permit = match (kept, &self.limit) {
            // As long as that of HTTP/2 that is closed for it may take to say goodbye.
            (None, Some(limit)) => Some(limit.acquire(self.config.handshake_timeout).await?),
            (kept, _) => kept,
        };
        let endpoint = self.config.endpoint.clone().unwrap_or_else(|| self.origin.endpoint());
        let span = connect_to(&endpoint);
        let dialed = net::traced(span, || self.dial_uncounted(endpoint, permit), error_type).await;
        match &dialed {
            Ok(dialed) => self.connects.on_connected(dialed.facts.info(dialed.protocol(), 0)),
            Err(error) => self.connects.on_failed(error),
        }
        dialed
    }

    async fn dial_uncounted(
        &self,
        endpoint: Endpoint,
        permit: Option<ConnectionPermit>,
    ) -> Result<Dialed, HttpsError> {
        let connecting = permit.as_ref().map(ConnectionPermit::connecting);
        let dialed = self.config.dial.connect_within(endpoint).await.map_err(HttpsError::of_net)?;
        let net::Dialed { stream, lookup, connect, .. } = dialed;
        let remote_address = stream.peer_address();
        let secured = self.secure(stream).await.map_err(|error| error.at(remote_address))?;
        let Secured { transport, is_http2, identity, tls, is_resumed } = secured;
        let traffic = Arc::new(Traffic::default());
        Ok(Dialed {
            wire: Wire::new(transport, Arc::clone(&traffic), permit),
            is_http2,
            facts: Facts {
                remote_address,
                identity,
                is_resumed,
                timings: ConnectTimings { lookup, connect, tls },
                traffic,
            },
            connecting,
        })
    }

    async fn secure(&self, stream: Stream) -> Result<Secured, HttpsError> {
        let wanted = self.config.version;
        let Some(connector) = &self.tls else {
            let is_http2 = wanted == HttpVersion::Http2;
            return Ok(Secured {
                transport: Transport::Plain(stream),
                is_http2,
                identity: None,
                tls: None,
                is_resumed: false,
            });
        };
        let offers = match connector.alpn() {
            [] => offered(wanted).iter().map(|name| name.as_bytes().to_vec()).collect(),
            configured => configured.to_vec(),
        };
        let handshake = connector.connect_offering(&offers, self.origin.host(), stream);
        let stream = self.in_time(ConnectPhase::Tls, handshake).await?;
        let stream = stream.map_err(HttpsError::of_tls)?;
        let is_http2 = stream.alpn() == Some(b"h2");
        let is_wanted = if is_http2 { wanted != HttpVersion::Http1 } else { wanted != HttpVersion::Http2 };
        if !is_wanted {
            return Err(HttpsError::new(HttpsErrorKind::WrongVersion)
                .in_phase(ConnectPhase::Http)
                .because("choose another HttpVersion, or let it be negotiated"));
        }
        let (identity, tls, is_resumed) =
            (Some(stream.identity()), Some(stream.handshake_time()), stream.is_resumed());
        Ok(Secured { transport: Transport::Tls(Box::new(stream)), is_http2, identity, tls, is_resumed })
    }

    /// Whether connections may speak HTTP/2.
    pub(super) fn may_speak_http2(&self) -> bool {
        match self.config.version {
            HttpVersion::Negotiated => self.origin.is_secure(),
            HttpVersion::Http1 => false,
            HttpVersion::Http2 => true,
        }
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    pub(super) fn config(&self) -> &HttpsConfig {
        &self.config
    }

    #[cfg(feature = "websocket")]
    pub(super) fn tls(&self) -> Option<&TlsConnector> {
        self.tls.as_ref()
    }

    pub(super) async fn in_time<T>(
        &self,
        phase: ConnectPhase,
        work: impl Future<Output = T>,
    ) -> Result<T, HttpsError> {
        let after = self.config.handshake_timeout;
        let too_late = |_| HttpsError::new(HttpsErrorKind::HandshakeTimeout { after }).in_phase(phase);
        timeout(after, work).await.map_err(too_late)
    }
}

/// A connection before HTTP begins.
pub(super) struct Dialed {
    pub(super) wire: Wire,
    pub(super) is_http2: bool,
    pub(super) facts: Facts,
    /// Until somebody can take the connection.
    pub(super) connecting: Option<Connecting>,
}

impl Dialed {
    fn protocol(&self) -> Protocol {
        if self.is_http2 { Protocol::Http2 } else { Protocol::Http1 }
    }
}

/// TLS has begun, or is not wanted.
struct Secured {
    transport: Transport,
    is_http2: bool,
    identity: Option<TlsIdentity>,
    tls: Option<Duration>,
    is_resumed: bool,
}

/// Asks the server whether it is there.
async fn ask(connection: &mut HttpsConnection, path: &str) -> Result<(), HttpsError> {
    let invalid = |error: http::Error| HttpsError::new(HttpsErrorKind::InvalidRequest).because(error);
    let request = Request::head(path).body(RequestBody::empty()).map_err(invalid)?;
    let response = HttpsConnection::send_untraced(connection, request).await?;
    if response.status().is_server_error() {
        return Err(HttpsError::new(HttpsErrorKind::Unhealthy(response.status())));
    }
    Ok(())
}

/// The configured connector, or a new one with the default settings.
pub(super) fn connector(config: &HttpsConfig) -> Result<TlsConnector, HttpsError> {
    if let Some(connector) = &config.tls {
        return Ok(connector.clone());
    }
    TlsConfig::new().build().map_err(|error| HttpsError::new(HttpsErrorKind::TlsConfig).because(error))
}

/// The protocols for ALPN, the preferred one first.
fn offered(version: HttpVersion) -> &'static [&'static str] {
    match version {
        HttpVersion::Negotiated => &["h2", "http/1.1"],
        HttpVersion::Http1 => &["http/1.1"],
        HttpVersion::Http2 => &["h2"],
    }
}

impl ManageConnection for HttpsConnectionManager {
    type Connection = HttpsConnection;
    type Error = HttpsError;

    /// Looks up the name, connects, and begins TLS and HTTP.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes what it opened.
    async fn connect(&self) -> Result<HttpsConnection, HttpsError> {
        self.connect_with(None).await
    }

    /// Whether the connection is alive, by the configured [`HealthCheck`].
    async fn is_valid(&self, connection: &mut HttpsConnection) -> Result<(), HttpsError> {
        let remote_address = connection.remote_address();
        let after = self.config.health_timeout;
        let checked = match &self.config.health_check {
            _ if !connection.is_usable() => Ok(Err(HttpsError::new(HttpsErrorKind::Closed))),
            HealthCheck::Known => Ok(Ok(())),
            HealthCheck::Head(path) => timeout(after, Box::pin(ask(connection, path))).await,
            HealthCheck::Ping => timeout(after, Box::pin(connection.check())).await,
        };
        let checked =
            checked.unwrap_or_else(|_| Err(HttpsError::new(HttpsErrorKind::HealthTimeout { after })));
        checked.map_err(|error| error.named(&self.origin).at(remote_address))
    }

    /// Whether the server has closed the connection or sent something that nobody asked for, or the last request has not
    /// come to its end, or was the last that is allowed, or the TLS settings are others since a
    /// [reload](TlsConnector::reload). It costs a system call only if something has arrived.
    fn has_broken(&self, connection: &mut HttpsConnection) -> bool {
        !connection.is_usable()
    }
}

impl fmt::Debug for HttpsConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsConnectionManager")
            .field("server", &format_args!("{}", self.origin))
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
