//! One request and its response over HTTP/1.1. hyper's state lives only that long.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::config::HttpsConfig;
use super::error::HttpsError;
use super::request_body::RequestBody;
use super::wire::Wire;

/// What is read at once, and held by a body that nobody reads: one record of TLS. hyper's own size grows from 8 to 400 KiB,
/// for each response anew, and glibc gives such buffers back to the system each time. On a body of 64 KiB, a request took
/// 26 µs of CPU with it, 16 µs with 16 KiB, 15 µs with 64 KiB, and 14 µs where hyper's state is never taken apart.
/// hyper takes no longer head than this.
const READ_BUFFER: usize = 16 * 1024;

/// An HTTP/1.1 connection that is in use. Who waits for something polls it; nobody else does.
pub(super) struct Exchange {
    connection: Connection<TokioIo<Wire>, RequestBody>,
    sender: SendRequest<RequestBody>,
    has_ended: bool,
}

impl Exchange {
    pub(super) async fn begin(wire: Wire, config: &HttpsConfig) -> Result<Self, HttpsError> {
        let mut builder = Builder::new();
        builder.max_header_size(config.max_header_bytes as usize).read_buf_exact_size(Some(READ_BUFFER));
        let (sender, connection) =
            builder.handshake(TokioIo::new(wire)).await.map_err(HttpsError::of_request)?;
        Ok(Self { connection, sender, has_ended: false })
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn respond(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, HttpsError> {
        let mut response = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            self.drive(cx);
            response.as_mut().poll(cx)
        })
        .await
        .map_err(HttpsError::of_unsent)
    }

    /// Reads and writes what there is to be read and written.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.has_ended {
            // An error arrives at the response or its body, too.
            self.has_ended = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }

    /// Takes the state apart, at the end of a response. `None` means that there can be no other request: the server wants to
    /// close the connection, has sent too much, or has answered before it had the whole request.
    pub(super) fn end(mut self, cx: &mut Context<'_>) -> Option<Wire> {
        self.drive(cx);
        if self.has_ended || !matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(()))) {
            return None;
        }
        let parts = self.connection.into_parts();
        // Even an empty one would keep the whole read buffer.
        parts.read_buf.is_empty().then(|| parts.io.into_inner())
    }
}
