//! A buffered reader over any tokio reader. It holds a buffer only while there are bytes to consume.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::async_stream::Peekable;
use crate::pool::{Acquire, BufferPool, PooledBuffer};
use crate::size::ReadSize;

/// A buffered reader over any tokio reader, in the pool's buffers: `tokio::io::BufReader` without a buffer at rest.
///
/// A silent peer holds no buffer, whatever the stream is: the reader acquires one before each read, and returns it if
/// nothing has arrived, or once all of it is consumed. That costs an acquire and a return through the thread's cache,
/// and no system call. It reads 8 KiB at a time, or 64 KiB if the peer fills that. Streams may hold memory of their
/// own: TLS, for example, keeps a record.
///
/// When the pool's [memory limit](crate::BufferPoolConfigBuilder::memory_limit) is reached, a reader with something to
/// read waits in the pool's queue and reads only one byte. The peer's socket fills meanwhile. A read into a buffer of the
/// caller's ([`AsyncRead`]) needs no memory of the pool then, and does not wait.
///
/// # Cancel safety
///
/// The reader loses no byte if a future that reads through it is dropped. (tokio says which of its futures own bytes.)
/// While it waits for memory it keeps its place in the pool's queue, and a buffer that is granted waits for the next
/// poll: poll it again, drop it, or call [`stop_waiting`](Self::stop_waiting). [`fill_buf`](Self::fill_buf) calls it by
/// itself when it is cancelled.
///
/// # Examples
///
/// ```
/// use millpond::net::PooledBufReader;
/// use millpond::{BufferPool, BufferPoolConfig};
/// use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let pool = BufferPool::new(BufferPoolConfig::proxy());
/// let (mut here, there) = tokio::net::UnixStream::pair()?;
/// let mut lines = PooledBufReader::new(there, pool.clone()).lines();
/// here.write_all(b"one\ntwo\n").await?;
/// assert_eq!(lines.next_line().await?.as_deref(), Some("one"));
/// assert_eq!(lines.next_line().await?.as_deref(), Some("two"));
/// assert_eq!(pool.stats().in_use, 0); // nothing is left to consume
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PooledBufReader<R> {
    /// It reads a byte ahead at the memory limit only, to know that there is something to read.
    reader: Peekable<R>,
    pool: BufferPool,
    read_size: ReadSize,
    /// Bytes to consume; `None` if there are none.
    unread: Option<PooledBuffer>,
    /// Waits for memory. The box is made only then.
    acquire: Option<Pin<Box<Acquire>>>,
}

impl<R> PooledBufReader<R> {
    /// Reads from `reader` into buffers of `pool`.
    #[must_use]
    pub fn new(reader: R, pool: BufferPool) -> Self {
        let (reader, read_size) = (Peekable::new(reader), ReadSize::at_most(pool.largest_class()));
        Self { reader, pool, read_size, unread: None, acquire: None }
    }

    /// The bytes that were read and not consumed.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        self.unread.as_deref().unwrap_or_default()
    }

    /// The inner reader. Bytes read from it are missing here.
    #[must_use]
    pub fn get_ref(&self) -> &R {
        self.reader.get_ref()
    }

    /// The inner reader, for example to write to it if it is a socket. Bytes read from it are missing here.
    pub fn get_mut(&mut self) -> &mut R {
        self.reader.get_mut()
    }

    /// The inner reader, and the bytes that were read and not consumed.
    #[must_use]
    pub fn into_parts(self) -> (R, Option<PooledBuffer>) {
        let (reader, byte) = self.reader.into_parts();
        let unread = self.unread.or_else(|| {
            let mut buffer = self.pool.acquire(1);
            buffer.extend_from_slice(&[byte?]);
            Some(buffer)
        });
        (reader, unread)
    }

    /// Whether it waits for memory of the pool, and not for its peer.
    #[must_use]
    pub fn is_waiting_for_memory(&self) -> bool {
        self.acquire.is_some()
    }

    /// Leaves the pool's queue, and gives up a buffer that was granted and not fetched. The next poll that needs memory
    /// joins the queue at its end.
    pub fn stop_waiting(&mut self) {
        self.acquire = None;
    }
}

/// A reader that leaves the pool's queue when nobody waits for its bytes any more.
struct Waiting<'a, R>(&'a mut PooledBufReader<R>);

impl<R> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        self.0.stop_waiting();
    }
}

impl<R: AsyncRead + Unpin> PooledBufReader<R> {
    /// Waits for bytes, and returns all that were read and not consumed. If there are none, the stream has ended. Then
    /// [`consume`](tokio::io::AsyncBufReadExt::consume) what you have used.
    ///
    /// # Errors
    ///
    /// Those of the reader.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no byte is lost. Cancelled while it waits for memory, it gives up its place in the pool's queue.
    pub async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        {
            let waiting = Waiting(self);
            poll_fn(|cx| waiting.0.poll_fill(cx)).await?;
        }
        Ok(self.buffer())
    }

    /// Reads if nothing is left to consume.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_none() {
            let acquired = match &mut self.acquire {
                Some(acquire) => {
                    let granted = ready!(acquire.as_mut().poll(cx));
                    self.acquire = None;
                    Some(granted.map_err(io::Error::other)?)
                }
                None => self.pool.acquire_for_read(self.read_size).ok(),
            };
            if let Some(buffer) = acquired {
                return self.poll_read_into(cx, buffer);
            }
            // A silent peer must not take a place in the queue, and the end of the stream needs no memory.
            if !ready!(self.reader.poll_peek(cx))? {
                break;
            }
            self.acquire = Some(Box::pin(self.pool.acquire_async(self.read_size.small())));
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once. The buffer is returned if there is nothing to read.
    fn poll_read_into(&mut self, cx: &mut Context<'_>, mut buffer: PooledBuffer) -> Poll<io::Result<()>> {
        let room = buffer.capacity();
        let count = ready!(buffer.poll_read_from(cx, Pin::new(&mut self.reader)))?;
        self.read_size.learn(count, room);
        self.unread = Some(buffer).filter(|buffer| !buffer.is_empty());
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for PooledBufReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_fill(cx))?;
        Poll::Ready(Ok(this.buffer()))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        if let Some(buffer) = &mut self.unread {
            buffer.advance(count.min(buffer.len()));
        }
        self.unread.take_if(|buffer| buffer.is_empty());
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for PooledBufReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_none() {
            // A large read needs no buffer in between, nor does a small one while there is no memory for it.
            self.stop_waiting();
            let between = (buffer.remaining() < self.read_size.size())
                .then(|| self.pool.acquire_for_read(self.read_size).ok())
                .flatten();
            match between {
                Some(between) => ready!(self.poll_read_into(cx, between))?,
                None => return Pin::new(&mut self.reader).poll_read(cx, buffer),
            }
        }
        let count = buffer.remaining().min(self.buffer().len());
        buffer.put_slice(self.buffer().get(..count).unwrap_or_default());
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}
