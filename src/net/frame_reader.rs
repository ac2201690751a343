//! Frames out of any tokio reader. It holds a buffer only while there is something to read.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::async_stream::Peekable;
use crate::frame::{Assembler, Decoder, FrameError, FrameErrorKind};
use crate::pool::{Acquire, AcquireError, PooledBytes};

/// Frames out of any tokio reader, in pooled buffers.
///
/// A silent peer holds no buffer: the reader acquires one before each read, and returns it if nothing has arrived. That
/// costs an acquire and a return through the thread's cache, and no system call. An unfinished frame holds what its
/// [`Assembler`] holds.
///
/// When the pool's [memory limit](crate::BufferPoolConfigBuilder::memory_limit) is reached, a reader with something to
/// read waits in the pool's queue and reads nothing. The peer's socket fills meanwhile.
///
/// # Examples
///
/// ```
/// use millpond::frame::{Assembler, ReadMode, Tlv};
/// use millpond::net::{FrameReader, write_frame};
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = BufferPool::new(BufferPoolConfig::proxy());
/// let (mut here, there) = tokio::io::duplex(64);
/// let mut reader = FrameReader::new(there, Assembler::new(Tlv::default(), pool, ReadMode::batched()));
/// write_frame(&mut here, 1001, b"hello").await?;
/// drop(here);
///
/// while let Some(frame) = reader.next_frame().await? {
///     assert_eq!((frame.type_id, frame.payload.as_ref()), (1001, b"hello".as_slice()));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FrameReader<R, D> {
    /// It reads a byte ahead at the memory limit only, to know that there is something to read.
    reader: Peekable<R>,
    frames: Assembler<D>,
    /// Waits for memory. The box is made only then.
    acquire: Option<Pin<Box<Acquire>>>,
}

/// A reader that leaves the pool's queue when nobody waits for its next frame any more: a buffer that is granted to it
/// would be lost to all others.
struct Waiting<'a, R, D>(&'a mut FrameReader<R, D>);

impl<R, D> Drop for Waiting<'_, R, D> {
    fn drop(&mut self) {
        self.0.acquire = None;
    }
}

impl<R: AsyncRead + Unpin, D: Decoder> FrameReader<R, D> {
    /// Reads frames from `reader`. The assembler sets the framing, the pool and the read mode.
    #[must_use]
    pub fn new(reader: R, frames: Assembler<D>) -> Self {
        Self { reader: Peekable::new(reader), frames, acquire: None }
    }

    /// Reads the next frame. `None` means that the stream ended between two frames.
    ///
    /// # Errors
    ///
    /// [`ReadFrameError`]. After one that is not [fatal](ReadFrameError::is_fatal) a frame was skipped: call again.
    /// After any other the stream is of no further use, and no buffer is held.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: bytes that have arrived are kept for the next call. Cancelled while it waits for memory, it gives up
    /// its place in the pool's queue.
    pub async fn next_frame(&mut self) -> Result<Option<D::Frame>, ReadFrameError> {
        let waiting = Waiting(self);
        poll_fn(|cx| waiting.0.poll_next_frame(cx)).await
    }

    /// [`next_frame`](Self::next_frame) as a poll function. While it waits for memory the reader keeps its place in the
    /// pool's queue, and a buffer that is granted waits for the next poll: poll again, or drop the reader.
    ///
    /// # Errors
    ///
    /// As [`next_frame`](Self::next_frame).
    #[inline]
    pub fn poll_next_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<D::Frame>, ReadFrameError>> {
        match self.frames.next_small() {
            Some(frame) => Poll::Ready(Ok(Some(frame))),
            None => self.poll_next_frame_slowly(cx),
        }
    }

    #[inline(never)]
    fn poll_next_frame_slowly(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<D::Frame>, ReadFrameError>> {
        loop {
            if let Some(frame) = self.frames.next_frame_slowly()? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if let Some(size) = self.frames.wants()
                && !ready!(self.poll_acquire(cx, size))?
            {
                return Poll::Ready(self.frames.finish().map(|()| None).map_err(Into::into));
            }
            let read = {
                let mut room = self.frames.room()?;
                let size = bytes::BufMut::remaining_mut(&room);
                let polled = pin!(self.reader.read_buf(&mut room)).poll(cx);
                polled.map_ok(|count| (count, size))
            };
            match read {
                Poll::Pending => {
                    self.frames.release();
                    return Poll::Pending;
                }
                Poll::Ready(Ok((0, _))) => {
                    return Poll::Ready(self.frames.finish().map(|()| None).map_err(Into::into));
                }
                Poll::Ready(Ok((count, size))) => self.frames.learn(count, size),
                Poll::Ready(Err(error)) => {
                    self.frames.abandon();
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }

    /// Gives the assembler a buffer of `size` bytes, as soon as there is something to read and the pool has memory
    /// for it. `false` means that the stream has ended.
    fn poll_acquire(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<Result<bool, ReadFrameError>> {
        loop {
            let acquired = match &mut self.acquire {
                Some(acquire) => {
                    let acquired = ready!(acquire.as_mut().poll(cx));
                    self.acquire = None;
                    acquired.map(|buffer| self.frames.lend_least(buffer))
                }
                // Sizes above every class come from the heap. What has arrived bounds them.
                None => self.frames.acquire(size),
            };
            match acquired {
                Ok(()) => return Poll::Ready(Ok(true)),
                Err(error @ AcquireError::TooLarge { .. }) => {
                    return Poll::Ready(Err(self.frames.refuse(error).into()));
                }
                Err(AcquireError::Exhausted { .. }) => {
                    // A silent peer must not take a place in the queue.
                    match ready!(self.reader.poll_peek(cx)) {
                        Ok(true) => {}
                        Ok(false) => return Poll::Ready(Ok(false)),
                        Err(error) => {
                            self.frames.abandon();
                            return Poll::Ready(Err(error.into()));
                        }
                    }
                    let least = self.frames.least(size);
                    self.acquire = Some(Box::pin(self.frames.pool().acquire_async(least)));
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// The inner reader.
    #[must_use]
    pub fn get_ref(&self) -> &R {
        self.reader.get_ref()
    }

    /// The inner reader, for example to write to it if it is a socket. Bytes read from it are missing in the frames.
    pub fn get_mut(&mut self) -> &mut R {
        self.reader.get_mut()
    }

    /// The assembler. It knows what is held, and whether a frame is unfinished.
    #[must_use]
    pub fn frames(&self) -> &Assembler<D> {
        &self.frames
    }

    /// The decoder, for example to change a limit between two frames: see
    /// [`Tlv::set_max_payload`](crate::frame::Tlv::set_max_payload). Another one in its place knows nothing of the frame under way.
    pub fn decoder_mut(&mut self) -> &mut D {
        self.frames.decoder_mut()
    }

    /// Moves an unfinished frame to a buffer that fits what has arrived of it: see [`Assembler::shrink`]. It takes
    /// another buffer once more has arrived.
    ///
    /// Returns whether the reader was waiting for memory that it does not need any more. Poll it again then.
    pub fn shrink(&mut self) -> bool {
        // It does without the memory that it waits for.
        let left = self.frames.can_settle() && self.acquire.take().is_some();
        self.frames.shrink();
        left
    }

    /// Bytes of the stream that have arrived, also those that were dropped after an error.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.frames.received() + u64::from(self.reader.peeked().is_some())
    }

    /// Ends the reading: returns the reader, the decoder, and the bytes that were read and not taken, if there are any,
    /// for example when the stream changes its protocol. They come before the reader's.
    ///
    /// A reader that was waiting for memory takes one buffer for them, whatever the memory limit is.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::frame::{Assembler, Lines, ReadMode};
    /// use millpond::net::FrameReader;
    /// use millpond::{BufferPool, BufferPoolConfig};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let (mut here, there) = tokio::io::duplex(64);
    /// let mut lines = FrameReader::new(there, Assembler::new(Lines::default(), pool, ReadMode::PerFrame));
    /// here.write_all(b"upgrade\nother ").await?;
    /// assert_eq!(lines.next_frame().await?.unwrap(), b"upgrade");
    ///
    /// let (stream, _, unread) = lines.into_parts();
    /// here.write_all(b"protocol").await?;
    /// drop(here);
    /// let mut text = String::new();
    /// unread.as_deref().unwrap_or_default().chain(stream).read_to_string(&mut text).await?;
    /// assert_eq!(text, "other protocol");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (R, D, Option<PooledBytes>) {
        let (reader, early) = self.reader.into_parts();
        let pool = early.map(|_| self.frames.pool().clone());
        let (decoder, mut unread) = self.frames.into_parts();
        if let (Some(early), Some(pool)) = (early, pool) {
            let before = unread.as_deref().unwrap_or_default();
            let mut all = pool.acquire(before.len() + 1);
            all.extend_from_slice(before);
            all.extend_from_slice(&[early]);
            unread = Some(all.into_shared());
        }
        (reader, decoder, unread)
    }

    /// Whether it waits for memory of the pool, and not for its peer.
    #[must_use]
    pub fn is_waiting_for_memory(&self) -> bool {
        self.acquire.is_some()
    }
}

/// Why no frame was read.
///
/// Its text names this layer only. The cause, with what the framing says, is the `source`: log both.
///
/// [`kind`](Self::kind) distinguishes a peer that broke the protocol from a connection that failed. The
/// [`source`](Error::source) is the [`FrameError`], the [`AcquireError`] or the [`io::Error`] itself.
#[derive(Debug)]
pub struct ReadFrameError(Cause);

/// What a [`ReadFrameError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFrameErrorKind {
    /// The bytes are not a frame.
    Protocol(FrameErrorKind),
    /// The pool cannot provide a buffer.
    Memory,
    /// The reader failed.
    Io(io::ErrorKind),
}

#[derive(Debug)]
enum Cause {
    Protocol(FrameError),
    Memory(AcquireError),
    Io(io::Error),
}

impl ReadFrameError {
    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ReadFrameErrorKind {
        match &self.0 {
            Cause::Protocol(error) => ReadFrameErrorKind::Protocol(error.kind()),
            Cause::Memory(_) => ReadFrameErrorKind::Memory,
            Cause::Io(error) => ReadFrameErrorKind::Io(error.kind()),
        }
    }

    /// Whether no more frames can be read from the stream.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(&self.0, Cause::Protocol(error) if !error.is_fatal())
    }
}

impl fmt::Display for ReadFrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Protocol(_) => f.write_str("the peer broke the framing"),
            Cause::Memory(_) => f.write_str("there is no memory to read into"),
            Cause::Io(_) => f.write_str("reading failed"),
        }
    }
}

impl Error for ReadFrameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Protocol(error) => Some(error),
            Cause::Memory(error) => Some(error),
            Cause::Io(error) => Some(error),
        }
    }
}

impl From<FrameError> for ReadFrameError {
    fn from(error: FrameError) -> Self {
        Self(Cause::Protocol(error))
    }
}

impl From<AcquireError> for ReadFrameError {
    fn from(error: AcquireError) -> Self {
        Self(Cause::Memory(error))
    }
}

impl From<io::Error> for ReadFrameError {
    fn from(error: io::Error) -> Self {
        Self(Cause::Io(error))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::frame::{Lines, ReadMode, Reader, Tlv, tlv};
    use crate::pool::{BufferPool, BufferPoolConfig};

    /// Once it does not wait for the large buffer any more, it continues in the small one.
    #[tokio::test]
    async fn a_reader_that_shrinks_leaves_the_queue_for_memory() {
        let classes = BufferPoolConfig::builder().class(512, 64).class(8198, 8).thread_cache_bytes(0);
        let pool = BufferPool::new(classes.memory_limit(2 * 8198 + 1024).build().unwrap());
        let (mut here, there) = duplex(100_000);
        let frames = Assembler::new(Tlv::default(), pool.clone(), ReadMode::batched());
        let mut reader = FrameReader::new(there, frames);
        let mut wire = Vec::new();
        tlv::encode(1, &[1; 4000], &mut wire).unwrap();
        tlv::encode(2, &[2; 200], &mut wire).unwrap();
        let (part, rest) = wire.split_at(4006 + 16);
        here.write_all(part).await.unwrap();
        let first = reader.next_frame().await.unwrap().unwrap();
        let _other = pool.acquire(8000);
        let mut next = |cx: &mut Context<'_>| match reader.poll_next_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.unwrap().unwrap()),
            Poll::Pending if reader.is_waiting_for_memory() && reader.shrink() => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        };
        here.write_all(rest).await.unwrap();
        let second = poll_fn(&mut next).await;
        assert_eq!((first.payload.len(), second.payload.len()), (4000, 200));
        assert_eq!(pool.stats().waiting, 0);
    }

    /// Of a protocol in which every byte is wrong.
    struct Wrong;

    impl Decoder for Wrong {
        type Frame = ();

        fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<()>, FrameError> {
            let kind = FrameErrorKind::Custom { code: 7, text: "a wrong byte" };
            input.u8().map_or(Ok(None), |_| Err(FrameError::new(kind, input.offset())))
        }

        fn needs(&self) -> usize {
            1
        }

        fn is_partial(&self) -> bool {
            false
        }

        fn refuse(&mut self, input: &mut Reader<'_>, error: AcquireError) -> FrameError {
            FrameError::fatal(FrameErrorKind::OutOfMemory(error), input.offset())
        }

        fn finish(&mut self, _: &mut Reader<'_>) -> Result<(), FrameError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_decoders_own_error_reaches_the_caller() {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let mut reader = FrameReader::new(&b"x"[..], Assembler::new(Wrong, pool, ReadMode::PerFrame));
        let error = reader.next_frame().await.unwrap_err();
        let custom = FrameErrorKind::Custom { code: 7, text: "a wrong byte" };
        assert_eq!(error.kind(), ReadFrameErrorKind::Protocol(custom));
        assert_eq!(error.source().unwrap().to_string(), "a wrong byte (at byte 1 of the stream)");
        assert!(reader.next_frame().await.unwrap().is_none());
    }

    /// The byte that told it that there is something to read is not lost.
    #[tokio::test]
    async fn the_parts_of_a_reader_that_waits_for_memory_have_every_byte() {
        let config = BufferPoolConfig::builder().class(128, 4).class(256, 4).memory_limit(300);
        let pool = BufferPool::new(config.thread_cache_bytes(0).build().unwrap());
        for first in [&b""[..], &[b'x'; 128]] {
            let (mut here, there) = duplex(1000);
            let frames = Assembler::new(Lines::default(), pool.clone(), ReadMode::PerFrame);
            let mut reader = FrameReader::new(there, frames.with_read_sizes(128..=128));
            here.write_all(first).await.unwrap();
            let mut poll = |cx: &mut Context<'_>| Poll::Ready(reader.poll_next_frame(cx).is_pending());
            assert!(poll_fn(&mut poll).await);
            let taken: Vec<_> = std::iter::from_fn(|| pool.try_acquire(1).ok()).collect();
            here.write_all(b"early").await.unwrap();
            assert!(poll_fn(&mut poll).await);
            assert_eq!((reader.reader.peeked(), reader.is_waiting_for_memory()), (Some(b'e'), true));
            let (mut rest, _, unread) = reader.into_parts();
            drop((here, taken));
            let mut all = unread.unwrap().to_vec();
            rest.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, [first, b"early"].concat());
        }
    }

    /// The rest of it is skipped, and the stream continues.
    #[tokio::test]
    async fn a_frame_above_every_class_is_refused_under_a_limit() {
        let config = BufferPoolConfig::builder().class(1024, 4).memory_limit(4096);
        let pool = BufferPool::new(config.build().unwrap());
        let (mut here, there) = duplex(100_000);
        let mut reader =
            FrameReader::new(there, Assembler::new(Lines::default(), pool.clone(), ReadMode::PerFrame));
        here.write_all(&[&[b'x'; 5000][..], b"\nshort\n"].concat()).await.unwrap();
        let refused = reader.next_frame().await.unwrap_err();
        assert!(!refused.is_fatal());
        assert_eq!(reader.frames().held_bytes(), 0);
        assert_eq!(reader.next_frame().await.unwrap().unwrap(), *b"short");
        assert_eq!((pool.stats().overruns, pool.stats().heap_fallbacks), (0, 0));
    }
}
