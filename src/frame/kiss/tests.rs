//! Tests of the KISS framing: golden frames, commands, errors, and any chunking.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::pieces::{Outcome, decode, decode_all_ways, pool, push_in_vain, read_modes};
use crate::frame::{Assembler, EncodeError, Encoder, FrameError, FrameErrorKind, ReadMode};

/// The payloads and errors of `wire`.
fn read(max_frame: usize, wire: &[u8]) -> Outcome<Vec<u8>> {
    decode_all_ways(|| Kiss::new(max_frame), wire, |frame| frame.payload.to_vec())
}

#[test]
fn the_golden_frame_is_encoded_and_decoded() {
    let (payload, wire) = (b"\x01\xC0\x02\xDB\x03", b"\xC0\x00\x01\xDB\xDC\x02\xDB\xDD\x03\xC0");
    let mut encoded = Vec::new();
    Kiss::default().encode(payload, &mut encoded).unwrap();
    assert_eq!((encoded.as_slice(), Kiss::default().encoded_len(&payload)), (wire.as_slice(), wire.len()));
    assert_eq!(read(5, wire), (vec![Ok(payload.to_vec())], Ok(())));
}

#[test]
fn only_the_low_nibble_of_the_command_counts() {
    // Data for the ports 0, 1 and 2, a delay, an escape in place of the command, data for port 13, a return.
    let wire = b"\xC0\x00a\xC0\xC0\x10b\xC0\x20c\xC0\x01no\xC0\xDBno\xC0\xD0d\xC0\xFF\xC0\x00e\xC0";
    let payloads = [b"a", b"b", b"c", b"d", b"e"].map(|payload| Ok(payload.to_vec()));
    assert_eq!(read(9, wire), (payloads.to_vec(), Ok(())));
}

/// Ports, commands and payloads.
fn read_commands(framing: impl Fn() -> Kiss, wire: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let plain = |frame: Frame| (frame.port, frame.command, frame.payload.to_vec());
    let (frames, end) = decode_all_ways(framing, wire, plain);
    assert_eq!(end, Ok(()));
    frames.into_iter().map(Result::unwrap).collect()
}

#[test]
fn a_frame_has_its_port() {
    let wire = b"\xC0\x10a\xC0\x20a\xC0\x01no\xC0";
    let data = [(1, DATA, b"a".to_vec()), (2, DATA, b"a".to_vec())];
    assert_eq!(read_commands(Kiss::default, wire), data);
}

#[test]
fn a_modem_reads_all_commands_even_without_a_parameter() {
    let wire = b"\xC0\x11\xDB\xDC\xC0\xFF\xC0\xDBno\xC0\x20a\xC0\x20\xC0";
    let all = [(1, 1, b"\xC0".to_vec()), (15, 15, vec![]), (2, DATA, b"a".to_vec())];
    assert_eq!(read_commands(|| Kiss::default().with_commands(), wire), all);
}

#[test]
fn ports_and_commands_are_written_as_they_are_read() {
    let mut impossible = Vec::new();
    for (port, command) in (0..=16).flat_map(|port| (0..=16).map(move |command| (port, command))) {
        let mut wire = Vec::new();
        let frame = Frame::new(b"a").with_port(port).with_command(command);
        match Kiss::default().encode(frame, &mut wire) {
            Ok(()) => {
                assert_eq!(wire.len(), Kiss::default().encoded_len(&frame));
                let seen = read_commands(|| Kiss::default().with_commands(), &wire);
                assert_eq!(seen, [(port, command, b"a".to_vec())]);
            }
            Err(error) => {
                assert_eq!((error, wire.len()), (EncodeError::Command { port, command }, 0));
                impossible.extend((port < 16 && command < 16).then_some((port, command)));
            }
        }
    }
    assert_eq!(impossible, [(12, DATA), (13, 11)]);
}

#[test]
fn empty_frames_are_skipped() {
    let wire = b"ga\x00\xDBrbage\xC0\xC0\x00\xC0\xC0\x00a\xC0";
    assert_eq!(read(9, wire), (vec![Ok(b"a".to_vec())], Ok(())));
}

#[test]
fn a_minimum_length_can_be_configured() {
    let mut frames = Assembler::new(Kiss::default().with_min_frame(2), pool(), ReadMode::PerFrame);
    let wire = b"\xC0\x00a\xC0\x00ab\xC0\x00\xDB\xDC\xC0\x00\xC0\x01a\xC0";
    let (payloads, end) = decode(&mut frames, wire, &[1]);
    assert_eq!((payloads.len(), payloads[0].as_ref().unwrap().payload.to_vec()), (1, b"ab".to_vec()));
    assert_eq!((end, frames.decoder().dropped()), (Ok(()), 2));
}

#[test]
fn errors_have_an_offset_and_decoding_continues_at_the_next_flag() {
    let too_large = FrameError::new(FrameErrorKind::MessageTooLarge { size: 4, max: 3 }, 1);
    let wire = b"\xC0\x00abcd\xDB\xC0\x00ab\xC0";
    assert_eq!(read(3, wire), (vec![Err(too_large), Ok(b"ab".to_vec())], Ok(())));
    let bad_escape = FrameError::new(FrameErrorKind::BadEscape { byte: b'c' }, 4);
    let wire = b"\xC0\x00ab\xDBc\xC0\x00ab\xC0";
    assert_eq!(read(3, wire), (vec![Err(bad_escape), Ok(b"ab".to_vec())], Ok(())));
}

#[test]
fn finish_reports_a_stream_that_ended_inside_a_frame() {
    let truncated = |received, offset| {
        FrameError::fatal(FrameErrorKind::Truncated { received, expected: received + 1 }, offset)
    };
    assert_eq!(read(9, b"\xC0\x00ab\xC0\xC0"), (vec![Ok(b"ab".to_vec())], Ok(())));
    assert_eq!(read(9, b"\xC0\x00ab"), (vec![], Err(truncated(3, 4))));
    assert_eq!(read(9, b"\xC0\x00"), (vec![], Err(truncated(1, 2))));
    assert_eq!(read(9, b"\xC0\x06ab"), (vec![], Ok(())));
}

#[test]
fn a_frame_is_partial_from_its_command_on() {
    let mut frames = Assembler::new(Kiss::default(), pool(), ReadMode::PerFrame);
    for (byte, is_partial) in [(0xC0, false), (0x00, true), (0x07, true), (0xC0, false), (0x06, false)] {
        frames.push(&mut [byte].as_slice()).unwrap();
        while frames.next_frame().unwrap().is_some() {}
        assert_eq!(frames.is_partial(), is_partial, "after {byte:#x}");
    }
}

#[test]
fn nothing_is_held_of_another_command() {
    let mut frames = Assembler::new(Kiss::new(100), pool(), ReadMode::PerFrame);
    push_in_vain(&mut frames, b"\xC0\x06", 1, 8192);
    push_in_vain(&mut frames, &[0xDB; 30_000], 100, 65_536);
    let (payloads, end) = decode(&mut frames, b"\xC0\x00ab\xC0", &[9]);
    assert_eq!((payloads.len(), end), (1, Ok(())));
}

proptest! {
    #[test]
    fn encoded_frames_are_decoded_in_any_chunking(
        payloads in vec(prop_oneof![
            vec(prop_oneof![Just(0xC0_u8), Just(0xDB), any::<u8>()], 1..300),
            vec(any::<u8>(), 1..12_000),
        ], 0..12),
        cuts in vec(1_usize..9000, 1..20),
        read_mode in read_modes(),
    ) {
        let pool = pool();
        let (mut wire, mut len) = (Vec::new(), 0);
        for payload in &payloads {
            Kiss::default().encode(payload, &mut wire).unwrap();
            len += Kiss::default().encoded_len(&payload);
        }
        prop_assert_eq!(len, wire.len());
        let mut frames = Assembler::new(Kiss::new(12_000), pool.clone(), read_mode);
        let (decoded, end) = decode(&mut frames, &wire, &cuts);
        prop_assert_eq!(end, Ok(()));
        let plain: Vec<_> = decoded.iter().map(|frame| frame.as_ref().unwrap().payload.to_vec()).collect();
        prop_assert_eq!(plain, payloads);
        drop(decoded);
        prop_assert_eq!(pool.stats().in_use, 0);
    }
}
