//! Model of byte-stuffed frames, shared by HDLC and KISS: a decoder that sees the whole stream at once.
//!
//! The input's limit is that of the payload. The option's low 5 bits are the payload's minimum length, and the next one
//! asks for all commands of KISS.

use millpond::frame::{Decoder, FrameErrorKind};

use super::stream::{Case, Outcome, Wrong};

/// The command byte, 0 if the framing has none, and the payload.
pub(crate) type Plain = (u8, Vec<u8>);

/// What is to be decoded: the limits of payloads, and whether all commands are.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) max: usize,
    pub(crate) min: usize,
    pub(crate) all_commands: bool,
}

pub(crate) fn check<D: Decoder>(
    input: &[u8],
    rules: impl Fn(Options) -> Rules,
    framing: impl Fn(Options) -> D,
    dropped: impl Fn(&D) -> u64,
    plain: impl Fn(D::Frame) -> Plain,
    encode: impl Fn(&D, Plain, &mut Vec<u8>) -> usize,
) {
    let Some((mut case, option)) = Case::parse(input, b'x', true) else { return };
    let options =
        Options { max: case.limit, min: usize::from(option & 0x1F), all_commands: option & 0x20 != 0 };
    let (expected, expected_dropped) = rules(options).decode_at_once(&case.stream);
    let check = |case: &Case, expected: &Outcome<Plain>, expected_dropped| {
        case.decode(
            || framing(options),
            2 * options.max + 4,
            |(outcomes, end), decoder| {
                let plain = outcomes.into_iter().map(|outcome| outcome.map(&plain));
                assert_eq!((&plain.collect::<Vec<_>>(), &end), (&expected.0, &expected.1));
                assert_eq!(dropped(decoder), expected_dropped);
            },
        );
    };
    check(&case, &expected, expected_dropped);

    // What was decoded can be encoded, and decoded again.
    case.stream.clear();
    for frame in expected.0.iter().flatten() {
        let before = case.stream.len();
        let encoded_len = encode(&framing(options), frame.clone(), &mut case.stream);
        assert_eq!(case.stream.len() - before, encoded_len);
    }
    let frames = expected.0.into_iter().filter(Result::is_ok).collect();
    check(&case, &(frames, Ok(())), 0);
}

pub(crate) struct Rules {
    /// The flag and the escape.
    pub(crate) special: [u8; 2],
    /// The bytes that stand for them after an escape.
    pub(crate) escaped: [u8; 2],
    pub(crate) command: bool,
    pub(crate) options: Options,
}

impl Rules {
    /// Returns the number of dropped frames, too.
    fn decode_at_once(&self, stream: &[u8]) -> (Outcome<Plain>, u64) {
        let (mut outcomes, mut end, mut dropped) = (Vec::new(), Ok(()), 0);
        let mut segments: Vec<_> = stream.split(|&byte| byte == self.special[0]).collect();
        let last = segments.pop().unwrap();
        let mut start = 0;
        for (index, segment) in segments.iter().enumerate() {
            if index > 0 && self.is_data(segment) {
                let command = if self.command { segment[0] } else { 0 };
                let least = if command & 0x0F == 0 { self.options.min.max(1) } else { 0 };
                match self.unescape(segment, start, Some(self.special[0])) {
                    Ok(payload) if payload.len() >= least => outcomes.push(Ok((command, payload))),
                    Ok(payload) => dropped += u64::from(!payload.is_empty()),
                    Err(wrong) => outcomes.push(Err(wrong)),
                }
            }
            start += segment.len() + 1;
        }
        if !segments.is_empty() && self.is_data(last) {
            match self.unescape(last, start, None) {
                Err(wrong) => outcomes.push(Err(wrong)),
                Ok(_) => {
                    let received = last.len();
                    let kind = FrameErrorKind::Truncated { received, expected: received + 1 };
                    end = Err((kind, stream.len() as u64));
                }
            }
        }
        ((outcomes, end), dropped)
    }

    fn is_data(&self, segment: &[u8]) -> bool {
        let is_asked_for = |byte| byte & 0x0F == 0 || (self.options.all_commands && byte != self.special[1]);
        !segment.is_empty() && (!self.command || is_asked_for(segment[0]))
    }

    /// `next`: the byte after the segment, if there is one.
    fn unescape(&self, segment: &[u8], start: usize, next: Option<u8>) -> Result<Vec<u8>, Wrong> {
        let mut payload = Vec::new();
        let mut at = usize::from(self.command);
        while at < segment.len() {
            let mut byte = segment[at];
            if byte == self.special[1] {
                let Some(escaped) = segment.get(at + 1).copied().or(next) else { break };
                let Some(which) = self.escaped.iter().position(|&known| known == escaped) else {
                    return Err((FrameErrorKind::BadEscape { byte: escaped }, (start + at) as u64));
                };
                byte = self.special[which];
                at += 1;
            }
            at += 1;
            payload.push(byte);
            if payload.len() > self.options.max {
                let kind =
                    FrameErrorKind::MessageTooLarge { size: self.options.max + 1, max: self.options.max };
                return Err((kind, start as u64));
            }
        }
        Ok(payload)
    }
}
