//! Tests: hostile peers of every framing stay within the pool's memory limit.

use alloc::vec::Vec;
use core::iter;

use super::{
    Assembler, Decoder, Encoder, FrameError, FrameErrorKind, Hdlc, Kiss, Lines, ReadMode, Sse, Tlv, sse,
};
use crate::pool::{AcquireError, BufferPool, BufferPoolConfig};

const LARGEST: usize = 16_384;
const LIMIT: usize = 4 * LARGEST;

fn limited() -> BufferPool {
    let classes = [(128, 8), (1024, 8), (8192, 4), (LARGEST, 4)];
    BufferPool::new(BufferPoolConfig::builder().classes(classes).memory_limit(LIMIT).build().unwrap())
}

fn assert_within_limit(pool: &BufferPool) {
    let stats = pool.stats();
    assert_eq!(stats.overruns, 0);
    assert_eq!(stats.heap_fallbacks, 0);
    assert!(stats.high_water_bytes <= LIMIT as u64, "{} bytes", stats.high_water_bytes);
}

/// Feeds all of `wire` and keeps every frame. A frame without memory is refused. Returns the frames and the errors.
fn feed<D: Decoder>(frames: &mut Assembler<D>, mut wire: &[u8]) -> (Vec<D::Frame>, Vec<FrameError>) {
    let (mut kept, mut errors) = (Vec::new(), Vec::new());
    while !wire.is_empty() && !errors.iter().any(FrameError::is_fatal) {
        if let Err(error) = frames.push(&mut wire) {
            errors.push(frames.refuse(error));
            if frames.held_bytes() == 0 && frames.push(&mut wire).is_err() {
                // The kept frames hold all of the memory: the consumer has to drop some.
                kept.clear();
            }
        }
        for outcome in iter::from_fn(|| frames.next_frame().transpose()) {
            match outcome {
                Ok(frame) => kept.push(frame),
                Err(error) => {
                    errors.push(error);
                    if error.is_fatal() {
                        break;
                    }
                }
            }
        }
        assert_within_limit(frames.pool());
    }
    (kept, errors)
}

/// Sends `hostile` 20 times to a consumer that keeps every frame, then `small`, which must arrive. Returns the errors.
fn flood<D: Decoder>(decoder: impl Fn() -> D, hostile: &[u8], small: &[u8]) -> Vec<FrameError> {
    let mut all = Vec::new();
    for read_mode in [ReadMode::PerFrame, ReadMode::Batched { detach_below: 0 }, ReadMode::batched()] {
        let pool = limited();
        let mut frames = Assembler::new(decoder(), pool.clone(), read_mode);
        let (kept, errors) = feed(&mut frames, &hostile.repeat(20));
        drop(kept);
        assert!(!errors.is_empty(), "{read_mode:?}: nothing was refused");
        assert!(
            errors.iter().all(|error| matches!(error.kind(), FrameErrorKind::OutOfMemory(_))),
            "{errors:?}"
        );
        if errors.iter().any(FrameError::is_fatal) {
            assert_eq!(frames.held_bytes(), 0);
            frames = Assembler::new(decoder(), pool.clone(), read_mode);
        }
        let (kept, refused) = feed(&mut frames, small);
        assert_eq!((kept.len(), refused.len()), (1, 0), "{read_mode:?}");
        drop((kept, frames));
        assert_eq!(pool.stats().in_use, 0);
        all.extend(errors);
    }
    all
}

fn encoded<F: Encoder<M>, M>(framing: &F, message: M) -> Vec<u8> {
    let mut wire = Vec::new();
    framing.encode(message, &mut wire).unwrap();
    wire
}

/// Whether a frame was refused because other frames hold the memory, and whether one was because no class is large enough.
fn reasons(errors: &[FrameError]) -> (bool, bool) {
    let any = |reason: fn(&AcquireError) -> bool| {
        errors.iter().any(|error| matches!(error.kind(), FrameErrorKind::OutOfMemory(why) if reason(&why)))
    };
    (
        any(|why| matches!(why, AcquireError::Exhausted { limit: LIMIT, .. })),
        any(|why| matches!(why, AcquireError::TooLarge { largest: LARGEST, .. })),
    )
}

#[test]
fn escaped_hdlc_frames_stay_within_the_limit() {
    let [fits, too_large, small] =
        [7000, 20_000, 100].map(|len| encoded(&Hdlc::default(), [0x7E].repeat(len)));
    assert_eq!(reasons(&flood(Hdlc::default, &fits, &small)), (true, false));
    assert_eq!(reasons(&flood(Hdlc::default, &too_large, &small)), (false, true));
}

#[test]
fn escaped_kiss_frames_stay_within_the_limit() {
    let [fits, too_large, small] =
        [7000, 20_000, 100].map(|len| encoded(&Kiss::default(), [0xC0].repeat(len)));
    assert_eq!(reasons(&flood(Kiss::default, &fits, &small)), (true, false));
    assert_eq!(reasons(&flood(Kiss::default, &too_large, &small)), (false, true));
}

#[test]
fn long_lines_stay_within_the_limit() {
    let [fits, too_large, small] =
        [12_000, 20_000, 100].map(|len| encoded(&Lines::default(), [b'x'].repeat(len)));
    assert_eq!(reasons(&flood(Lines::default, &fits, &small)), (true, false));
    assert_eq!(reasons(&flood(Lines::default, &too_large, &small)), (false, true));
}

#[test]
fn joined_data_types_and_ids_of_events_stay_within_the_limit() {
    let event = |data: usize, id: usize| {
        let (data, id) = ([b'x'].repeat(data / 2), [b'i'].repeat(id));
        let data = [data.clone(), data].join(&b'\n');
        encoded(&Sse::default(), sse::Event::new(data).with_id(id.clone()).with_type(id))
    };
    let small = event(100, 100);
    assert_eq!(reasons(&flood(Sse::default, &event(12_000, 10), &small)), (true, false));
    assert_eq!(reasons(&flood(Sse::default, &event(10, 6000), &small)), (true, false));
    assert_eq!(reasons(&flood(Sse::default, &event(20_000, 10), &small)), (false, true));
}

#[test]
fn a_refused_event_sets_no_id() {
    let pool = limited();
    let mut events = Assembler::new(Sse::default(), pool.clone(), ReadMode::PerFrame);
    feed(&mut events, b"id: 1\ndata\n\n");
    let mut rest = &b"id: 2\nretry: 5\ndata: a\ndata: b\n\n"[..];
    events.push(&mut rest).unwrap();
    let _taken: Vec<_> = iter::from_fn(|| pool.try_acquire(128).ok()).collect();
    assert!(!events.next_frame().unwrap_err().is_fatal());
    assert_eq!(events.decoder().last_event_id().unwrap(), b"1");
}

#[test]
fn tlv_payloads_stay_within_the_limit_and_end_the_stream() {
    let [fits, too_large, small] =
        [12_000, 20_000, 100].map(|len| encoded(&Tlv::default(), (7, [5].repeat(len))));
    let exhausted = flood(Tlv::default, &fits, &small);
    assert_eq!(reasons(&exhausted), (true, false));
    assert!(exhausted.iter().all(FrameError::is_fatal));
    assert_eq!(reasons(&flood(Tlv::default, &too_large, &small)), (false, true));
}

#[test]
fn shrink_moves_a_partial_frame_also_at_the_limit() {
    let pool = limited();
    let mut lines = Assembler::new(Lines::default(), pool.clone(), ReadMode::PerFrame);
    lines.push(&mut &b"part"[..]).unwrap();
    let _taken: Vec<_> = iter::from_fn(|| pool.try_acquire(128).ok()).collect();
    lines.shrink();
    assert_eq!(lines.held_bytes(), 128);
    lines.push(&mut &b" of a line\n"[..]).unwrap();
    assert_eq!(lines.next_frame().unwrap().unwrap(), b"part of a line");
    assert_within_limit(&pool);
}

#[test]
fn a_read_is_no_larger_than_the_largest_class() {
    let config = BufferPoolConfig::builder().class(128, 8).memory_limit(1024).build().unwrap();
    let pool = BufferPool::new(config);
    let mut lines = Assembler::new(Lines::default(), pool.clone(), ReadMode::PerFrame);
    let wire = b"short\n".repeat(100);
    let (mut rest, mut seen) = (wire.as_slice(), 0);
    while !rest.is_empty() {
        lines.push(&mut rest).unwrap();
        seen += iter::from_fn(|| lines.next_frame().unwrap()).count();
    }
    assert_eq!((seen, pool.stats().overruns), (100, 0));
}

/// With and without a memory limit: a read is no frame, which may need the heap.
#[test]
fn reads_of_small_packets_take_nothing_from_the_heap() {
    let embedded = BufferPoolConfig::embedded();
    let unlimited = BufferPoolConfig::builder().classes([(64, 8), (512, 8), (1024, 8)]).build().unwrap();
    for config in [embedded, unlimited] {
        for read_mode in [ReadMode::PerFrame, ReadMode::batched()] {
            let pool = BufferPool::new(config.clone());
            let mut packets = Assembler::new(Hdlc::default(), pool.clone(), read_mode);
            let wire = encoded(&Hdlc::default(), [7].repeat(400)).repeat(1000);
            let (mut rest, mut seen) = (wire.as_slice(), 0);
            while !rest.is_empty() {
                packets.push(&mut rest).unwrap();
                seen += iter::from_fn(|| packets.next_frame().unwrap()).count();
            }
            assert_eq!(seen, 1000);
            assert_eq!((pool.stats().heap_fallbacks, pool.stats().overruns), (0, 0), "{read_mode:?}");
        }
    }
}

#[test]
fn without_a_limit_the_heap_serves_frames_larger_than_every_class() {
    let pool = BufferPool::new(BufferPoolConfig::builder().class(128, 8).build().unwrap());
    let mut lines = Assembler::new(Lines::default(), pool, ReadMode::PerFrame);
    let wire = encoded(&Lines::default(), [b'x'].repeat(20_000));
    let (mut rest, mut seen) = (wire.as_slice(), 0);
    while !rest.is_empty() {
        lines.push(&mut rest).unwrap();
        seen += usize::from(lines.next_frame().unwrap().is_some());
    }
    assert_eq!(seen, 1);
}
