//! Whether the server's table for compressed headers has entries, which another h2 would not know (RFC 7541).

/// The size of a table before its encoder has chosen another.
const SIZE: usize = 4_096;

/// Reads header blocks, as far as that takes. They may be cut anywhere.
pub(super) struct Table {
    size: usize,
    has_entries: bool,
    part: Part,
    /// A number that is not complete, and the bits of it.
    begun: Option<(usize, u32)>,
    /// Bytes of a name or a value, until the next part.
    skip: usize,
}

/// What the next number is.
#[derive(Clone, Copy)]
enum Part {
    /// As its first byte says.
    Field,
    /// Of a name and a value that both sides know.
    Index,
    /// Of a name that both sides know, or 0.
    Name,
    Size,
    NameLength,
    ValueLength,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { size: SIZE, has_entries: false, part: Part::Field, begun: None, skip: 0 }
    }

    pub(super) fn has_entries(&self) -> bool {
        self.has_entries
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let (now, later) = bytes.split_at(bytes.len().min(self.skip));
                self.skip -= now.len();
                bytes = later;
            } else {
                self.byte(byte);
                bytes = rest;
            }
        }
    }

    /// The next byte of a number (section 5.1). A number that is too large is h2's to complain about.
    fn byte(&mut self, byte: u8) {
        if let Some((value, bits)) = self.begun.take() {
            let more = usize::from(byte & 0x7f).checked_shl(bits).unwrap_or(usize::MAX);
            let value = value.saturating_add(more);
            if byte & 0x80 == 0 {
                self.number(value);
            } else {
                self.begun = Some((value, bits.saturating_add(7)));
            }
            return;
        }
        let bits = match self.part {
            Part::Field => self.field(byte),
            _ => 7,
        };
        let most = (1 << bits) - 1;
        let value = usize::from(byte) & most;
        if value < most {
            self.number(value);
        } else {
            self.begun = Some((value, 0));
        }
    }

    /// What begins with this byte (section 6), and how many bits of it are of the number.
    fn field(&mut self, byte: u8) -> u32 {
        let (part, bits) = match byte {
            0x80.. => (Part::Index, 7),
            0x40.. => (Part::Name, 6),
            0x20.. => (Part::Size, 5),
            _ => (Part::Name, 4),
        };
        self.part = part;
        // This one becomes an entry.
        self.has_entries |= bits == 6 && self.size > 0;
        bits
    }

    fn number(&mut self, value: usize) {
        (self.part, self.skip) = match self.part {
            Part::Name if value == 0 => (Part::NameLength, 0),
            Part::Name => (Part::ValueLength, 0),
            Part::NameLength => (Part::ValueLength, value),
            Part::ValueLength => (Part::Field, value),
            Part::Size => {
                self.size = value;
                self.has_entries &= value > 0;
                (Part::Field, 0)
            }
            Part::Index | Part::Field => (Part::Field, 0),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name and a value, each of 200 bytes, which look like fields.
    fn long(first: u8) -> Vec<u8> {
        let text = [&[127, 73][..], &[0x40; 200]].concat();
        [&[first][..], &text, &text].concat()
    }

    #[test]
    fn a_table_has_entries_once_it_was_told_of_one() {
        for (block, expected) in [
            (vec![0x82], false),
            (vec![0x82, 0x40, 1, b'a', 1, b'b'], true),
            (vec![0x41, 1, b'b'], true),
            (vec![0x7f, 3, 1, b'b'], true),
            (vec![0x0f, 3, 1, 0x40, 0x10, 1, 0x40, 1, 0x40], false),
            (vec![0x20, 0x40, 1, b'a', 1, b'b'], false),
            (vec![0x40, 1, b'a', 1, b'b', 0x20], false),
            (vec![0x20, 0x3f, 0xe1, 0x1f, 0x41, 1, b'b'], true),
            (long(0), false),
            (long(0x40), true),
            ([long(0), vec![0x41, 1, b'b']].concat(), true),
        ] {
            let (mut whole, mut cut) = (Table::new(), Table::new());
            whole.feed(&block);
            block.chunks(1).for_each(|byte| cut.feed(byte));
            assert_eq!((whole.has_entries(), cut.has_entries()), (expected, expected), "{block:x?}");
        }
    }
}
