//! Stream numbers. Every h2 begins with 1, and the wire goes on: the numbers are changed as frames pass, in both directions.

use std::array;
use std::io::{self, IoSlice};
use std::task::{Poll, ready};

use tokio::io::ReadBuf;

use super::frames::{GOAWAY, HEAD, HEADERS, Head, PADDED, PRIORITIZED, PRIORITY, Scan};

/// The bytes of a number.
const NUMBER: usize = 4;

/// How many frames get numbers in one write, and how many slices that may be.
const FRAMES: usize = 16;
const SLICES: usize = 3 * FRAMES;

/// A connection ends after this stream. The numbers above it are for requests that wait in h2.
pub(super) const LAST: u32 = (u32::MAX >> 1) - (1 << 20);

/// How much larger the numbers on the wire are than those of h2.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offset(u32);

impl Offset {
    /// For an h2 whose stream 1 is this one. 0 if there was none.
    pub(super) fn of(stream: u32) -> Self {
        Self(stream.saturating_sub(1))
    }

    pub(super) fn on_wire(self, stream: u32) -> u32 {
        if stream == 0 { 0 } else { stream.saturating_add(self.0) }
    }

    /// Streams of earlier h2s are all its stream 1, which is closed.
    fn in_h2(self, stream: u32) -> u32 {
        if stream == 0 { 0 } else { stream.saturating_sub(self.0).max(1) }
    }
}

/// What is read, on its way to h2.
#[derive(Default)]
pub(super) struct Inward {
    offset: Offset,
    /// Bytes without a number, until the next field.
    skip: usize,
    field: Field,
    /// What h2 could not read yet. The first bytes already have its numbers; the others may be the begin of a field.
    bytes: Vec<u8>,
    whole: usize,
}

/// What has a number in it.
#[derive(Clone, Copy, Default)]
enum Field {
    #[default]
    Head,
    /// In a GOAWAY the last stream, or else the one on which another depends: h2 only looks whether that is itself, and it
    /// becomes 0. So many bytes follow it.
    Number { is_dependency: bool, after: usize },
}

impl Inward {
    /// From now on for an h2 with this offset. Nothing may be half read.
    pub(super) fn begin(&mut self, offset: Offset) {
        self.offset = offset;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Keeps what has arrived, for h2.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Reads for h2. Nothing is filled only at the end of the connection.
    pub(super) fn poll_read(
        &mut self,
        buffer: &mut ReadBuf<'_>,
        mut read: impl FnMut(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.bytes.is_empty() {
                let before = buffer.filled().len();
                ready!(read(buffer))?;
                let now = buffer.filled_mut().get_mut(before..).unwrap_or_default();
                if now.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let whole = self.renumber(now);
                self.keep(now.get(whole..).unwrap_or_default());
                buffer.set_filled(before + whole);
                if whole > 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            let mut bytes = std::mem::take(&mut self.bytes);
            self.whole += self.renumber(bytes.get_mut(self.whole..).unwrap_or_default());
            self.bytes = bytes;
            if self.whole == 0 {
                let mut more = [0; 64];
                let mut more = ReadBuf::new(&mut more);
                ready!(read(&mut more))?;
                if more.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.keep(more.filled());
                continue;
            }
            let len = self.whole.min(buffer.remaining());
            buffer.put_slice(self.bytes.get(..len).unwrap_or_default());
            self.bytes.drain(..len);
            self.whole -= len;
            if self.bytes.is_empty() {
                self.bytes = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
    }

    /// Changes numbers. How many bytes are done: the rest is the begin of a field, and has to come again, with more.
    fn renumber(&mut self, bytes: &mut [u8]) -> usize {
        if self.offset == Offset::default() {
            return bytes.len();
        }
        let all = bytes.len();
        let mut rest = bytes;
        loop {
            let skipped = rest.len().min(self.skip);
            self.skip -= skipped;
            rest = rest.get_mut(skipped..).unwrap_or_default();
            let size = match self.field {
                Field::Head => {
                    let Some(head) = rest.first_chunk_mut() else { return all - rest.len() };
                    let Head { len, kind, flags, stream } = Head::read(head);
                    let [_, _, _, _, _, number @ ..] = head;
                    *number = self.offset.in_h2(stream).to_be_bytes();
                    self.head(len, kind, flags);
                    HEAD
                }
                Field::Number { is_dependency, after } => {
                    let Some(number) = rest.first_chunk_mut() else { return all - rest.len() };
                    let stream = u32::from_be_bytes(*number) & (u32::MAX >> 1);
                    *number =
                        if is_dependency { [0; NUMBER] } else { self.offset.in_h2(stream).to_be_bytes() };
                    (self.skip, self.field) = (after, Field::Head);
                    NUMBER
                }
            };
            rest = rest.get_mut(size..).unwrap_or_default();
        }
    }

    fn head(&mut self, len: usize, kind: u8, flags: u8) {
        let (before, is_dependency) = match kind {
            GOAWAY => (0, false),
            PRIORITY => (0, true),
            HEADERS if flags & PRIORITIZED != 0 => (usize::from(flags & PADDED != 0), true),
            _ => (len, false),
        };
        match len.checked_sub(before + NUMBER) {
            Some(after) => (self.skip, self.field) = (before, Field::Number { is_dependency, after }),
            None => self.skip = len,
        }
    }
}

/// A write of h2, with the numbers that the wire has.
pub(super) struct Outward {
    numbers: [Number; FRAMES],
    /// How many bytes of the write have their numbers. The others are for the next write.
    end: usize,
}

/// What is written instead of some bytes.
#[derive(Clone, Copy)]
struct Number {
    at: usize,
    bytes: [u8; NUMBER],
    /// The bytes of it that were written before.
    written: usize,
}

impl Outward {
    /// For what h2 writes after the bytes in `scan`. It always writes heads as a whole, but the wire may take a part of one.
    pub(super) fn new(offset: Offset, scan: &Scan, slices: &[IoSlice<'_>]) -> Self {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut numbers = [Number { at: usize::MAX, bytes: [0; NUMBER], written: 0 }; FRAMES];
        let (mut at, begun) = scan.next_head();
        let mut written = begun.len();
        let mut head = [0; HEAD];
        head.iter_mut().zip(begun).for_each(|(to, from)| *to = *from);
        for number in &mut numbers {
            if at + HEAD - written > total {
                break;
            }
            copy(slices, at, head.get_mut(written..).unwrap_or_default());
            let Head { len, stream, .. } = Head::read(&head);
            *number = Number {
                at: (at + HEAD - NUMBER).saturating_sub(written),
                bytes: offset.on_wire(stream).to_be_bytes(),
                written: written.saturating_sub(HEAD - NUMBER),
            };
            at += HEAD - written + len;
            written = 0;
        }
        Self { numbers, end: at.min(total) }
    }

    /// What to write, and how many slices it is.
    pub(super) fn slices<'a>(&'a self, from: &'a [IoSlice<'_>]) -> ([IoSlice<'a>; SLICES], usize) {
        let mut slices = array::from_fn(|_| IoSlice::new(&[]));
        let mut count = 0;
        let mut numbers = self.numbers.iter();
        let mut next = numbers.next();
        let mut at = 0;
        for slice in from {
            let (mut rest, _) = slice.split_at(slice.len().min(self.end - at));
            while !rest.is_empty() {
                let Some(to) = slices.get_mut(count) else { return (slices, count) };
                count += 1;
                let until = next.map_or(usize::MAX, |number| number.at);
                let (mut now, mut later) = rest.split_at(rest.len().min(until.saturating_sub(at)));
                if now.is_empty() {
                    let number = next.map_or(&[][..], |number| number.rest(at));
                    let len = number.len().min(rest.len());
                    (now, _) = number.split_at(len);
                    (_, later) = rest.split_at(len);
                    if len == number.len() {
                        next = numbers.next();
                    }
                }
                *to = IoSlice::new(now);
                at += now.len();
                rest = later;
            }
        }
        (slices, count)
    }
}

impl Number {
    /// What of it is left there.
    fn rest(&self, at: usize) -> &[u8] {
        self.bytes.get(self.written + at - self.at..).unwrap_or_default()
    }
}

/// Copies what is there.
fn copy(from: &[IoSlice<'_>], at: usize, to: &mut [u8]) {
    let bytes = from.iter().flat_map(|slice| slice.iter());
    to.iter_mut().zip(bytes.skip(at)).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests;
