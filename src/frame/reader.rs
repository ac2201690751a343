//! The only way a decoder looks at bytes.

use core::mem;

use bytes::Buf;

use crate::pool::{AcquireError, BufferPool, PooledBuffer, PooledBytes};

/// What has arrived and was not taken yet, for a [`Decoder`](super::Decoder).
///
/// Nothing here panics or reads past the end: what is not there yet is `None`, and then nothing was taken.
/// Payloads are taken as [`PooledBytes`], without a copy where they may stay in the storage they were read into.
#[derive(Debug)]
pub struct Reader<'a> {
    input: Input<'a>,
    pool: &'a BufferPool,
}

#[derive(Debug)]
enum Input<'a> {
    /// Pooled storage.
    Held(&'a mut Held),
    /// Somebody else's, from this offset of the stream on, and how much of it was taken: every payload is copied.
    #[cfg_attr(not(feature = "net"), expect(dead_code, reason = "for the codec"))]
    Foreign { bytes: &'a [u8], taken: &'a mut usize, before: u64 },
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn of_held(held: &'a mut Held, pool: &'a BufferPool) -> Self {
        Self { input: Input::Held(held), pool }
    }

    #[cfg(feature = "net")]
    pub(crate) fn of_foreign(
        bytes: &'a [u8],
        taken: &'a mut usize,
        pool: &'a BufferPool,
        before: u64,
    ) -> Self {
        Self { input: Input::Foreign { bytes, taken, before }, pool }
    }

    /// Bytes of the stream in front of the next one.
    #[must_use]
    #[inline]
    pub fn offset(&self) -> u64 {
        match &self.input {
            Input::Held(held) => held.offset(),
            Input::Foreign { taken, before, .. } => before + **taken as u64,
        }
    }

    /// Bytes that are there.
    #[must_use]
    #[inline]
    pub fn remaining(&self) -> usize {
        self.unread().len()
    }

    /// An empty buffer for what the decoder has to copy or join.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] under a memory limit that leaves no memory for it: never more than the limit is taken.
    pub fn acquire(&self, min_capacity: usize) -> Result<PooledBuffer, AcquireError> {
        self.pool.acquire_within_limit(min_capacity)
    }

    /// Takes the next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes the next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.unread().first_chunk()?;
        match &mut self.input {
            Input::Held(held) => held.start += N,
            Input::Foreign { taken, .. } => **taken += N,
        }
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
        match &mut self.input {
            Input::Held(held) => held.skip(count),
            Input::Foreign { taken, .. } => **taken += count,
        }
    }

    /// The next `len` bytes to look at, for as long as none is taken.
    #[must_use]
    pub fn look(&self, len: usize) -> Option<&[u8]> {
        self.unread().get(..len)
    }

    /// Takes the next `len` bytes as a payload; `None`, and nothing was taken, if they are not there yet.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the payload has to be copied, and the memory limit leaves no memory for the copy. Nothing
    /// was taken then.
    #[inline(always)]
    pub fn take(&mut self, len: usize) -> Result<Option<PooledBytes>, AcquireError> {
        match &mut self.input {
            Input::Held(held) => held.take(len, self.pool),
            Input::Foreign { bytes, taken, .. } => {
                let Some(payload) = bytes.get(**taken..).and_then(|unread| unread.get(..len)) else {
                    return Ok(None);
                };
                let payload = copied(payload, self.pool)?;
                **taken += len;
                Ok(Some(payload))
            }
        }
    }

    #[inline]
    fn unread(&self) -> &[u8] {
        match &self.input {
            Input::Held(held) => held.unread(),
            Input::Foreign { bytes, taken, .. } => bytes.get(**taken..).unwrap_or_default(),
        }
    }
}

/// Pooled storage that is read into, and then taken from.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) storage: Storage,
    /// Bytes of it that were taken.
    pub(super) start: usize,
    /// Payloads of so many bytes and more stay in it.
    pub(super) keep_from: usize,
    /// Bytes of the stream in front of it: so that what is taken is counted once.
    before: u64,
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
    /// Bytes of the stream in front of what is unread.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.before + self.start as u64
    }

    /// Goes on in other storage, of which nothing is taken.
    pub(super) fn replace(&mut self, storage: Storage, keep_from: usize) {
        *self = Self { storage, start: 0, keep_from, before: self.offset() };
    }

    /// Writes over what was taken, which is all of it.
    pub(super) fn rewind(&mut self) {
        if let Storage::Own(buffer) = &mut self.storage {
            buffer.clear();
        }
        self.before += mem::take(&mut self.start) as u64;
    }

    /// Lets go of all of it.
    pub(super) fn clear(&mut self) {
        self.replace(Storage::None, 0);
    }

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
            self.clear();
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
    fn take(&mut self, len: usize, pool: &BufferPool) -> Result<Option<PooledBytes>, AcquireError> {
        let Some(payload) = self.unread().get(..len) else { return Ok(None) };
        if len < self.keep_from
            && let Some(copy) = pool.copied_at_hand(payload)
        {
            self.start += len;
            return Ok(Some(copy));
        }
        self.take_slowly(len, pool).map(Some)
    }

    /// The next `len` bytes, which are there, and stay there or take a buffer from somewhere else.
    #[inline(never)]
    fn take_slowly(&mut self, len: usize, pool: &BufferPool) -> Result<PooledBytes, AcquireError> {
        if len < self.keep_from
            && let Ok(copy) = copied(self.unread().get(..len).unwrap_or_default(), pool)
        {
            self.start += len;
            return Ok(copy);
        }
        // Also if memory is short: a slice of what is there takes no more of it.
        self.keep(len, pool)
    }

    /// The next `len` bytes, which are there, in the storage where they lie.
    fn keep(&mut self, len: usize, pool: &BufferPool) -> Result<PooledBytes, AcquireError> {
        let mut bytes = match mem::take(&mut self.storage) {
            Storage::Own(buffer) => buffer.into_shared(),
            Storage::Shared(bytes) => bytes,
            Storage::None => return copied(&[], pool),
        };
        let start = self.start;
        self.start += len;
        if self.start == bytes.len() {
            self.clear();
            bytes.advance(start);
            return Ok(bytes);
        }
        let payload = bytes.slice(start..self.start);
        self.storage = Storage::Shared(bytes);
        Ok(payload)
    }
}

/// A copy in a buffer of the payload's class.
#[inline(never)]
fn copied(payload: &[u8], pool: &BufferPool) -> Result<PooledBytes, AcquireError> {
    let mut buffer = pool.acquire_within_limit(payload.len())?;
    buffer.extend_from_slice(payload);
    Ok(buffer.into_shared())
}
