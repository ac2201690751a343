//! The lines of one server-sent event, parsed.

use core::iter;
use core::time::Duration;

use super::MAX_RETRY;
use crate::pool::PooledBuffer;

/// The lines of one event without the blank line, and the values of their fields.
#[derive(Debug, Default)]
pub(super) struct Block<'a> {
    lines: &'a [u8],
    pub(super) event: Option<&'a [u8]>,
    pub(super) id: Option<&'a [u8]>,
    pub(super) retry: Option<Duration>,
    pub(super) data_lines: usize,
    /// Offset of the first data line's value in the block.
    pub(super) data_start: usize,
    /// Length of the data lines' values, joined with line feeds.
    pub(super) data_len: usize,
}

impl<'a> Block<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Self {
        let mut block = Self { lines: bytes, ..Self::default() };
        for (line, bytes_after) in lines(bytes) {
            match field(line) {
                (b"data", value) => {
                    if block.data_lines == 0 {
                        block.data_start = bytes.len() - bytes_after - value.len();
                    } else {
                        block.data_len += 1;
                    }
                    block.data_lines += 1;
                    block.data_len += value.len();
                }
                (b"event", value) => block.event = Some(value),
                (b"id", value) if !value.contains(&0) => block.id = Some(value),
                _ => block.retry = retry(line).or(block.retry),
            }
        }
        block
    }

    /// Appends the data lines' values to `joined`, with a line feed between two.
    pub(super) fn join(&self, mut joined: PooledBuffer) -> PooledBuffer {
        let data = lines(self.lines).map(|(line, _)| field(line)).filter(|(name, _)| *name == b"data");
        for (index, (_, value)) in data.enumerate() {
            if index > 0 {
                joined.extend_from_slice(b"\n");
            }
            joined.extend_from_slice(value);
        }
        joined
    }
}

/// The lines without their ends, each with the number of bytes after its last byte.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut rest = bytes;
    iter::from_fn(move || {
        let end = memchr::memchr2(b'\r', b'\n', rest)?;
        let (line, after) = rest.split_at_checked(end)?;
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..))?;
        Some((line, after.len()))
    })
}

/// The name and the value of a line. A comment is a field without a name. A line without a colon is a field without a
/// value.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some((name, [_, value @ ..])) =
        memchr::memchr(b':', line).and_then(|colon| line.split_at_checked(colon))
    else {
        return (line, &[]);
    };
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

/// The time that a line sets, if it is a `retry` of digits only.
pub(super) fn retry(line: &[u8]) -> Option<Duration> {
    let (b"retry", digits) = field(line) else { return None };
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    all_digits.then(|| Duration::from_millis(digits.iter().fold(0, add)).min(MAX_RETRY))
}
