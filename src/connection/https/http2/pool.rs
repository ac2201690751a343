//! The pool as its users see it: requests, state, close.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, timeout};

use super::super::config::HttpVersion;
use super::super::connection::{ConnectionInfo, Protocol};
use super::super::error::{HttpsError, HttpsErrorKind};
use super::super::head;
use super::super::http1::Http1;
use super::super::manager::HttpsConnectionManager;
use super::super::request_body::{RequestBody, copy};
use super::super::span::traced;
use super::config::Http2PoolConfig;
use super::permit::Tracked;
use super::queue::Place;
use super::reader::{Failure, Reader};
use super::shared::{Grant, Lease, Refusal, Shared};
use super::state::Http2State;
use super::urgency::Urgency;
use crate::connection::span::{acquire, acquired};
use crate::connection::statistics::Ended;
use crate::metric::{Report, Source, VisitRow};
use crate::net::SmallSpan;
use crate::sync::Arc;

/// A pool of HTTP/2 connections to one server, each of which carries many requests at once.
///
/// Clones are cheap and share the connections. There is no connection before the first request.
///
/// * The server's limit of streams is kept, and another connection is made before the streams run out.
/// * A failed connect fails the requests that wait, at once, if there is no other connection.
/// * After a GOAWAY, requests take another connection, and those under way come to their end. Others that the server has not
///   processed are sent again.
/// * A response that is not read does not hold up the others, but uses memory; after a limit it is reset or spilled: see
///   [`StalledReader`](super::StalledReader). The future of a request must be polled or dropped.
/// * Pings are off by default ([`HttpsConfig::ping`](field@super::super::HttpsConfig::ping)), since some servers end connections
///   that ping. If one does so (`ENHANCE_YOUR_CALM`), none of its connections is pinged any more.
/// * A half-open connection, whose server has gone without a word, is found before a request if a
///   [`HealthCheck`](super::super::HealthCheck) is set: after a silence the connection is pinged first.
///
/// # Memory
///
/// A connection in use holds 42 KiB with TLS, and 190 with a hundred streams. At rest, 10 ms after its last stream, it holds
/// 8 KiB: buffers and tables of the protocol are dropped, and made anew for the next request.
///
/// # Examples
///
/// ```no_run
/// use http::Request;
/// use http_body_util::BodyExt;
/// use millpond::connection::https::{Http2Pool, Http2PoolConfig, RequestBody};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Http2Pool::new("https://example.com", Http2PoolConfig::default().max_connections(2))?;
/// let response = pool.send(Request::get("/").body(RequestBody::empty())?).await?;
/// let page = response.into_body().collect().await?.to_bytes();
/// pool.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Http2Pool(Arc<Shared>);

impl Http2Pool {
    /// A pool for a server, such as `https://example.com` or `http://10.0.0.1:8080`. The path of the URI is ignored. Without
    /// TLS, the server must speak HTTP/2 from the first byte on (prior knowledge).
    ///
    /// It may block for milliseconds if [`HttpsConfig::tls`](field@super::super::HttpsConfig::tls) is not set: the system's
    /// roots are read.
    ///
    /// # Errors
    ///
    /// [`HttpsErrorKind::InvalidUri`], [`HttpsErrorKind::TlsConfig`] if the system's roots cannot be read,
    /// [`HttpsErrorKind::OutOfRange`], or [`HttpsErrorKind::UnlimitedSpill`].
    pub fn new(server: &str, config: Http2PoolConfig) -> Result<Self, HttpsError> {
        config.check()?;
        let https = config.https.clone().version(HttpVersion::Http2);
        let manager = HttpsConnectionManager::with_config(server, https)?;
        Ok(Self(Arc::new(Shared::new(manager, config, None))))
    }

    /// A pool for a server that may choose HTTP/1.1. Then `http1` takes the connection over, and requests fail with
    /// [`HttpsErrorKind::WrongVersion`].
    pub(in super::super) fn negotiating(
        manager: HttpsConnectionManager,
        config: Http2PoolConfig,
        http1: Option<Arc<Http1>>,
    ) -> Self {
        Self(Arc::new(Shared::new(manager, config, http1)))
    }

    /// Sends a request on the less loaded of two connections picked at random, and waits for the head of the response. If no
    /// stream is free, it waits for one, by its [`Urgency`].
    ///
    /// A path is enough for the URI of the request. Its headers must not contradict the length of its body: see
    /// [`HttpsConnection::send`](super::super::HttpsConnection::send). A request that the server has certainly not processed (it
    /// refused the stream, or announced with GOAWAY that it will not) is sent again, if its body does not stream.
    ///
    /// The stream is free when the ends of both bodies have come: of the request, and of the response. If the server takes
    /// nothing of the first for 10 s after the end of the second, the stream is reset.
    ///
    /// # Errors
    ///
    /// What failed, and whether the server can have processed the request: [`HttpsError::is_unprocessed`]. If it has not,
    /// the request is in the error unless its body streams and has been begun: [`HttpsError::take_request`].
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it resets the stream, or leaves the queue. A connect goes on.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response<Http2Body>, HttpsError> {
        traced(request, Some(self.0.manager.origin()), |request| self.send_untraced(request)).await
    }

    /// As [`send`](Self::send), as a part of a request that has a span already.
    pub(in super::super) async fn send_untraced(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Http2Body>, HttpsError> {
        let pool = &self.0;
        if let Err(error) = head::check(&mut request, Protocol::Http2) {
            pool.failures.count(error.kind());
            return Err(error.named(pool.manager.origin()).with_request(request));
        }
        let urgency = Urgency::of(&request);
        pool.manager.origin().address(&mut request, Protocol::Http2);
        let mut replays = 0;
        loop {
            let lease = match self.lease(urgency).await {
                Ok(lease) => lease,
                Err(error) => return Err(error.with_request(request)),
            };
            let copy = copy(&request);
            let connection = lease.connection;
            let mut error = match pool.exchange(lease, request).await {
                Ok((response, reader)) => {
                    return Ok(response.map(|()| self.body(reader, connection)));
                }
                Err(error) => error.named(pool.manager.origin()).at(connection.remote_address),
            };
            if !error.is_unprocessed() {
                return Err(error);
            }
            match error.take_request().or(copy) {
                Some(again) if replays < pool.config.max_replays => request = again,
                Some(again) => return Err(error.with_request(again)),
                None => return Err(error),
            }
            replays += 1;
            pool.count(|statistics| statistics.replays += 1);
        }
    }

    pub(super) async fn lease(&self, urgency: Urgency) -> Result<Lease, HttpsError> {
        let pool = &self.0;
        let after = pool.config.wait_timeout;
        pool.counters.on_slow_get();
        let mut waiter = Waiter {
            pool,
            place: None,
            waits_since: None,
            had_stream: false,
            ended: Ended::Cancelled,
            span: SmallSpan::NONE,
        };
        let grant = timeout(after, waiter.lease(urgency)).await;
        waiter.ended = match grant {
            Ok(Ok(_)) => Ended::Served,
            Ok(Err(_)) => Ended::Refused,
            Err(_) => Ended::TimedOut,
        };
        let kind = match grant {
            Ok(Ok(lease)) => {
                match waiter.waits_since {
                    Some(since) => pool.count_wait(since.elapsed()),
                    None => pool.counters.on_direct_get(),
                }
                if lease.connection.requests_before == 0 {
                    pool.counters.on_new();
                }
                return Ok(lease);
            }
            Ok(Err(Refusal::Failed(error))) => return Err(error),
            Ok(Err(Refusal::Closed)) => HttpsErrorKind::PoolClosed,
            Ok(Err(Refusal::Full)) => HttpsErrorKind::PoolFull,
            Err(_) => HttpsErrorKind::PoolTimeout { after },
        };
        let error = HttpsError::new(kind).named(pool.manager.origin());
        // The connect fails later than the request that it is for, if that has first waited for an answer to a ping.
        match pool.connecting_for().filter(|_| error.is_timeout()) {
            Some(since) => Err(error.because(format!("a connect began {since:.1?} ago and has not ended"))),
            None => Err(error),
        }
    }

    #[cfg(feature = "websocket")]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    pub(super) fn body(&self, reader: Arc<Reader>, connection: ConnectionInfo) -> Http2Body {
        Http2Body { reader: Some(reader), pool: Arc::clone(&self.0), connection }
    }

    /// Whether there is no stream, and nobody waits for one. It takes no snapshot.
    pub(in super::super) fn is_unused(&self) -> bool {
        self.0.is_unused()
    }

    /// Whether a connection has no stream.
    pub(in super::super) fn has_spare(&self) -> bool {
        self.0.has_spare()
    }

    /// Lets one of them end. Tells whether there was one.
    pub(in super::super) fn close_spare(&self) -> bool {
        self.0.close_spare()
    }

    /// What the pool has at the moment.
    #[must_use]
    pub fn state(&self) -> Http2State {
        self.0.state()
    }

    /// Closes the pool: no new request begins, those that wait fail, a connect under way is cancelled, and this waits
    /// until requests under way have ended and all connections are closed. A server that does not read delays that by 5 s at
    /// most.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, the pool is closed, and goes on to end.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl Source for Http2Pool {
    type Snapshot = Http2State;

    fn watch(&self) -> impl Fn() -> Option<Http2State> + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.0);
        move || Some(shared.upgrade()?.state())
    }

    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.0);
        move |report, visit| {
            if let (Report::Connections, Some(shared)) = (report, shared.upgrade()) {
                shared.state().show(&shared.manager.origin(), visit);
            }
            true
        }
    }
}

impl fmt::Debug for Http2Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Pool")
            .field("server", &format_args!("{}", self.0.manager.origin()))
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Shared {
    async fn exchange(
        &self,
        lease: Lease,
        request: Request<RequestBody>,
    ) -> Result<(Response<()>, Arc<Reader>), HttpsError> {
        let Lease { client, permit, reader, .. } = lease;
        let request = request.map(|body| Tracked::new(body, permit));
        let (error, request) = match client.send(request).await {
            Ok(response) => {
                let (head, received) = response.into_parts();
                reader.begin(received);
                return Ok((Response::from_parts(head, ()), reader));
            }
            Err(unsent) => unsent,
        };
        self.count_error(&reader, error.kind());
        Err(match request {
            Some(request) => error.with_request(request.map(Tracked::into_body)),
            None => error,
        })
    }
}

/// Who waits for a stream. How that ends is counted when it is dropped.
struct Waiter<'a> {
    pool: &'a Arc<Shared>,
    place: Option<Place>,
    waits_since: Option<Instant>,
    /// Of a connection that did not answer.
    had_stream: bool,
    ended: Ended,
    span: SmallSpan,
}

impl Waiter<'_> {
    /// A stream of a connection that has answered, if there was doubt.
    async fn lease(&mut self, urgency: Urgency) -> Result<Lease, Refusal> {
        loop {
            let lease = poll_fn(|cx| self.poll(urgency, cx)).await?;
            if !lease.is_doubtful || lease.client.check().await.is_ok() {
                return Ok(lease);
            }
            self.had_stream = true;
        }
    }

    fn poll(&mut self, urgency: Urgency, cx: &mut Context<'_>) -> Poll<Result<Lease, Refusal>> {
        let waker = cx.waker().clone();
        match &self.place {
            Some(place) => match self.pool.poll(place, waker) {
                Some(grant) => {
                    self.place = None;
                    Poll::Ready(grant)
                }
                None => Poll::Pending,
            },
            None => match self.lease_or_join(urgency, waker) {
                Ok(grant) => Poll::Ready(grant),
                Err(place) => {
                    self.place = Some(place);
                    self.waits_since.get_or_insert_with(Instant::now);
                    Poll::Pending
                }
            },
        }
    }
}

impl Waiter<'_> {
    /// A stream at once, or a wait in a span, to which the connect belongs that it may cause.
    fn lease_or_join(&mut self, urgency: Urgency, waker: Waker) -> Result<Grant, Place> {
        if let Some(lease) = self.pool.lease_now() {
            return Ok(Ok(lease));
        }
        if self.span.get().is_none() {
            self.span = acquire().into();
        }
        self.span.in_scope(|| self.pool.lease_or_join(urgency, waker, self.had_stream))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(span) = self.span.get() {
            acquired(span, self.ended, self.waits_since);
        }
        if let Some(place) = self.place.take() {
            self.pool.leave(&place);
        }
        self.pool.counters.on_get_ended(self.ended, self.waits_since);
    }
}

/// The body of a response of an [`Http2Pool`].
///
/// The pieces are those that were read from the connection, without a copy unless they were spilled. Dropped before its end,
/// it resets the stream.
pub struct Http2Body {
    reader: Option<Arc<Reader>>,
    pool: Arc<Shared>,
    connection: ConnectionInfo,
}

impl Http2Body {
    /// The connection that the response comes from.
    #[must_use]
    pub fn connection(&self) -> ConnectionInfo {
        self.connection
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = HttpsError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpsError>>> {
        let Some(reader) = &self.reader else { return Poll::Ready(None) };
        let error = match ready!(reader.poll(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
            None => None,
            Some(Err(Failure::Server(error))) => {
                self.pool.count_error(reader, error.kind());
                Some(error)
            }
            // Counted at the reset.
            Some(Err(Failure::Stalled)) => Some(HttpsError::new(self.pool.stalled())),
        };
        self.reader = None;
        Poll::Ready(error.map(|error| Err(error.named(self.pool.manager.origin()))))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.as_ref().is_none_or(|reader| reader.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.reader.as_ref().map_or_else(|| SizeHint::with_exact(0), |reader| reader.size_hint())
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.close();
        }
    }
}

impl fmt::Debug for Http2Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Body").field("size_hint", &self.size_hint()).finish_non_exhaustive()
    }
}
