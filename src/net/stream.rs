//! A connection over TCP or a Unix socket, and how it is made.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::async_stream::AsyncStream;
use super::connect;
use super::endpoint::Endpoint;
use super::error::Error;
use super::hang_up::HangUp;
use super::keepalive::Keepalive;

/// A TCP socket takes no more bytes once this many wait in it to be sent (`TCP_NOTSENT_LOWAT`). So it takes bytes only
/// as its peer takes them, and a timeout for a peer that takes nothing can count the bytes written: without it, the
/// kernel takes megabytes at once and then nothing for minutes, from a peer that reads slowly and steadily.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 64 * 1024;

/// A connection over TCP or a Unix socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// A TCP connection. If this crate made it, Nagle's algorithm is off (`TCP_NODELAY`),
    /// and on Linux the kernel holds few bytes that are not sent yet (`TCP_NOTSENT_LOWAT`).
    Tcp(TcpStream),
    /// A connection over a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Connects to an endpoint, within `timeout`.
    ///
    /// * If the listener's accept queue is full, it waits.
    /// * If this process has no descriptor, port or memory left, it tries again until there is some.
    /// * A name is looked up by the system, once at a time for all callers, and the answer is used for 5 s.
    /// * If the name has several addresses, they are tried as RFC 8305 ("happy eyeballs") says: IPv6 and IPv4 in turn,
    ///   each 250 ms after the one before, or at once if that one has failed. The first that answers is taken.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`], [`ErrorKind::ConnectTimeout`], [`ErrorKind::Lookup`], [`ErrorKind::LookupTimeout`],
    /// [`ErrorKind::OutOfResources`], [`ErrorKind::NotASocket`] or [`ErrorKind::InvalidEndpoint`].
    ///
    /// [`ErrorKind::Connect`]: super::ErrorKind::Connect
    /// [`ErrorKind::ConnectTimeout`]: super::ErrorKind::ConnectTimeout
    /// [`ErrorKind::Lookup`]: super::ErrorKind::Lookup
    /// [`ErrorKind::LookupTimeout`]: super::ErrorKind::LookupTimeout
    /// [`ErrorKind::OutOfResources`]: super::ErrorKind::OutOfResources
    /// [`ErrorKind::NotASocket`]: super::ErrorKind::NotASocket
    /// [`ErrorKind::InvalidEndpoint`]: super::ErrorKind::InvalidEndpoint
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes what it opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millpond::net::{ErrorKind, Listener, Stream};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = Listener::bind("127.0.0.1:0").await?;
    /// let endpoint = listener.local_endpoint().clone();
    /// let _stream = Stream::connect(&endpoint, Duration::from_secs(10)).await?;
    ///
    /// drop(listener);
    /// let error = Stream::connect(&endpoint, Duration::from_secs(10)).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Connect);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(endpoint: impl Into<Endpoint>, timeout: Duration) -> Result<Self, Error> {
        // On the heap, so that a task is not larger for the rest of its life because it once connected.
        Box::pin(connect::connect(endpoint.into(), timeout)).await
    }

    pub(super) fn from_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        #[cfg(any(target_os = "android", target_os = "linux"))]
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        Ok(Self::Tcp(stream))
    }

    /// Sets TCP keepalive and user timeout. A Unix socket needs neither: the kernel knows when its peer is gone.
    ///
    /// # Errors
    ///
    /// Errors of `setsockopt(2)`.
    pub fn set_keepalive(&self, keepalive: &Keepalive) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => keepalive.apply(stream),
            Self::Unix(_) => Ok(()),
        }
    }
}

impl AsyncStream for Stream {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    fn can_peek(&self) -> bool {
        true
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => AsyncStream::poll_peek(stream, cx, buffer),
            Self::Unix(stream) => stream.poll_peek(cx, buffer),
        }
    }

    fn consume_peeked(&mut self, peeked: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.consume_peeked(peeked),
            Self::Unix(stream) => stream.consume_peeked(peeked),
        }
    }

    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_now(bytes),
            Self::Unix(stream) => stream.write_now(bytes),
        }
    }

    fn hang_up(&self) -> Option<HangUp> {
        match self {
            Self::Tcp(stream) => stream.hang_up(),
            Self::Unix(stream) => stream.hang_up(),
        }
    }

    fn reset_on_close(&mut self) {
        match self {
            Self::Tcp(stream) => stream.reset_on_close(),
            Self::Unix(stream) => stream.reset_on_close(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
