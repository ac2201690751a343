//! The stream below a connection, and where it is between two messages.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tracing::Span;

use super::config::WebSocketConfig;
use super::error::{WebSocketError, WebSocketErrorKind};
use super::http2;
use super::http2_stream::Http2Stream;
use super::scan::FrameScan;
use super::span::{error_type, span_of};
use crate::connection::https::inject;
use crate::net::tls::{TlsIdentity, TlsStream};
use crate::net::{Stream, traced};

enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
    Http2(Box<Http2Stream>),
}

/// A stream after its handshake.
pub(super) struct Wire {
    transport: Transport,
    handshake: Option<HeadEnd>,
    /// Read with the answer to the upgrade, and after its end.
    ahead: Bytes,
    pub(super) reading: FrameScan,
    pub(super) writing: FrameScan,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
}

impl Wire {
    /// Connects and asks for a WebSocket. Returns the subprotocol that the server chose, too.
    pub(super) async fn open(config: &WebSocketConfig) -> Result<(Self, Option<Box<str>>), WebSocketError> {
        // On the heap, so that a task is not larger for the rest of its life because it once connected.
        let opening = traced(span_of(config), || Self::open_in_time(config), error_type);
        let opening: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(opening);
        opening.await
    }

    async fn open_in_time(config: &WebSocketConfig) -> Result<(Self, Option<Box<str>>), WebSocketError> {
        let limit = config.connect_timeout;
        let opened = timeout(limit, Self::open_untimed(config)).await;
        let late =
            |_| WebSocketError::new(WebSocketErrorKind::ConnectTimeout { after: limit }, config.server());
        let (wire, chosen) = opened.map_err(late)??;
        Span::current().record("network.protocol.version", if wire.is_http2() { "2" } else { "1.1" });
        Ok((wire, chosen))
    }

    async fn open_untimed(config: &WebSocketConfig) -> Result<(Self, Option<Box<str>>), WebSocketError> {
        if let Some(pool) = &config.http2
            && let Some((stream, chosen)) = http2::open(pool, config).await?
        {
            return Ok((Self::new(Transport::Http2(Box::new(stream)), None), chosen));
        }
        let (limit, server) = (config.connect_timeout, config.server());
        let dial = config.dial.clone().timeout(config.dial.timeout.min(limit));
        let dialed = dial.connect(config.target()).await;
        let stream = dialed.map_err(|error| WebSocketError::of_net(error, dial.timeout, server))?.stream;
        let transport = match &config.tls {
            Some(tls) if config.is_tls() => {
                // A connector that others use, too, may offer HTTP/2, in which this upgrade does not exist.
                let connected = tls.connect_offering(&[b"http/1.1".to_vec()], config.host(), stream).await;
                let stream = connected.map_err(|error| WebSocketError::of_tls(error, server))?;
                Transport::Tls(Box::new(stream))
            }
            _ => Transport::Plain(stream),
        };
        let wire = Self::new(transport, Some(HeadEnd::default()));
        let codec = config.codec(wire.is_buffered());
        let mut request = config.request()?;
        inject(&Span::current(), request.headers_mut());
        let upgraded = client_async_with_config(request, wire, Some(codec)).await;
        let (stream, response) = upgraded.map_err(|error| WebSocketError::of_handshake(error, server))?;
        let mut wire = stream.into_inner();
        wire.handshake = None;
        let chosen = config.chosen(response.headers())?;
        Ok((wire, chosen))
    }

    fn new(transport: Transport, handshake: Option<HeadEnd>) -> Self {
        Self {
            transport,
            handshake,
            ahead: Bytes::new(),
            reading: FrameScan::default(),
            writing: FrameScan::default(),
            bytes_read: 0,
            bytes_written: 0,
        }
    }

    /// What its TLS was begun with, if it has TLS.
    pub(super) fn identity(&self) -> Option<TlsIdentity> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => Some(stream.identity()),
            Transport::Http2(stream) => stream.identity().cloned(),
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.transport, Transport::Http2(_))
    }

    /// Whether what it reads lies in a buffer already.
    pub(super) fn is_buffered(&self) -> bool {
        !matches!(self.transport, Transport::Plain(_))
    }

    /// Whether it resets the stream when it is dropped now.
    pub(super) fn would_reset(&self) -> bool {
        matches!(&self.transport, Transport::Http2(stream) if !stream.has_ended())
    }

    fn poll_transport_read(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, room),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, room),
            Transport::Http2(stream) => Pin::new(stream).poll_read(cx, room),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = room.filled().len();
        if this.ahead.is_empty() {
            std::task::ready!(this.poll_transport_read(cx, room))?;
        } else {
            let count = this.ahead.len().min(room.remaining());
            room.put_slice(&this.ahead.split_to(count));
        }
        let read = room.filled().get(before..).unwrap_or_default();
        match &mut this.handshake {
            // tungstenite must see nothing of the frames yet: the buffer in which it would keep them is dropped.
            Some(head) => {
                if let Some(end) = head.find(read) {
                    let mut rest = read;
                    rest.advance(end);
                    this.ahead = Bytes::copy_from_slice(rest);
                    room.set_filled(before + end);
                }
            }
            None => {
                this.bytes_read += read.len() as u64;
                this.reading.push(read);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Http2(stream) => Pin::new(stream).poll_write(cx, bytes),
        })?;
        if self.handshake.is_none() {
            self.bytes_written += count as u64;
            self.writing.push(bytes.get(..count).unwrap_or_default());
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Http2(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Http2(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A wire in a poll, for tungstenite, which waits by [`WouldBlock`](io::ErrorKind::WouldBlock).
pub(super) struct Polled<'a, 'b>(pub(super) &'a mut Wire, pub(super) &'a mut Context<'b>);

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut room = ReadBuf::new(bytes);
        or_would_block(Pin::new(&mut *self.0).poll_read(self.1, &mut room))?;
        Ok(room.filled().len())
    }
}

impl Write for Polled<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.0).poll_write(self.1, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut *self.0).poll_flush(self.1))
    }
}

/// Looks for the empty line after the headers of the answer.
#[derive(Debug, Default)]
struct HeadEnd {
    is_after_line: bool,
}

impl HeadEnd {
    /// Where the head ends in these bytes, if it does.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.is_after_line => return Some(at + 1),
                b'\n' => self.is_after_line = true,
                b'\r' => {}
                _ => self.is_after_line = false,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_head_is_found_however_its_bytes_are_cut() {
        for (head, rest) in [("HTTP/1.1 101 x\r\na: b\r\n\r\n", "\r\n\r\n"), ("HTTP/1.1 101 x\n\n", "\n\n")] {
            let bytes = [head, rest].concat();
            for cut in 0..bytes.len() {
                let (first, second) = bytes.as_bytes().split_at(cut);
                let mut end = HeadEnd::default();
                let found = match end.find(first) {
                    Some(at) => at,
                    None => cut + end.find(second).unwrap(),
                };
                assert_eq!(found, head.len(), "cut at {cut}");
            }
        }
    }
}
