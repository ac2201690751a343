//! One of many servers: over HTTP/2 requests share its connections, over HTTP/1.1 each has one to itself.

use std::time::Instant;

use http::{Method, Request};
use tokio::time::timeout;

use super::breaker::SharedBreaker;
use super::config::HttpVersion;
use super::connection::HttpsConnection;
use super::connects::ConnectStats;
use super::error::{HttpsError, HttpsErrorKind};
use super::http1::{Http1, Http1Settings, HttpsPool};
use super::http2::{Http2Pool, Http2PoolConfig, Http2State};
use super::manager::HttpsConnectionManager;
use super::outcome::outcome_of_status;
use super::request_body::{RequestBody, copy};
use super::request_errors::RequestErrors;
use super::requests::{RequestStats, Requests};
use super::upstream_body::{UpstreamBody, UpstreamResponse};
use crate::connection::pool::UNFINISHED;
use crate::connection::{PooledConnection, State};
use crate::policy::{BreakerStats, Refused};
use crate::sync::Arc;

/// The pools of a server. Which of them serves a request is what its last connection speaks. Until there is one, it is the
/// pool for HTTP/2, which makes one connection at a time: a server that is asked often at first sees a single handshake, and if
/// that ends with HTTP/1.1, the other pool has the connection.
pub(super) struct Server {
    manager: HttpsConnectionManager,
    http1: Arc<Http1>,
    /// `None` if its connections speak HTTP/1.1 in any case.
    http2: Option<Http2Pool>,
    breaker: Option<Arc<SharedBreaker>>,
    requests: Requests,
}

impl Server {
    pub(super) fn new(
        manager: HttpsConnectionManager,
        http1: Http1Settings,
        http2: &Http2PoolConfig,
        breaker: Option<Arc<SharedBreaker>>,
    ) -> Self {
        let http1 = Arc::new(Http1::new(manager.clone(), http1));
        let http2 = manager.may_speak_http2().then(|| {
            let config = http2.clone().https(manager.config().clone());
            let is_negotiated = manager.config().version == HttpVersion::Negotiated;
            Http2Pool::negotiating(manager.clone(), config, is_negotiated.then(|| Arc::clone(&http1)))
        });
        Self { manager, http1, http2, breaker, requests: Requests::default() }
    }

    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
        replay: bool,
    ) -> Result<UpstreamResponse, HttpsError> {
        let pending = self.requests.begin();
        let sent = self.ask_and_send(request, replay, pending.began).await;
        pending.end(&sent);
        sent
    }

    async fn ask_and_send(
        &self,
        request: Request<RequestBody>,
        replay: bool,
        began: Instant,
    ) -> Result<UpstreamResponse, HttpsError> {
        let Some(breaker) = &self.breaker else { return self.send_anyway(request, replay, began).await };
        let asked = match breaker.ask() {
            Ok(asked) => asked,
            Err(Refused { retry_in }) => {
                let error = HttpsError::new(HttpsErrorKind::BreakerOpen { retry_in });
                return Err(error.named(self.manager.origin()).with_request(request));
            }
        };
        let sent = self.send_anyway(request, replay, began).await;
        asked.end(match &sent {
            Ok(response) => outcome_of_status(response.status()),
            Err(error) => error.outcome(),
        });
        sent
    }

    async fn send_anyway(
        &self,
        mut request: Request<RequestBody>,
        replay: bool,
        began: Instant,
    ) -> Result<UpstreamResponse, HttpsError> {
        if let Some(http2) = &self.http2
            && !self.manager.last_speaks_http1()
        {
            let mut error = match send_http2(http2, request, replay).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let is_negotiated = self.manager.config().version == HttpVersion::Negotiated;
            let is_other = is_negotiated && *error.kind() == HttpsErrorKind::WrongVersion;
            let unsent = if is_other { error.take_request() } else { None };
            let Some(unsent) = unsent else { return Err(error) };
            request = unsent;
        }
        self.send_http1(request, replay, began).await
    }

    async fn send_http1(
        &self,
        request: Request<RequestBody>,
        replay: bool,
        began: Instant,
    ) -> Result<UpstreamResponse, HttpsError> {
        let connection = match self.get().await {
            Ok(connection) => connection,
            Err(error) => return Err(error.with_request(request)),
        };
        let may_replay = replay && is_used(&connection, began);
        let copy = if may_replay { copy(&request) } else { None };
        let mut error = match exchange(connection, request).await {
            Ok(response) => return Ok(response),
            Err(error) if *error.kind() == HttpsErrorKind::InvalidHead => return Err(error),
            Err(error) => error,
        };
        let unsent = if may_replay { error.take_request() } else { None };
        let Some(request) = unsent.or(copy.filter(|copy| is_replayable(&error, copy.method()))) else {
            return Err(error);
        };
        // What ended one connection has often ended others.
        if let Some(pool) = self.http1.pool() {
            pool.retain(HttpsConnection::is_usable);
        }
        match self.get_fresh().await {
            Ok(connection) => exchange(connection, request).await,
            Err(error) => Err(error.with_request(request)),
        }
    }

    /// A connection that has not idled. One that has, is closed for it, which leaves its permit: so there are no more than
    /// allowed, and nobody else takes its place.
    async fn get_fresh(&self) -> Result<PooledConnection<'static, HttpsConnectionManager>, HttpsError> {
        let pool = self.pool()?;
        let began = Instant::now();
        let mut connection = self.get().await?;
        if is_used(&connection, began) {
            let permit = connection.close();
            let after = pool.config().connection_timeout;
            let late = |_| {
                let late = HttpsError::new(HttpsErrorKind::PoolTimeout { after });
                late.because(UNFINISHED).named(self.manager.origin())
            };
            let left = after.saturating_sub(began.elapsed());
            let connect = pool.dedicated_by(self.manager.connect_with(permit));
            *connection = timeout(left, connect).await.map_err(late)??;
        }
        Ok(connection)
    }

    async fn get(&self) -> Result<PooledConnection<'static, HttpsConnectionManager>, HttpsError> {
        let pool = self.pool()?;
        let after = pool.config().connection_timeout;
        let got = pool.get_owned().await;
        got.map_err(|error| HttpsError::of_pool(error, after).named(self.manager.origin()))
    }

    fn pool(&self) -> Result<&HttpsPool, HttpsError> {
        let closed = || HttpsError::new(HttpsErrorKind::PoolClosed).named(self.manager.origin());
        self.http1.pool().ok_or_else(closed)
    }

    /// Lets no new request begin, and waits until all connections are closed.
    pub(super) async fn close(&self) {
        let http2 = async {
            if let Some(http2) = &self.http2 {
                http2.close().await;
            }
        };
        tokio::join!(self.http1.close(), http2);
    }

    /// Whether nobody uses a connection or waits for one.
    pub(super) fn is_idle(&self) -> bool {
        self.http1.pool_if_made().is_none_or(HttpsPool::is_unused)
            && self.http2.as_ref().is_none_or(Http2Pool::is_unused)
    }

    /// Whether a connection is idle that nobody wants to keep.
    pub(super) fn has_spare(&self) -> bool {
        self.http1.pool_if_made().is_some_and(HttpsPool::has_spare)
            || self.http2.as_ref().is_some_and(Http2Pool::has_spare)
    }

    /// Closes one of them. Tells whether there was one.
    pub(super) fn close_spare(&self) -> bool {
        self.http1.pool_if_made().is_some_and(HttpsPool::close_spare)
            || self.http2.as_ref().is_some_and(Http2Pool::close_spare)
    }

    pub(super) fn breaker(&self) -> Option<BreakerStats> {
        Some(self.breaker.as_ref()?.stats())
    }

    pub(super) fn requests(&self) -> RequestStats {
        self.requests.snapshot()
    }

    pub(super) fn connects(&self) -> ConnectStats {
        self.manager.connect_stats()
    }

    /// Those in both pools; `http2` is the state of the one for HTTP/2.
    pub(super) fn errors(&self, http2: Option<&Http2State>) -> RequestErrors {
        let http2 = http2.map(|state| state.errors).unwrap_or_default();
        self.manager.request_errors() + http2
    }

    pub(super) fn http1(&self) -> Option<State> {
        self.http1.pool_if_made().map(HttpsPool::state)
    }

    pub(super) fn http2(&self) -> Option<Http2State> {
        self.http2.as_ref().map(Http2Pool::state)
    }
}

/// Whether the server may have closed it before the request: it has idled since `began`, or has served another one.
fn is_used(connection: &HttpsConnection, began: Instant) -> bool {
    connection.requests() > 0 || connection.created() < began
}

async fn send_http2(
    pool: &Http2Pool,
    request: Request<RequestBody>,
    replay: bool,
) -> Result<UpstreamResponse, HttpsError> {
    let copy = if replay && request.method().is_idempotent() { copy(&request) } else { None };
    let sent = match pool.send_untraced(request).await {
        // The pool has sent again what the server has certainly not processed.
        Err(error) if is_lost(&error) => match copy {
            Some(copy) => pool.send_untraced(copy).await,
            None => Err(error),
        },
        sent => sent,
    };
    sent.map(|response| response.map(UpstreamBody::http2))
}

async fn exchange(
    connection: PooledConnection<'static, HttpsConnectionManager>,
    request: Request<RequestBody>,
) -> Result<UpstreamResponse, HttpsError> {
    let info = connection.info();
    let response = HttpsConnection::send_untraced(connection, request).await?;
    Ok(response.map(|body| UpstreamBody::http1(body, info)))
}

/// Whether a request whose connection failed with this error may be sent again.
fn is_replayable(error: &HttpsError, method: &Method) -> bool {
    error.is_unprocessed() || (is_lost(error) && method.is_idempotent())
}

/// Whether the connection ended before the response.
fn is_lost(error: &HttpsError) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        HttpsErrorKind::Closed
            | HttpsErrorKind::Incomplete
            | HttpsErrorKind::PingTimeout
            | HttpsErrorKind::Io(_)
    )
}

#[cfg(test)]
mod tests;
