//! The body of a response, which holds its connection until it has been read.

use std::fmt;
use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::HttpsConnection;
use super::error::{HttpsError, HttpsErrorKind};
use super::exchange::Exchange;

/// The body of a response. It holds `G`, through which its connection was borrowed, until its end has been read.
///
/// The pieces are those that hyper has read, without a copy. Dropped before its end, it closes an HTTP/1.1 connection unless
/// the rest has arrived already, and resets the stream of an HTTP/2 connection.
pub struct ResponseBody<G>
where
    G: DerefMut<Target = HttpsConnection>,
{
    incoming: Option<Incoming>,
    exchange: Option<Box<Exchange>>,
    connection: Option<G>,
}

impl<G> ResponseBody<G>
where
    G: DerefMut<Target = HttpsConnection>,
{
    pub(super) fn new(incoming: Incoming, exchange: Option<Box<Exchange>>, connection: G) -> Self {
        Self { incoming: Some(incoming), exchange, connection: Some(connection) }
    }

    /// The connection that the body comes from, until the end of the body has been read.
    #[must_use]
    pub fn connection(&self) -> Option<&HttpsConnection> {
        self.connection.as_deref()
    }

    pub(super) fn end_if_read(&mut self, cx: &mut Context<'_>) {
        if self.has_ended() {
            self.end(cx);
        }
    }

    /// Whether it is known that nothing more comes.
    fn has_ended(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Lets go of the connection. An HTTP/1.1 connection can be used again if the response is complete.
    fn end(&mut self, cx: &mut Context<'_>) {
        // hyper skips what is left of a body that nobody waits for.
        self.incoming = None;
        let Some(mut connection) = self.connection.take() else { return };
        connection.touch();
        if let Some(exchange) = self.exchange.take()
            && let Some(wire) = exchange.end(cx)
        {
            connection.restore(wire);
        }
    }

    /// Lets go of the connection. An HTTP/1.1 connection is closed.
    fn fail(&mut self, error: HttpsError) -> HttpsError {
        self.incoming = None;
        self.exchange = None;
        match self.connection.take() {
            Some(mut connection) => connection.failed(error),
            None => error,
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = Pin::new(&mut *incoming).poll_frame(cx);
        match &mut self.exchange {
            Some(exchange) if frame.is_pending() => {
                exchange.drive(cx);
                Pin::new(incoming).poll_frame(cx)
            }
            _ => frame,
        }
    }
}

impl<G> Body for ResponseBody<G>
where
    G: DerefMut<Target = HttpsConnection> + Unpin,
{
    type Data = Bytes;
    type Error = HttpsError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpsError>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll_incoming(cx));
        match frame {
            Some(Ok(frame)) => {
                // Not all who read a body ask again after its last piece.
                this.end_if_read(cx);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(this.fail(HttpsError::of_request(error))))),
            // hyper takes a stream that is reset without an error code for one that has ended.
            None if this.exchange.is_none() && !this.has_ended() => {
                Poll::Ready(Some(Err(this.fail(HttpsError::new(HttpsErrorKind::Incomplete)))))
            }
            None => {
                this.end(cx);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<G> Drop for ResponseBody<G>
where
    G: DerefMut<Target = HttpsConnection>,
{
    fn drop(&mut self) {
        self.end(&mut Context::from_waker(Waker::noop()));
    }
}

impl<G> fmt::Debug for ResponseBody<G>
where
    G: DerefMut<Target = HttpsConnection>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("connection", &self.connection()).finish_non_exhaustive()
    }
}
