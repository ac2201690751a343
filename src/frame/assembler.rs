//! Where the bytes of a stream become frames, and what memory that takes.

use bytes::{Buf, BufMut};

use super::reader::{Held, Reader, Storage};
use super::{Decoder, FrameError};
use crate::pool::{BufferPool, PooledBuffer};
use crate::size::ReadSize;

/// How frames lie in the pool's storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Every frame has a buffer of its own class, so that what a slow reader keeps is one frame. Small frames
    /// arrive many at a time and are copied out of what was read ahead; one that fills at least half of its
    /// buffer stays in it.
    PerFrame,
    /// Frames are slices of what one large read brought: nothing is copied but a frame that the read cut in two,
    /// and what a slow reader keeps is the whole read.
    Batched {
        /// Payloads below so many bytes get a buffer of their own class nevertheless: to copy them costs
        /// less than to count the holders of a shared one, and they pin no large buffer.
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
/// Between frames it holds no buffer once [`release`](Self::release) was called. Of a frame under way it holds at
/// most the largest of
/// - a read: 8 KiB, or 64 KiB if an earlier one was filled,
/// - four times what has arrived of the frame, rounded up to a class: an announced length alone buys nothing,
/// - what the frame before took, so that a stream of equal frames is read in one piece each.
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
///         frames.push(&mut piece);
///         while let Some(line) = frames.next_frame()? {
///             seen.push(line);
///         }
///     }
/// }
/// frames.finish()?;
/// assert_eq!(seen, [b"{\"id\":1}", b"{\"id\":2}"]);
/// # Ok::<(), millpond::frame::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Assembler<D> {
    decoder: D,
    pool: BufferPool,
    reading: ReadMode,
    read_ahead: bool,
    held: Held,
    read_size: ReadSize,
    /// Where the frame under way begins.
    frame_start: u64,
    /// What the frame before took, if it was kept where it was read and its class had room for all of it.
    expected: usize,
}

impl<D: Decoder> Assembler<D> {
    /// At the start of a stream.
    #[must_use]
    pub fn new(decoder: D, pool: BufferPool, reading: ReadMode) -> Self {
        Self {
            decoder,
            pool,
            reading,
            read_ahead: true,
            held: Held::default(),
            read_size: ReadSize::default(),
            frame_start: 0,
            expected: 0,
        }
    }

    /// Never has room for more than what the decoder is sure to need: for a stream that somebody else reads on from.
    #[must_use]
    pub fn without_read_ahead(self) -> Self {
        Self { read_ahead: false, reading: ReadMode::PerFrame, ..self }
    }

    /// The pool its buffers are of.
    #[must_use]
    pub fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// The decoder.
    #[must_use]
    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    /// Takes as much of `input` as there is room for; then ask for the [`next_frame`](Self::next_frame) frames until there is
    /// none, and push the rest.
    pub fn push(&mut self, input: &mut impl Buf) {
        let before = input.remaining();
        let mut room = self.room();
        let size = room.remaining_mut();
        room.put(input.take(size));
        drop(room);
        self.learn(before - input.remaining(), size);
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

    /// The next frame, if it takes no more than a copy: without a decoder that looks at the storage through a
    /// [`Reader`], and in one piece, so that the frame is made where it is wanted.
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

    /// The next frame, whatever it takes.
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
                self.note_no_frame();
                if error.is_fatal() {
                    self.held.clear();
                }
                // What a refused frame grew to is not what skipping the rest of it takes.
                self.release();
                Err(error)
            }
        }
    }

    #[inline(never)]
    fn note_no_frame(&mut self) {
        if !self.decoder.is_partial() {
            self.frame_start = self.held.offset();
        }
    }

    /// To be called when the stream ends: did it end between two frames?
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

    /// Bytes of the stream that have arrived.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.held.offset() + self.held.unread().len() as u64
    }

    /// Bytes of the stream in front of the frame that is under way.
    #[must_use]
    pub fn frame_start(&self) -> u64 {
        self.frame_start
    }

    /// Bytes of storage that it holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Gives the buffer back if nothing of a frame is in it: for when there is nothing to read.
    pub fn release(&mut self) {
        if self.held.unread().is_empty() {
            self.held.clear();
        }
    }

    /// Forgets what has arrived: for when nothing more will.
    pub fn abandon(&mut self) {
        self.held.clear();
    }

    /// Moves a part of a frame that takes little of its buffer into a smaller one: for when the rest does not come.
    pub fn shrink(&mut self) {
        let unread = self.held.unread().len();
        let enough = self.pool.class_of(unread * 2).unwrap_or(unread * 2);
        if unread == 0 {
            self.held.clear();
        } else if enough * 2 <= self.held.bytes() {
            self.lend(self.pool.acquire(enough));
        }
        self.expected = 0;
        self.read_size = ReadSize::default();
    }

    /// Size of the buffer that the next [`room`](Self::room) acquires, if it does. Who keeps a budget
    /// acquires it himself, when he may, and [lends](Self::lend) it.
    #[must_use]
    pub fn wants(&self) -> Option<usize> {
        let unread = self.held.unread().len();
        let plan = self.plan(unread);
        let Storage::Own(buffer) = &self.held.storage else { return Some(plan.size) };
        let enough = if unread == 0 {
            buffer.capacity() >= plan.size
        } else {
            let room = buffer.capacity() - buffer.len();
            // To the end of the frame, or so much that the read is worth it; or another buffer has hardly more room.
            let most = plan.most.min(room);
            let another = plan.size.saturating_sub(unread);
            self.held.start + plan.needs <= buffer.capacity()
                && (most == plan.most || room * 4 >= buffer.capacity() || room * 2 >= another)
        };
        (!enough).then_some(plan.size)
    }

    /// Goes on in `buffer`; what is unread moves.
    pub fn lend(&mut self, mut buffer: PooledBuffer) {
        buffer.clear();
        buffer.extend_from_slice(self.held.unread());
        let keep_from = match self.reading {
            ReadMode::Batched { detach_below } => detach_below,
            ReadMode::PerFrame => buffer.capacity() / 2,
        };
        self.held.replace(Storage::Own(buffer), keep_from);
    }

    /// Where the next bytes of the stream go: never empty.
    pub fn room(&mut self) -> impl BufMut + '_ {
        if let Some(size) = self.wants() {
            self.lend(self.pool.acquire(size));
        }
        let unread = self.held.unread().len();
        let most = self.plan(unread).most;
        if unread == 0 {
            self.held.rewind();
        }
        match &mut self.held.storage {
            Storage::Own(buffer) => buffer.as_buf_mut().limit(most),
            _ => unreachable!("a buffer was lent"),
        }
    }

    /// A read brought `count` bytes where `room` would have fitted.
    pub fn learn(&mut self, count: usize, room: usize) {
        // A read that was made for one frame tells of the frame.
        if self.expected == 0 || self.reading != ReadMode::PerFrame {
            self.read_size.learn(count, room);
        }
    }

    fn plan(&self, unread: usize) -> Plan {
        let known = self.decoder.needs();
        let needs = known.max(unread + 1);
        let affordable = ReadSize::SMALL.max(unread.saturating_mul(4)).max(self.expected);
        let size = needs.min(affordable);
        let alone = self.reading == ReadMode::PerFrame;
        if !self.read_ahead || (alone && known > ReadSize::SMALL / 2) {
            return Plan { needs: size, size, most: needs - unread };
        }
        if alone && unread == 0 && self.expected > 0 {
            return Plan { needs, size: self.expected, most: self.expected };
        }
        let ahead = match unread {
            0 => self.expected,
            // To the end of the frame, as far as it can be afforded.
            _ if self.decoder.needs() > unread => 0,
            // Without a known length room doubles, so that a long frame moves a few times and not at every read.
            _ => unread * 2,
        };
        let ahead = ahead.max(self.read_size.size());
        Plan { needs: size, size: size.max(ahead), most: usize::MAX }
    }

    /// So many bytes, if a buffer for them is at most twice as large; else 0.
    #[inline(never)]
    fn fitting(&self, size: usize) -> usize {
        let fits = self.pool.class_of(size).is_some_and(|class| class < size.saturating_mul(2));
        if fits { size } else { 0 }
    }
}

/// What to read next.
struct Plan {
    /// Bytes from the first unread one that must lie in one piece, as far as the peer can have them.
    needs: usize,
    /// Of the buffer, if another one is needed.
    size: usize,
    /// Bytes to read at most.
    most: usize,
}
