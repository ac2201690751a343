//! Tests of the HDLC framing: golden frames, limits, errors, and any chunking.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::pieces::{Outcome, decode, decode_all_ways, feed, pool, push_in_vain, read_modes};
use crate::frame::{Assembler, EncodeError, Encoder, FrameError, FrameErrorKind, ReadMode};

/// The shortest payload of a packet.
const PACKET: &[u8; 20] = b"twenty bytes are one";

/// The payloads and errors of `wire`.
fn read(decoder: impl Fn() -> Hdlc, wire: &[u8]) -> Outcome<Vec<u8>> {
    decode_all_ways(decoder, wire, |payload| payload.to_vec())
}

fn too_large(max: usize, offset: u64) -> FrameError {
    FrameError::new(FrameErrorKind::MessageTooLarge { size: max + 1, max }, offset)
}

fn bad_escape(byte: u8, offset: u64) -> FrameError {
    FrameError::new(FrameErrorKind::BadEscape { byte }, offset)
}

fn truncated(received: usize, offset: u64) -> FrameError {
    FrameError::fatal(FrameErrorKind::Truncated { received, expected: received + 1 }, offset)
}

#[test]
fn the_golden_frame_is_encoded_and_decoded() {
    let (payload, wire) = (b"\x01\x7E\x02\x7D\x03", b"\x7E\x01\x7D\x5E\x02\x7D\x5D\x03\x7E");
    let mut encoded = Vec::new();
    Hdlc::new(5).encode(payload, &mut encoded).unwrap();
    assert_eq!((encoded.as_slice(), Hdlc::new(5).encoded_len(&payload)), (wire.as_slice(), wire.len()));
    assert_eq!(read(|| Hdlc::new(5), wire), (vec![Ok(payload.to_vec())], Ok(())));
}

#[test]
fn frames_may_share_flags_and_bytes_before_the_first_flag_are_skipped() {
    let wire = b"gar\x7Dbage\x7Eone\x7Etwo\x7E\x7E\x7Ethree\x7E\x7E";
    let payloads = [&b"one"[..], b"two", b"three"].map(|payload| Ok(payload.to_vec()));
    assert_eq!(read(|| Hdlc::new(5), wire), (payloads.to_vec(), Ok(())));
    assert_eq!(read(|| Hdlc::new(5), b"no flag at all"), (vec![], Ok(())));
}

#[test]
fn frames_shorter_than_a_packet_are_dropped_and_counted() {
    let wire = [b"\x7E\x7E", &PACKET[1..], b"\x7E", PACKET, b"\x7E\x7D\x5D\x7E"].concat();
    assert_eq!(read(Hdlc::reticulum, &wire), (vec![Ok(PACKET.to_vec())], Ok(())));
    let mut frames = Assembler::new(Hdlc::reticulum(), pool(), ReadMode::PerFrame);
    decode(&mut frames, &wire, &[5]).1.unwrap();
    assert_eq!(frames.decoder().dropped(), 2);
}

#[test]
fn a_framing_reads_what_it_writes() {
    for (framing, min) in [(Hdlc::default as fn() -> Hdlc, 1), (Hdlc::reticulum, RETICULUM_MIN_FRAME)] {
        for len in 0..40 {
            let (payload, mut wire) = ([7].repeat(len), Vec::new());
            let outcome = framing().encode(&payload, &mut wire);
            if len < min {
                assert_eq!(outcome, Err(EncodeError::MessageTooShort { size: len, min }));
            } else {
                assert_eq!(read(framing, &wire), (vec![Ok(payload)], Ok(())));
            }
        }
    }
}

#[test]
fn the_limit_is_inclusive_and_counts_unescaped_bytes() {
    let fits = b"\x7E\x7D\x5E\x7D\x5E\x7D\x5E\x7E";
    assert_eq!(read(|| Hdlc::new(3), fits), (vec![Ok(b"\x7E\x7E\x7E".to_vec())], Ok(())));
    let wire = b"\x7E\x7D\x5E\x7D\x5E\x7D\x5E\x7D\x5E\x7Eone\x7Efour\x7Etwo\x7E";
    let expected =
        vec![Err(too_large(3, 1)), Ok(b"one".to_vec()), Err(too_large(3, 14)), Ok(b"two".to_vec())];
    assert_eq!(read(|| Hdlc::new(3), wire), (expected, Ok(())));
    assert_eq!(read(|| Hdlc::new(3), b"\x7Efour"), (vec![Err(too_large(3, 1))], Ok(())));
}

#[test]
fn a_frame_with_an_invalid_escape_is_refused() {
    let wire = b"\x7Ea\x7D\x5Eb\x7D\x00c\x7D\x01\x7Edef\x7E";
    assert_eq!(read(|| Hdlc::new(9), wire), (vec![Err(bad_escape(0, 5)), Ok(b"def".to_vec())], Ok(())));
    // A flag after an escape is still a flag: this is how HDLC aborts a frame.
    let wire = b"\x7Eabc\x7D\x7Edef\x7E";
    assert_eq!(read(|| Hdlc::new(9), wire), (vec![Err(bad_escape(0x7E, 4)), Ok(b"def".to_vec())], Ok(())));
    let wire = b"\x7E\x7D\x7D\x5E\x7Edef\x7E";
    assert_eq!(read(|| Hdlc::new(9), wire), (vec![Err(bad_escape(0x7D, 1)), Ok(b"def".to_vec())], Ok(())));
}

#[test]
fn finish_reports_a_stream_that_ended_inside_a_frame() {
    assert_eq!(read(|| Hdlc::new(9), b"\x7Eabc\x7E\x7E"), (vec![Ok(b"abc".to_vec())], Ok(())));
    assert_eq!(read(|| Hdlc::new(9), b"\x7Eabc"), (vec![], Err(truncated(3, 4))));
    assert_eq!(read(|| Hdlc::new(9), b"\x7E\x7Eabc\x7D"), (vec![], Err(truncated(4, 6))));
    assert_eq!(read(|| Hdlc::new(9), b"\x7Ea\x7Dbc"), (vec![Err(bad_escape(b'b', 2))], Ok(())));
}

#[test]
fn a_payload_without_an_escape_stays_where_it_was_read() {
    for (payload, class) in [([7; 600], 8192), ([0x7D; 600], 1024)] {
        let pool = pool();
        let mut frames = Assembler::new(Hdlc::default(), pool.clone(), ReadMode::Batched { detach_below: 0 });
        let mut wire = Vec::new();
        Hdlc::default().encode(&payload, &mut wire).unwrap();
        frames.push(&mut wire.as_slice()).unwrap();
        let frame = frames.next_frame().unwrap().unwrap();
        assert_eq!((frame.len(), frame.storage_len()), (600, class));
        frames.release();
        assert_eq!(pool.stats().in_use, 1);
        assert!(frame.try_into_mut().is_ok(), "another handle holds the storage");
    }
}

#[test]
fn the_last_frame_of_a_read_is_the_only_holder_of_its_storage() {
    let mut frames = Assembler::new(Hdlc::new(9), pool(), ReadMode::Batched { detach_below: 0 });
    frames.push(&mut &b"\x7Eone\x7Etwo\x7E"[..]).unwrap();
    let one = frames.next_frame().unwrap().unwrap();
    let two = frames.next_frame().unwrap().unwrap();
    assert_eq!((frames.held_bytes(), one.storage_len(), two.storage_len()), (0, 8192, 8192));
    let two = two.try_into_mut().unwrap_err();
    drop(one);
    assert!(two.try_into_mut().is_ok());
}

#[test]
fn nothing_is_held_of_skipped_bytes() {
    let mut frames = Assembler::new(Hdlc::new(100_000), pool(), ReadMode::PerFrame);
    push_in_vain(&mut frames, &[b'g'; 30_000], 10, 65_536);
    let wire = [&[0x7E][..], &[0x7D, 0x5E].repeat(100_001)].concat();
    assert_eq!(feed(&mut frames, &wire), [Err(too_large(100_000, 300_001))]);
    push_in_vain(&mut frames, &[0x7D; 30_000], 100, 65_536);
    let (payloads, end) = decode(&mut frames, &[b"\x7E", &PACKET[..], b"\x7E"].concat(), &[9]);
    assert_eq!((payloads.len(), end), (1, Ok(())));
}

#[test]
fn a_long_frame_takes_few_pushes() {
    let mut frames = Assembler::new(Hdlc::default(), pool(), ReadMode::PerFrame);
    let mut wire = Vec::new();
    Hdlc::default().encode(&[7; 200_000], &mut wire).unwrap();
    let (mut rest, mut pushes) = (wire.as_slice(), 0);
    while !rest.is_empty() {
        frames.push(&mut rest).unwrap();
        pushes += 1;
        if let Some(frame) = frames.next_frame().unwrap() {
            assert!(frame == [7; 200_000]);
        }
        assert!(frames.held_bytes() <= 4 * wire.len());
    }
    assert!(pushes < 10, "{pushes} pushes");
}

#[test]
fn no_byte_is_scanned_twice() {
    let mut frames = Assembler::new(Hdlc::new(1000), pool(), ReadMode::PerFrame);
    for (piece, state) in
        [(&b"\x7Eabc"[..], "scanned: 3, escapes: 0"), (b"\x7D\x5Ede\x7D", "scanned: 7, escapes: 1")]
    {
        assert_eq!(feed(&mut frames, piece), []);
        let decoder = format!("{:?}", frames.decoder());
        assert!(decoder.contains(state), "{decoder}");
    }
}

#[test]
fn encode_writes_all_or_nothing() {
    let mut short = [0xAA; 21];
    let no_room = EncodeError::NoRoom { needed: 22, available: 21 };
    assert_eq!(Hdlc::default().encode(PACKET, &mut short.as_mut_slice()), Err(no_room));
    assert_eq!(short, [0xAA; 21]);
}

proptest! {
    #[test]
    fn encoded_frames_are_decoded_in_any_chunking(
        payloads in vec(prop_oneof![
            vec(prop_oneof![Just(0x7D_u8), Just(0x7E), any::<u8>()], 1..300),
            vec(any::<u8>(), 1..12_000),
        ], 0..12),
        cuts in vec(1_usize..9000, 1..20),
        read_mode in read_modes(),
    ) {
        let pool = pool();
        let (mut wire, mut len) = (Vec::new(), 0);
        for payload in &payloads {
            Hdlc::default().encode(payload, &mut wire).unwrap();
            len += Hdlc::default().encoded_len(&payload);
        }
        prop_assert_eq!(len, wire.len());
        let mut frames = Assembler::new(Hdlc::new(12_000), pool.clone(), read_mode);
        let (decoded, end) = decode(&mut frames, &wire, &cuts);
        prop_assert_eq!(end, Ok(()));
        let plain: Vec<_> = decoded.iter().map(|frame| frame.as_ref().unwrap().to_vec()).collect();
        prop_assert_eq!(plain, payloads);
        drop(decoded);
        prop_assert_eq!(pool.stats().in_use, 0);
    }
}
