//! Finds the line ends of a stream of events.

use crate::frame::Reader;

/// Finds line ends and remembers how far it has scanned, so that no byte is scanned twice.
///
/// It counts from the reader's position. Only [`restart`](Self::restart) and
/// [`skip_second_half`](Self::skip_second_half) say how far that may move.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    /// Bytes scanned, from the reader's position.
    scanned: usize,
    /// Lines that ended in the scanned bytes.
    ended: usize,
    /// Whether the line under way has a byte.
    has_begun: bool,
    /// Whether the last scanned byte was a carriage return: a line feed after it does not end another line.
    is_after_cr: bool,
    /// Bytes before the line under way, from the reader's position, unless its start was taken.
    line_start: usize,
}

/// The end of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineEnd {
    /// Bytes before it, from the reader's position.
    pub(super) at: usize,
    /// Bytes before the line that it ends.
    pub(super) start: usize,
    pub(super) is_blank: bool,
}

impl LineEnds {
    /// The next line end; `None` if it has not arrived.
    pub(super) fn next_end(&mut self, input: &Reader<'_>) -> Option<LineEnd> {
        if self.is_after_cr {
            let is_second_half = input.peek_at(self.scanned)? == b'\n';
            self.is_after_cr = false;
            self.scanned += usize::from(is_second_half);
        }
        if !self.has_begun {
            self.line_start = self.scanned;
        }
        let Some(at) = input.find_either(b'\r', b'\n', self.scanned) else {
            self.has_begun |= input.remaining() > self.scanned;
            self.scanned = input.remaining();
            return None;
        };
        let is_blank = at == self.scanned && !self.has_begun;
        self.is_after_cr = input.peek_at(at) == Some(b'\r');
        (self.scanned, self.has_begun) = (at + 1, false);
        self.ended += 1;
        Some(LineEnd { at, start: self.line_start, is_blank })
    }

    /// Lines that ended since the last [`restart`](Self::restart).
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// Starts again after the scanned bytes. Returns their number: the caller has to take them.
    pub(super) fn restart(&mut self) -> usize {
        (self.ended, self.line_start) = (0, 0);
        core::mem::take(&mut self.scanned)
    }

    /// Takes the line feed after a carriage return that ended the last line before the line feed arrived.
    pub(super) fn skip_second_half(&mut self, input: &mut Reader<'_>) {
        if self.is_after_cr
            && self.scanned == 0
            && let Some(byte) = input.peek()
        {
            self.is_after_cr = false;
            input.skip(usize::from(byte == b'\n'));
        }
    }
}
