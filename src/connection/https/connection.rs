//! One connection, and what is known of it.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::net::SocketAddr;
use std::ops::DerefMut;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, Response};

use super::config::HttpsConfig;
use super::connection_limit::ConnectionPermit;
use super::error::{HttpsError, HttpsErrorKind};
use super::exchange::Exchange;
use super::head;
use super::multiplexed::Client;
use super::origin::Origin;
use super::request_body::RequestBody;
use super::request_errors::Failures;
use super::response_body::{ResponseBody, Source};
use super::span::traced;
use super::wire::{Traffic, Wire};
use crate::net::tls::TlsIdentity;
use crate::sync::Arc;

/// An HTTP/1.1 or HTTP/2 connection to one server. Made by an
/// [`HttpsConnectionManager`](super::HttpsConnectionManager).
pub struct HttpsConnection {
    state: State,
    protocol: Protocol,
    origin: Arc<Origin>,
    config: Arc<HttpsConfig>,
    failures: Arc<Failures>,
    facts: Facts,
    created: Instant,
    last_used: Instant,
    requests: u64,
    errors: u64,
}

/// What requests are sent on.
pub(super) enum State {
    Http1(Wire),
    Http2(Client),
    /// An HTTP/1.1 connection that a request uses, or one that is closed because a request has not come to its end.
    Gone,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How long the phases of a connect took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectTimings {
    /// The lookup of the name. Zero where there is no name, and little if another connect had asked already.
    pub lookup: Duration,
    /// The TCP or Unix connection.
    pub connect: Duration,
    /// The TLS handshake, if there is TLS.
    pub tls: Option<Duration>,
}

/// What a new connection is made of.
pub(super) struct Made {
    pub(super) state: State,
    pub(super) origin: Arc<Origin>,
    pub(super) config: Arc<HttpsConfig>,
    /// Of all connections of its manager.
    pub(super) failures: Arc<Failures>,
    pub(super) facts: Facts,
}

/// What is known of a connection from its beginning.
pub(super) struct Facts {
    pub(super) remote_address: Option<SocketAddr>,
    /// What TLS was begun with, where there is TLS.
    pub(super) identity: Option<TlsIdentity>,
    pub(super) is_resumed: bool,
    pub(super) timings: ConnectTimings,
    pub(super) traffic: Arc<Traffic>,
}

impl Facts {
    /// Whether the TLS settings are others since a reload.
    pub(super) fn is_outdated(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| !identity.is_current())
    }

    pub(super) fn info(&self, protocol: Protocol, requests_before: u64) -> ConnectionInfo {
        let Self { remote_address, identity: _, is_resumed, timings, traffic: _ } = *self;
        ConnectionInfo { protocol, remote_address, is_resumed, timings, requests_before }
    }
}

/// The connection on which a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The version of HTTP that it speaks.
    pub protocol: Protocol,
    /// The address of the server. None over a Unix socket.
    pub remote_address: Option<SocketAddr>,
    /// Whether TLS resumed an earlier session. Not without TLS.
    pub is_resumed: bool,
    /// How long the phases of its connect took.
    pub timings: ConnectTimings,
    /// Requests that it had carried before this one. A new connection has 0.
    pub requests_before: u64,
}

impl HttpsConnection {
    pub(super) fn new(made: Made) -> Self {
        let Made { state, origin, config, failures, facts } = made;
        let created = Instant::now();
        Self {
            protocol: if matches!(state, State::Http2(_)) { Protocol::Http2 } else { Protocol::Http1 },
            state,
            origin,
            config,
            failures,
            facts,
            created,
            last_used: created,
            requests: 0,
            errors: 0,
        }
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// `connection` is what a pool gives out, or anything else that dereferences to a connection, such as a `Box` or a
    /// mutable reference. The body of the response carries it, and lets go of it when it has been read to its end.
    ///
    /// A path is enough for the URI of the request. `Host` or `:authority` is that of the header `Host`, or else of the URI,
    /// and where there is neither, the manager's.
    ///
    /// Over HTTP/1.1 the body of the request is sent while this waits, and while the response's body is read.
    ///
    /// # The length of the body
    ///
    /// `Content-Length` and `Transfer-Encoding` may be left out. A server believes what they say, and would look for the next
    /// request in the wrong place if they were wrong. So nothing is sent, over either version, if
    ///
    /// * there are several `Content-Length`s, or one that is not a number or not the length of the body. Without a body, only 0
    ///   is right, for `GET` and `HEAD`, too;
    /// * `Transfer-Encoding` is anything but `chunked`, or there is a `Content-Length` besides.
    ///
    /// The length of a body that streams may be unknown before. Such a body fails ([`HttpsErrorKind::InvalidRequest`]) if it
    /// turns out to be shorter than its `Content-Length`, or else its exact size hint, or a piece of it exceeds that. Pieces after
    /// the end are not sent. Over HTTP/1.1 the connection is closed if the body fails. There, with neither header, a body of
    /// unknown length is chunked, and not sent with `GET` and `HEAD`.
    ///
    /// # `CONNECT`
    ///
    /// It is for HTTP/2 only, and not sent over HTTP/1.1, where it would make a tunnel of the whole connection.
    ///
    /// # Errors
    ///
    /// [`HttpsErrorKind::InvalidHead`] if the request contradicts the above.
    ///
    /// What failed, and whether the server can have processed the request: [`HttpsError::is_unprocessed`]. If nothing was
    /// sent, the request is in the error: [`HttpsError::take_request`].
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes an HTTP/1.1 connection, and resets the stream of an HTTP/2 connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use http::Request;
    /// use http_body_util::BodyExt;
    /// use millpond::connection::Pool;
    /// use millpond::connection::https::{HttpsConnection, HttpsConnectionManager, RequestBody};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = HttpsConnectionManager::new("https://example.com")?;
    /// let pool = Pool::builder().build(manager).await?;
    /// let connection = pool.get_owned().await?;
    /// let request = Request::get("/").body(RequestBody::empty())?;
    /// let response = HttpsConnection::send(connection, request).await?;
    /// let page = response.into_body().collect().await?.to_bytes();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send<G>(
        connection: G,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody<G>>, HttpsError>
    where
        G: DerefMut<Target = Self> + Unpin,
    {
        let origin = Arc::clone(&connection.origin);
        traced(request, Some(&origin), |request| Self::send_untraced(connection, request)).await
    }

    /// As [`send`](Self::send), as a part of a request that has a span already.
    pub(super) async fn send_untraced<G>(
        mut connection: G,
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody<G>>, HttpsError>
    where
        G: DerefMut<Target = Self> + Unpin,
    {
        let this = &mut *connection;
        if let Err(error) = head::check(&mut request, this.protocol) {
            return Err(this.failed(error.with_request(request)));
        }
        this.requests += 1;
        this.last_used = Instant::now();
        this.origin.address(&mut request, this.protocol);
        match this.exchange(request).await {
            Ok(response) => {
                let mut response = response.map(|source| ResponseBody::new(source, connection));
                // There may be no body, and then the connection is free.
                poll_fn(|cx| {
                    response.body_mut().end_if_read(cx);
                    Poll::Ready(())
                })
                .await;
                Ok(response)
            }
            Err(error) => {
                let met_http2 =
                    this.protocol == Protocol::Http1 && this.facts.traffic.began_with_frame.get() > 0;
                Err(this.failed(if met_http2 { error.met_http2() } else { error }))
            }
        }
    }

    /// The head of the response, and where its body comes from.
    async fn exchange(&mut self, request: Request<RequestBody>) -> Result<Response<Source>, HttpsError> {
        if let State::Http2(client) = &self.state {
            return match client.send(request).await {
                Ok(response) => Ok(response.map(Source::Http2)),
                Err((error, Some(request))) => Err(error.with_request(request)),
                Err((error, None)) => Err(error),
            };
        }
        let State::Http1(wire) = mem::replace(&mut self.state, State::Gone) else {
            return Err(HttpsError::new(HttpsErrorKind::Closed).with_request(request));
        };
        let mut exchange = Box::new(Exchange::begin(wire, &self.config).await?);
        let response = exchange.respond(request).await?;
        Ok(response.map(|incoming| Source::Http1(incoming, exchange)))
    }

    /// Whether the server answers a ping. Nothing is asked over HTTP/1.1, which has none.
    pub(super) async fn check(&self) -> Result<(), HttpsError> {
        match &self.state {
            State::Http2(client) => client.check().await,
            State::Http1(_) | State::Gone => Ok(()),
        }
    }

    /// What a request that is sent now goes over.
    pub(super) fn info(&self) -> ConnectionInfo {
        self.facts.info(self.protocol, self.requests)
    }

    /// Counts the error, and says in it where it happened. Unless it is one of a single stream, no other request follows.
    pub(super) fn failed(&mut self, error: HttpsError) -> HttpsError {
        use HttpsErrorKind::{Incomplete, InvalidHead, InvalidRequest, Reset};
        self.errors += 1;
        self.failures.count(error.kind());
        // Who waits for a response may hear of the end of an HTTP/2 connection before its driver does.
        if !matches!(error.kind(), Reset(_) | Incomplete | InvalidRequest | InvalidHead) {
            self.state = State::Gone;
        }
        error.named(&self.origin).at(self.facts.remote_address)
    }

    /// Takes the connection back from an HTTP/1.1 request that has come to its end.
    pub(super) fn restore(&mut self, wire: Wire) {
        self.state = State::Http1(wire);
    }

    /// No request follows. What is left is its permit, for another connection that takes its place.
    pub(super) fn close(&mut self) -> Option<ConnectionPermit> {
        match mem::replace(&mut self.state, State::Gone) {
            State::Http1(wire) => wire.close(),
            State::Http2(_) | State::Gone => None,
        }
    }

    /// A response has been read to its end.
    pub(super) fn touch(&mut self) {
        self.last_used = Instant::now();
    }

    /// Whether it can take another request, as far as this machine knows. Nothing is sent.
    pub(super) fn is_usable(&mut self) -> bool {
        let is_open = match &mut self.state {
            State::Http1(wire) => wire.is_quiet(),
            State::Http2(client) => client.is_open(),
            State::Gone => false,
        };
        if !is_open {
            self.state = State::Gone;
        }
        is_open && self.config.max_requests.is_none_or(|max| self.requests < max) && !self.facts.is_outdated()
    }

    /// The version of HTTP that it speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The address of the server. None over a Unix socket.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.facts.remote_address
    }

    /// Whether TLS resumed an earlier session. Not without TLS.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.facts.is_resumed
    }

    /// How long the phases of its connect took.
    #[must_use]
    pub fn timings(&self) -> ConnectTimings {
        self.facts.timings
    }

    /// When it was made.
    #[must_use]
    pub fn created(&self) -> Instant {
        self.created
    }

    /// When a request was last begun, or the body of its response read to the end.
    #[must_use]
    pub fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests that have failed, and bodies of responses that have. By kind, the
    /// [manager](super::HttpsConnectionManager::request_errors) counts those of all its connections.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Bytes received, before encryption, heads included.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.facts.traffic.received.get()
    }

    /// Bytes sent, before encryption, heads included.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.facts.traffic.sent.get()
    }
}

impl fmt::Debug for HttpsConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsConnection")
            .field("server", &format_args!("{}", self.origin))
            .field("remote_address", &self.facts.remote_address)
            .field("protocol", &self.protocol)
            .field("requests", &self.requests)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}
