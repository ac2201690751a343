//! TCP or TLS below HTTP, with counted bytes.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;

use super::connection_limit::ConnectionPermit;
use crate::connection::clock::now;
use crate::net::Stream;
use crate::net::tls::TlsStream;
use crate::sync::{Arc, Count};

/// What HTTP reads and writes.
pub(super) struct Wire {
    transport: Transport,
    traffic: Arc<Traffic>,
    /// Given back after the connection is closed.
    permit: Option<ConnectionPermit>,
}

/// The kinds of transport.
pub(super) enum Transport {
    Plain(Stream),
    /// On the heap: the state of TLS is large, and pools move connections.
    Tls(Box<TlsStream<Stream>>),
}

/// What a connection has carried.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Bytes of HTTP, before encryption.
    pub(super) received: Count,
    pub(super) sent: Count,
    /// When some were last received, by the clock of pools.
    pub(super) heard: Count,
    /// Whether the server began with a frame of HTTP/2, as 0 or 1.
    pub(super) began_with_frame: Count,
    /// Streams of a pool that have failed.
    pub(super) errors: Count,
}

impl Wire {
    pub(super) fn new(transport: Transport, traffic: Arc<Traffic>, permit: Option<ConnectionPermit>) -> Self {
        Self { transport, traffic, permit }
    }

    /// Closes it. What is left is its permit.
    pub(super) fn close(self) -> Option<ConnectionPermit> {
        let Self { transport, permit, .. } = self;
        drop(transport);
        permit
    }

    /// The bytes so far, in both directions.
    pub(super) fn bytes(&self) -> u64 {
        self.traffic.received.get() + self.traffic.sent.get()
    }

    pub(super) fn bytes_received(&self) -> u64 {
        self.traffic.received.get()
    }

    /// Whether the server has neither closed the connection nor sent anything that nobody asked for, as far as this machine
    /// knows. Records of TLS itself, such as session tickets, are taken in.
    ///
    /// Without news from the kernel it costs no system call.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        // A task that has used up its budget would see every connection quiet.
        let read = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut *self).poll_read(cx, &mut buffer))));
        read.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// Whether a server of HTTP/2 begins so (RFC 9113, section 3.4): SETTINGS, on stream 0 and of less than 64 KiB.
fn is_settings(first: &[u8]) -> bool {
    matches!(first, [0, _, _, 4, 0, 0, 0, 0, 0, ..])
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        let more = buffer.filled().len() - before;
        if more > 0 {
            let Traffic { received, heard, began_with_frame, .. } = &*self.traffic;
            if received.get() == 0 && is_settings(buffer.filled().get(before..).unwrap_or_default()) {
                began_with_frame.set(1);
            }
            received.set(received.get() + more as u64);
            heard.set(now());
        }
        read
    }
}

impl Wire {
    fn counted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = written {
            let sent = &self.traffic.sent;
            sent.set(sent.get() + count as u64);
        }
        written
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.counted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        self.counted(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
