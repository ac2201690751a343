//! A stream of HTTP/2 as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::SendStream;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::https::{Http2Body, TunnelPermit};
use crate::net::tls::TlsIdentity;

/// The most that one write hands over: a frame of the size that every server takes.
const MAX_WRITE: usize = 16 << 10;

/// Both directions of a stream of HTTP/2 after an extended CONNECT.
///
/// Written bytes are the connection's as soon as they are taken, so a flush has nothing to wait for. The connection takes no
/// more than the server's window allows. Dropped, it ends its direction if the server has ended the other, and resets the
/// stream otherwise: what RFC 8441 says for the end and the reset of a TCP connection.
pub(super) struct Http2Stream {
    incoming: Http2Body,
    outgoing: SendStream<Bytes>,
    /// What was taken from the connection and not read, at most one frame.
    ahead: Bytes,
    has_read_end: bool,
    is_shut_down: bool,
    identity: Option<TlsIdentity>,
    /// Given back after `outgoing` has ended.
    _permit: TunnelPermit,
}

impl Http2Stream {
    pub(super) fn new(
        incoming: Http2Body,
        outgoing: SendStream<Bytes>,
        permit: TunnelPermit,
        identity: Option<TlsIdentity>,
    ) -> Self {
        Self {
            incoming,
            outgoing,
            ahead: Bytes::new(),
            has_read_end: false,
            is_shut_down: false,
            identity,
            _permit: permit,
        }
    }

    /// What the TLS of its connection was begun with, or with something later.
    pub(super) fn identity(&self) -> Option<&TlsIdentity> {
        self.identity.as_ref()
    }

    /// Whether the server has ended its direction.
    pub(super) fn has_ended(&self) -> bool {
        self.has_read_end
    }

    fn end(&mut self) -> Result<(), h2::Error> {
        if std::mem::replace(&mut self.is_shut_down, true) {
            return Ok(());
        }
        self.outgoing.send_data(Bytes::new(), true)
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ahead.is_empty() && !this.has_read_end {
            match ready!(Pin::new(&mut this.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => this.ahead = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => this.has_read_end = true,
            }
        }
        let count = this.ahead.len().min(room.remaining());
        room.put_slice(this.ahead.get(..count).unwrap_or_default());
        this.ahead.advance(count);
        if this.ahead.is_empty() {
            // So that a stream at rest keeps no buffer of the connection.
            this.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wanted = bytes.len().min(MAX_WRITE);
        self.outgoing.reserve_capacity(wanted);
        loop {
            let count = self.outgoing.capacity().min(wanted);
            if count > 0 || wanted == 0 {
                let piece = Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default());
                self.outgoing.send_data(piece, false).map_err(io::Error::other)?;
                return Poll::Ready(Ok(count));
            }
            match ready!(self.outgoing.poll_capacity(cx)) {
                Some(grown) => grown.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end().map_err(io::Error::other))
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        // Without this, the end of `outgoing` is a reset. An error means that the stream is over.
        if self.has_read_end {
            let _ = self.end();
        }
    }
}
