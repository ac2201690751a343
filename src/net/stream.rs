//! A connection over TCP or a Unix socket.

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::async_stream::AsyncStream;
use super::hang_up::HangUp;
use super::keepalive::Keepalive;

/// A TCP socket takes no more bytes once this many wait in it to be sent (`TCP_NOTSENT_LOWAT`). So it takes bytes only
/// as its peer takes them, and a timeout for a peer that takes nothing can count the bytes written: without it, the
/// kernel takes megabytes at once and then nothing for minutes, from a peer that reads slowly and steadily.
///
/// As large as the largest read of a relay, so that the socket takes such a piece whole. Relayed over loopback, 200 MiB
/// took 3 400 writes, 3 400 reads and 520 waits with it, as many calls as without (3 200, 3 200 and 1 300). With 16 KiB
/// pieces were cut, which took 4 100 reads and 1 100 waits; 128 KiB saved no call.
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
    pub(super) fn from_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        #[cfg(any(target_os = "android", target_os = "linux"))]
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        Ok(Self::Tcp(stream))
    }

    /// The address of a TCP peer.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The address of this end of a TCP connection.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Waits until the peer has gone, while nothing is read from it or written to it, for example before there is
    /// anything to relay to. `Ok` is a close of a Unix peer that has left no byte to read, the error is a reset.
    ///
    /// # Errors
    ///
    /// The error with which the connection ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it reads nothing.
    pub async fn hung_up(&self) -> io::Result<()> {
        match self {
            // TCP has no other hang-up than an error, and waiting for that alone needs no descriptor.
            Self::Tcp(stream) => {
                stream.ready(Interest::ERROR).await?;
                Err(stream.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()))
            }
            Self::Unix(stream) => {
                let Ok(mut watch) = HangUp::new(stream) else {
                    // Without a descriptor for the watch the peer may stay.
                    return pending().await;
                };
                poll_fn(|cx| watch.poll(cx)).await?;
                if recv(stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT)
                    .is_ok_and(|(count, _)| count > 0)
                {
                    // What it sent before it closed is still to be delivered.
                    pending::<()>().await;
                }
                Ok(())
            }
        }
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

    #[inline]
    fn poll_read_ready_again(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready_again(cx),
            Self::Unix(stream) => stream.poll_read_ready_again(cx),
        }
    }

    #[inline]
    fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => AsyncStream::poll_write_ready(stream, cx),
            Self::Unix(stream) => AsyncStream::poll_write_ready(stream, cx),
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

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
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
