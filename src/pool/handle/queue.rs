//! Pieces of shared bytes, one after another, as one `Buf`.

use alloc::collections::VecDeque;
use core::fmt;
#[cfg(feature = "std")]
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::bytes::PooledBytes;

/// A queue of shared bytes that is read as one [`Buf`], without joining its pieces: a body, or what waits to be written.
///
/// A piece is dropped as soon as all of it is read, and its storage returns to the pool. Vectored writes take many
/// pieces at a time ([`chunks_vectored`](Buf::chunks_vectored)). The pieces are [`PooledBytes`], or any other [`Buf`],
/// such as [`Bytes`] where pieces from several sources are mixed.
///
/// A push allocates only if the queue has never had as many pieces. An empty queue keeps room for its entries until
/// [`shrink`](Self::shrink), and no buffer.
/// It knows no framing and copies nothing. For frames, `net::WriteQueue` joins headers and small payloads in one buffer.
///
/// # Examples
///
/// A vectored write of a header and a body that lie in two buffers:
///
/// ```
/// use millpond::{BufferPool, BufferPoolConfig, BytesQueue};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let pool = BufferPool::new(BufferPoolConfig::http());
/// let piece = |bytes: &[u8]| {
///     let mut buffer = pool.acquire(bytes.len());
///     buffer.extend_from_slice(bytes);
///     buffer.into_shared()
/// };
/// let mut queue = BytesQueue::new();
/// queue.push(piece(b"content-length: 5\r\n\r\n"));
/// queue.push(piece(b"hello"));
///
/// let (mut here, mut there) = tokio::net::UnixStream::pair()?;
/// here.write_all_buf(&mut queue).await?; // one system call
/// assert_eq!(pool.stats().in_use, 0);
/// drop(here);
/// let mut received = String::new();
/// there.read_to_string(&mut received).await?;
/// assert_eq!(received, "content-length: 5\r\n\r\nhello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BytesQueue<B = PooledBytes> {
    /// None is empty.
    pieces: VecDeque<B>,
    /// Bytes of all of them.
    len: usize,
}

impl<B: Buf> BytesQueue<B> {
    /// An empty queue. It allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { pieces: VecDeque::new(), len: 0 }
    }

    /// Appends a piece. An empty one is dropped.
    ///
    /// # Panics
    ///
    /// If there are more than `usize::MAX` bytes in all, which takes clones.
    #[track_caller]
    pub fn push(&mut self, piece: B) {
        let len = piece.remaining();
        assert!(len <= usize::MAX - self.len, "a queue of more than {} bytes", usize::MAX);
        if len > 0 {
            self.len += len;
            self.pieces.push_back(piece);
        }
    }

    /// Takes the first piece out, or what is left of it.
    pub fn pop(&mut self) -> Option<B> {
        let first = self.pieces.pop_front()?;
        self.len -= first.remaining();
        Some(first)
    }

    /// The pieces in order. None is empty.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &B> {
        self.pieces.iter()
    }

    /// Drops all pieces.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }

    /// Frees the memory that a long queue needed for its entries.
    pub fn shrink(&mut self) {
        self.pieces.shrink_to_fit();
    }
}

impl<B: Buf> Buf for BytesQueue<B> {
    #[inline]
    fn remaining(&self) -> usize {
        self.len
    }

    /// What is left of the first piece.
    #[inline]
    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], Buf::chunk)
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for piece in &self.pieces {
            match slices.get_mut(used..) {
                Some(free) if !free.is_empty() => used += piece.chunks_vectored(free),
                _ => break,
            }
        }
        used
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "cannot advance by {count} of {} bytes", self.len);
        self.len -= count;
        let mut left = count;
        while let Some(first) = self.pieces.front_mut() {
            let here = first.remaining();
            if here > left {
                first.advance(left);
                break;
            }
            left -= here;
            self.pieces.pop_front();
        }
    }

    /// Does not copy what lies in one piece, if the piece's own `copy_to_bytes` does not. A whole first piece is given
    /// away. Bytes of several pieces are joined in memory of the heap.
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        assert!(count <= self.len, "cannot take {count} of {} bytes", self.len);
        match self.pieces.front_mut() {
            Some(first) if first.remaining() > count => {
                self.len -= count;
                first.copy_to_bytes(count)
            }
            Some(first) if first.remaining() < count => {
                let mut joined = BytesMut::with_capacity(count);
                joined.put(self.take(count));
                joined.freeze()
            }
            _ => self.pop().map_or_else(Bytes::new, |mut whole| whole.copy_to_bytes(count)),
        }
    }
}

impl<B: Buf> Default for BytesQueue<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Buf> Extend<B> for BytesQueue<B> {
    fn extend<I: IntoIterator<Item = B>>(&mut self, pieces: I) {
        pieces.into_iter().for_each(|piece| self.push(piece));
    }
}

impl<B: Buf> FromIterator<B> for BytesQueue<B> {
    fn from_iter<I: IntoIterator<Item = B>>(pieces: I) -> Self {
        let mut queue = Self::new();
        queue.extend(pieces);
        queue
    }
}

/// Sizes only: the content does not belong in a log.
impl<B> fmt::Debug for BytesQueue<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BytesQueue").field("len", &self.len).field("pieces", &self.pieces.len()).finish()
    }
}
