//! Model of byte-stuffed frames, shared by HDLC and KISS: a decoder that sees the whole stream at once.
//!
//! The input's limit is that of the payload. The option's low 5 bits are the payload's minimum length.

use millpond::PooledBytes;
use millpond::frame::{Decoder, Encoder, FrameErrorKind};

use super::stream::{Case, Outcome, Wrong};

pub(crate) fn check<D: Decoder<Frame = PooledBytes> + Encoder<Vec<u8>>>(
    input: &[u8],
    rules: impl Fn(usize, usize) -> Rules,
    framing: impl Fn(usize, usize) -> D,
    dropped: impl Fn(&D) -> u64,
) {
    let Some((mut case, option)) = Case::parse(input, b'x', true) else { return };
    let (max, min) = (case.limit, usize::from(option & 0x1F));
    let rules = rules(max, min);
    let (expected, expected_dropped) = rules.decode_at_once(&case.stream);
    let check = |case: &Case, expected: &Outcome<Vec<u8>>, expected_dropped| {
        case.decode(
            || framing(max, min),
            2 * max + 4,
            |(outcomes, end), decoder| {
                let plain = outcomes.into_iter().map(|outcome| outcome.map(|payload| payload.to_vec()));
                assert_eq!((&plain.collect::<Vec<_>>(), &end), (&expected.0, &expected.1));
                assert_eq!(dropped(decoder), expected_dropped);
            },
        );
    };
    check(&case, &expected, expected_dropped);

    // What was decoded can be encoded, and decoded again.
    case.stream.clear();
    for payload in expected.0.iter().flatten() {
        let (encoder, before) = (framing(max, min), case.stream.len());
        encoder.encode(payload.clone(), &mut case.stream).unwrap();
        assert_eq!(case.stream.len() - before, encoder.encoded_len(payload));
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
    pub(crate) max: usize,
    pub(crate) min: usize,
}

impl Rules {
    /// Returns the number of dropped frames, too.
    fn decode_at_once(&self, stream: &[u8]) -> (Outcome<Vec<u8>>, u64) {
        let (mut outcomes, mut end, mut dropped) = (Vec::new(), Ok(()), 0);
        let mut segments: Vec<_> = stream.split(|&byte| byte == self.special[0]).collect();
        let last = segments.pop().unwrap();
        let mut start = 0;
        for (index, segment) in segments.iter().enumerate() {
            if index > 0 && self.is_data(segment) {
                match self.unescape(segment, start, Some(self.special[0])) {
                    Ok(payload) if payload.len() >= self.min.max(1) => outcomes.push(Ok(payload)),
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
        !segment.is_empty() && (!self.command || segment[0] & 0x0F == 0)
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
            if payload.len() > self.max {
                let kind = FrameErrorKind::MessageTooLarge { size: self.max + 1, max: self.max };
                return Err((kind, start as u64));
            }
        }
        Ok(payload)
    }
}
