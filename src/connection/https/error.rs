//! What failed: in which phase of a connect, at which address, and whether a request may be sent again.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::client::conn::TrySendError;

use super::request_body::RequestBody;
use crate::connection::RunError;
use crate::connection::error::write_with_sources;
use crate::net;
use crate::net::tls::{TlsError, TlsErrorKind};
use crate::sync::{Arc, Mutex};

/// Why a connection could not be made, or a request failed.
///
/// `{error}` is one line that leaves out the cause. The cause is the [`source`](Error::source), and `{error:?}` shows both.
pub struct HttpsError(Box<Inner>);

struct Inner {
    kind: HttpsErrorKind,
    phase: Option<ConnectPhase>,
    server: String,
    address: Option<SocketAddr>,
    /// A body that streams may not be shared between threads, and an error must be.
    request: Mutex<Option<Request<RequestBody>>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// A clone has no [request](HttpsError::take_request).
impl Clone for HttpsError {
    fn clone(&self) -> Self {
        let Inner { kind, phase, server, address, request: _, source } = &*self.0;
        Self(Box::new(Inner {
            kind: kind.clone(),
            phase: *phase,
            server: server.clone(),
            address: *address,
            request: Mutex::new(None),
            source: source.clone(),
        }))
    }
}

/// A phase of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectPhase {
    /// The name's addresses are looked up.
    Lookup,
    /// A TCP or Unix connection is made.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The start of HTTP.
    Http,
}

/// What happened, as far as a program can react to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpsErrorKind {
    /// The URI has no scheme `http` or `https`, no host, or a user.
    InvalidUri,
    /// The TLS settings are wrong.
    TlsConfig,
    /// The setting of this name is out of its range.
    OutOfRange(&'static str),
    /// [`StalledReader::Spill`](super::StalledReader::Spill) has a pool of buffers without a memory limit.
    UnlimitedSpill,
    /// The lookup or the connect failed. The source is a [`net::Error`]. Its own source, an [`io::Error`], tells whether the
    /// server refused: [`ConnectionRefused`](io::ErrorKind::ConnectionRefused).
    Net(net::ErrorKind),
    /// TLS failed.
    Tls(TlsErrorKind),
    /// TLS or HTTP did not begin in time.
    HandshakeTimeout {
        /// The time limit.
        after: Duration,
    },
    /// The server does not speak the wanted version of HTTP.
    WrongVersion,
    /// HTTP/2: a connect of a pool panicked, such as in a [resolver](crate::net::Resolve) or a verifier of certificates.
    ConnectPanicked,
    /// The connection was closed before the request was sent.
    Closed,
    /// The connection was closed before the whole response had arrived. Whether the request was processed is unknown.
    Incomplete,
    /// HTTP/2: the server is about to close the connection, with this code. It has not processed the request.
    GoAway(u32),
    /// HTTP/2: the stream was reset, with this code. With code 7 the server has not processed the request.
    Reset(u32),
    /// The server does not answer pings.
    PingTimeout,
    /// What the server sent is not HTTP, or exceeds a limit.
    InvalidResponse,
    /// The request is not valid, or its body failed, such as one that is not as long as its `Content-Length`.
    InvalidRequest,
    /// The head of the request contradicts its body, or it is a `CONNECT` over HTTP/1.1. Nothing was sent:
    /// [`HttpsConnection::send`](super::HttpsConnection::send).
    InvalidHead,
    /// The answer to a health check.
    Unhealthy(StatusCode),
    /// No answer to a health check came in time.
    HealthTimeout {
        /// The time limit.
        after: Duration,
    },
    /// The body of the response was not read for this long while data waited, so that its stream was reset.
    ReaderStalled {
        /// The time limit.
        after: Duration,
    },
    /// As many requests wait for a connection as are allowed.
    PoolFull,
    /// No connection was free within this time. If a connect has failed in it or has not ended, that is the source.
    PoolTimeout {
        /// The time limit.
        after: Duration,
    },
    /// The pool is closed.
    PoolClosed,
    /// As many connections as [`max_connections`](field@super::UpstreamsConfig::max_connections) are open, and none is idle.
    TooManyConnections,
    /// The server has failed, so its breaker is open: that of [its requests](field@super::UpstreamsConfig::breaker), or that of
    /// [the pool's connects](crate::connection::Builder::breaker).
    BreakerOpen {
        /// The time after which it makes sense to ask again.
        retry_in: Duration,
    },
    /// As many servers as [`max_servers`](field@super::UpstreamsConfig::max_servers) are in use.
    TooManyServers,
    /// Reading or writing failed.
    Io(io::ErrorKind),
    /// hyper failed in another way.
    Other,
}

impl HttpsError {
    pub(super) fn new(kind: HttpsErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            phase: None,
            server: String::new(),
            address: None,
            request: Mutex::new(None),
            source: None,
        }))
    }

    /// An error of a request or a body.
    pub(super) fn of_request(error: hyper::Error) -> Self {
        let kind = HttpsErrorKind::of(&error);
        Self::new(kind).because(error)
    }

    /// An error that may have left the request.
    pub(super) fn of_unsent(mut error: TrySendError<Request<RequestBody>>) -> Self {
        let request = error.take_message();
        let mut error = Self::of_request(error.into_error());
        if request.is_some() {
            error.0.kind = HttpsErrorKind::Closed;
        }
        error.0.request = Mutex::new(request);
        error
    }

    /// An error of an HTTP/2 connection or of a stream.
    pub(super) fn of_h2(error: h2::Error) -> Self {
        let kind = HttpsErrorKind::of_h2(&error);
        Self::new(kind).because(error)
    }

    /// That a pool gave no connection within this time, or why.
    pub(super) fn of_pool(error: RunError<Self>, after: Duration) -> Self {
        let failing = match error {
            RunError::User(error) => return error,
            RunError::TimedOut => return Self::new(HttpsErrorKind::PoolTimeout { after }),
            RunError::PoolFull => return Self::new(HttpsErrorKind::PoolFull),
            RunError::BreakerOpen { retry_in } => return Self::new(HttpsErrorKind::BreakerOpen { retry_in }),
            RunError::Closed => return Self::new(HttpsErrorKind::PoolClosed),
            RunError::ConnectFailing(failing) => failing,
        };
        match failing.error() {
            Some(error) => error.clone(),
            None => Self::new(HttpsErrorKind::PoolTimeout { after }).because(failing.last_error()),
        }
    }

    pub(super) fn of_net(error: net::Error) -> Self {
        let mut this = Self::new(HttpsErrorKind::Net(error.kind()));
        let is_lookup = matches!(error.kind(), net::ErrorKind::Lookup | net::ErrorKind::LookupTimeout { .. });
        this.0.phase = Some(if is_lookup { ConnectPhase::Lookup } else { ConnectPhase::Connect });
        this.0.address = error.address();
        this.because(error)
    }

    pub(super) fn of_tls(error: TlsError) -> Self {
        Self::new(HttpsErrorKind::Tls(error.kind().clone())).in_phase(ConnectPhase::Tls).because(error)
    }

    pub(super) fn with_request(mut self, request: Request<RequestBody>) -> Self {
        self.0.request = Mutex::new(Some(request));
        self
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// Names the server, without a user and its password: errors are logged.
    pub(super) fn named(mut self, server: &impl fmt::Display) -> Self {
        let server = server.to_string();
        self.0.server = server.rsplit_once('@').map_or(&*server, |(_, host)| host).to_owned();
        self
    }

    /// The error of an HTTP/1.1 request to a server that speaks HTTP/2 only.
    pub(super) fn met_http2(mut self) -> Self {
        self.0.kind = HttpsErrorKind::WrongVersion;
        self.in_phase(ConnectPhase::Http)
            .because("it begins as HTTP/2 does (set HttpVersion::Http2: without TLS, nothing is negotiated)")
    }

    pub(super) fn in_phase(mut self, phase: ConnectPhase) -> Self {
        self.0.phase = Some(phase);
        self
    }

    pub(super) fn at(mut self, address: Option<SocketAddr>) -> Self {
        self.0.address = self.0.address.or(address);
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> &HttpsErrorKind {
        &self.0.kind
    }

    /// The phase of the connect that failed.
    #[must_use]
    pub fn phase(&self) -> Option<ConnectPhase> {
        self.0.phase
    }

    /// The address of the server, if there was one. Where a name has several and none answered, the first that failed.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Whether a time limit expired.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(
            &self.0.kind,
            HttpsErrorKind::Net(net::ErrorKind::ConnectTimeout { .. } | net::ErrorKind::LookupTimeout { .. })
                | HttpsErrorKind::HandshakeTimeout { .. }
                | HttpsErrorKind::HealthTimeout { .. }
                | HttpsErrorKind::PingTimeout
                | HttpsErrorKind::PoolTimeout { .. }
        )
    }

    /// Whether it is certain that the server has not processed the request, so that it may be sent again even if it is not
    /// idempotent. That holds for errors before anything was sent, too, such as [`HttpsErrorKind::InvalidUri`].
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        let refused = u32::from(h2::Reason::REFUSED_STREAM);
        self.0.phase.is_some()
            || match self.0.kind {
                HttpsErrorKind::InvalidUri
                | HttpsErrorKind::TlsConfig
                | HttpsErrorKind::OutOfRange(_)
                | HttpsErrorKind::UnlimitedSpill
                | HttpsErrorKind::ConnectPanicked
                | HttpsErrorKind::Closed
                | HttpsErrorKind::InvalidHead
                | HttpsErrorKind::GoAway(_)
                | HttpsErrorKind::PoolFull
                | HttpsErrorKind::PoolTimeout { .. }
                | HttpsErrorKind::PoolClosed
                | HttpsErrorKind::TooManyConnections
                | HttpsErrorKind::BreakerOpen { .. }
                | HttpsErrorKind::TooManyServers => true,
                HttpsErrorKind::Reset(code) => code == refused,
                _ => false,
            }
    }

    /// Whether [`take_request`](Self::take_request) returns one.
    #[cfg_attr(not(feature = "resilience"), expect(dead_code, reason = "only regions look"))]
    pub(crate) fn has_request(&self) -> bool {
        self.0.request.lock().is_some()
    }

    /// The request, if nothing of it was sent, so that it can be sent on another connection.
    pub fn take_request(&mut self) -> Option<Request<RequestBody>> {
        self.0.request.lock().take()
    }
}

impl HttpsErrorKind {
    fn of_h2(error: &h2::Error) -> Self {
        match error.reason().map(u32::from) {
            Some(code) if error.is_remote() && error.is_go_away() => Self::GoAway(code),
            Some(code) if error.is_remote() && error.is_reset() => Self::Reset(code),
            _ if error.is_library() => Self::InvalidResponse,
            _ => match error.get_io() {
                Some(io) => match io.kind() {
                    // h2 calls its end so, and TLS that of a server that has crashed.
                    io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Self::Incomplete,
                    kind => Self::of_tls(io).unwrap_or(Self::Io(kind)),
                },
                None => Self::InvalidRequest,
            },
        }
    }

    /// If TLS failed.
    fn of_tls(error: &(dyn Error + 'static)) -> Option<Self> {
        match TlsError::find(error)?.kind() {
            // A server that has crashed cannot end TLS before it closes the connection.
            TlsErrorKind::UnexpectedEof => Some(Self::Incomplete),
            kind => Some(Self::Tls(kind.clone())),
        }
    }

    fn of(error: &hyper::Error) -> Self {
        if let Some(kind) = Self::of_tls(error) {
            return kind;
        }
        if error.is_user() {
            Self::InvalidRequest
        } else if error.is_parse() {
            Self::InvalidResponse
        } else if error.is_incomplete_message() {
            Self::Incomplete
        } else if error.is_canceled() || error.is_closed() {
            Self::Closed
        } else if let Some(error) = find::<io::Error>(error) {
            match error.kind() {
                // So hyper reports a body that is shorter than its length, or lacks its last chunk.
                io::ErrorKind::UnexpectedEof => Self::Incomplete,
                // And so chunks that are none; those of TLS were found above.
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::InvalidResponse,
                kind => Self::Io(kind),
            }
        } else {
            Self::Other
        }
    }
}

/// The first source of this type.
fn find<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// One line that says what to do, except where the [`source`](Error::source) says it. `{error:?}` shows both.
impl fmt::Display for HttpsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, server, address, phase, .. } = &*self.0;
        let at = address.map_or_else(String::new, |address| format!(" at {address}"));
        match kind {
            HttpsErrorKind::InvalidUri => {
                write!(
                    f,
                    "{server} is not the URL of a server; write https://HOST:PORT or http://HOST:PORT, without a user"
                )
            }
            HttpsErrorKind::TlsConfig => f.write_str("the TLS settings are wrong"),
            HttpsErrorKind::OutOfRange(setting) => {
                write!(
                    f,
                    "{setting} is out of its range; the documentation of this setting says what it may be"
                )
            }
            HttpsErrorKind::UnlimitedSpill => {
                f.write_str("responses would be spilled without a limit; give their buffers a memory_limit")
            }
            HttpsErrorKind::Net(_) => write!(f, "no connection to {server}"),
            HttpsErrorKind::Tls(_) if phase.is_some() => {
                write!(f, "the TLS handshake with {server}{at} failed")
            }
            HttpsErrorKind::Tls(_) => write!(f, "TLS with {server}{at} ended"),
            HttpsErrorKind::HandshakeTimeout { after } => {
                let (what, protocol) = match phase {
                    Some(ConnectPhase::Tls) => ("TLS handshake", "TLS"),
                    _ => ("start of HTTP/2", "HTTP/2"),
                };
                write!(f, "{server}{at}: no {what} within {after:?}; check that this port speaks {protocol}")
            }
            HttpsErrorKind::WrongVersion => {
                write!(f, "{server}{at} does not speak the wanted version of HTTP")
            }
            HttpsErrorKind::ConnectPanicked => {
                write!(f, "a connect to {server} panicked (the panic's own message says where)")
            }
            HttpsErrorKind::Closed => {
                write!(
                    f,
                    "the connection to {server}{at} was closed before the request was sent (send it again)"
                )
            }
            // Only HTTP/2 begins with words of the server.
            HttpsErrorKind::InvalidResponse | HttpsErrorKind::Incomplete
                if *phase == Some(ConnectPhase::Http) =>
            {
                write!(
                    f,
                    "{server}{at} does not speak HTTP/2 (choose HTTP/1.1; with TLS, let the version be negotiated)"
                )
            }
            HttpsErrorKind::Incomplete => write!(
                f,
                "{server}{at} closed the connection before the whole response had arrived (repeat the request if it is idempotent)"
            ),
            HttpsErrorKind::GoAway(code) => write!(
                f,
                "{server}{at} closes the connection, code {code} ({})",
                h2::Reason::from(*code).description()
            ),
            HttpsErrorKind::Reset(code) => {
                write!(
                    f,
                    "{server}{at} has reset the stream, code {code} ({})",
                    h2::Reason::from(*code).description()
                )
            }
            HttpsErrorKind::PingTimeout => {
                write!(f, "{server}{at} did not answer a ping; check that it is alive")
            }
            HttpsErrorKind::InvalidResponse => {
                write!(f, "{server}{at} sent an invalid response, or one that is too long")
            }
            HttpsErrorKind::InvalidRequest => {
                write!(f, "the request to {server} is not valid, or its body failed")
            }
            HttpsErrorKind::InvalidHead => write!(f, "the head of the request to {server} is not valid"),
            HttpsErrorKind::Unhealthy(status) => {
                write!(f, "{server}{at} answered a health check with {status} (choose a path that it serves)")
            }
            HttpsErrorKind::HealthTimeout { after } => {
                write!(
                    f,
                    "{server}{at} did not answer a health check within {after:?}; check that it is alive"
                )
            }
            HttpsErrorKind::ReaderStalled { after } => write!(
                f,
                "a response of {server}{at} was reset: it was not read for {after:?}, and held up others on its connection"
            ),
            HttpsErrorKind::PoolFull => {
                write!(
                    f,
                    "as many requests to {server} wait as are allowed (try later, or raise max_waiting)"
                )
            }
            HttpsErrorKind::PoolTimeout { after } if self.0.source.is_some() => {
                write!(f, "no connection to {server} within {after:?}")
            }
            HttpsErrorKind::PoolTimeout { after } => {
                write!(
                    f,
                    "no connection to {server} was free within {after:?} (try later, or raise max_connections; over HTTP/1.1, max_size)"
                )
            }
            HttpsErrorKind::PoolClosed => write!(f, "the pool of connections to {server} is closed"),
            HttpsErrorKind::TooManyConnections => write!(
                f,
                "no connection to {server}: too many are in use already, to all servers together (try later, or raise max_connections)"
            ),
            HttpsErrorKind::BreakerOpen { retry_in } => {
                write!(f, "{server} has failed, so its breaker is open (ask again in {retry_in:.1?})")
            }
            HttpsErrorKind::TooManyServers => {
                write!(
                    f,
                    "no connection to {server}: too many servers are in use already (raise max_servers)"
                )
            }
            HttpsErrorKind::Io(_) => write!(f, "the connection to {server}{at} failed"),
            HttpsErrorKind::Other => write!(f, "a request to {server}{at} failed"),
        }
    }
}

/// The message and its sources: a pool shows errors of its manager so.
impl fmt::Debug for HttpsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_sources(self, f)
    }
}

impl Error for HttpsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests;
