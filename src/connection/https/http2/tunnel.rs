//! A stream that carries another protocol: what an extended CONNECT (RFC 8441) opens.

use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::{Request, Response};
use tokio::time::Instant;

use super::super::error::{HttpsError, HttpsErrorKind};
use super::super::multiplexed::Busy;
use super::permit::Permit;
use super::pool::{Http2Body, Http2Pool};
use super::shared::Lease;
use super::urgency::Urgency;
use crate::net::Endpoint;
use crate::net::tls::{TlsConnector, TlsErrorKind};
use crate::sync::{Arc, Mutex};

/// How long a server that does not offer it is not asked again.
const ASK_AGAIN: Duration = Duration::from_secs(300);

/// A stream whose request the server has answered.
pub(in crate::connection) struct Tunnel {
    /// Its body is what the server sends. If nobody reads that, it is reset or spilled, as other responses are.
    pub(in crate::connection) response: Response<Http2Body>,
    pub(in crate::connection) send: SendStream<Bytes>,
    /// To be kept as long as `send`.
    pub(in crate::connection) permit: TunnelPermit,
}

/// While it exists, its stream counts, and the connection is not put to rest.
pub(in crate::connection) struct TunnelPermit {
    _permit: Arc<Permit>,
    _busy: Busy,
}

/// Until when the server is not asked, because it has not offered this.
#[derive(Default)]
pub(super) struct NotOffered(Mutex<Option<Instant>>);

impl Http2Pool {
    /// Opens a stream for another protocol, on the less loaded of two connections picked at random, and waits for the answer.
    /// Returns nothing if the server does not offer that, or no HTTP/2.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it resets the stream, or leaves the queue. A connect goes on.
    pub(in crate::connection) async fn open(
        &self,
        request: Request<()>,
    ) -> Result<Option<Tunnel>, HttpsError> {
        let not_offered = &self.shared().not_offered.0;
        if not_offered.lock().is_some_and(|until| Instant::now() < until) {
            return Ok(None);
        }
        let opened = self.open_if_offered(request).await.or_else(|error| match error.kind() {
            HttpsErrorKind::WrongVersion | HttpsErrorKind::Tls(TlsErrorKind::NoCommonProtocol) => Ok(None),
            _ => Err(error),
        })?;
        *not_offered.lock() = opened.is_none().then(|| Instant::now() + ASK_AGAIN);
        Ok(opened)
    }

    async fn open_if_offered(&self, request: Request<()>) -> Result<Option<Tunnel>, HttpsError> {
        let pool = self.shared();
        let mut replays = 0;
        loop {
            let lease = self.lease(Urgency::of(&request)).await?;
            if !lease.client.link().allows_extended_connect() {
                return Ok(None);
            }
            let connection = lease.connection;
            let error = match self.begin(lease, request.clone()).await {
                Ok(tunnel) => return Ok(Some(tunnel)),
                Err(error) => error.named(pool.manager.origin()).at(connection.remote_address),
            };
            if !error.is_unprocessed() || replays >= pool.config.max_replays {
                return Err(error);
            }
            replays += 1;
            pool.count(|statistics| statistics.replays += 1);
        }
    }

    async fn begin(&self, lease: Lease, request: Request<()>) -> Result<Tunnel, HttpsError> {
        let Lease { client, permit, reader, connection, .. } = lease;
        let opened = client.connect(request).await;
        let counted = opened.inspect_err(|error| self.shared().count_error(&reader, error.kind()));
        let (response, send, busy) = counted?;
        let (head, received) = response.into_parts();
        reader.begin(received);
        let response = Response::from_parts(head, self.body(reader, connection));
        Ok(Tunnel { response, send, permit: TunnelPermit { _permit: permit, _busy: busy } })
    }

    /// Whether this is its server.
    pub(in crate::connection) fn serves(&self, is_secure: bool, host: &str, port: u16) -> bool {
        let origin = self.shared().manager.origin();
        origin.is_secure() == is_secure && origin.host().eq_ignore_ascii_case(host) && origin.port() == port
    }

    /// Its server, as messages name it.
    pub(in crate::connection) fn server(&self) -> impl std::fmt::Display {
        self.shared().manager.origin()
    }

    /// How its connections are made, if not in the default way.
    pub(in crate::connection) fn way(&self) -> (Option<Endpoint>, Option<TlsConnector>) {
        let manager = &self.shared().manager;
        (manager.config().endpoint.clone(), manager.tls().cloned())
    }
}
