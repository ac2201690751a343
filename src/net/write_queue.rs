//! What waits to be written, and how it is written in few system calls.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::AsyncWrite;

use crate::frame::SHARE_ABOVE;
use crate::pool::{BufferPool, PooledBuffer, PooledBytes};
use crate::size::ReadSize;

/// Slices of one write: half of what a kernel takes at least (`_XOPEN_IOV_MAX` is 16, Linux has 1024), and what
/// fits a stack.
const SLICES: usize = 64;
/// Places kept while nothing waits.
const PLACES_KEPT: usize = 16;

/// Frames on their way out: small ones side by side in a pooled buffer, large payloads where they are, all of
/// it written with as few gathering writes as the peer takes. Holds no buffer while nothing waits.
#[derive(Debug)]
pub struct WriteQueue {
    pool: BufferPool,
    /// In their order; then what the tail holds.
    parts: VecDeque<PooledBytes>,
    tail: Option<PooledBuffer>,
    bytes: usize,
    /// Storage of the parts, in bytes.
    held: usize,
}

impl WriteQueue {
    /// An empty queue, whose buffers are of `pool`.
    #[must_use]
    pub fn new(pool: BufferPool) -> Self {
        Self { pool, parts: VecDeque::new(), tail: None, bytes: 0, held: 0 }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Queues a header and a payload; a payload above 1 KiB is not copied.
    #[inline]
    pub fn push(&mut self, header: &[u8], payload: PooledBytes) {
        if payload.len() <= SHARE_ABOVE {
            let tail = self.tail_for(header.len() + payload.len());
            tail.extend_from_slice(header);
            tail.extend_from_slice(&payload);
        } else {
            self.push_large(header, payload);
        }
    }

    #[inline(never)]
    fn push_large(&mut self, header: &[u8], payload: PooledBytes) {
        self.bytes += header.len() + payload.len();
        match &mut self.tail {
            Some(tail) if tail.capacity() - tail.len() >= header.len() => tail.extend_from_slice(header),
            _ => {
                // Nothing follows it in its buffer: of its own size, not a large one for each large payload.
                self.end_tail();
                let mut alone = self.pool.acquire(header.len());
                alone.extend_from_slice(header);
                self.tail = Some(alone);
            }
        }
        self.end_tail();
        self.push_part(payload);
    }

    /// Queues a copy of `bytes`.
    #[inline]
    pub fn push_copy(&mut self, bytes: &[u8]) {
        self.tail_for(bytes.len()).extend_from_slice(bytes);
    }

    /// A buffer with room for `len` bytes, which are counted.
    #[inline]
    fn tail_for(&mut self, len: usize) -> &mut PooledBuffer {
        self.bytes += len;
        let fits = |tail: &PooledBuffer| tail.capacity() - tail.len() >= len;
        if !self.tail.as_ref().is_some_and(fits) {
            self.begin_tail(len);
        }
        let pool = &self.pool;
        self.tail.get_or_insert_with(|| pool.acquire(len))
    }

    #[cold]
    fn begin_tail(&mut self, len: usize) {
        // What fills a small buffer before it is written is worth a large one.
        let size = if self.tail.is_some() { ReadSize::LARGE } else { ReadSize::SMALL };
        self.end_tail();
        self.tail = Some(self.pool.acquire(size.max(len)));
    }

    fn end_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            let mut tail = tail.into_shared();
            // One small frame between large payloads does not keep 8 KiB.
            tail.detach(8);
            self.push_part(tail);
        }
    }

    fn push_part(&mut self, part: PooledBytes) {
        if !shares_storage(&part, self.parts.iter().rev()) {
            self.held += part.storage_len();
        }
        self.parts.push_back(part);
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        *self = Self::new(self.pool.clone());
    }

    /// Writes until nothing waits.
    ///
    /// # Errors
    ///
    /// What the writer reports, with [`io::ErrorKind::WriteZero`] for one that takes no more bytes.
    pub fn poll_write<W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut writer: Pin<&mut W>,
    ) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            self.end_tail();
            let count = if self.parts.len() == 1 {
                let part = self.parts.front().map(Buf::chunk).unwrap_or_default();
                ready!(writer.as_mut().poll_write(cx, part))?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let mut used = 0;
                for (slice, part) in slices.iter_mut().zip(&self.parts) {
                    *slice = IoSlice::new(part);
                    used += 1;
                }
                let slices = slices.get(..used).unwrap_or_default();
                ready!(writer.as_mut().poll_write_vectored(cx, slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count.min(self.bytes);
        while let Some(part) = self.parts.front_mut() {
            if part.len() > count {
                part.advance(count);
                break;
            }
            count -= part.len();
            if let Some(part) = self.parts.pop_front()
                && !shares_storage(&part, self.parts.iter())
            {
                self.held -= part.storage_len();
            }
        }
    }

    /// Bytes of storage that it holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held + self.tail.as_ref().map_or(0, PooledBuffer::capacity)
    }

    /// Gives back the places of a long queue, if nothing waits.
    pub fn shrink(&mut self) {
        if self.parts.is_empty() {
            self.parts.shrink_to(PLACES_KEPT);
        }
    }
}

/// Whether it is of the storage of one of the two next to it: slices of one read follow on each other, with a header in
/// between.
#[expect(single_use_lifetimes, reason = "an anonymous one cannot stand in `impl Iterator`")]
fn shares_storage<'a>(part: &PooledBytes, next: impl Iterator<Item = &'a PooledBytes>) -> bool {
    next.take(2).any(|other| other.shares_storage_with(part))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::WriteQueue;
    use crate::pool::{BufferPool, BufferPoolConfig};

    #[test]
    fn the_header_of_a_large_payload_takes_no_large_buffer() {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let mut payload = pool.acquire(4096);
        payload.resize(4096, 7);
        let payload = payload.into_shared();
        let mut queue = WriteQueue::new(pool);
        for _ in 0..10 {
            queue.push(&[0; 6], payload.clone());
        }
        // One payload, ten times.
        assert_eq!((queue.len(), queue.held_bytes()), (10 * 4102, 4096 + 10 * 128));
        drain(&mut queue);
    }

    fn drain(queue: &mut WriteQueue) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(queue.poll_write(&mut cx, pin!(tokio::io::sink())).is_ready());
        assert_eq!((queue.len(), queue.held_bytes()), (0, 0));
    }

    #[test]
    fn a_small_frame_between_large_ones_keeps_little() {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let mut queue = WriteQueue::new(pool.clone());
        for size in [16, 1025].repeat(100) {
            let mut payload = pool.acquire(size);
            payload.resize(size, 7);
            queue.push(&[0; 6], payload.into_shared());
        }
        assert!(queue.held_bytes() <= 100 * (4096 + 128), "{} B are held", queue.held_bytes());
        drain(&mut queue);
    }
}
