//! A connection over TCP or a Unix socket.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time;

use super::async_stream::AsyncStream;
use super::endpoint::Endpoint;
use super::error::{Error, ErrorKind};
use super::keepalive::Keepalive;

/// How long after a Unix listener's accept queue was full a connect tries again: a busy server accepts many
/// connections in that time.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// A connection, TCP or Unix.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// Without Nagle's delay when made by this crate: a relay writes what it has and waits for nothing.
    Tcp(TcpStream),
    /// Of the local machine.
    Unix(UnixStream),
}

impl Stream {
    /// Connects, within `timeout`. A listener whose accept queue is full is waited for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`] or [`ErrorKind::ConnectTimeout`].
    ///
    /// # Cancel safety
    ///
    /// A cancelled connect closes what it opened.
    pub async fn connect(endpoint: impl Into<Endpoint>, timeout: Duration) -> Result<Self, Error> {
        let endpoint = endpoint.into();
        let connect = async {
            match &endpoint {
                Endpoint::Tcp(address) => TcpStream::connect(address).await.and_then(Self::from_tcp),
                Endpoint::Unix(path) => connect_unix(path).await.map(Self::Unix),
            }
        };
        match time::timeout(timeout, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(Error::new(ErrorKind::Connect, endpoint, Some(source))),
            Err(_) => Err(Error::new(ErrorKind::ConnectTimeout { after: timeout }, endpoint, None)),
        }
    }

    pub(super) fn from_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Sets TCP's keepalive and user timeout. Does nothing to a Unix socket, whose peer cannot be lost.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_keepalive(&self, keepalive: &Keepalive) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => keepalive.apply(stream),
            Self::Unix(_) => Ok(()),
        }
    }
}

/// A full accept queue makes a TCP connect wait, and a non-blocking Unix one fail: here both wait.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => time::sleep(FULL_QUEUE_PAUSE).await,
            connected => return connected,
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
