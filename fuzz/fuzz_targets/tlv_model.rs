//! Model of TLV: a decoder that sees the whole stream at once.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`]. The input's limit is
//! that of the payload. An odd option requires the handshake, with a digest of 32 times 7.

use std::ops::Range;

use millpond::frame::tlv::{self, DIGEST_LEN, HANDSHAKE_LEN, HEADER_LEN};
use millpond::frame::{FrameErrorKind, Tlv};

use super::stream::{Case, Outcome};

const DIGEST: [u8; DIGEST_LEN] = [7; DIGEST_LEN];

pub(crate) fn check(input: &[u8]) {
    let Some((case, option)) = Case::parse(input, 0xA5, false) else { return };
    let requires_handshake = option % 2 == 1;
    let (expected, taken) = decode_at_once(&case.stream, case.limit, requires_handshake);
    assert_eq!(encode_again(&expected), case.stream[taken]);
    case.decode(
        || if requires_handshake { Tlv::new(case.limit).expecting(DIGEST) } else { Tlv::new(case.limit) },
        HANDSHAKE_LEN.max(HEADER_LEN + case.limit),
        |(outcomes, end), _| {
            let plain = |frame: &tlv::Frame| (frame.type_id, frame.payload.to_vec());
            let plain = outcomes.iter().map(|outcome| outcome.as_ref().map(plain).map_err(|wrong| *wrong));
            assert_eq!((plain.collect(), end), expected);
        },
    );
}

fn encode_again((outcomes, _): &Outcome<(u16, Vec<u8>)>) -> Vec<u8> {
    let mut wire = Vec::new();
    for (type_id, payload) in outcomes.iter().flatten() {
        tlv::encode(*type_id, payload, &mut wire).unwrap();
    }
    wire
}

/// Returns the range of the stream that the frames take, too.
fn decode_at_once(
    stream: &[u8],
    max: usize,
    requires_handshake: bool,
) -> (Outcome<(u16, Vec<u8>)>, Range<usize>) {
    let (mut outcomes, mut consumed) = (Vec::new(), 0);
    if requires_handshake && !stream.is_empty() {
        let wanted = [&[DIGEST_LEN as u8, 0], &DIGEST[..]].concat();
        let received = stream.len().min(HANDSHAKE_LEN);
        if stream[..received] != wanted[..received] {
            let wrong = (FrameErrorKind::DigestMismatch, 0);
            return ((vec![Err(wrong)], Err(wrong)), 0..0);
        }
        if received < HANDSHAKE_LEN {
            let kind = FrameErrorKind::Truncated { received, expected: HANDSHAKE_LEN };
            return ((outcomes, Err((kind, received as u64))), 0..0);
        }
        consumed = HANDSHAKE_LEN;
    }
    let first = consumed;
    let end = loop {
        let rest = &stream[consumed..];
        let received = rest.len();
        if received < HEADER_LEN {
            break if received == 0 {
                Ok(())
            } else {
                Err((FrameErrorKind::Truncated { received, expected: HEADER_LEN }, stream.len() as u64))
            };
        }
        let type_id = u16::from(rest[0]) | u16::from(rest[1]) << 8;
        let size = (2..6).rev().fold(0, |size, at| size << 8 | usize::from(rest[at]));
        if size > max {
            let wrong = (FrameErrorKind::MessageTooLarge { size, max }, consumed as u64);
            outcomes.push(Err(wrong));
            break Err(wrong);
        }
        let expected = HEADER_LEN + size;
        if received < expected {
            break Err((FrameErrorKind::Truncated { received, expected }, stream.len() as u64));
        }
        outcomes.push(Ok((type_id, rest[HEADER_LEN..expected].to_vec())));
        consumed += expected;
    };
    ((outcomes, end), first..consumed)
}
