//! Test helpers of the framings: streams that are cut into pieces.

use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::prelude::*;

use super::{Assembler, Decoder, FrameError, ReadMode};
use crate::pool::{BufferPool, BufferPoolConfig, PooledBytes};

/// Frames and errors in order, and how the stream ended.
pub(super) type Outcome<F> = (Vec<Result<F, FrameError>>, Result<(), FrameError>);

pub(super) fn pool() -> BufferPool {
    BufferPool::new(BufferPoolConfig::builder().class(128, 8).class(1024, 4).class(8192, 4).build().unwrap())
}

/// Decodes all of `wire`, cut into pieces of these lengths in turn.
pub(super) fn decode<D: Decoder>(
    frames: &mut Assembler<D>,
    mut wire: &[u8],
    cuts: &[usize],
) -> Outcome<D::Frame> {
    let mut outcomes = Vec::new();
    for &cut in cuts.iter().cycle() {
        let (mut piece, rest) = wire.split_at(cut.min(wire.len()));
        while !piece.is_empty() {
            frames.push(&mut piece).unwrap();
            while let Some(outcome) = frames.next_frame().transpose() {
                outcomes.push(outcome);
            }
        }
        if rest.is_empty() {
            break;
        }
        wire = rest;
    }
    (outcomes, frames.finish())
}

/// The outcome of all of `wire`, in `plain` values. Asserts that it is the same for every read mode and every cut.
pub(super) fn decode_all_ways<D: Decoder, T: PartialEq + Debug>(
    decoder: impl Fn() -> D,
    wire: &[u8],
    plain: impl Fn(D::Frame) -> T,
) -> Outcome<T> {
    let mut first: Option<Outcome<T>> = None;
    for read_mode in [ReadMode::PerFrame, ReadMode::Batched { detach_below: 0 }, ReadMode::batched()] {
        for cut in [usize::MAX, 1, 2, 3, 7] {
            let pool = pool();
            let mut frames = Assembler::new(decoder(), pool.clone(), read_mode);
            let (outcomes, end) = decode(&mut frames, wire, &[cut]);
            let outcomes = outcomes.into_iter().map(|outcome| outcome.map(&plain)).collect();
            assert_eq!(frames.held_bytes(), 0);
            drop(frames);
            assert_eq!(pool.stats().in_use, 0);
            match &first {
                Some(first) => {
                    assert_eq!((&outcomes, end), (&first.0, first.1), "{read_mode:?}, cut at {cut}");
                }
                None => first = Some((outcomes, end)),
            }
        }
    }
    first.unwrap()
}

/// Decodes all of `wire`; the stream has not ended then.
pub(super) fn feed<D: Decoder<Frame = PooledBytes>>(
    frames: &mut Assembler<D>,
    mut wire: &[u8],
) -> Vec<Result<Vec<u8>, FrameError>> {
    let mut outcomes = Vec::new();
    while !wire.is_empty() {
        frames.push(&mut wire).unwrap();
        while let Some(outcome) = frames.next_frame().transpose() {
            outcomes.push(outcome.map(|frame| frame.to_vec()));
        }
    }
    outcomes
}

/// Pushes `piece` this many times. Asserts that no frame ends in it, and that at most `most` bytes are held.
pub(super) fn push_in_vain<D: Decoder>(frames: &mut Assembler<D>, piece: &[u8], times: usize, most: usize) {
    for _ in 0..times {
        let mut piece = piece;
        while !piece.is_empty() {
            frames.push(&mut piece).unwrap();
            assert!(matches!(frames.next_frame(), Ok(None)));
            assert!(frames.held_bytes() <= most, "{} bytes are held", frames.held_bytes());
            assert!(frames.pool().stats().in_use <= 1);
        }
    }
}

pub(super) fn read_modes() -> impl Strategy<Value = ReadMode> {
    prop_oneof![
        Just(ReadMode::PerFrame),
        (0_usize..2000).prop_map(|detach_below| ReadMode::Batched { detach_below })
    ]
}
