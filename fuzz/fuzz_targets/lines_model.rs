//! Model of lines: a decoder that sees the whole stream at once.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`]. The input's limit is
//! that of the line; there is no option.

use millpond::frame::{EncodeError, Encoder, FrameErrorKind, Lines};

use super::stream::{Case, Outcome};

pub(crate) fn check(input: &[u8]) {
    let Some((case, _)) = Case::parse(input, b'x', true) else { return };
    let expected = decode_at_once(&case.stream, case.limit);
    case.decode(
        || Lines::new(case.limit),
        case.limit + 2,
        |(outcomes, end), _| {
            let plain = outcomes.into_iter().map(|outcome| outcome.map(|line| line.to_vec()));
            assert_eq!((plain.collect(), end), expected);
        },
    );
    for line in expected.0.iter().flatten() {
        let mut wire = Vec::new();
        let encoded = Lines::default().encode(line, &mut wire);
        if line.ends_with(b"\r") {
            assert_eq!((encoded, wire.len()), (Err(EncodeError::Delimiter { at: line.len() - 1 }), 0));
        } else {
            assert_eq!((encoded, wire.len()), (Ok(()), Lines::default().encoded_len(&line)));
            assert_eq!(decode_at_once(&wire, case.limit), (vec![Ok(line.clone())], Ok(())));
        }
    }
}

fn decode_at_once(stream: &[u8], max: usize) -> Outcome<Vec<u8>> {
    let (mut outcomes, mut start) = (Vec::new(), 0);
    for piece in stream.split_inclusive(|&byte| byte == b'\n') {
        let ended = piece.strip_suffix(b"\n");
        let line = ended.unwrap_or(piece);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > max {
            outcomes.push(Err((FrameErrorKind::MessageTooLarge { size: max + 1, max }, start as u64)));
        } else if ended.is_some() {
            outcomes.push(Ok(line.to_vec()));
        } else {
            let (received, expected) = (piece.len(), piece.len() + 1);
            return (outcomes, Err((FrameErrorKind::Truncated { received, expected }, stream.len() as u64)));
        }
        start += piece.len();
    }
    (outcomes, Ok(()))
}
