//! Streams in pieces, for the models of the framings.
//!
//! Input: `u32 LE` limit (low 17 bits) and option (high 8 bits) | `u8` KiB of filler after the stream (low 7 bits) |
//! `u8` number of cuts (low 4 bits) | the cuts, one byte each | stream.
//!
//! With the filler a short input can make a frame that is larger than every class. A cut `c` is a piece of `1 + c²`
//! bytes. The cuts are used in turn, for at most `MAX_PIECES` pieces; the rest of the stream is one more.

use bytes::Buf;
use millpond::frame::{Assembler, Decoder, FrameError, FrameErrorKind, ReadMode};
use millpond::{BufferPool, BufferPoolConfig};

const MAX_PIECES: usize = 600;

pub(crate) struct Case {
    pub(crate) limit: usize,
    cuts: Vec<u8>,
    pub(crate) stream: Vec<u8>,
}

/// The kind and the offset of an error.
pub(crate) type Wrong = (FrameErrorKind, u64);

/// Frames and errors in order, and how the stream ended.
pub(crate) type Outcome<T> = (Vec<Result<T, Wrong>>, Result<(), Wrong>);

impl Case {
    /// Returns the option, too. `twice`: the stream is repeated after the filler, to be decoded after a refused frame.
    pub(crate) fn parse(mut input: &[u8], filler: u8, twice: bool) -> Option<(Self, u8)> {
        let word = input.try_get_u32_le().ok()?;
        let filler = vec![filler; usize::from(input.try_get_u8().ok()? & 0x7F) * 1024];
        let cuts = usize::from(input.try_get_u8().ok()? & 0x0F);
        let (cuts, stream) = input.split_at_checked(cuts)?;
        let repeated = if twice && !filler.is_empty() { stream } else { &[] };
        let stream = [stream, &filler, repeated].concat();
        Some((Self { limit: (word & 0x1_FFFF) as usize, cuts: cuts.to_vec(), stream }, (word >> 24) as u8))
    }

    fn pieces(&self) -> Vec<&[u8]> {
        let mut pieces = Vec::new();
        let mut rest = self.stream.as_slice();
        for &cut in self.cuts.iter().cycle().take(MAX_PIECES) {
            let Some((piece, after)) = rest.split_at_checked(1 + usize::from(cut).pow(2)) else { break };
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        pieces
    }

    /// Calls `check` with the outcome in each read mode. `longest`: the largest number of bytes that can arrive of a frame
    /// before it is refused.
    pub(crate) fn decode<D: Decoder>(
        &self,
        decoder: impl Fn() -> D,
        longest: usize,
        check: impl Fn(Outcome<D::Frame>, &D),
    ) {
        for read_mode in [ReadMode::PerFrame, ReadMode::Batched { detach_below: 100 }] {
            let config = BufferPoolConfig::builder().class(16, 4).class(64, 4).class(1024, 2).class(8192, 2);
            let pool = BufferPool::new(config.build().unwrap());
            let mut assembler = Assembler::new(decoder(), pool.clone(), read_mode);
            let outcome = decode_in_pieces(&mut assembler, self, longest);
            assert_eq!(assembler.held_bytes(), 0);
            check(outcome, assembler.decoder());
            drop(assembler);
            let stats = pool.stats();
            assert_eq!((stats.in_use, stats.returns), (0, stats.acquires));
        }
    }
}

fn decode_in_pieces<D: Decoder>(
    assembler: &mut Assembler<D>,
    case: &Case,
    longest: usize,
) -> Outcome<D::Frame> {
    let (mut outcomes, mut received) = (Vec::new(), 0);
    for piece in case.pieces() {
        // A `Buf` of two chunks: no step may rely on contiguous bytes.
        let (front, back) = piece.split_at(piece.len() / 2);
        let mut piece = front.chain(back);
        while piece.has_remaining() {
            let before = piece.remaining();
            assembler.push(&mut piece).unwrap();
            received += before - piece.remaining();
            while let Some(outcome) = assembler.next_frame().transpose() {
                let fatal = outcome.as_ref().err().copied().filter(FrameError::is_fatal);
                outcomes.push(outcome.map_err(wrong));
                if let Some(error) = fatal {
                    assert_stopped(assembler, error);
                    return (outcomes, Err(wrong(error)));
                }
            }
            let read = if received < 8192 { 8192 } else { 65_536 };
            assert!(assembler.held_bytes() <= read.max(4 * received.min(longest)));
        }
    }
    (outcomes, assembler.finish().map_err(wrong))
}

fn assert_stopped<D: Decoder>(assembler: &mut Assembler<D>, error: FrameError) {
    assert_eq!(assembler.held_bytes(), 0);
    assembler.push(&mut [0; 6].as_slice()).unwrap();
    assert_eq!(assembler.next_frame().err(), Some(error));
    assert_eq!(assembler.finish(), Err(error));
}

fn wrong(error: FrameError) -> Wrong {
    (error.kind(), error.offset())
}
