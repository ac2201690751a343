//! The frames that wait to be written: which are copied, which are shared, and how they are gathered into few writes. A
//! counter of copied bytes would go into `push_copy` here.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::AsyncWrite;

use crate::frame::{EncodeError, Encoder, FrameSink};
use crate::pool::{AcquireError, BufferPool, PooledBuffer, PooledBytes};
use crate::size::ReadSize;

#[cfg(test)]
mod tests;

/// Slices per write: four times the least that a kernel must accept (`_XOPEN_IOV_MAX` is 16, Linux accepts 1024), and
/// few enough for the stack.
const SLICES: usize = 64;
/// Entries that an empty queue keeps room for.
const PARTS_KEPT: usize = 16;
/// Bytes of a header that fit into an entry of the queue without making entries larger than shared bytes make them.
const INLINE: usize = 29;
/// When the peer takes no more, bytes in a buffer that is this many times as large are moved to a smaller one.
const SPARSE: usize = 8;

/// A queue of frames that wait to be written.
///
/// Headers and small payloads are copied side by side into a pooled buffer. Large pooled payloads are not copied. All of
/// it is written with as few vectored writes as the peer allows.
///
/// An empty queue holds no buffer. The queue never exceeds the pool's
/// [memory limit](crate::BufferPoolConfigBuilder::memory_limit): if there is no memory for a frame, it is handed back.
///
/// A [`FrameWriter`](super::FrameWriter) is a queue with its writer. Use the queue alone where one task both reads and
/// writes a stream.
pub struct WriteQueue {
    pool: BufferPool,
    /// In the order in which they are written.
    parts: VecDeque<Part>,
    /// Full buffers of copied bytes, in order; then the tail, which has room for more.
    copies: VecDeque<PooledBuffer>,
    tail: Option<PooledBuffer>,
    /// Bytes of the tail that the parts tell of. Those after it come after all parts.
    tail_in_parts: usize,
    /// Bytes of the first copy, or of the tail if there is none, that are written.
    copied_start: usize,
    /// Bytes that the parts tell of.
    bytes: usize,
    /// Storage of the shared parts, in bytes.
    shared_storage: usize,
}

#[derive(Debug)]
enum Part {
    /// The next bytes of `copies`. They never span two buffers.
    Copied(usize),
    Shared(PooledBytes),
    /// A header for which the pool had no memory.
    Inline {
        bytes: [u8; INLINE],
        range: Range<u8>,
    },
}

impl WriteQueue {
    /// An empty queue, whose buffers belong to `pool`.
    #[must_use]
    pub fn new(pool: BufferPool) -> Self {
        Self {
            pool,
            parts: VecDeque::new(),
            copies: VecDeque::new(),
            tail: None,
            tail_in_parts: 0,
            copied_start: 0,
            bytes: 0,
            shared_storage: 0,
        }
    }

    /// Bytes that wait to be written.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes + self.tail.as_ref().map_or(0, |tail| tail.len() - self.tail_in_parts)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues a frame. Pooled payloads above [`SHARE_ABOVE`](crate::frame::SHARE_ABOVE) bytes are not copied.
    ///
    /// # Errors
    ///
    /// [`PushError`]. Nothing was queued then, also if an encoder copies more than it
    /// [declares](Encoder::copied_len) and there is no room for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::frame::{Lines, Tlv};
    /// use millpond::net::WriteQueue;
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let mut queue = WriteQueue::new(BufferPool::new(BufferPoolConfig::messages()));
    /// queue.push(&Tlv::default(), (1001, b"hello")).unwrap();
    /// queue.push(&Lines::default(), b"hello").unwrap();
    /// assert_eq!(queue.len(), 6 + 5 + 5 + 1);
    /// ```
    #[inline]
    pub fn push<M>(&mut self, encoder: &impl Encoder<M>, message: M) -> Result<(), PushError<M>> {
        let copied = encoder.copied_len(&message);
        if self.room() < copied
            && let Err(error) = self.begin_copy(copied)
        {
            return Err(PushError::Memory { error, message });
        }
        let mut out = Reserved::of(self);
        match encoder.encode(message, &mut out) {
            Ok(()) if !out.is_over => Ok(()),
            outcome => {
                let pushed = out.pushed;
                self.take_back(pushed);
                Err(PushError::Encode(outcome.err().unwrap_or(EncodeError::CopiedLen { declared: copied })))
            }
        }
    }

    /// Removes the last `count` bytes: all that was pushed of a frame that is refused.
    #[cold]
    fn take_back(&mut self, mut count: usize) {
        self.note_tail();
        while count > 0
            && let Some(part) = self.parts.pop_back()
        {
            match part {
                Part::Copied(len) => {
                    let kept = len.saturating_sub(count);
                    count -= len - kept;
                    if let Some(tail) = &mut self.tail {
                        tail.truncate(tail.len() - (len - kept));
                        self.tail_in_parts = tail.len();
                    }
                    self.bytes -= len - kept;
                    self.parts.extend((kept > 0).then_some(Part::Copied(kept)));
                }
                Part::Shared(bytes) => {
                    count -= bytes.len();
                    self.bytes -= bytes.len();
                    if !shares_storage(&bytes, self.parts.iter().rev()) {
                        self.shared_storage -= bytes.storage_len();
                    }
                }
                Part::Inline { .. } => {}
            }
        }
        self.tail.take_if(|tail| tail.is_empty());
    }

    /// Queues a copy of `bytes`.
    ///
    /// # Errors
    ///
    /// [`AcquireError`]. Nothing was queued then.
    pub fn push_copy(&mut self, bytes: &[u8]) -> Result<(), AcquireError> {
        if self.room() < bytes.len() {
            self.begin_copy(bytes.len())?;
        }
        Reserved::of(self).push_copy(bytes);
        Ok(())
    }

    /// Queues a header and a payload without any memory of the pool: the payload stays where it is, and the header
    /// takes an entry of the queue, or several if it has more than 29 bytes. For short headers, when
    /// [`push`](Self::push) has no memory.
    #[cold]
    pub fn push_uncopied(&mut self, header: &[u8], payload: Option<PooledBytes>) {
        self.note_tail();
        for chunk in header.chunks(INLINE) {
            let mut bytes = [0; INLINE];
            bytes.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.bytes += chunk.len();
            self.parts.push_back(Part::Inline { bytes, range: 0..chunk.len() as u8 });
        }
        if let Some(payload) = payload {
            Reserved::of(self).push_shared(payload);
        }
    }

    /// Waits in the pool's queue until there is memory for `copied` bytes, after [`push`](Self::push) had none. Write
    /// what is queued first: it may hold that memory.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class holds as much.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it leaves the pool's queue and holds nothing.
    pub async fn reserve(&mut self, copied: usize) -> Result<(), AcquireError> {
        if self.room() < copied && self.begin_copy(copied).is_err() {
            let tail = self.pool.acquire_async(copied).await?;
            self.begin_tail(tail);
        }
        Ok(())
    }

    /// Bytes that can be copied without another buffer.
    #[inline]
    fn room(&self) -> usize {
        self.tail.as_ref().map_or(0, |tail| tail.capacity() - tail.len())
    }

    #[cold]
    fn begin_copy(&mut self, len: usize) -> Result<(), AcquireError> {
        // If a small buffer is full before it is written, the next one is large. If memory is short, any size will do.
        let size = if self.tail.is_none() { ReadSize::SMALL } else { ReadSize::LARGE };
        // Without a class for it, several small buffers are better than one of the heap.
        let size = Some(self.pool.largest_class())
            .filter(|&largest| largest >= len)
            .map_or(size, |largest| size.min(largest));
        let tail = match self.pool.acquire_within_limit(size.max(len)) {
            Err(_) if len < size => self.pool.acquire_within_limit(len),
            tail => tail,
        };
        self.begin_tail(tail?);
        Ok(())
    }

    fn begin_tail(&mut self, tail: PooledBuffer) {
        self.note_tail();
        // An empty one is of no use: its frame was refused.
        self.copies.extend(self.tail.replace(tail).filter(|old| !old.is_empty()));
        self.tail_in_parts = 0;
    }

    /// Makes a part of what was copied since the last one.
    fn note_tail(&mut self) {
        let Some(tail) = &self.tail else { return };
        let copied = tail.len() - self.tail_in_parts;
        if copied > 0 {
            self.tail_in_parts = tail.len();
            self.bytes += copied;
            self.parts.push_back(Part::Copied(copied));
        }
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        *self = Self::new(self.pool.clone());
    }

    /// Writes until nothing waits.
    ///
    /// # Errors
    ///
    /// The writer's errors, and [`io::ErrorKind::WriteZero`] if it takes no more bytes.
    pub fn poll_write<W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut writer: Pin<&mut W>,
    ) -> Poll<io::Result<()>> {
        self.note_tail();
        while self.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let written = match self.gather(&mut slices) {
                [one] => writer.as_mut().poll_write(cx, one),
                several => writer.as_mut().poll_write_vectored(cx, several),
            };
            if written.is_pending() {
                self.shrink_copies();
            }
            let count = ready!(written)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        // Nothing waits, so nothing is held.
        self.drop_copies();
        Poll::Ready(Ok(()))
    }

    /// The first parts, as many as fit.
    fn gather<'a, 'b>(&'a self, slices: &'b mut [IoSlice<'a>]) -> &'b [IoSlice<'a>] {
        let mut copies = self.copies.iter().chain(&self.tail);
        let mut unread = copies.next().and_then(|copy| copy.get(self.copied_start..)).unwrap_or_default();
        let mut used = 0;
        let mut free = slices.iter_mut();
        for part in &self.parts {
            let bytes: &[u8] = match part {
                Part::Shared(bytes) => bytes,
                Part::Inline { bytes, range } => {
                    bytes.get(usize::from(range.start)..usize::from(range.end)).unwrap_or_default()
                }
                Part::Copied(len) => {
                    while unread.is_empty()
                        && let Some(next) = copies.next()
                    {
                        unread = next;
                    }
                    let (bytes, rest) = unread.split_at_checked(*len).unwrap_or((unread, &[]));
                    unread = rest;
                    bytes
                }
            };
            if bytes.is_empty() {
                continue;
            }
            let Some(slice) = free.next() else { break };
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        slices.get(..used).unwrap_or_default()
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count.min(self.bytes);
        loop {
            // Before bytes are taken from the next copy, so that they are not counted in one that is written.
            while self.copies.front().is_some_and(|copy| copy.len() <= self.copied_start) {
                self.copies.pop_front();
                self.copied_start = 0;
            }
            let Some(part) = self.parts.front_mut() else { break };
            match part {
                Part::Copied(len) => {
                    let written = count.min(*len);
                    *len -= written;
                    count -= written;
                    self.copied_start += written;
                    if *len > 0 {
                        break;
                    }
                    self.parts.pop_front();
                }
                Part::Inline { range, .. } => {
                    let written = count.min(range.len());
                    range.start += written as u8;
                    count -= written;
                    if range.start < range.end {
                        break;
                    }
                    self.parts.pop_front();
                }
                Part::Shared(bytes) if bytes.len() > count => {
                    bytes.advance(count);
                    break;
                }
                Part::Shared(bytes) => {
                    count -= bytes.len();
                    if let Some(Part::Shared(bytes)) = self.parts.pop_front()
                        && !shares_storage(&bytes, self.parts.iter())
                    {
                        self.shared_storage -= bytes.storage_len();
                    }
                }
            }
        }
    }

    fn drop_copies(&mut self) {
        self.copies.clear();
        self.tail = None;
        (self.tail_in_parts, self.copied_start) = (0, 0);
    }

    /// Called when the peer takes no more for now: a few bytes must not hold a large buffer meanwhile.
    fn shrink_copies(&mut self) {
        let (true, Some(tail)) = (self.copies.is_empty(), &mut self.tail) else { return };
        let unwritten = tail.get(self.copied_start..).unwrap_or_default();
        if unwritten.is_empty() {
            self.drop_copies();
        } else if unwritten.len() * SPARSE <= tail.capacity() {
            let len = unwritten.len();
            tail.copy_within(self.copied_start.., 0);
            tail.truncate(len);
            tail.shrink_to_fit();
            (self.tail_in_parts, self.copied_start) = (tail.len(), 0);
        }
    }

    /// Bytes of storage that the queue holds, in whole buffers.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let copies = self.copies.iter().chain(&self.tail).map(PooledBuffer::capacity);
        self.shared_storage + copies.sum::<usize>()
    }

    /// Frees the memory that a long queue needed, if nothing waits.
    pub fn shrink(&mut self) {
        if self.parts.is_empty() {
            self.parts.shrink_to(PARTS_KEPT);
            self.copies = VecDeque::new();
        }
    }
}

impl fmt::Debug for WriteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteQueue")
            .field("len", &self.len())
            .field("held_bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}

/// A queue whose tail has room for all that the frame copies.
struct Reserved<'a> {
    queue: &'a mut WriteQueue,
    /// Bytes of the frame that were pushed.
    pushed: usize,
    /// Whether the frame copies more than there is room for.
    is_over: bool,
}

impl<'a> Reserved<'a> {
    #[inline]
    fn of(queue: &'a mut WriteQueue) -> Self {
        Self { queue, pushed: 0, is_over: false }
    }
}

impl FrameSink for Reserved<'_> {
    #[inline]
    fn room(&self) -> usize {
        usize::MAX
    }

    #[inline(always)]
    fn push_copy(&mut self, bytes: &[u8]) {
        match &mut self.queue.tail {
            Some(tail) if bytes.len() <= tail.capacity() - tail.len() => {
                tail.extend_within_capacity(bytes);
                self.pushed += bytes.len();
            }
            _ => self.is_over |= !bytes.is_empty(),
        }
    }

    fn push_shared(&mut self, bytes: PooledBytes) {
        let queue = &mut *self.queue;
        queue.note_tail();
        if !shares_storage(&bytes, queue.parts.iter().rev()) {
            queue.shared_storage += bytes.storage_len();
        }
        queue.bytes += bytes.len();
        self.pushed += bytes.len();
        queue.parts.push_back(Part::Shared(bytes));
    }
}

/// Whether one of the next two parts shares the storage: slices of one read follow each other, with a header in
/// between.
#[expect(single_use_lifetimes, reason = "an anonymous one cannot stand in `impl Iterator`")]
fn shares_storage<'a>(bytes: &PooledBytes, mut next: impl Iterator<Item = &'a Part>) -> bool {
    let is_same = |part: &Part| matches!(part, Part::Shared(other) if other.shares_storage_with(bytes));
    next.by_ref().take(2).any(is_same)
}

/// Why a frame was not queued.
///
/// Its text names this layer only. The cause, with what the framing says, is the `source`: log both.
#[derive(Debug)]
#[non_exhaustive]
pub enum PushError<M> {
    /// There is no memory for the bytes that are copied. [`WriteQueue::reserve`] waits for it.
    #[non_exhaustive]
    Memory {
        /// The pool's error.
        error: AcquireError,
        /// The message that was not queued, to try again.
        message: M,
    },
    /// The framing cannot carry the message.
    Encode(EncodeError),
}

impl<M> fmt::Display for PushError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory { .. } => "there is no memory to queue the frame",
            Self::Encode(_) => "the framing cannot carry the message",
        })
    }
}

impl<M: fmt::Debug> Error for PushError<M> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Memory { error, .. } => Some(error),
            Self::Encode(error) => Some(error),
        }
    }
}
