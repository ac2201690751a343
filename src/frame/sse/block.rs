//! The lines of one server-sent event, parsed.

use core::iter;

use crate::pool::PooledBuffer;

/// The lines of one event, without the blank one, and what they say.
#[derive(Debug, Default)]
pub(super) struct Block<'a> {
    lines: &'a [u8],
    pub(super) event: Option<&'a [u8]>,
    pub(super) id: Option<&'a [u8]>,
    /// Milliseconds.
    pub(super) retry: Option<u64>,
    pub(super) data_lines: usize,
    /// Where the first line of data stands.
    pub(super) data_start: usize,
    /// Length of the data lines, joined.
    pub(super) data_len: usize,
}

impl<'a> Block<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Self {
        let mut block = Self { lines: bytes, ..Self::default() };
        for (line, behind) in lines(bytes) {
            match field(line) {
                (b"data", value) => {
                    if block.data_lines == 0 {
                        block.data_start = bytes.len() - behind - value.len();
                    } else {
                        block.data_len += 1;
                    }
                    block.data_lines += 1;
                    block.data_len += value.len();
                }
                (b"event", value) => block.event = Some(value),
                (b"id", value) if !value.contains(&0) => block.id = Some(value),
                (b"retry", value) => block.retry = integer(value).or(block.retry),
                _ => {}
            }
        }
        block
    }

    /// The data lines with line feeds between them, in `joined`.
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

/// The lines without their ends, each with the number of bytes behind its last one.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut rest = bytes;
    iter::from_fn(move || {
        let end = memchr::memchr2(b'\r', b'\n', rest)?;
        let (line, behind) = rest.split_at_checked(end)?;
        rest = behind.strip_prefix(b"\r\n").or_else(|| behind.get(1..))?;
        Some((line, behind.len()))
    })
}

/// The name and the value of a line. A comment is a field without a name, and a line without a colon one without a
/// value.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some((name, [_, value @ ..])) =
        memchr::memchr(b':', line).and_then(|colon| line.split_at_checked(colon))
    else {
        return (line, &[]);
    };
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

/// Of digits only; what no `u64` holds is its maximum.
fn integer(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    all_digits.then(|| digits.iter().fold(0, add))
}
