//! Collects the bytes of a stream into frames, and decides how much memory that takes.

mod shortage;

#[cfg(feature = "net")]
use core::mem;
use core::ops::RangeInclusive;

#[cfg(feature = "net")]
use bytes::BytesMut;
use bytes::{Buf, BufMut};

use super::reader::{Held, Reader, Storage};
use super::{Decoder, FrameError};
use crate::pool::{AcquireError, BufferPool, PooledBuffer, PooledBytes};
use crate::size::ReadSize;

/// A buffer is at most this many times as large as what has arrived of the frame.
const GROWTH: usize = 4;
/// The same while others wait for memory. In smaller steps, many frames would hold a part each and wait for each other.
const GROWTH_WHILE_OTHERS_WAIT: usize = 16;

/// How frames are stored in the pool's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadMode {
    /// One buffer per frame, of the frame's own class: a slow consumer keeps no more than its frames. Small frames are
    /// read many at a time and copied out of the read buffer. A frame that fills at least half of its buffer stays in
    /// it.
    PerFrame,
    /// Frames are slices of one large read. Only a frame that the read cut in two is copied, and a slow consumer keeps
    /// the whole read.
    Batched {
        /// Payloads of fewer bytes get a buffer of their own class nevertheless: to copy them costs less than to count
        /// the holders of a shared buffer, and they keep no large one.
        detach_below: usize,
    },
}

impl ReadMode {
    /// [`Batched`](Self::Batched), with payloads below 1 KiB detached.
    #[must_use]
    pub const fn batched() -> Self {
        Self::Batched { detach_below: 1024 }
    }
}

/// Puts frames together from the pieces of a stream, in buffers of a pool; free of I/O.
///
/// Between frames it holds no buffer after [`release`](Self::release). Of a frame under way it holds at most the largest
/// of
/// - a read: 8 KiB, or 64 KiB if an earlier one was filled, or the pool's largest class if it is smaller;
/// - four times what has arrived of the frame, rounded up to a class: a declared length alone reserves nothing. While
///   others wait for memory it is 16 times, so that a frame waits seldom, and holds little while it waits;
/// - the size of the previous frame, so that frames of equal size are read in one piece each.
///
/// It never takes memory above the pool's memory limit. When there is none left, [`push`](Self::push) and
/// [`room`](Self::room) fail: try again later, or [refuse](Self::refuse) the frame.
///
/// # Examples
///
/// ```
/// use millpond::frame::{Assembler, Lines, ReadMode};
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut frames = Assembler::new(Lines::new(1024), pool, ReadMode::PerFrame);
/// let mut seen = Vec::new();
/// for mut piece in [&b"{\"id\":1}\n{\"i"[..], b"d\":2}\n"] {
///     while !piece.is_empty() {
///         frames.push(&mut piece)?;
///         while let Some(line) = frames.next_frame()? {
///             seen.push(line);
///         }
///     }
/// }
/// frames.finish()?;
/// assert_eq!(seen, [b"{\"id\":1}", b"{\"id\":2}"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Assembler<D> {
    decoder: D,
    pool: BufferPool,
    reading: ReadMode,
    read_ahead: bool,
    held: Held,
    read_size: ReadSize,
    /// The largest buffer to ask for, in bytes.
    largest: usize,
    /// Unread bytes when it last shrank, or when there was no memory to grow: while there is room, it does not grow before
    /// more arrive.
    settled: Option<usize>,
    /// Where the frame under way begins.
    frame_start: u64,
    /// Size of the previous frame, if it was kept where it was read and its class had room for all of it.
    expected: usize,
}

impl<D> Assembler<D> {
    /// At the start of a stream.
    #[must_use]
    pub fn new(decoder: D, pool: BufferPool, reading: ReadMode) -> Self {
        Self {
            decoder,
            largest: pool.largest_within_limit(),
            read_size: ReadSize::at_most(pool.largest_class()),
            pool,
            reading,
            read_ahead: true,
            held: Held::default(),
            settled: None,
            frame_start: 0,
            expected: 0,
        }
    }

    /// Never has room for more than the decoder is sure to need, so that another reader of the stream can continue after
    /// the frame.
    #[must_use]
    pub fn without_read_ahead(self) -> Self {
        Self { read_ahead: false, reading: ReadMode::PerFrame, ..self }
    }

    /// Stores frames in this way.
    #[cfg(feature = "net")]
    pub(crate) fn with_read_mode(self, reading: ReadMode) -> Self {
        Self { reading, ..self }
    }

    /// Reads up to the smaller size at once, or up to the larger one from a peer that fills its reads. The default is
    /// 8 KiB and 64 KiB, but no more than the pool's largest class. A size above every class comes from the heap, if the
    /// pool has no memory limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::frame::{Assembler, ReadMode, Tlv};
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let frames = Assembler::new(Tlv::default(), pool, ReadMode::PerFrame).with_read_sizes(1024..=16 * 1024);
    /// assert_eq!(frames.wants(), Some(1024));
    /// ```
    #[must_use]
    pub fn with_read_sizes(self, sizes: RangeInclusive<usize>) -> Self {
        Self { read_size: ReadSize::new(&sizes), ..self }
    }

    /// The pool of its buffers.
    #[must_use]
    pub fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// The decoder.
    #[must_use]
    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    /// The decoder, for example to change a limit between two frames: see
    /// [`Tlv::set_max_payload`](crate::frame::Tlv::set_max_payload). Another one in its place knows nothing of the frame under way.
    pub fn decoder_mut(&mut self) -> &mut D {
        &mut self.decoder
    }

    /// Ends the assembly: returns the decoder and the bytes that it has not taken, if there are any, for example when
    /// the stream changes its protocol.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::frame::{Assembler, Lines, ReadMode};
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::messages());
    /// let mut lines = Assembler::new(Lines::default(), pool, ReadMode::PerFrame);
    /// lines.push(&mut &b"upgrade\n\x05other"[..])?;
    /// assert_eq!(lines.next_frame()?.unwrap(), b"upgrade");
    /// let (_, unread) = lines.into_parts();
    /// assert_eq!(unread.unwrap(), b"\x05other");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (D, Option<PooledBytes>) {
        (self.decoder, self.held.into_unread())
    }
}

impl<D: Decoder> Assembler<D> {
    /// Takes as much of `input` as there is room for. Then take out every [`next_frame`](Self::next_frame), and push the
    /// rest.
    ///
    /// # Errors
    ///
    /// As [`room`](Self::room). Nothing was taken then.
    pub fn push(&mut self, input: &mut impl Buf) -> Result<(), AcquireError> {
        let before = input.remaining();
        let mut room = self.room()?;
        let size = room.remaining_mut();
        room.put(input.take(size));
        drop(room);
        self.learn(before - input.remaining(), size);
        Ok(())
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; call again after one that is not fatal.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<D::Frame>, FrameError> {
        match self.next_small() {
            Some(frame) => Ok(Some(frame)),
            None => self.next_frame_slowly(),
        }
    }

    /// The next frame, if [`Decoder::decode_small`] finds it: without a [`Reader`], and inlined, so that the frame is made
    /// where the caller wants it.
    #[inline(always)]
    pub(crate) fn next_small(&mut self) -> Option<D::Frame> {
        let Storage::Own(buffer) = &self.held.storage else { return None };
        let unread = buffer.get(self.held.start..)?;
        let (frame, len) = self.decoder.decode_small(unread, self.held.keep_from, &self.pool)?;
        self.held.start += len;
        self.frame_start = self.held.offset();
        self.expected = 0;
        Some(frame)
    }

    /// The next frame, through the decoder.
    #[inline(never)]
    pub(crate) fn next_frame_slowly(&mut self) -> Result<Option<D::Frame>, FrameError> {
        let mut reader = Reader::of_held(&mut self.held, &self.pool);
        match self.decoder.decode(&mut reader) {
            Ok(Some(frame)) => {
                let end = self.held.offset();
                self.expected = match self.held.storage {
                    // Most frames are copied out of what was read.
                    Storage::Own(_) => 0,
                    _ => self.fitting((end - self.frame_start) as usize),
                };
                self.frame_start = end;
                Ok(Some(frame))
            }
            Ok(None) => {
                self.note_no_frame();
                Ok(None)
            }
            Err(error) => {
                self.note_refused(error);
                Err(error)
            }
        }
    }

    /// Refuses the frame under way, or the next one, if there is no memory for it: for when [`push`](Self::push) or
    /// [`room`](Self::room) has failed. The decoder skips the frame as it arrives, and nothing of it is held.
    ///
    /// Call it after [`next_frame`](Self::next_frame) has returned `None`. The error is a
    /// [`FrameErrorKind::OutOfMemory`](super::FrameErrorKind::OutOfMemory). It is fatal if the framing cannot skip.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::frame::{Assembler, Lines, ReadMode};
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let config = BufferPoolConfig::builder().class(1024, 4).memory_limit(4096).build()?;
    /// let mut lines = Assembler::new(Lines::default(), BufferPool::new(config), ReadMode::PerFrame);
    /// let wire = [&[b'x'; 5000][..], b"\nshort\n"].concat();
    /// let mut rest = wire.as_slice();
    /// let mut seen = Vec::new();
    /// while !rest.is_empty() {
    ///     if let Err(no_memory) = lines.push(&mut rest) {
    ///         assert!(!lines.refuse(no_memory).is_fatal());
    ///     }
    ///     while let Some(line) = lines.next_frame()? {
    ///         seen.push(line);
    ///     }
    /// }
    /// assert_eq!(seen, [b"short"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refuse(&mut self, error: AcquireError) -> FrameError {
        let mut reader = Reader::of_held(&mut self.held, &self.pool);
        let refused = self.decoder.refuse(&mut reader, error);
        self.note_refused(refused);
        self.forget_sizes();
        refused
    }

    /// The next frame of `source`, which could not be [pushed](Self::push) because of `error`. Frames are copied out of
    /// `source`. One that gets no memory is refused and taken from `source`, and so is a part of one: the stream advances.
    #[cfg(feature = "net")]
    pub(crate) fn next_frame_of(
        &mut self,
        source: &mut BytesMut,
        error: AcquireError,
    ) -> Result<Option<D::Frame>, FrameError> {
        if !self.held.unread().is_empty() {
            return Err(self.refuse(error));
        }
        self.held.replace(Storage::Foreign(mem::take(source)), usize::MAX);
        let outcome = match self.next_frame_slowly() {
            Ok(None) if !self.held.unread().is_empty() => Err(self.refuse(error)),
            outcome => outcome,
        };
        *source = self.held.take_foreign();
        // Frames were copied.
        self.expected = 0;
        outcome
    }

    fn note_refused(&mut self, error: FrameError) {
        self.note_no_frame();
        if error.is_fatal() {
            self.held.clear();
        }
        // To skip the rest of a frame takes less than the frame had grown to.
        self.release();
    }

    #[inline(never)]
    fn note_no_frame(&mut self) {
        if !self.decoder.is_partial() {
            self.frame_start = self.held.offset();
        }
    }

    /// The stream has ended: did it end between two frames?
    ///
    /// # Errors
    ///
    /// [`FrameErrorKind::Truncated`](super::FrameErrorKind::Truncated) if not.
    pub fn finish(&mut self) -> Result<(), FrameError> {
        let mut reader = Reader::of_held(&mut self.held, &self.pool);
        let finished = self.decoder.finish(&mut reader);
        self.held.clear();
        finished
    }

    /// Whether a part of a frame has arrived.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.decoder.is_partial() || !self.held.unread().is_empty()
    }

    /// Bytes of the stream that have arrived, also those that were dropped after an error.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.held.offset() + self.held.unread().len() as u64
    }

    /// Bytes of the stream before the frame that is under way.
    #[must_use]
    pub fn frame_start(&self) -> u64 {
        self.frame_start
    }

    /// Bytes of storage that it holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Returns the buffer to the pool if nothing of a frame is in it: for when there is nothing to read.
    pub fn release(&mut self) {
        if self.held.unread().is_empty() {
            self.held.clear();
        }
    }

    /// Drops what has arrived: for when nothing more will arrive.
    pub fn abandon(&mut self) {
        self.held.clear();
    }

    fn has_room(&self) -> bool {
        matches!(&self.held.storage, Storage::Own(buffer) if buffer.len() < buffer.capacity())
    }

    /// Does not grow before more has arrived.
    fn settle(&mut self) {
        self.settled = Some(self.held.unread().len());
    }

    fn forget_sizes(&mut self) {
        self.expected = 0;
        self.read_size.forget();
    }

    /// Size of the buffer that the next [`room`](Self::room) acquires, if it acquires one. To wait for it, acquire it
    /// asynchronously and [lend](Self::lend) it.
    #[must_use]
    pub fn wants(&self) -> Option<usize> {
        let unread = self.held.unread().len();
        let plan = self.plan(unread);
        let Storage::Own(buffer) = &self.held.storage else { return Some(plan.size) };
        let enough = if self.settled == Some(unread) && self.has_room() {
            true
        } else if unread == 0 {
            buffer.capacity() >= plan.size
        } else {
            let room = buffer.capacity() - buffer.len();
            // To the end of the frame, or enough to be worth a read; or another buffer has hardly more room.
            let most = plan.most.min(room);
            let another = plan.size.saturating_sub(unread);
            self.held.start + plan.needs <= buffer.capacity()
                && (most == plan.most || room * 4 >= buffer.capacity() || room * 2 >= another)
        };
        (!enough).then_some(plan.size)
    }

    /// Continues in `buffer`, to which what is unread moves. A buffer without room for more than that is not used.
    pub fn lend(&mut self, mut buffer: PooledBuffer) {
        if buffer.capacity() <= self.held.unread().len() {
            return;
        }
        buffer.clear();
        buffer.extend_from_slice(self.held.unread());
        let keep_from = self.keep_from(buffer.capacity());
        self.held.replace(Storage::Own(buffer), keep_from);
        self.settled = None;
    }

    /// Payloads of at least this many bytes stay in a buffer of this capacity.
    fn keep_from(&self, capacity: usize) -> usize {
        match self.reading {
            ReadMode::Batched { detach_below } => detach_below,
            ReadMode::PerFrame => capacity / 2,
        }
    }

    /// Where the next bytes of the stream go: never empty.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the memory limit leaves no memory for a buffer. Try again later, or
    /// [refuse](Self::refuse) the frame. [`TooLarge`](AcquireError::TooLarge) lasts as long as the frame.
    pub fn room(&mut self) -> Result<impl BufMut + '_, AcquireError> {
        if let Some(size) = self.wants() {
            self.acquire(size)?;
        }
        let unread = self.held.unread().len();
        let most = self.plan(unread).most;
        if unread == 0 {
            self.held.rewind();
        }
        match &mut self.held.storage {
            Storage::Own(buffer) => {
                let room = buffer.capacity() - buffer.len();
                // The empty chain is what a caller gets that asks for more: a full buffer would grow.
                let nothing: &mut [u8] = &mut [];
                Ok(buffer.limit(most.min(room)).chain_mut(nothing))
            }
            _ => unreachable!("a buffer was lent"),
        }
    }

    /// The buffer for the next read, to be [returned](Self::end_read) with what was read: that of the frame under way, with
    /// what has arrived of it, or an empty one, of the large size only if the last read was `filled`.
    ///
    /// # Errors
    ///
    /// As [`room`](Self::room).
    #[cfg(feature = "net")]
    pub(crate) fn begin_read(&mut self, filled: bool) -> Result<Option<PooledBuffer>, AcquireError> {
        if !filled {
            self.read_size.forget();
        }
        // Not the buffer of the frame before: nobody knows when the next frame comes.
        self.release();
        let unread = self.held.unread().len();
        let wants = if unread == 0 { Some(self.read_size.size().min(self.largest)) } else { self.wants() };
        if let Some(size) = wants {
            let buffer = self.pool.acquire_within_limit(size);
            // The limit may have room for less.
            self.lend(buffer.or_else(|_| self.pool.acquire_within_limit(unread + 1))?);
        }
        Ok(self.held.take_own())
    }

    /// Continues in the buffer of [`begin_read`](Self::begin_read), into which `count` bytes were read, where there was
    /// `room`.
    #[cfg(feature = "net")]
    pub(crate) fn end_read(&mut self, buffer: PooledBuffer, count: usize, room: usize) {
        self.held.put(buffer);
        self.learn(count, room);
    }

    /// Notes that a read brought `count` bytes where it had `room`, for the size of later reads.
    pub fn learn(&mut self, count: usize, room: usize) {
        self.settled = None;
        // The size of a read that was made for one frame depends on the frame.
        if self.expected == 0 || self.reading != ReadMode::PerFrame {
            self.read_size.learn(count, room);
        }
    }

    fn plan(&self, unread: usize) -> Plan {
        let known = self.decoder.needs();
        let needs = known.max(unread + 1);
        let small = self.read_size.small();
        let growth = if self.pool.has_waiters() { GROWTH_WHILE_OTHERS_WAIT } else { GROWTH };
        let affordable = small.max(unread.saturating_mul(growth)).max(self.expected);
        let size = needs.min(affordable);
        let alone = self.reading == ReadMode::PerFrame;
        if !self.read_ahead || (alone && known > small / 2) {
            return Plan { needs: size, size, most: needs - unread };
        }
        if alone && unread == 0 && self.expected > 0 {
            return Plan { needs, size: self.expected, most: self.expected };
        }
        let ahead = match unread {
            0 => self.expected,
            // To the end of the frame, as far as what has arrived allows.
            _ if self.decoder.needs() > unread => 0,
            // Without a known length the room doubles, so that a long frame moves a few times and not at every read.
            _ => unread * 2,
        };
        let ahead = ahead.max(self.read_size.size()).min(self.largest);
        Plan { needs: size, size: size.max(ahead), most: usize::MAX }
    }

    /// `size`, if a buffer for it is less than twice as large; else 0.
    #[inline(never)]
    fn fitting(&self, size: usize) -> usize {
        let fits = self.pool.class_of(size).is_some_and(|class| class < size.saturating_mul(2));
        if fits { size } else { 0 }
    }
}

/// What to read next.
struct Plan {
    /// Bytes from the first unread one that must lie in one piece, as far as what has arrived allows.
    needs: usize,
    /// Of the buffer, if another one is needed.
    size: usize,
    /// Bytes to read at most.
    most: usize,
}
