//! The body of an upstream server's response, over either version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::connection::ConnectionInfo;
use super::error::HttpsError;
use super::http2::Http2Body;
use super::manager::HttpsConnectionManager;
use super::response_body::ResponseBody;
use crate::connection::PooledConnection;

/// The response of an upstream server.
pub type UpstreamResponse = Response<UpstreamBody>;

/// The body of an upstream server's response.
///
/// At its end the connection is back in the pool of that server, or the stream is free. Dropped before, it closes an
/// HTTP/1.1 connection unless the rest has arrived already, and resets the stream of an HTTP/2 connection.
#[derive(Debug)]
pub struct UpstreamBody(Kind);

#[derive(Debug)]
enum Kind {
    Http1(ResponseBody<PooledConnection<'static, HttpsConnectionManager>>, ConnectionInfo),
    Http2(Http2Body),
}

impl UpstreamBody {
    pub(super) fn http1(
        body: ResponseBody<PooledConnection<'static, HttpsConnectionManager>>,
        connection: ConnectionInfo,
    ) -> Self {
        Self(Kind::Http1(body, connection))
    }

    pub(super) fn http2(body: Http2Body) -> Self {
        Self(Kind::Http2(body))
    }

    /// The connection that the response comes from.
    #[must_use]
    pub fn connection(&self) -> ConnectionInfo {
        match &self.0 {
            Kind::Http1(_, connection) => *connection,
            Kind::Http2(body) => body.connection(),
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = HttpsError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpsError>>> {
        match &mut self.0 {
            Kind::Http1(body, _) => Pin::new(body).poll_frame(cx),
            Kind::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Http1(body, _) => body.is_end_stream(),
            Kind::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Http1(body, _) => body.size_hint(),
            Kind::Http2(body) => body.size_hint(),
        }
    }
}
