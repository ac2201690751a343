//! The only way a decoder looks at bytes.

use core::mem;

use bytes::Buf;

use crate::pool::{BufferPool, PooledBuffer, PooledBytes};

/// What has arrived and was not taken yet, for a [`Decode`](super::Decode).
///
/// Nothing here panics or reads past the end: what is not there yet is `None`, and then nothing was taken.
/// Payloads are taken as [`PooledBytes`], without a copy where they may stay in the storage they were read into.
#[derive(Debug)]
pub struct Reader<'a> {
    input: Input<'a>,
    pool: &'a BufferPool,
    offset: u64,
}

#[derive(Debug)]
enum Input<'a> {
    /// Pooled storage; payloads of `keep_from` bytes and more stay in it.
    Held { held: &'a mut Held, keep_from: usize },
    /// Somebody else's, and how much of it was taken: every payload is copied.
    #[cfg_attr(not(feature = "transport"), expect(dead_code, reason = "for the codec"))]
    Foreign { bytes: &'a [u8], taken: &'a mut usize },
}

impl<'a> Reader<'a> {
    pub(super) fn of_held(held: &'a mut Held, keep_from: usize, pool: &'a BufferPool, offset: u64) -> Self {
        Self { input: Input::Held { held, keep_from }, pool, offset }
    }

    #[cfg(feature = "transport")]
    pub(crate) fn of_foreign(
        bytes: &'a [u8],
        taken: &'a mut usize,
        pool: &'a BufferPool,
        offset: u64,
    ) -> Self {
        Self { input: Input::Foreign { bytes, taken }, pool, offset }
    }

    /// Bytes of the stream in front of the next one.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that are there.
    #[must_use]
    #[inline]
    pub fn remaining(&self) -> usize {
        self.unread().len()
    }

    /// The pool for what has to be copied or put together.
    #[must_use]
    pub fn pool(&self) -> &'a BufferPool {
        self.pool
    }

    /// Takes the next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes the next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.unread().first_chunk()?;
        self.advance(N);
        Some(bytes)
    }

    /// The next byte, which stays.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.unread().first().copied()
    }

    /// The byte that `before` others stand in front of, which stays.
    #[must_use]
    pub fn peek_at(&self, before: usize) -> Option<u8> {
        self.unread().get(before).copied()
    }

    /// How many bytes stand before the first `byte`, not looking at the first `from`.
    #[must_use]
    pub fn find(&self, byte: u8, from: usize) -> Option<usize> {
        let tail = self.unread().get(from..)?;
        memchr::memchr(byte, tail).map(|at| from + at)
    }

    /// How many bytes stand before the first of either byte, not looking at the first `from`.
    #[must_use]
    pub fn find_either(&self, one: u8, other: u8, from: usize) -> Option<usize> {
        let tail = self.unread().get(from..)?;
        memchr::memchr2(one, other, tail).map(|at| from + at)
    }

    /// Lets go of the next `count` bytes, or of all there are.
    #[inline]
    pub fn skip(&mut self, count: usize) {
        let count = count.min(self.remaining());
        self.offset += count as u64;
        match &mut self.input {
            Input::Held { held, .. } => held.skip(count),
            Input::Foreign { taken, .. } => **taken += count,
        }
    }

    /// The next `len` bytes to look at, for as long as none is taken.
    #[must_use]
    pub fn look(&self, len: usize) -> Option<&[u8]> {
        self.unread().get(..len)
    }

    /// Takes the next `len` bytes as a payload.
    #[inline(always)]
    pub fn take(&mut self, len: usize) -> Option<PooledBytes> {
        let payload = match &mut self.input {
            Input::Held { held, keep_from } => held.take(len, *keep_from, self.pool)?,
            Input::Foreign { bytes, taken } => {
                let payload = copied(bytes.get(**taken..)?.get(..len)?, self.pool);
                **taken += len;
                payload
            }
        };
        self.offset += len as u64;
        Some(payload)
    }

    /// Lets go of the next `count` bytes, which are there.
    #[inline]
    fn advance(&mut self, count: usize) {
        self.offset += count as u64;
        match &mut self.input {
            Input::Held { held, .. } => held.start += count,
            Input::Foreign { taken, .. } => **taken += count,
        }
    }

    #[inline]
    fn unread(&self) -> &[u8] {
        match &self.input {
            Input::Held { held, .. } => held.unread(),
            Input::Foreign { bytes, taken } => bytes.get(**taken..).unwrap_or_default(),
        }
    }
}

/// Pooled storage that is read into, and then taken from.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) storage: Storage,
    /// Bytes of it that were taken.
    pub(super) start: usize,
}

#[derive(Debug, Default)]
pub(super) enum Storage {
    #[default]
    None,
    /// Can still be written to.
    Own(PooledBuffer),
    /// Frames lie in it; what arrives next needs storage of its own.
    Shared(PooledBytes),
}

impl Held {
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        let bytes: &[u8] = match &self.storage {
            Storage::None => &[],
            Storage::Own(buffer) => buffer,
            Storage::Shared(bytes) => bytes,
        };
        bytes.get(self.start..).unwrap_or_default()
    }

    #[inline]
    fn skip(&mut self, count: usize) {
        self.start += count;
        if matches!(self.storage, Storage::Shared(_)) && self.unread().is_empty() {
            // All that is left of it are frames: the last of them is the only holder.
            *self = Self::default();
        }
    }

    /// Bytes of storage.
    pub(super) fn bytes(&self) -> usize {
        match &self.storage {
            Storage::None => 0,
            Storage::Own(buffer) => buffer.capacity(),
            Storage::Shared(bytes) => bytes.storage_len(),
        }
    }

    #[inline(always)]
    fn take(&mut self, len: usize, keep_from: usize, pool: &BufferPool) -> Option<PooledBytes> {
        let payload = self.unread().get(..len)?;
        if len < keep_from
            && let Ok(mut buffer) = pool.try_acquire(len)
        {
            buffer.extend_from_slice(payload);
            self.start += len;
            return Some(buffer.into_shared());
        }
        Some(self.take_large(len, keep_from, pool))
    }

    /// The next `len` bytes, which are there and stay there, or for which the pool has no buffer.
    #[inline(never)]
    fn take_large(&mut self, len: usize, keep_from: usize, pool: &BufferPool) -> PooledBytes {
        if len < keep_from && pool.class_of(len).is_none() {
            let payload = copied(self.unread().get(..len).unwrap_or_default(), pool);
            self.start += len;
            return payload;
        }
        // If memory is short: a slice of what is there takes no more of it.
        self.keep(len, pool)
    }

    /// The next `len` bytes, which are there, in the storage where they lie.
    fn keep(&mut self, len: usize, pool: &BufferPool) -> PooledBytes {
        let start = self.start;
        let mut bytes = match mem::take(&mut self.storage) {
            Storage::Own(buffer) => buffer.into_shared(),
            Storage::Shared(bytes) => bytes,
            Storage::None => pool.acquire(0).into_shared(),
        };
        if start + len == bytes.len() {
            self.start = 0;
            bytes.advance(start);
            return bytes;
        }
        let payload = bytes.slice(start..start + len);
        *self = Self { storage: Storage::Shared(bytes), start: start + len };
        payload
    }
}

#[inline(never)]
fn copied(payload: &[u8], pool: &BufferPool) -> PooledBytes {
    let mut buffer = pool.acquire(payload.len());
    buffer.extend_from_slice(payload);
    buffer.into_shared()
}
