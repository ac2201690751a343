//! The TLV decoder against one that sees the whole stream at once. The fuzzer and the replay of the
//! checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].
//!
//! Input: `u32 LE` limit (low 17 bits) | `u8` KiB of filler behind the stream (low 7 bits) | `u8` number of
//! cuts (low 4 bits) | the cuts, a byte each | stream. The filler brings payloads that no class holds within
//! reach of short inputs; a cut `c` is a piece of `1 + c²` bytes, and the cuts are taken in turn.

use std::iter;

use bytes::Buf;
use millpond::frame::tlv::{self, Decoder, Frame, HEADER_LEN, TlvError};
use millpond::{BufferPool, BufferPoolConfig};

pub(crate) fn check(input: &[u8]) {
    let Some(case) = Case::parse(input) else { return };
    let config = BufferPoolConfig::builder().class(16, 4).class(64, 4).class(1024, 2).build().unwrap();
    let pool = BufferPool::new(config);
    let mut decoder = Decoder::new(case.max_payload);
    let (frames, end) = decode_in_pieces(&mut decoder, &case, &pool);

    let expected = decode_at_once(&case.stream, case.max_payload);
    let decoded: Vec<_> = frames.iter().map(|frame| (frame.type_id, frame.payload.as_ref())).collect();
    assert_eq!(decoded, expected.frames);
    assert_eq!(end, expected.end);
    assert_eq!(encode_again(&frames), case.stream[..expected.consumed]);

    let half_read = matches!(end, Err(TlvError::Truncated { received, .. }) if received >= HEADER_LEN);
    assert_eq!(pool.stats().currently_in_use, frames.len() as u64 + u64::from(half_read));
    drop((frames, decoder));
    let stats = pool.stats();
    assert_eq!((stats.currently_in_use, stats.total_returns), (0, stats.total_acquires));
}

struct Case {
    max_payload: usize,
    cuts: Vec<u8>,
    stream: Vec<u8>,
}

impl Case {
    fn parse(mut input: &[u8]) -> Option<Self> {
        let max_payload = (input.try_get_u32_le().ok()? & 0x1_FFFF) as usize;
        let filler = usize::from(input.try_get_u8().ok()? & 0x7F) * 1024;
        let cuts = usize::from(input.try_get_u8().ok()? & 0x0F);
        let (cuts, stream) = input.split_at_checked(cuts)?;
        let stream = stream.iter().copied().chain(iter::repeat_n(0xA5, filler)).collect();
        Some(Self { max_payload, cuts: cuts.to_vec(), stream })
    }

    fn pieces(&self) -> Vec<&[u8]> {
        let mut pieces = Vec::new();
        let mut rest = self.stream.as_slice();
        for &cut in self.cuts.iter().cycle() {
            let Some((piece, behind)) = rest.split_at_checked(1 + usize::from(cut).pow(2)) else { break };
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        pieces
    }
}

fn decode_in_pieces(
    decoder: &mut Decoder,
    case: &Case,
    pool: &BufferPool,
) -> (Vec<Frame>, Result<(), TlvError>) {
    let mut frames = Vec::new();
    for piece in case.pieces() {
        // A `Buf` in two chunks, so that none of the decoder's steps can rely on a contiguous one.
        let (front, back) = piece.split_at(piece.len() / 2);
        let mut piece = front.chain(back);
        loop {
            match decoder.decode(&mut piece, pool) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break assert!(!piece.has_remaining()),
                Err(error) => {
                    assert_stopped(decoder, error, pool);
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, decoder.finish())
}

fn assert_stopped(decoder: &mut Decoder, error: TlvError, pool: &BufferPool) {
    let mut empty_frame = [0; HEADER_LEN].as_slice();
    assert_eq!(decoder.decode(&mut empty_frame, pool), Err(error));
    assert_eq!(empty_frame.len(), HEADER_LEN);
    assert_eq!(decoder.finish(), Err(error));
}

fn encode_again(frames: &[Frame]) -> Vec<u8> {
    let mut wire = Vec::new();
    for frame in frames {
        tlv::encode(frame.type_id, &frame.payload, &mut wire).unwrap();
    }
    wire
}

struct Expected<'a> {
    frames: Vec<(u16, &'a [u8])>,
    /// Bytes of the stream that the frames take.
    consumed: usize,
    end: Result<(), TlvError>,
}

fn decode_at_once(stream: &[u8], max: usize) -> Expected<'_> {
    let (mut frames, mut consumed) = (Vec::new(), 0);
    let end = loop {
        let rest = &stream[consumed..];
        let received = rest.len();
        if received < HEADER_LEN {
            break if received == 0 {
                Ok(())
            } else {
                Err(TlvError::Truncated { received, expected: HEADER_LEN })
            };
        }
        let type_id = u16::from(rest[0]) | u16::from(rest[1]) << 8;
        let size = (2..6).rev().fold(0, |size, at| size << 8 | usize::from(rest[at]));
        if size > max {
            break Err(TlvError::MessageTooLarge { size, max });
        }
        let expected = HEADER_LEN + size;
        if received < expected {
            break Err(TlvError::Truncated { received, expected });
        }
        frames.push((type_id, &rest[HEADER_LEN..expected]));
        consumed += expected;
    };
    Expected { frames, consumed, end }
}
