//! What waits to be written, and how it is written in few system calls.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::AsyncWrite;

use crate::pool::{BufferPool, PooledBuffer, PooledBytes};
use crate::size::Appetite;

/// Payloads up to here are copied behind each other: a copy of 1 KiB takes less than a slice of its own does in
/// a gathering write, and in the socket.
const COPY_UP_TO: usize = 1024;
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
}

impl WriteQueue {
    /// An empty queue, whose buffers are of `pool`.
    #[must_use]
    pub fn new(pool: BufferPool) -> Self {
        Self { pool, parts: VecDeque::new(), tail: None, bytes: 0 }
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
    pub fn push(&mut self, header: &[u8], payload: PooledBytes) {
        self.push_copy(header);
        if payload.len() <= COPY_UP_TO {
            self.push_copy(&payload);
        } else {
            self.end_tail();
            self.bytes += payload.len();
            self.parts.push_back(payload);
        }
    }

    /// Queues a copy of `bytes`.
    pub fn push_copy(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        let fits = |tail: &PooledBuffer| tail.capacity() - tail.len() >= bytes.len();
        if !self.tail.as_ref().is_some_and(fits) {
            // What a peer takes slowly, or gets much of, is worth a large buffer.
            let size =
                if self.tail.is_some() || !self.parts.is_empty() { Appetite::LARGE } else { Appetite::SMALL };
            self.end_tail();
            self.tail = Some(self.pool.acquire(size.max(bytes.len())));
        }
        if let Some(tail) = &mut self.tail {
            tail.extend_from_slice(bytes);
        }
    }

    fn end_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.parts.push_back(tail.into_shared());
        }
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
            self.parts.pop_front();
        }
    }

    /// Bytes of storage that it holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let tail = self.tail.as_ref().map_or(0, PooledBuffer::capacity);
        self.parts.iter().map(PooledBytes::storage_len).sum::<usize>() + tail
    }

    /// Gives back the places of a long queue, if nothing waits.
    pub fn shrink(&mut self) {
        if self.parts.is_empty() {
            self.parts.shrink_to(PLACES_KEPT);
        }
    }
}
