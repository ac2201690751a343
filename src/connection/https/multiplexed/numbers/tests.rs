//! Frames that are cut anywhere get the same numbers as whole ones.

use std::io::IoSlice;
use std::task::Poll;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::ReadBuf;

use super::super::frames::{GOAWAY, HEADERS, PADDED, PRIORITIZED, PRIORITY, Scan, frame};
use super::{Inward, Offset, Outward};

const DATA: u8 = 0;
const LAST_BEFORE: u32 = 301;

#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frames(kinds: Vec<u8>) -> impl Strategy<Value = Vec<Frame>> {
    let frame = (select(kinds), select(vec![0, 1, PADDED, PRIORITIZED, PADDED | PRIORITIZED]), 0_u32..600)
        .prop_flat_map(|(kind, flags, stream)| {
            vec(select(vec![0_u8, 1, 2, 255]), 0..20).prop_map(move |payload| Frame {
                kind,
                flags,
                stream,
                payload,
            })
        });
    vec(frame, 0..40)
}

fn any_kind() -> Vec<u8> {
    vec![DATA, HEADERS, PRIORITY, 3, 4, 6, GOAWAY, 8, 9, 200]
}

fn bytes(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Frame { kind, flags, stream, payload } in frames {
        frame(&mut bytes, *kind, *flags, *stream, payload);
    }
    bytes
}

fn in_h2(stream: u32) -> u32 {
    match stream {
        0 => 0,
        1..=LAST_BEFORE => 1,
        _ => stream - LAST_BEFORE + 1,
    }
}

/// The same with the numbers of an h2 whose stream 1 is `LAST_BEFORE`.
fn read_by_h2(mut frame: Frame) -> Frame {
    frame.stream = in_h2(frame.stream);
    let (kind, flags) = (frame.kind, frame.flags);
    let pad = usize::from(kind == HEADERS && flags & PADDED != 0);
    if let Some(number) = frame.payload.get_mut(pad..).and_then(|rest| rest.first_chunk_mut()) {
        if kind == GOAWAY {
            *number = in_h2(u32::from_be_bytes(*number) & 0x7fff_ffff).to_be_bytes();
        } else if kind == PRIORITY || kind == HEADERS && flags & PRIORITIZED != 0 {
            *number = [0; 4];
        }
    }
    frame
}

/// What is read through buffers of these sizes, from a wire that has so many bytes at a time, or none yet.
fn read(bytes: &[u8], offset: Offset, arrivals: &[usize], buffers: &[usize]) -> Vec<u8> {
    let mut inward = Inward::default();
    inward.begin(offset);
    let (mut rest, mut result) = (bytes, Vec::new());
    let mut arrivals = arrivals.iter().cycle();
    for size in buffers.iter().cycle() {
        let mut buffer = vec![0; *size];
        let mut buffer = ReadBuf::new(&mut buffer);
        let mut is_at_end = false;
        let polled = inward.poll_read(&mut buffer, |buffer| {
            let arrived = (*arrivals.next().unwrap()).min(rest.len()).min(buffer.remaining());
            if arrived == 0 && !rest.is_empty() {
                return Poll::Pending;
            }
            is_at_end = rest.is_empty();
            buffer.put_slice(&rest[..arrived]);
            rest = &rest[arrived..];
            Poll::Ready(Ok(()))
        });
        assert!(polled.is_pending() || is_at_end || !buffer.filled().is_empty(), "an end before the end");
        assert!(polled.is_ready() || buffer.filled().is_empty(), "bytes that nobody sees");
        result.extend_from_slice(buffer.filled());
        if is_at_end && buffer.filled().is_empty() {
            return result;
        }
    }
    unreachable!()
}

/// What is on the wire if h2 writes these bytes in slices of these sizes, and so many are taken at a time.
fn written(bytes: &[u8], offset: Offset, sizes: &[usize], taken: &[usize]) -> Vec<u8> {
    let (mut rest, mut result) = (bytes, Vec::new());
    let mut scan = Scan::new(0);
    let mut sizes = sizes.iter().cycle();
    let mut taken = taken.iter().cycle();
    while !rest.is_empty() {
        let mut slices = Vec::new();
        let mut later = rest;
        while !later.is_empty() {
            let (now, then) = later.split_at((*sizes.next().unwrap()).min(later.len()));
            slices.push(IoSlice::new(now));
            later = then;
        }
        let outward = Outward::new(offset, &scan, &slices);
        let (offered, count) = outward.slices(&slices);
        let offered: Vec<u8> = offered[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        assert!(!offered.is_empty());
        let count = (*taken.next().unwrap()).min(offered.len());
        result.extend_from_slice(&offered[..count]);
        scan.feed(&rest[..count], |_| {});
        rest = &rest[count..];
    }
    result
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1..12_usize, 1..300_usize], 1..20)
}

/// Some of them 0, and not all.
fn arrivals() -> impl Strategy<Value = Vec<usize>> {
    sizes().prop_flat_map(|sizes| {
        let pauses = vec(0..3_usize, sizes.len());
        (Just(sizes), pauses).prop_map(|(sizes, pauses)| {
            sizes
                .into_iter()
                .zip(pauses)
                .flat_map(|(size, pause)| [size, if pause == 0 { 0 } else { size }])
                .collect()
        })
    })
}

proptest! {
    #[test]
    fn what_is_read_has_the_numbers_of_h2(frames in frames(any_kind()), arrivals in arrivals(), buffers in sizes()) {
        let expected: Vec<Frame> = frames.iter().cloned().map(read_by_h2).collect();
        let result = read(&bytes(&frames), Offset::of(LAST_BEFORE), &arrivals, &buffers);
        prop_assert_eq!(result, bytes(&expected));
    }

    #[test]
    fn what_is_written_has_the_numbers_of_the_wire(frames in frames(vec![DATA, HEADERS, 3, 4, 8, 9]), cuts in sizes(), taken in sizes()) {
        let mut expected = frames.clone();
        expected.iter_mut().filter(|frame| frame.stream != 0).for_each(|frame| frame.stream += LAST_BEFORE - 1);
        let result = written(&bytes(&frames), Offset::of(LAST_BEFORE), &cuts, &taken);
        prop_assert_eq!(result, bytes(&expected));
    }
}

#[test]
fn the_first_h2_has_the_numbers_of_the_wire() {
    let frames = [Frame { kind: GOAWAY, flags: 0, stream: 0, payload: vec![0, 0, 0, 5, 0, 0, 0, 0] }];
    assert_eq!(read(&bytes(&frames), Offset::of(0), &[3], &[5]), bytes(&frames));
}

#[test]
fn a_last_stream_that_is_none_lets_all_streams_pass() {
    assert!(Offset::of(LAST_BEFORE).in_h2(u32::MAX >> 1) >= (u32::MAX >> 1) - LAST_BEFORE);
}

#[test]
fn streams_after_the_last_one_of_a_goaway_are_refused_and_no_others() {
    let offset = Offset::of(LAST_BEFORE);
    for last in [0, 1, LAST_BEFORE, LAST_BEFORE + 2, LAST_BEFORE + 8] {
        for stream in (3..20).step_by(2) {
            assert_eq!(stream > offset.in_h2(last), offset.on_wire(stream) > last, "{stream} {last}");
        }
    }
}
