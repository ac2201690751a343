//! A reader and a writer as one stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A reader and a writer as one stream, for the pipes of a child process.
///
/// A shutdown drops the writer, because a pipe ends only when its last writer is closed, and tokio's own shutdown of a
/// pipe closes nothing. Wrap it in a [`Peekable`](super::Peekable) to relay it.
///
/// # Examples
///
/// ```
/// use std::process::Stdio;
///
/// use millpond::net::Halves;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::process::Command;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let (Some(stdout), Some(stdin)) = (child.stdout.take(), child.stdin.take()) else { return Ok(()) };
/// let mut pipes = Halves::new(stdout, stdin);
/// pipes.write_all(b"hello").await?;
/// pipes.shutdown().await?; // `cat` sees the end
///
/// let mut echo = String::new();
/// pipes.read_to_string(&mut echo).await?;
/// assert_eq!(echo, "hello");
/// child.wait().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Halves<R, W> {
    reader: R,
    /// `None` after the shutdown.
    writer: Option<W>,
}

impl<R, W> Halves<R, W> {
    /// Joins `reader` and `writer`.
    #[must_use]
    pub fn new(reader: R, writer: W) -> Self {
        Self { reader, writer: Some(writer) }
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> Halves<R, W> {
    fn writer(&mut self) -> io::Result<Pin<&mut W>> {
        self.writer.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for Halves<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for Halves<R, W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.writer() {
            Ok(writer) => writer.poll_flush(cx),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Ok(writer) = self.writer() {
            let outcome = ready!(writer.poll_shutdown(cx));
            self.writer = None;
            outcome?;
        }
        Poll::Ready(Ok(()))
    }
}
