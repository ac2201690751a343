//! Tests of the TLV framing: layout, limits, errors, memory, and any chunking.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::pieces::{decode, pool, read_modes};
use crate::frame::{Assembler, ReadMode};
use crate::pool::{BufferPool, BufferPoolConfig};

fn header(type_id: u16, payload_len: u32) -> [u8; HEADER_LEN] {
    Header { type_id, payload_len }.encode()
}

fn frames(max_payload: usize, pool: &BufferPool) -> Assembler<Tlv> {
    Assembler::new(Tlv::new(max_payload), pool.clone(), ReadMode::PerFrame)
}

#[test]
fn the_header_is_little_endian() {
    let bytes = [0x34, 0x12, 0x78, 0x56, 0x34, 0x12];
    let header = Header { type_id: 0x1234, payload_len: 0x1234_5678 };
    assert_eq!(Header::decode(bytes), header);
    assert_eq!(header.encode(), bytes);
}

#[test]
fn the_limit_is_inclusive() {
    for (max, refused) in [(100, false), (99, true)] {
        let pool = pool();
        let mut frames = frames(max, &pool);
        frames.push(&mut [header(7, 0), header(1, 100)].concat().as_slice()).unwrap();
        assert_eq!(frames.next_frame().unwrap().unwrap().type_id, 7);
        let kind = FrameErrorKind::MessageTooLarge { size: 100, max: 99 };
        let expected = if refused { Err(FrameError::fatal(kind, 6)) } else { Ok(None) };
        assert_eq!(frames.next_frame(), expected);
    }
}

#[test]
fn a_length_must_fit_the_header() {
    let max = u32::MAX as usize;
    assert_eq!(Header::new(1, max), Ok(Header { type_id: 1, payload_len: u32::MAX }));
    if let Some(size) = max.checked_add(1) {
        assert_eq!(Header::new(1, size), Err(EncodeError::MessageTooLarge { size, max }));
    }
}

#[test]
fn encode_writes_all_or_nothing() {
    let mut exact = [0xAA; 9];
    let mut out = exact.as_mut_slice();
    encode(7, b"abc", &mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!(exact, *b"\x07\0\x03\0\0\0abc");

    let mut short = [0xAA; 8];
    let mut out = short.as_mut_slice();
    assert_eq!(encode(7, b"abc", &mut out), Err(EncodeError::NoRoom { needed: 9, available: 8 }));
    assert_eq!(short, [0xAA; 8]);
}

#[test]
fn an_empty_payload_is_a_frame() {
    let pool = pool();
    let mut frames = frames(0, &pool);
    frames.push(&mut [header(1, 0), header(2, 0)].concat().as_slice()).unwrap();
    for type_id in [1, 2] {
        let frame = frames.next_frame().unwrap().unwrap();
        assert_eq!((frame.type_id, frame.payload.len()), (type_id, 0));
    }
    assert_eq!(frames.next_frame(), Ok(None));
}

#[test]
fn a_frame_has_a_buffer_of_its_own_class() {
    let pool = pool();
    let mut frames = frames(DEFAULT_MAX_PAYLOAD, &pool);
    for (payload_len, class) in
        [(1, 128), (128, 128), (129, 1024), (1024, 1024), (5000, 8192), (8186, 8192), (8192, 8192)]
    {
        let mut wire = Vec::new();
        encode(1, vec![5; payload_len], &mut wire).unwrap();
        let mut wire = wire.as_slice();
        let frame = loop {
            frames.push(&mut wire).unwrap();
            if let Some(frame) = frames.next_frame().unwrap() {
                break frame;
            }
        };
        assert_eq!((frame.payload.len(), frame.payload.storage_len()), (payload_len, class));
    }
    frames.release();
    let stats = pool.stats();
    assert_eq!((frames.held_bytes(), stats.in_use, stats.heap_fallbacks), (0, 0, 0));
}

#[test]
fn batched_frames_share_the_storage_of_the_read() {
    let pool = pool();
    let mut frames = Assembler::new(Tlv::default(), pool.clone(), ReadMode::Batched { detach_below: 200 });
    let mut wire = Vec::new();
    for payload_len in [300, 100, 300] {
        encode(1, vec![5; payload_len], &mut wire).unwrap();
    }
    frames.push(&mut wire.as_slice()).unwrap();
    let storage = |frame: Frame| frame.payload.storage_len();
    let sizes: Vec<_> = std::iter::from_fn(|| frames.next_frame().unwrap()).map(storage).collect();
    assert_eq!(sizes, [8192, 128, 8192]);
    assert_eq!((frames.held_bytes(), pool.stats().acquires, pool.stats().in_use), (0, 2, 0));
}

#[test]
fn equal_large_frames_are_read_in_one_piece_each() {
    let pool = BufferPool::new(BufferPoolConfig::powers_of_two_and(HEADER_LEN, 128..=65_536).unwrap());
    let mut frames = frames(DEFAULT_MAX_PAYLOAD, &pool);
    let mut wire = Vec::new();
    for _ in 0..10 {
        encode(1, &[5; 16_384], &mut wire).unwrap();
    }
    let (mut wire, mut pushes, mut seen) = (wire.as_slice(), 0, 0);
    while !wire.is_empty() {
        frames.push(&mut wire).unwrap();
        pushes += 1;
        while let Some(frame) = frames.next_frame().unwrap() {
            assert!(frame.payload.as_ref() == [5; 16_384]);
            seen += 1;
        }
    }
    let (first_frame_pushes, later_frames) = (2, 9);
    assert_eq!(pushes, first_frame_pushes + later_frames);
    assert_eq!(seen, 10);
}

#[test]
fn a_declared_length_alone_reserves_one_read_at_most() {
    let pool = pool();
    let mut frames = frames(DEFAULT_MAX_PAYLOAD, &pool);
    let payload = vec![9; DEFAULT_MAX_PAYLOAD];
    frames.push(&mut header(1, DEFAULT_MAX_PAYLOAD as u32).as_slice()).unwrap();
    assert_eq!(frames.next_frame(), Ok(None));
    assert_eq!(frames.held_bytes(), 8192);

    let mut sent = 0;
    for mut piece in payload.chunks(100_000) {
        sent += piece.len();
        while !piece.is_empty() {
            frames.push(&mut piece).unwrap();
            if let Some(frame) = frames.next_frame().unwrap() {
                assert!(frame.payload.as_ref() == payload);
            }
            assert!(frames.held_bytes() <= 8192.max(4 * sent), "{} for {sent}", frames.held_bytes());
        }
    }
    assert_eq!((frames.finish(), frames.held_bytes()), (Ok(()), 0));
    assert_eq!(pool.stats().in_use, 0);
}

#[test]
fn the_first_error_is_final() {
    let pool = pool();
    let mut frames = frames(1000, &pool);
    let error = FrameError::fatal(FrameErrorKind::MessageTooLarge { size: 1001, max: 1000 }, 0);
    frames.push(&mut header(1, 1001).as_slice()).unwrap();
    assert_eq!(frames.next_frame(), Err(error));
    assert_eq!((frames.held_bytes(), pool.stats().in_use), (0, 0));
    frames.push(&mut header(1, 0).as_slice()).unwrap();
    assert_eq!(frames.next_frame(), Err(error));
    assert_eq!(frames.finish(), Err(error));
}

#[test]
fn finish_reports_a_stream_that_ended_inside_a_frame() {
    let wire = *b"\x01\0\x03\0\0\0abc";
    for received in 0..=wire.len() {
        let pool = pool();
        let mut frames = frames(1000, &pool);
        frames.push(&mut &wire[..received]).unwrap();
        let frame = frames.next_frame().unwrap();
        assert_eq!((frame.is_some(), frames.is_partial()), (received == 9, received % 9 != 0));
        let expected = if received < HEADER_LEN { HEADER_LEN } else { wire.len() };
        let truncated = FrameError::fatal(FrameErrorKind::Truncated { received, expected }, received as u64);
        assert_eq!(frames.finish(), if received % 9 == 0 { Ok(()) } else { Err(truncated) });
    }
}

#[test]
fn shrink_moves_a_partial_frame_to_a_buffer_of_its_size() {
    let pool = pool();
    let mut frames = frames(DEFAULT_MAX_PAYLOAD, &pool);
    let mut wire = Vec::new();
    encode(1, &[5; 6000], &mut wire).unwrap();
    frames.push(&mut &wire[..100]).unwrap();
    assert_eq!(frames.next_frame(), Ok(None));
    assert_eq!(frames.held_bytes(), 8192);
    frames.shrink();
    assert_eq!((frames.held_bytes(), frames.is_partial()), (128, true));
    let mut rest = &wire[100..];
    while !rest.is_empty() {
        frames.push(&mut rest).unwrap();
        if let Some(frame) = frames.next_frame().unwrap() {
            assert!(frame.payload.as_ref() == [5; 6000]);
        }
    }
    assert!(!frames.is_partial());
}

#[test]
fn a_shrunk_frame_holds_at_most_twice_what_has_arrived_of_it() {
    for (overhead, arrived) in [0, HEADER_LEN].into_iter().flat_map(|overhead| {
        [72, 150, 2047, 2050, 2053, 4101, 4102, 5000, 8191, 20_000].map(|arrived| (overhead, arrived))
    }) {
        let classes = BufferPoolConfig::powers_of_two_and(overhead, 64..=1 << 20).unwrap();
        let mut frames = frames(1_000_000, &BufferPool::new(classes));
        let wire = [&header(1, 500_000)[..], &[5; 500_000]].concat();
        let (first, rest) = wire.split_at(HEADER_LEN + arrived);
        let push = |frames: &mut Assembler<Tlv>, mut bytes: &[u8]| {
            let mut seen = None;
            while !bytes.is_empty() {
                frames.push(&mut bytes).unwrap();
                seen = seen.or(frames.next_frame().unwrap());
            }
            seen
        };
        assert_eq!(push(&mut frames, first), None);
        frames.shrink();
        let held = frames.held_bytes();
        assert!(held <= 2 * arrived, "{held} bytes are held of {arrived}");
        assert_eq!(frames.wants(), None, "it would grow before anything arrives");
        assert_eq!(push(&mut frames, rest).unwrap().payload.len(), 500_000);
    }
}

#[test]
fn a_handshake_is_refused_at_its_first_wrong_byte() {
    let right = handshake([7; DIGEST_LEN]);
    for wrong_at in 0..HANDSHAKE_LEN {
        let mut received = right;
        received[wrong_at] ^= 1;
        let mut frames =
            Assembler::new(Tlv::default().expecting([7; DIGEST_LEN]), pool(), ReadMode::PerFrame);
        frames.push(&mut &received[..wrong_at]).unwrap();
        assert_eq!(frames.next_frame(), Ok(None));
        frames.push(&mut &received[wrong_at..=wrong_at]).unwrap();
        let refused = FrameError::fatal(FrameErrorKind::DigestMismatch, 0);
        assert_eq!(frames.next_frame(), Err(refused));
    }
}

/// The text of the error that a stream with these first bytes ends in.
fn refused(framing: Tlv, first: &[u8]) -> String {
    let mut frames = Assembler::new(framing, pool(), ReadMode::PerFrame);
    frames.push(&mut &first[..]).unwrap();
    frames.next_frame().unwrap_err().to_string()
}

#[test]
fn a_peer_of_another_protocol_is_named() {
    let digest = [0x9F; DIGEST_LEN];
    for (first, name) in [
        (&b"GET / HTTP/1.1\r\n"[..], "HTTP"),
        (b"POST /rpc HTTP/1.1\r\n", "HTTP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", "TLS"),
        (&handshake(digest), "handshake"),
    ] {
        let error = refused(Tlv::default(), first);
        assert!(error.contains(name), "{error}");
    }
    let mismatch = refused(Tlv::default().expecting(digest), b"GET / HTTP/1.1\r\n");
    assert!(mismatch.contains("another protocol"), "{mismatch}");
}

#[test]
fn only_the_start_of_a_stream_names_another_protocol() {
    let unknown = refused(Tlv::default(), b"no protocol that anybody knows");
    assert!(!unknown.contains("begins like"), "{unknown}");
    let later = [&header(1, 0)[..], b"GET / HTTP/1.1\r\n"].concat();
    let mut frames = Assembler::new(Tlv::default(), pool(), ReadMode::PerFrame);
    frames.push(&mut later.as_slice()).unwrap();
    frames.next_frame().unwrap();
    let error = frames.next_frame().unwrap_err().to_string();
    assert!(!error.contains("begins like"), "{error}");
}

/// The number of buffers depends on the length of the frame, not on the number of pieces.
#[test]
fn a_long_frame_in_small_pieces_takes_few_buffers() {
    for read_mode in [ReadMode::PerFrame, ReadMode::batched()] {
        let pool = BufferPool::new(BufferPoolConfig::powers_of_two_and(HEADER_LEN, 128..=1 << 20).unwrap());
        let mut frames = Assembler::new(Tlv::default(), pool.clone(), read_mode);
        let wire = [&header(1, 1_000_000)[..], &[5; 1_000_000]].concat();
        for mut piece in wire.chunks(1460) {
            while !piece.is_empty() {
                frames.push(&mut piece).unwrap();
            }
            if let Some(frame) = frames.next_frame().unwrap() {
                assert_eq!(frame.payload.len(), 1_000_000);
            }
        }
        assert!(!frames.is_partial());
        assert!(pool.stats().acquires <= 16, "{read_mode:?}: {}", pool.stats());
    }
}

/// Also if every read contains whole frames.
#[test]
fn the_size_of_reads_follows_the_stream() {
    let pool = BufferPool::new(BufferPoolConfig::powers_of_two_and(HEADER_LEN, 128..=65_536).unwrap());
    let mut frames = Assembler::new(Tlv::default(), pool, ReadMode::batched());
    let one = [&header(1, 2048)[..], &[5; 2048]].concat();
    let mut sizes = |burst: usize| {
        let wire = one.repeat(burst);
        for _ in 0..20 {
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                frames.push(&mut rest).unwrap();
                while frames.next_frame().unwrap().is_some() {}
            }
        }
        frames.wants()
    };
    assert_eq!(sizes(1), Some(8192));
    assert_eq!(sizes(64), Some(65_536));
    assert_eq!(sizes(1), Some(8192));
}

#[test]
fn an_assembler_dropped_inside_a_frame_returns_its_buffer() {
    let pool = pool();
    let mut frames = frames(1000, &pool);
    frames.push(&mut header(1, 1000).as_slice()).unwrap();
    assert_eq!(pool.stats().in_use, 1);
    drop(frames);
    assert_eq!(pool.stats().in_use, 0);
}

proptest! {
    #[test]
    fn encoded_frames_are_decoded_in_any_chunking(
        messages in vec((any::<u16>(), prop_oneof![vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..30_000)]), 0..12),
        cuts in vec(1_usize..9000, 1..20),
        read_mode in read_modes(),
    ) {
        let pool = pool();
        let mut wire = Vec::new();
        for (type_id, payload) in &messages {
            encode(*type_id, payload, &mut wire).unwrap();
        }
        let mut frames = Assembler::new(Tlv::new(30_000), pool.clone(), read_mode);
        let (decoded, end) = decode(&mut frames, &wire, &cuts);
        prop_assert_eq!(end, Ok(()));
        let plain = |frame: &Result<Frame, _>| frame.as_ref().map(|one| (one.type_id, one.payload.to_vec())).unwrap();
        prop_assert_eq!(decoded.iter().map(plain).collect::<Vec<_>>(), messages);
        drop(decoded);
        prop_assert_eq!(pool.stats().in_use, 0);
    }
}
