//! Tests of the lines framing: golden lines, limits, errors, and any chunking.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::pieces::{Outcome, decode, decode_all_ways, feed, pool, push_in_vain, read_modes};
use crate::frame::{Assembler, ReadMode};
use crate::pool::{BufferPool, BufferPoolConfig};

/// The lines and errors of `wire`.
fn read(max_line: usize, wire: &[u8]) -> Outcome<Vec<u8>> {
    decode_all_ways(|| Lines::new(max_line), wire, |line| line.to_vec())
}

fn too_large(max: usize, offset: u64) -> FrameError {
    FrameError::new(FrameErrorKind::MessageTooLarge { size: max + 1, max }, offset)
}

#[test]
fn golden_lines_are_decoded() {
    let wire =
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n";
    let lines = [
        &b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}"[..],
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
    ];
    let lines = lines.map(|line| Ok(line.to_vec())).to_vec();
    assert_eq!(read(DEFAULT_MAX_LINE, wire), (lines, Ok(())));
}

#[test]
fn one_carriage_return_belongs_to_the_end_and_a_line_may_be_empty() {
    let lines = [&b"a"[..], b"", b"", b"b\r", b"\rc", b""].map(|line| Ok(line.to_vec()));
    assert_eq!(read(9, b"a\r\n\n\r\nb\r\r\n\rc\n\r\n"), (lines.to_vec(), Ok(())));
}

#[test]
fn the_limit_is_inclusive_and_does_not_count_line_ends() {
    let wire = b"abc\r\nabc\nabcd\nabc\r\r\nabcde\r\nab\n";
    let expected = vec![
        Ok(b"abc".to_vec()),
        Ok(b"abc".to_vec()),
        Err(too_large(3, 9)),
        Err(too_large(3, 14)),
        Err(too_large(3, 20)),
        Ok(b"ab".to_vec()),
    ];
    assert_eq!(read(3, wire), (expected, Ok(())));
    assert_eq!(read(3, b"abcd"), (vec![Err(too_large(3, 0))], Ok(())));
}

#[test]
fn a_line_without_its_end_is_an_error() {
    for (wire, received) in [(&b"ab\ncde"[..], 3), (b"ab\nc\r", 2)] {
        let kind = FrameErrorKind::Truncated { received, expected: received + 1 };
        let truncated = FrameError::fatal(kind, wire.len() as u64);
        assert_eq!(read(9, wire), (vec![Ok(b"ab".to_vec())], Err(truncated)));
    }
}

#[test]
fn nothing_is_held_of_a_line_that_is_too_long() {
    for read_mode in [ReadMode::PerFrame, ReadMode::batched()] {
        let mut frames = Assembler::new(Lines::new(100_000), pool(), read_mode);
        push_in_vain(&mut frames, &[b'x'; 50_000], 2, 4 * 100_000);
        assert_eq!(feed(&mut frames, b"x"), [Err(too_large(100_000, 0))]);
        push_in_vain(&mut frames, &[b'x'; 50_000], 100, 65_536);
        let (lines, end) = decode(&mut frames, b"xx\nab\n", &[9]);
        assert_eq!((lines.len(), end), (1, Ok(())));
    }
}

#[test]
fn a_skipped_line_does_not_make_later_reads_larger() {
    let pool = BufferPool::new(BufferPoolConfig::powers_of_two(128..=1 << 20).unwrap());
    let mut frames = Assembler::new(Lines::new(50_000), pool, ReadMode::PerFrame);
    feed(&mut frames, &[&[b'x'; 1 << 19][..], b"\n"].concat());
    // This line fills enough of its buffer to stay there, and the next read has its size.
    feed(&mut frames, &[&[b'x'; 50_000][..], b"\n"].concat());
    frames.release();
    assert!(frames.wants().is_some_and(|size| size <= 65_536), "{:?}", frames.wants());
}

#[test]
fn no_byte_is_scanned_twice() {
    let mut frames = Assembler::new(Lines::new(1000), pool(), ReadMode::PerFrame);
    assert_eq!((feed(&mut frames, b"abc").len(), frames.decoder().scanned), (0, 3));
    assert_eq!(feed(&mut frames, b"de\nf"), [Ok(b"abcde".to_vec())]);
    assert_eq!(frames.decoder().scanned, 1);
}

#[test]
fn a_long_line_takes_few_pushes() {
    for read_mode in [ReadMode::PerFrame, ReadMode::batched()] {
        let mut frames = Assembler::new(Lines::default(), pool(), read_mode);
        let wire = [&[b'x'; 1_000_000][..], b"\n"].concat();
        let (mut rest, mut pushes) = (wire.as_slice(), 0);
        while !rest.is_empty() {
            frames.push(&mut rest).unwrap();
            pushes += 1;
            if let Some(line) = frames.next_frame().unwrap() {
                assert!(line == wire[..1_000_000]);
            }
        }
        assert!(pushes < 12, "{pushes} pushes");
    }
}

#[test]
fn a_line_that_would_be_decoded_differently_is_refused() {
    let encode = |line: &[u8]| {
        let mut out = Vec::new();
        Lines::default().encode(line, &mut out).map(|()| out)
    };
    assert_eq!(encode(b"a\rb"), Ok(b"a\rb\n".to_vec()));
    assert_eq!(encode(b""), Ok(b"\n".to_vec()));
    assert_eq!(encode(b"ab\nc\r"), Err(EncodeError::Delimiter { at: 2 }));
    assert_eq!(encode(b"abc\r"), Err(EncodeError::Delimiter { at: 3 }));
    let mut short = [0xAA; 3];
    let no_room = EncodeError::NoRoom { needed: 4, available: 3 };
    assert_eq!(Lines::default().encode(b"abc", &mut short.as_mut_slice()), Err(no_room));
    assert_eq!(short, [0xAA; 3]);
}

proptest! {
    #[test]
    fn encoded_frames_are_decoded_in_any_chunking(
        lines in vec(prop_oneof![
            vec(prop_oneof![Just(b'\r'), b' '..b'~'], 0..300),
            vec(b' '..b'~', 0..12_000),
        ], 0..12),
        cuts in vec(1_usize..9000, 1..20),
        read_mode in read_modes(),
    ) {
        let pool = pool();
        let (mut wire, mut sent) = (Vec::new(), Vec::new());
        for line in &lines {
            let before = wire.len();
            match Lines::default().encode(line, &mut wire) {
                Ok(()) => {
                    prop_assert_eq!(wire.len() - before, Lines::default().encoded_len(&line));
                    sent.push(line.clone());
                }
                Err(error) => prop_assert_eq!(error, EncodeError::Delimiter { at: line.len() - 1 }),
            }
        }
        let mut frames = Assembler::new(Lines::new(12_000), pool.clone(), read_mode);
        let (decoded, end) = decode(&mut frames, &wire, &cuts);
        prop_assert_eq!(end, Ok(()));
        let plain: Vec<_> = decoded.iter().map(|frame| frame.as_ref().unwrap().to_vec()).collect();
        prop_assert_eq!(plain, sent);
        drop(decoded);
        prop_assert_eq!(pool.stats().in_use, 0);
    }
}
