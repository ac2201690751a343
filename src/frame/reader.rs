//! The reader: the only way in which a decoder looks at bytes.

use core::mem;

use bytes::Buf;
#[cfg(feature = "net")]
use bytes::BytesMut;

use crate::pool::{AcquireError, BufferPool, PooledBuffer, PooledBytes};

/// The bytes that have arrived and were not taken yet, for a [`Decoder`](super::Decoder).
///
/// No method panics or reads past the end. If the bytes are not there yet, the result is `None` and nothing was taken.
/// Payloads are taken as [`PooledBytes`]. They are not copied if they may stay in the storage that they were read into.
///
/// # Examples
///
/// A decoder of lines finds the line feed, takes the line, and skips the line feed. It has no limit, unlike
/// [`Lines`](super::Lines):
///
/// ```
/// use millpond::frame::{Assembler, Decoder, FrameError, FrameErrorKind, ReadMode, Reader};
/// use millpond::{AcquireError, BufferPool, BufferPoolConfig, PooledBytes};
///
/// struct LineFeeds;
///
/// impl Decoder for LineFeeds {
///     type Frame = PooledBytes;
///
///     fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<PooledBytes>, FrameError> {
///         let Some(len) = input.find(b'\n', 0) else { return Ok(None) };
///         let line = input.take(len).map_err(|error| self.refuse(input, error))?;
///         input.skip(1);
///         Ok(line)
///     }
/// #    fn needs(&self) -> usize {
/// #        1
/// #    }
/// #    fn is_partial(&self) -> bool {
/// #        false
/// #    }
/// #    fn refuse(&mut self, input: &mut Reader<'_>, error: AcquireError) -> FrameError {
/// #        FrameError::fatal(FrameErrorKind::OutOfMemory(error), input.offset())
/// #    }
/// #    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
/// #        let received = input.remaining();
/// #        if received == 0 {
/// #            return Ok(());
/// #        }
/// #        let kind = FrameErrorKind::Truncated { received, expected: received + 1 };
/// #        Err(FrameError::fatal(kind, input.offset() + received as u64))
/// #    }
///     // ...
/// }
///
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut frames = Assembler::new(LineFeeds, pool, ReadMode::PerFrame);
/// frames.push(&mut &b"one\n\nthr"[..])?;
/// assert_eq!(frames.next_frame()?.unwrap(), b"one");
/// assert_eq!(frames.next_frame()?.unwrap(), b"");
/// assert_eq!(frames.next_frame()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader<'a> {
    held: &'a mut Held,
    pool: &'a BufferPool,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn of_held(held: &'a mut Held, pool: &'a BufferPool) -> Self {
        Self { held, pool }
    }

    /// Bytes of the stream before the next one.
    #[must_use]
    #[inline]
    pub fn offset(&self) -> u64 {
        self.held.offset()
    }

    /// Bytes that have arrived and were not taken.
    #[must_use]
    #[inline]
    pub fn remaining(&self) -> usize {
        self.unread().len()
    }

    /// An empty buffer of at least `min_capacity` bytes, for bytes that the decoder has to copy or join.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the memory limit leaves no memory for the buffer: the limit is never overrun.
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
        self.held.start += N;
        Some(bytes)
    }

    /// The next byte, without taking it.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.unread().first().copied()
    }

    /// The byte after the next `before` bytes, without taking any.
    #[must_use]
    pub fn peek_at(&self, before: usize) -> Option<u8> {
        self.unread().get(before).copied()
    }

    /// Number of bytes before the first `byte`, which is searched for after the next `from` bytes.
    #[must_use]
    pub fn find(&self, byte: u8, from: usize) -> Option<usize> {
        let tail = self.unread().get(from..)?;
        memchr::memchr(byte, tail).map(|at| from + at)
    }

    /// Number of bytes before the first of either byte, which is searched for after the next `from` bytes.
    #[must_use]
    pub fn find_either(&self, one: u8, other: u8, from: usize) -> Option<usize> {
        let tail = self.unread().get(from..)?;
        memchr::memchr2(one, other, tail).map(|at| from + at)
    }

    /// Skips the next `count` bytes, or all if there are fewer.
    #[inline]
    pub fn skip(&mut self, count: usize) {
        let count = count.min(self.remaining());
        self.held.skip(count);
    }

    /// The next `len` bytes, without taking them.
    #[must_use]
    pub fn look(&self, len: usize) -> Option<&[u8]> {
        self.unread().get(..len)
    }

    /// Takes the next `len` bytes as a payload.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the payload has to be copied and the memory limit leaves no memory for the copy. Nothing was
    /// taken then.
    #[inline(always)]
    pub fn take(&mut self, len: usize) -> Result<Option<PooledBytes>, AcquireError> {
        self.held.take(len, self.pool)
    }

    #[inline]
    fn unread(&self) -> &[u8] {
        self.held.unread()
    }
}

/// Pooled storage that bytes are read into, and then taken from.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) storage: Storage,
    /// Bytes of the storage that were taken.
    pub(super) start: usize,
    /// Payloads of at least this many bytes stay in the storage.
    pub(super) keep_from: usize,
    /// Bytes of the stream before the storage.
    before: u64,
}

#[derive(Debug, Default)]
pub(super) enum Storage {
    #[default]
    None,
    /// Still writable.
    Own(PooledBuffer),
    /// Shared with frames: the next read needs other storage.
    Shared(PooledBytes),
    /// Not of the pool: all payloads are copied. Only for the time of one [`Decoder`](super::Decoder)'s call.
    #[cfg(feature = "net")]
    Foreign(BytesMut),
}

impl Held {
    /// Bytes of the stream before the unread ones.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.before + self.start as u64
    }

    /// Continues in other storage, of which nothing is taken.
    pub(super) fn replace(&mut self, storage: Storage, keep_from: usize) {
        *self = Self { storage, start: 0, keep_from, before: self.offset() };
    }

    /// Makes all of the storage writable again. All of its bytes were taken.
    pub(super) fn rewind(&mut self) {
        if let Storage::Own(buffer) = &mut self.storage {
            buffer.clear();
        }
        self.before += mem::take(&mut self.start) as u64;
    }

    /// Moves what is unread to the start of the storage, if it is writable: the room of what was taken is free then.
    pub(super) fn compact(&mut self) {
        let start = self.start;
        let Storage::Own(buffer) = &mut self.storage else { return };
        let unread = buffer.len().saturating_sub(start);
        buffer.copy_within(start.., 0);
        buffer.truncate(unread);
        self.before += mem::take(&mut self.start) as u64;
    }

    /// Moves what is unread to the smallest storage that has room for one more byte. Returns its size; `None` if the storage
    /// is not writable.
    pub(super) fn shrink(&mut self) -> Option<usize> {
        self.compact();
        let Storage::Own(buffer) = &mut self.storage else { return None };
        let unread = buffer.len();
        buffer.resize(unread + 1, 0);
        buffer.shrink_to_fit();
        buffer.truncate(unread);
        Some(buffer.capacity())
    }

    /// Drops the storage. What is unread in it counts as taken.
    pub(super) fn clear(&mut self) {
        self.start += self.unread().len();
        self.replace(Storage::None, 0);
    }

    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        let bytes: &[u8] = match &self.storage {
            Storage::None => &[],
            Storage::Own(buffer) => buffer,
            Storage::Shared(bytes) => bytes,
            #[cfg(feature = "net")]
            Storage::Foreign(bytes) => bytes,
        };
        bytes.get(self.start..).unwrap_or_default()
    }

    /// Takes the storage out, which then begins with the first unread byte, if it is writable. [Put](Self::put) it back.
    #[cfg(feature = "net")]
    pub(super) fn take_own(&mut self) -> Option<PooledBuffer> {
        let Storage::Own(buffer) = &mut self.storage else { return None };
        self.before += self.start as u64;
        buffer.advance(mem::take(&mut self.start));
        match mem::take(&mut self.storage) {
            Storage::Own(buffer) => Some(buffer),
            _ => None,
        }
    }

    #[cfg(feature = "net")]
    pub(super) fn put(&mut self, buffer: PooledBuffer) {
        self.storage = Storage::Own(buffer);
    }

    /// Takes out what is left of storage that is not of the pool.
    #[cfg(feature = "net")]
    pub(super) fn take_foreign(&mut self) -> BytesMut {
        let Storage::Foreign(mut bytes) = mem::take(&mut self.storage) else { return BytesMut::new() };
        self.before += self.start as u64;
        bytes.advance(mem::take(&mut self.start));
        bytes
    }

    /// The unread bytes, if there are any, without a copy.
    pub(super) fn into_unread(self) -> Option<PooledBytes> {
        let mut bytes = match self.storage {
            Storage::Own(buffer) => buffer.into_shared(),
            Storage::Shared(bytes) => bytes,
            _ => return None,
        };
        bytes.advance(self.start);
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }

    #[inline]
    fn skip(&mut self, count: usize) {
        self.start += count;
        if matches!(self.storage, Storage::Shared(_)) && self.unread().is_empty() {
            // Only frames are left in it. Dropped here, so that the last of them is the only holder.
            self.clear();
        }
    }

    /// Size of the storage in bytes.
    pub(super) fn bytes(&self) -> usize {
        match &self.storage {
            Storage::Own(buffer) => buffer.capacity(),
            Storage::Shared(bytes) => bytes.storage_len(),
            _ => 0,
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

    /// Takes the next `len` bytes, which are there: a copy from a slower source of buffers, or a slice of the storage.
    #[inline(never)]
    fn take_slowly(&mut self, len: usize, pool: &BufferPool) -> Result<PooledBytes, AcquireError> {
        if len < self.keep_from
            && let Ok(copy) = copied(self.unread().get(..len).unwrap_or_default(), pool)
        {
            self.start += len;
            return Ok(copy);
        }
        // Also if there is no memory for the copy: a slice needs none.
        self.keep(len, pool)
    }

    /// Takes the next `len` bytes, which are there, as a slice of the storage.
    fn keep(&mut self, len: usize, pool: &BufferPool) -> Result<PooledBytes, AcquireError> {
        let mut bytes = match mem::take(&mut self.storage) {
            Storage::Own(buffer) => buffer.into_shared(),
            Storage::Shared(bytes) => bytes,
            Storage::None => return copied(&[], pool),
            #[cfg(feature = "net")]
            Storage::Foreign(bytes) => {
                let end = self.start + len;
                let copy = copied(bytes.get(self.start..end).unwrap_or_default(), pool);
                self.storage = Storage::Foreign(bytes);
                self.start += copy.as_ref().map_or(0, PooledBytes::len);
                return copy;
            }
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
