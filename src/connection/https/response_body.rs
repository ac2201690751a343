//! The body of a response, which holds its connection until it has been read.

use std::fmt;
use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::HttpsConnection;
use super::error::HttpsError;
use super::exchange::Exchange;
use super::multiplexed::Received;

/// The body of a response. It holds `G`, through which its connection was borrowed, until its end has been read.
///
/// The pieces are those that were read from the connection, without a copy. Dropped before its end, it closes an HTTP/1.1 connection unless
/// the rest has arrived already, and resets the stream of an HTTP/2 connection.
pub struct ResponseBody<G>
where
    G: DerefMut<Target = HttpsConnection>,
{
    source: Option<Source>,
    connection: Option<G>,
}

/// Where a body comes from.
pub(super) enum Source {
    Http1(Incoming, Box<Exchange>),
    Http2(Received),
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpsError>>> {
        let (incoming, exchange) = match self {
            Self::Http1(incoming, exchange) => (incoming, exchange),
            Self::Http2(received) => return received.poll_frame(cx),
        };
        let mut frame = Pin::new(&mut *incoming).poll_frame(cx);
        if frame.is_pending() {
            exchange.drive(cx);
            frame = Pin::new(incoming).poll_frame(cx);
        }
        frame.map_err(HttpsError::of_request)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(incoming, _) => incoming.is_end_stream(),
            Self::Http2(received) => received.is_end_stream(),
        }
    }
}

impl<G> ResponseBody<G>
where
    G: DerefMut<Target = HttpsConnection>,
{
    pub(super) fn new(source: Source, connection: G) -> Self {
        Self { source: Some(source), connection: Some(connection) }
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
        self.source.as_ref().is_none_or(Source::is_end_stream)
    }

    /// Lets go of the connection. An HTTP/1.1 connection can be used again if the response is complete.
    fn end(&mut self, cx: &mut Context<'_>) {
        let source = self.source.take();
        let Some(mut connection) = self.connection.take() else { return };
        connection.touch();
        if let Some(Source::Http1(incoming, exchange)) = source {
            // hyper skips what is left of a body that nobody waits for.
            drop(incoming);
            if let Some(wire) = exchange.end(cx) {
                connection.restore(wire);
            }
        }
    }

    /// Lets go of the connection. An HTTP/1.1 connection is closed.
    fn fail(&mut self, error: HttpsError) -> HttpsError {
        self.source = None;
        match self.connection.take() {
            Some(mut connection) => connection.failed(error),
            None => error,
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
        let Some(source) = &mut this.source else { return Poll::Ready(None) };
        match ready!(source.poll_frame(cx)) {
            Some(Ok(frame)) => {
                // Not all who read a body ask again after its last piece.
                this.end_if_read(cx);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(this.fail(error)))),
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
        match &self.source {
            Some(Source::Http1(incoming, _)) => incoming.size_hint(),
            Some(Source::Http2(received)) => received.size_hint(),
            None => SizeHint::with_exact(0),
        }
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
