//! Lines: one message per line, as JSON-RPC over stdio sends them.
//!
//! A line ends with a line feed, and one carriage return before it belongs to its end. An empty line is a message.
//! Neither can occur in a message, so nothing is escaped.
//!
//! # Examples
//!
//! ```
//! use millpond::frame::{Assembler, Encoder, Lines, ReadMode};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let mut wire = Vec::new();
//! Lines::default().encode("{\"id\":1}", &mut wire)?;
//! assert_eq!(wire, b"{\"id\":1}\n");
//!
//! let pool = BufferPool::new(BufferPoolConfig::messages());
//! let mut lines = Assembler::new(Lines::default(), pool, ReadMode::PerFrame);
//! lines.push(&mut wire.as_slice())?;
//! assert_eq!(lines.next_frame()?.unwrap(), b"{\"id\":1}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use super::sink::copied_len;
use super::{Decoder, EncodeError, Encoder, FrameError, FrameErrorKind, FrameSink, Payload, Reader};
use crate::pool::{AcquireError, PooledBytes};

/// The longest line accepted by default, in bytes without its end: 1 MiB. The longest captured message of a tool server
/// had 7698 bytes.
pub const DEFAULT_MAX_LINE: usize = 1024 * 1024;

/// The framing.
///
/// After a line that it refused, the decoder continues after the line's end, and holds nothing of what it skips.
///
/// A last line without its end is an error: its writer may have died in the middle, and a part of a message must not
/// pass for all of it. If the line was refused already, there is no second error.
#[derive(Debug)]
pub struct Lines {
    max_line: usize,
    /// In a line that was refused.
    skipping: bool,
    /// Bytes of the line under way that are known to contain no line feed.
    scanned: usize,
}

impl Lines {
    /// At the start of a line. Refuses lines of more than `max_line` bytes without their end.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self { max_line, skipping: false, scanned: 0 }
    }

    /// Refuses lines of more than `max_line` bytes from now on.
    pub fn set_max_line(&mut self, max_line: usize) {
        self.max_line = max_line;
    }

    /// Takes what is there of a refused line; `false` if its end is not there yet.
    fn skip(&mut self, input: &mut Reader<'_>) -> bool {
        let end = input.find(b'\n', 0);
        input.skip(end.map_or(input.remaining(), |end| end + 1));
        (self.skipping, self.scanned) = (end.is_none(), 0);
        !self.skipping
    }
}

/// With a limit of [`DEFAULT_MAX_LINE`].
impl Default for Lines {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_LINE)
    }
}

impl Decoder for Lines {
    /// The line without its end.
    type Frame = PooledBytes;

    /// # Errors
    ///
    /// None is fatal, and the offset is that of the line's first byte.
    /// - [`MessageTooLarge`](FrameErrorKind::MessageTooLarge) as soon as the line is over the limit, so its size is
    ///   given as the limit plus 1.
    /// - [`OutOfMemory`](FrameErrorKind::OutOfMemory) if the memory limit leaves no memory for the line.
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<PooledBytes>, FrameError> {
        if self.skipping && !self.skip(input) {
            return Ok(None);
        }
        let found = input.find(b'\n', self.scanned);
        let end = found.unwrap_or(input.remaining());
        let last = end.checked_sub(1).and_then(|at| input.peek_at(at));
        let (len, max) = (line_len(end, last), self.max_line);
        if len > max {
            let start = input.offset();
            input.skip(end);
            (self.skipping, self.scanned) = (true, 0);
            let kind = FrameErrorKind::MessageTooLarge { size: max.saturating_add(1), max };
            return Err(FrameError::new(kind, start));
        }
        if found.is_none() {
            self.scanned = end;
            return Ok(None);
        }
        self.scanned = 0;
        let line = input.take(len).map_err(|error| self.refuse(input, error))?;
        input.skip(end - len + 1);
        Ok(line)
    }

    fn needs(&self) -> usize {
        1
    }

    fn is_partial(&self) -> bool {
        false
    }

    fn refuse(&mut self, input: &mut Reader<'_>, error: AcquireError) -> FrameError {
        let refused = FrameError::new(FrameErrorKind::OutOfMemory(error), input.offset());
        self.skip(input);
        refused
    }

    /// # Errors
    ///
    /// [`Truncated`](FrameErrorKind::Truncated) if a line has begun.
    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
        let received = input.remaining();
        (self.skipping, self.scanned) = (false, 0);
        // All of a refused line was taken.
        if received == 0 {
            return Ok(());
        }
        let kind = FrameErrorKind::Truncated { received, expected: received + 1 };
        Err(FrameError::fatal(kind, input.offset() + received as u64))
    }
}

/// The length of a line without its end, if `len` bytes stand before the line feed, or have arrived without one.
fn line_len(len: usize, last: Option<u8>) -> usize {
    len - usize::from(last == Some(b'\r'))
}

/// A line without its end.
impl<P: Payload> Encoder<P> for Lines {
    fn encoded_len(&self, line: &P) -> usize {
        line.as_ref().len() + 1
    }

    fn copied_len(&self, line: &P) -> usize {
        copied_len::<P>(line.as_ref().len()) + 1
    }

    /// # Errors
    ///
    /// [`EncodeError::Delimiter`] for a line feed, and for a carriage return at the end of the line, which a reader takes
    /// for a part of the line's end. [`EncodeError::NoRoom`].
    fn encode(&self, line: P, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        let bytes = line.as_ref();
        let at_end = bytes.len().checked_sub(1).filter(|_| bytes.ends_with(b"\r"));
        if let Some(at) = memchr::memchr(b'\n', bytes).or(at_end) {
            return Err(EncodeError::Delimiter { at });
        }
        EncodeError::check_room(bytes.len() + 1, out.room())?;
        line.push_rest(0, out);
        out.push_copy(b"\n");
        Ok(())
    }
}
