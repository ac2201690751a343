//! The TLV decoder against one that sees the whole stream at once. The fuzzer and the replay of the
//! checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].
//!
//! Input: `u32 LE` limit (low 17 bits) | `u8` KiB of filler behind the stream (low 7 bits) | `u8` number of
//! cuts (low 4 bits) | the cuts, a byte each | stream. The filler brings payloads that no class holds within
//! reach of short inputs; a cut `c` is a piece of `1 + c²` bytes, and the cuts are taken in turn.

use std::iter;

use bytes::Buf;
use millpond::frame::tlv::{self, Frame, HEADER_LEN};
use millpond::frame::{Assembler, FrameError, FrameErrorKind, Reading, Tlv};
use millpond::{BufferPool, BufferPoolConfig};

pub(crate) fn check(input: &[u8]) {
    let Some(case) = Case::parse(input) else { return };
    for reading in [Reading::OneBufferAFrame, Reading::Batched { detach_below: 100 }] {
        check_reading(&case, reading);
    }
}

fn check_reading(case: &Case, reading: Reading) {
    let config = BufferPoolConfig::builder().class(16, 4).class(64, 4).class(1024, 2).class(8192, 2).build();
    let pool = BufferPool::new(config.unwrap());
    let mut assembler = Assembler::new(Tlv::new(case.max_payload), pool.clone(), reading);
    let (frames, end) = decode_in_pieces(&mut assembler, case);

    let expected = decode_at_once(&case.stream, case.max_payload);
    let decoded: Vec<_> = frames.iter().map(|frame| (frame.type_id, frame.payload.as_ref())).collect();
    assert_eq!(decoded, expected.frames);
    assert_eq!(end.map_err(|error| (error.kind(), error.offset())), expected.end);
    assert_eq!(encode_again(&frames), case.stream[..expected.consumed]);

    assert_eq!(assembler.held_bytes(), 0);
    drop((frames, assembler));
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

fn decode_in_pieces(assembler: &mut Assembler<Tlv>, case: &Case) -> (Vec<Frame>, Result<(), FrameError>) {
    let (mut frames, mut received) = (Vec::new(), 0);
    for piece in case.pieces() {
        // A `Buf` in two chunks, so that none of the steps can rely on a contiguous one.
        let (front, back) = piece.split_at(piece.len() / 2);
        let mut piece = front.chain(back);
        while piece.has_remaining() {
            let before = piece.remaining();
            assembler.push(&mut piece);
            received += before - piece.remaining();
            loop {
                match assembler.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        assert_stopped(assembler, error);
                        return (frames, Err(error));
                    }
                }
            }
            assert!(assembler.held_bytes() <= 8192.max(4 * received));
        }
    }
    (frames, assembler.finish())
}

fn assert_stopped(assembler: &mut Assembler<Tlv>, error: FrameError) {
    assert_eq!(assembler.held_bytes(), 0);
    assembler.push(&mut [0; HEADER_LEN].as_slice());
    assert_eq!(assembler.next_frame(), Err(error));
    assert_eq!(assembler.finish(), Err(error));
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
    end: Result<(), (FrameErrorKind, u64)>,
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
                Err((FrameErrorKind::Truncated { received, expected: HEADER_LEN }, stream.len() as u64))
            };
        }
        let type_id = u16::from(rest[0]) | u16::from(rest[1]) << 8;
        let size = (2..6).rev().fold(0, |size, at| size << 8 | usize::from(rest[at]));
        if size > max {
            break Err((FrameErrorKind::MessageTooLarge { size, max }, consumed as u64));
        }
        let expected = HEADER_LEN + size;
        if received < expected {
            break Err((FrameErrorKind::Truncated { received, expected }, stream.len() as u64));
        }
        frames.push((type_id, &rest[HEADER_LEN..expected]));
        consumed += expected;
    };
    Expected { frames, consumed, end }
}
