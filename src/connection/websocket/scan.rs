//! Where frames end in a stream of bytes: which messages are whole, and whether the stream is between two of them.

/// Follows the frames of one direction. It keeps no byte.
#[derive(Debug, Default)]
pub(super) struct FrameScan {
    at: At,
    opcode: u8,
    is_final: bool,
    is_masked: bool,
    left: u64,
    /// A message has begun, and its last frame has not ended.
    is_fragmented: bool,
    messages: u64,
    largest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    First,
    Second,
    /// So many bytes of the length are missing.
    Length(u8),
    /// So many bytes of the mask are missing.
    Mask(u8),
    Payload,
}

/// Opcodes from here on are control frames, which may stand between the frames of a message.
const CONTROL: u8 = 8;

impl FrameScan {
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let At::Payload = self.at {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                if self.left == 0 {
                    self.end();
                }
                continue;
            }
            bytes = rest;
            match self.at {
                At::First => {
                    self.is_final = byte & 0x80 != 0;
                    self.opcode = byte & 0x0f;
                    self.at = At::Second;
                }
                At::Second => {
                    self.is_masked = byte & 0x80 != 0;
                    self.left = 0;
                    match byte & 0x7f {
                        126 => self.at = At::Length(2),
                        127 => self.at = At::Length(8),
                        length => {
                            self.left = length.into();
                            self.after_length();
                        }
                    }
                }
                At::Length(missing) => {
                    self.left = self.left << 8 | u64::from(byte);
                    self.at = At::Length(missing - 1);
                    if missing == 1 {
                        self.after_length();
                    }
                }
                At::Mask(missing) => {
                    self.at = At::Mask(missing - 1);
                    if missing == 1 {
                        self.before_payload();
                    }
                }
                At::Payload => {}
            }
        }
    }

    fn after_length(&mut self) {
        self.largest = self.largest.max(self.left);
        if self.is_masked {
            self.at = At::Mask(4);
        } else {
            self.before_payload();
        }
    }

    fn before_payload(&mut self) {
        self.at = At::Payload;
        if self.left == 0 {
            self.end();
        }
    }

    fn end(&mut self) {
        self.at = At::First;
        if self.opcode < CONTROL {
            self.is_fragmented = !self.is_final;
            self.messages += u64::from(self.is_final);
        }
    }

    /// Whether the last byte was the end of a frame, and no message is unfinished.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self.at, At::First) && !self.is_fragmented
    }

    /// How many messages have ended since the last call.
    pub(super) fn take_messages(&mut self) -> u64 {
        std::mem::take(&mut self.messages)
    }

    /// The longest payload since it was last forgotten.
    pub(super) fn largest(&self) -> u64 {
        self.largest
    }

    pub(super) fn forget_largest(&mut self) {
        self.largest = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    struct Sent {
        opcode: u8,
        is_final: bool,
        is_masked: bool,
        length: usize,
    }

    fn frames() -> impl Strategy<Value = Vec<Sent>> {
        let length = prop_oneof![0..5_usize, 120..130_usize, 65_530..65_540_usize];
        let frame = (prop_oneof![Just(0), Just(1), Just(2), Just(9)], any::<bool>(), any::<bool>(), length);
        let frame = frame.prop_map(|(opcode, is_final, is_masked, length)| Sent {
            opcode,
            is_final: is_final || opcode >= CONTROL,
            is_masked,
            length,
        });
        proptest::collection::vec(frame, 0..6)
    }

    fn write(frame: &Sent, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(frame.is_final) << 7 | frame.opcode);
        let mask = u8::from(frame.is_masked) << 7;
        match frame.length {
            0..126 => bytes.push(mask | frame.length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((frame.length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((frame.length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0xff; frame.length + if frame.is_masked { 4 } else { 0 }]);
    }

    proptest! {
        #[test]
        fn the_ends_of_messages_are_found_however_the_bytes_are_cut(frames in frames(), cut in 1..5000_usize) {
            let mut scan = FrameScan::default();
            let (mut messages, mut is_open) = (0, false);
            for frame in &frames {
                let mut bytes = Vec::new();
                write(frame, &mut bytes);
                let (last, before) = bytes.split_last().unwrap();
                before.chunks(cut).for_each(|bytes| scan.push(bytes));
                prop_assert!(!scan.is_between_messages(), "in a frame");
                scan.push(&[*last]);
                if frame.opcode < CONTROL {
                    is_open = !frame.is_final;
                    messages += u64::from(frame.is_final);
                }
                prop_assert_eq!(scan.is_between_messages(), !is_open);
            }
            prop_assert_eq!(scan.take_messages(), messages);
            prop_assert_eq!(scan.take_messages(), 0);
            prop_assert_eq!(scan.largest(), frames.iter().map(|frame| frame.length as u64).max().unwrap_or(0));
        }
    }
}
