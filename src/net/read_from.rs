//! Reading into a pooled buffer, within the memory limit.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::pool::PooledBuffer;

impl PooledBuffer {
    /// Reads once from `reader` and appends what it gives: at most as many bytes as there is room for. 0 means that the
    /// stream has ended, and nothing else. (Feature `net`.)
    ///
    /// A full buffer grows before the read as by [`try_reserve`](Self::try_reserve). So a loop collects a whole stream;
    /// bound it, as the peer decides how long it is.
    ///
    /// # Errors
    ///
    /// Those of the reader. [`OutOfMemory`](io::ErrorKind::OutOfMemory), with the
    /// [`AcquireError`](crate::AcquireError) in it, if a full buffer cannot grow within the memory limit. It does
    /// not wait for memory: that could be for ever, if all who hold a buffer wait for a larger one. The bytes in the
    /// buffer stay.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no byte was read.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    /// use tokio::io::AsyncWriteExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let pool = BufferPool::new(BufferPoolConfig::http());
    /// let (mut here, mut there) = tokio::net::UnixStream::pair()?;
    /// tokio::spawn(async move { here.write_all(&[7; 30_000]).await });
    /// let mut buffer = pool.acquire(8192);
    /// while buffer.len() < 1 << 20 && buffer.read_from(&mut there).await? > 0 {}
    /// assert_eq!(buffer.len(), 30_000);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_from(&mut self, reader: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_from(cx, Pin::new(&mut *reader))).await
    }

    /// [`read_from`](Self::read_from) as a poll function.
    ///
    /// # Errors
    ///
    /// As [`read_from`](Self::read_from).
    #[track_caller]
    pub fn poll_read_from<R: AsyncRead + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: Pin<&mut R>,
    ) -> Poll<io::Result<usize>> {
        self.try_reserve(1).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        // One read into the room that there is.
        pin!(reader.read_buf(self)).poll(cx)
    }
}
