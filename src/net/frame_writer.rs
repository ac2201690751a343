//! Frames into any tokio writer: gathering writes, and no copy of large pooled payloads.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::write_queue::{PushError, WriteQueue};
use crate::frame::{EncodeError, Encoder};
use crate::pool::{AcquireError, BufferPool};
use crate::size::ReadSize;

/// [`feed`](FrameWriter::feed) writes once this many bytes wait: the size of a large buffer, so that small frames fill one.
const WRITE_AT: usize = ReadSize::LARGE;

/// Frames into any tokio writer.
///
/// Small frames are copied side by side into a pooled buffer and written together. Large pooled payloads are written
/// from where they are. A writer with nothing to write holds no buffer. When the pool's
/// [memory limit](crate::BufferPoolConfigBuilder::memory_limit) is reached it writes what it has, and waits for memory
/// in the pool's queue.
///
/// # Examples
///
/// ```
/// use millpond::frame::{Assembler, Hdlc, ReadMode};
/// use millpond::net::{FrameReader, FrameWriter};
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = BufferPool::new(BufferPoolConfig::proxy());
/// let (here, there) = tokio::io::duplex(1024);
/// let mut writer = FrameWriter::new(here, Hdlc::default(), pool.clone());
/// writer.feed(b"the first packet").await?;
/// writer.send(b"the second packet").await?;
/// writer.shutdown().await?;
///
/// let mut reader = FrameReader::new(there, Assembler::new(Hdlc::default(), pool, ReadMode::batched()));
/// let packet = reader.next_frame().await?.expect("two were sent");
/// assert_eq!(packet, b"the first packet".as_slice());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FrameWriter<W, E> {
    writer: W,
    encoder: E,
    queue: WriteQueue,
}

impl<W: AsyncWrite + Unpin, E> FrameWriter<W, E> {
    /// Writes frames to `writer`, in buffers of `pool`.
    #[must_use]
    pub fn new(writer: W, encoder: E, pool: BufferPool) -> Self {
        Self { writer, encoder, queue: WriteQueue::new(pool) }
    }

    /// Queues a frame, and writes once 64 KiB wait. [`flush`](Self::flush) writes the rest.
    ///
    /// # Errors
    ///
    /// [`WriteFrameError`]. After an I/O error the stream is of no further use. After any other, the frame was not
    /// queued, and the frames before it are unharmed.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, the frame is queued as a whole or dropped as a whole, and its place in the pool's queue is given up.
    /// What was queued before stays queued, and the stream stays at the boundary of a frame once it is flushed.
    pub async fn feed<M>(&mut self, message: M) -> Result<(), WriteFrameError>
    where
        E: Encoder<M>,
    {
        let mut message = message;
        if self.queue.len() >= WRITE_AT {
            self.write().await?;
        }
        loop {
            let copied = self.encoder.copied_len(&message);
            message = match self.queue.push(&self.encoder, message) {
                Ok(()) => return Ok(()),
                Err(PushError::Encode(error)) => return Err(WriteFrameError(Cause::Encode(error))),
                Err(PushError::Memory { message, .. }) => message,
            };
            self.write().await?;
            self.queue.reserve(copied).await?;
        }
    }

    async fn write(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.queue.poll_write(cx, Pin::new(&mut self.writer))).await
    }

    /// Queues a frame, and writes everything that waits.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed).
    ///
    /// # Cancel safety
    ///
    /// As [`feed`](Self::feed).
    pub async fn send<M>(&mut self, message: M) -> Result<(), WriteFrameError>
    where
        E: Encoder<M>,
    {
        self.feed(message).await?;
        self.flush().await
    }

    /// Writes everything that waits, and flushes the writer.
    ///
    /// # Errors
    ///
    /// [`WriteFrameError`], of an I/O error.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it has written a part, and the next call continues.
    pub async fn flush(&mut self) -> Result<(), WriteFrameError> {
        Ok(poll_fn(|cx| self.poll_flush(cx)).await?)
    }

    /// Writes everything that waits, and ends the stream.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// As [`flush`](Self::flush).
    pub async fn shutdown(&mut self) -> Result<(), WriteFrameError> {
        let shutdown = |cx: &mut Context<'_>| {
            ready!(self.poll_flush(cx))?;
            Pin::new(&mut self.writer).poll_shutdown(cx)
        };
        Ok(poll_fn(shutdown).await?)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.queue.poll_write(cx, Pin::new(&mut self.writer)))?;
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    /// The inner writer. Bytes written to it may land in the middle of a frame unless everything was flushed before.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.writer
    }

    /// What waits to be written.
    #[must_use]
    pub fn queue(&self) -> &WriteQueue {
        &self.queue
    }
}

/// Why no frame was written.
///
/// Its text names this layer only. The cause, with what the framing says, is the `source`: log both.
///
/// [`kind`](Self::kind) distinguishes a message that the framing cannot carry from a connection that failed. The
/// [`source`](Error::source) is the [`EncodeError`], the [`AcquireError`] or the [`io::Error`] itself.
#[derive(Debug)]
pub struct WriteFrameError(Cause);

/// What a [`WriteFrameError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteFrameErrorKind {
    /// The framing cannot carry the message.
    Encode(EncodeError),
    /// No class of the pool is large enough for what the frame copies.
    Memory,
    /// The writer failed.
    Io(io::ErrorKind),
}

#[derive(Debug)]
enum Cause {
    Encode(EncodeError),
    Memory(AcquireError),
    Io(io::Error),
}

impl WriteFrameError {
    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> WriteFrameErrorKind {
        match &self.0 {
            Cause::Encode(error) => WriteFrameErrorKind::Encode(*error),
            Cause::Memory(_) => WriteFrameErrorKind::Memory,
            Cause::Io(error) => WriteFrameErrorKind::Io(error.kind()),
        }
    }

    /// Whether the stream cannot be written to any more.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(&self.0, Cause::Io(_))
    }
}

impl fmt::Display for WriteFrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Cause::Encode(_) => "the framing cannot carry the message",
            Cause::Memory(_) => "there is no memory to write the frame",
            Cause::Io(_) => "writing failed",
        })
    }
}

impl Error for WriteFrameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Encode(error) => Some(error),
            Cause::Memory(error) => Some(error),
            Cause::Io(error) => Some(error),
        }
    }
}

impl From<AcquireError> for WriteFrameError {
    fn from(error: AcquireError) -> Self {
        Self(Cause::Memory(error))
    }
}

impl From<io::Error> for WriteFrameError {
    fn from(error: io::Error) -> Self {
        Self(Cause::Io(error))
    }
}
