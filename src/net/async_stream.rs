//! The trait through which bytes move: reading and writing, and what a proxy needs beside them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::hang_up::HangUp;

/// A write to a closed socket is an error and no signal, also in a program that does not ignore the signal. (Apple's
/// systems have a socket option instead, which tokio sets.)
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: SendFlags = SendFlags::empty();

/// A stream that can be relayed: it says when a read or a write would not block, so that no buffer is held for a silent
/// peer or one that stalls, and it can end in a reset, so that its peer does not take a part for the whole.
///
/// TCP and Unix sockets implement it. [`Peekable`] makes one of any other stream: TLS, an in-memory
/// duplex, the pipes of a child process as [`Halves`](super::Halves).
pub trait AsyncStream: AsyncRead + AsyncWrite + Unpin {
    /// Waits until a read would not block: there are bytes, the end of the stream, or an error.
    ///
    /// A spurious readiness is allowed: the read after it may still be pending.
    ///
    /// # Errors
    ///
    /// Errors of the runtime's I/O driver.
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// [`poll_read_ready`](Self::poll_read_ready) once more: it was pending with the same waker, the task had budget left
    /// (`tokio::task::coop`), and nothing was read since. So a stream that still has the waker need not store it again,
    /// which takes a lock. By default it is stored again.
    ///
    /// # Errors
    ///
    /// As [`poll_read_ready`](Self::poll_read_ready).
    fn poll_read_ready_again(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    /// Waits until a write would not block: it takes a byte, or fails. Streams that cannot tell are always ready, as by
    /// default.
    ///
    /// A spurious readiness is allowed: the write after it may still be pending.
    ///
    /// # Errors
    ///
    /// Errors of the runtime's I/O driver.
    fn poll_write_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Whether [`poll_peek`](Self::poll_peek) shows as many bytes as a read would take. By default it does not.
    fn can_peek(&self) -> bool {
        false
    }

    /// Waits for bytes and appends them to `buffer`, but leaves them in the stream. If it appends none to a buffer with
    /// room, the stream has ended.
    ///
    /// # Errors
    ///
    /// As a read. By default [`Unsupported`](io::ErrorKind::Unsupported).
    fn poll_peek(&mut self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Takes bytes that were peeked out of the stream: as many as `peeked` holds, which is overwritten with them.
    ///
    /// It does not wait. Call it in the same poll as [`poll_peek`](Self::poll_peek), and do not read in between.
    ///
    /// # Errors
    ///
    /// If the stream does not give that many bytes. It cannot be used after that, as it is unknown how many it gave. By
    /// default [`Unsupported`](io::ErrorKind::Unsupported).
    fn consume_peeked(&mut self, _peeked: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes without waiting, although the runtime may not know that the stream is writable: it is told only once a Unix
    /// socket has much room. For a last attempt before a timeout. A TCP socket has no need of it: what the kernel would take
    /// here is not what the peer took.
    ///
    /// # Errors
    ///
    /// As a write. [`WouldBlock`](io::ErrorKind::WouldBlock) if the stream takes nothing, as by default.
    fn write_now(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// A watch for the hang-up of a peer that is not read from: its stream has ended, or its bytes must wait. `None` if the
    /// stream has none, as by default, or if no descriptor is left.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O, if the stream is a socket.
    fn hang_up(&self) -> Option<HangUp> {
        None
    }

    /// Makes the next close a reset where the stream has one, so that the peer does not take it for a normal end.
    ///
    /// TCP has resets. Unix sockets and pipes have none, and their peers see a normal end. A TLS stream that is dropped
    /// without a shutdown sends no `close_notify`, which its peer reports as a truncation.
    fn reset_on_close(&mut self);
}

impl<S: AsyncStream + ?Sized> AsyncStream for &mut S {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_read_ready(cx)
    }

    fn poll_read_ready_again(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_read_ready_again(cx)
    }

    fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_write_ready(cx)
    }

    fn can_peek(&self) -> bool {
        (**self).can_peek()
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        (**self).poll_peek(cx, buffer)
    }

    fn consume_peeked(&mut self, peeked: &mut [u8]) -> io::Result<()> {
        (**self).consume_peeked(peeked)
    }

    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).write_now(bytes)
    }

    fn hang_up(&self) -> Option<HangUp> {
        (**self).hang_up()
    }

    fn reset_on_close(&mut self) {
        (**self).reset_on_close();
    }
}

impl<S: AsyncStream + ?Sized> AsyncStream for Box<S> {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_read_ready(cx)
    }

    fn poll_read_ready_again(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_read_ready_again(cx)
    }

    fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_write_ready(cx)
    }

    fn can_peek(&self) -> bool {
        (**self).can_peek()
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        (**self).poll_peek(cx, buffer)
    }

    fn consume_peeked(&mut self, peeked: &mut [u8]) -> io::Result<()> {
        (**self).consume_peeked(peeked)
    }

    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).write_now(bytes)
    }

    fn hang_up(&self) -> Option<HangUp> {
        (**self).hang_up()
    }

    fn reset_on_close(&mut self) {
        (**self).reset_on_close();
    }
}

impl AsyncStream for TcpStream {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, cx)
    }

    #[inline]
    fn poll_read_ready_again(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.try_io(Interest::READABLE, nothing).is_ok() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    #[inline]
    fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.try_io(Interest::WRITABLE, nothing).is_ok() {
            return Poll::Ready(Ok(()));
        }
        Self::poll_write_ready(self, cx)
    }

    fn can_peek(&self) -> bool {
        true
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Self::poll_peek(self, cx, buffer).map_ok(|_| ())
    }

    fn consume_peeked(&mut self, peeked: &mut [u8]) -> io::Result<()> {
        consume(peeked, |bytes| self.try_read(bytes))
    }

    fn hang_up(&self) -> Option<HangUp> {
        HangUp::new(self).ok()
    }

    fn reset_on_close(&mut self) {
        // This fails only if the connection is gone already, and then the peer knows.
        let _ = self.set_zero_linger();
    }
}

impl AsyncStream for UnixStream {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, cx)
    }

    #[inline]
    fn poll_read_ready_again(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.try_io(Interest::READABLE, nothing).is_ok() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    #[inline]
    fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.try_io(Interest::WRITABLE, nothing).is_ok() {
            return Poll::Ready(Ok(()));
        }
        Self::poll_write_ready(self, cx)
    }

    fn can_peek(&self) -> bool {
        true
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(Self::poll_read_ready(self, cx))?;
            // tokio has no peek for Unix sockets.
            let peek = || Ok(recv(&*self, buffer.initialize_unfilled(), RecvFlags::PEEK)?.0);
            match self.try_io(Interest::READABLE, peek) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn consume_peeked(&mut self, peeked: &mut [u8]) -> io::Result<()> {
        consume(peeked, |bytes| self.try_read(bytes))
    }

    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&*self, bytes, NO_SIGNAL)?)
    }

    fn hang_up(&self) -> Option<HangUp> {
        HangUp::new(self).ok()
    }

    fn reset_on_close(&mut self) {}
}

/// With this, `try_io` only looks at what the runtime knows: one load.
fn nothing() -> io::Result<()> {
    Ok(())
}

/// Reads until `peeked` is filled.
fn consume(mut peeked: &mut [u8], mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
    while !peeked.is_empty() {
        let count = read(peeked)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        peeked = peeked.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

/// Any stream as an [`AsyncStream`].
///
/// To find out whether there is something to read, it reads one byte, which the next read returns first. It holds that
/// byte and nothing else. The inner stream may buffer more: TLS, for example, keeps a record.
///
/// # Examples
///
/// ```
/// use millpond::net::{AsyncStream, Peekable};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (mut here, there) = tokio::io::duplex(64);
/// let mut there = Peekable::new(there);
/// here.write_all(b"hello").await?;
/// std::future::poll_fn(|cx| there.poll_read_ready(cx)).await?;
///
/// let mut bytes = [0; 5];
/// there.read_exact(&mut bytes).await?;
/// assert_eq!(&bytes, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Peekable<S> {
    stream: S,
    /// The byte that was read ahead, or `None` for the end of the stream.
    peeked: Option<io::Result<Option<u8>>>,
}

impl<S> Peekable<S> {
    /// Wraps `stream`.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self { stream, peeked: None }
    }

    /// The inner stream. Reading from it loses the byte that was read ahead.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The byte that was read ahead.
    pub(super) fn peeked(&self) -> Option<u8> {
        self.peeked.as_ref().and_then(|peeked| *peeked.as_ref().ok()?)
    }

    /// The inner stream, and the byte that was read ahead.
    pub(super) fn into_parts(self) -> (S, Option<u8>) {
        let peeked = self.peeked();
        (self.stream, peeked)
    }

    /// As [`get_ref`](Self::get_ref).
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> Peekable<S> {
    /// Waits for a byte, which the next read returns first. `false` is the end of the stream.
    pub(super) fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(self.poll_read_ahead(cx));
        let ended = self.peeked.take_if(|peeked| !matches!(peeked, Ok(Some(_))));
        Poll::Ready(ended.transpose().map(|ended| ended.is_none()))
    }

    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.peeked.is_none() {
            let mut byte = [0];
            let mut room = ReadBuf::new(&mut byte);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room));
            self.peeked = Some(read.map(|()| room.filled().first().copied()));
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncStream for Peekable<S> {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ahead(cx).map(Ok)
    }

    /// Shows the byte that was read ahead, and no more.
    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if ready!(Self::poll_peek(self, cx))? {
            buffer.put_slice(self.peeked().as_slice());
        }
        Poll::Ready(Ok(()))
    }

    fn reset_on_close(&mut self) {}
}

impl<S: AsyncRead + Unpin> AsyncRead for Peekable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match self.peeked.take() {
            None => Pin::new(&mut self.stream).poll_read(cx, buffer),
            Some(Err(error)) => Poll::Ready(Err(error)),
            Some(Ok(None)) => Poll::Ready(Ok(())),
            Some(Ok(Some(byte))) => {
                buffer.put_slice(&[byte]);
                if buffer.remaining() > 0
                    && let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_read(cx, buffer)
                {
                    // The byte comes before the error, which the next read reports.
                    self.peeked = Some(Err(error));
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Peekable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
