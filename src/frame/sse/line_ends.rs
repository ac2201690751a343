//! Where the lines of a stream of events end.

use crate::frame::Reader;

/// Finds the ends of lines, and remembers how far it has looked: from the reader's position, which must not move
/// but by what it says.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    scanned: usize,
    /// Lines that ended in what was scanned.
    ended: usize,
    /// The line under way has a byte.
    has_begun: bool,
    /// The last byte scanned was a carriage return: a line feed next to it ends no other line.
    is_behind_cr: bool,
}

/// The end of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineEnd {
    /// Bytes in front of it.
    pub(super) at: usize,
    pub(super) is_blank: bool,
}

impl LineEnds {
    pub(super) fn next_end(&mut self, input: &Reader<'_>) -> Option<LineEnd> {
        if self.is_behind_cr {
            let is_second_half = input.peek_at(self.scanned)? == b'\n';
            self.is_behind_cr = false;
            self.scanned += usize::from(is_second_half);
        }
        let Some(at) = input.find_either(b'\r', b'\n', self.scanned) else {
            self.has_begun |= input.remaining() > self.scanned;
            self.scanned = input.remaining();
            return None;
        };
        let is_blank = at == self.scanned && !self.has_begun;
        self.is_behind_cr = input.peek_at(at) == Some(b'\r');
        (self.scanned, self.has_begun) = (at + 1, false);
        self.ended += 1;
        Some(LineEnd { at, is_blank })
    }

    /// Lines that ended since the last [`restart`](Self::restart).
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// How many bytes were scanned, which must be taken.
    pub(super) fn restart(&mut self) -> usize {
        self.ended = 0;
        core::mem::take(&mut self.scanned)
    }

    /// Takes the line feed of a line that ended, as far as anybody could tell, with a carriage return.
    pub(super) fn skip_second_half(&mut self, input: &mut Reader<'_>) {
        if self.is_behind_cr
            && self.scanned == 0
            && let Some(byte) = input.peek()
        {
            self.is_behind_cr = false;
            input.skip(usize::from(byte == b'\n'));
        }
    }
}
