//! Lines: a message each, as JSON-RPC over stdio sends them.
//!
//! A line ends with a line feed, and one carriage return before it belongs to its end. An empty line is a message.
//! Neither ending can stand in a message, so there is nothing to escape.
//!
//! See [`Assembler`](super::Assembler) for an example.

#[cfg(test)]
mod tests;

use super::sink::copied_len;
use super::{Decoder, EncodeError, Encoder, FrameError, FrameErrorKind, FrameSink, Payload, Reader};
use crate::pool::PooledBytes;

/// The longest line accepted unless configured otherwise, in bytes, its end not counted: 1 MiB, far above the messages of
/// tool servers, of which the longest that we captured had 7698 bytes.
pub const DEFAULT_MAX_LINE: usize = 1024 * 1024;

/// The framing. As a decoder:
/// after a line that is too long it goes on behind its end, and holds nothing of what it skips.
///
/// A line without its end, at the end of the stream, is an error: who wrote it may have died in the middle, and a part
/// of a message must not pass for all of it. If it was refused for its length already, it is no further error.
#[derive(Debug)]
pub struct Lines {
    max_line: usize,
    /// In a line that was refused.
    skipping: bool,
    /// Bytes of the line under way that are known to hold no line feed.
    scanned: usize,
}

impl Lines {
    /// At the start of a line; refuses lines longer than `max_line` bytes, their ends not counted.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self { max_line, skipping: false, scanned: 0 }
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
    /// [`MessageTooLarge`](FrameErrorKind::MessageTooLarge), not fatal, as soon as the line is over the limit, and
    /// its size is so the limit and 1; the offset is that of the line's first byte.
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<PooledBytes>, FrameError> {
        if self.skipping {
            let Some(end) = input.find(b'\n', 0) else {
                input.skip(input.remaining());
                return Ok(None);
            };
            input.skip(end + 1);
            self.skipping = false;
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
        let line = input.take(len);
        input.skip(end - len + 1);
        Ok(line)
    }

    fn needs(&self) -> usize {
        1
    }

    fn is_partial(&self) -> bool {
        false
    }

    /// # Errors
    ///
    /// [`Truncated`](FrameErrorKind::Truncated) if a line has begun.
    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
        let received = input.remaining();
        (self.skipping, self.scanned) = (false, 0);
        // Of a line that was refused everything was taken.
        if received == 0 {
            return Ok(());
        }
        let kind = FrameErrorKind::Truncated { received, expected: received + 1 };
        Err(FrameError::fatal(kind, input.offset() + received as u64))
    }
}

/// The length of a line of which so many bytes, the last of them this one, stand before the line feed, be it there or not.
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
    /// [`EncodeError::Delimiter`] if a line feed is in it; or a carriage return at its end, which whoever reads it
    /// takes for a part of the line's end. [`EncodeError::NoRoom`].
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
