use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::pool::BufferPoolConfig;

fn pool() -> BufferPool {
    BufferPool::new(BufferPoolConfig::builder().class(128, 8).class(1024, 4).build().unwrap())
}

fn header(type_id: u16, payload_len: u32) -> [u8; HEADER_LEN] {
    Header { type_id, payload_len }.encode()
}

/// Room that the decoder holds for the payload under way.
fn room_held(decoder: &Decoder) -> Option<usize> {
    match &decoder.payload {
        Ok(Some(partial)) => Some(partial.payload.capacity()),
        _ => None,
    }
}

#[test]
fn header_is_little_endian() {
    let bytes = [0x34, 0x12, 0x78, 0x56, 0x34, 0x12];
    let header = Header { type_id: 0x1234, payload_len: 0x1234_5678 };
    assert_eq!(Header::decode(&bytes, usize::MAX), Ok(header));
    assert_eq!(header.encode(), bytes);
}

#[test]
fn limit_is_inclusive() {
    let header = Header { type_id: 1, payload_len: 100 };
    assert_eq!(Header::decode(&header.encode(), 100), Ok(header));
    assert_eq!(Header::decode(&header.encode(), 99), Err(TlvError::MessageTooLarge { size: 100, max: 99 }));
}

#[test]
fn length_must_fit_the_header() {
    let max = u32::MAX as usize;
    assert_eq!(Header::new(1, max), Ok(Header { type_id: 1, payload_len: u32::MAX }));
    if let Some(size) = max.checked_add(1) {
        assert_eq!(Header::new(1, size), Err(TlvError::MessageTooLarge { size, max }));
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
    assert_eq!(encode(7, b"abc", &mut out), Err(TlvError::NoRoom { needed: 9, available: 8 }));
    assert_eq!(short, [0xAA; 8]);
}

#[test]
fn empty_payload_is_a_frame() {
    let (pool, mut decoder) = (pool(), Decoder::new(0));
    let wire = [header(1, 0), header(2, 0)].concat();
    let mut input = wire.as_slice();
    for type_id in [1, 2] {
        let frame = decoder.decode(&mut input, &pool).unwrap().unwrap();
        assert_eq!((frame.type_id, frame.payload.len()), (type_id, 0));
    }
    assert_eq!(decoder.decode(&mut input, &pool), Ok(None));
}

#[test]
fn takes_no_more_than_one_frame() {
    let (pool, mut decoder) = (pool(), Decoder::new(16));
    let mut input = b"\x01\0\x01\0\0\0xnext".as_slice();
    decoder.decode(&mut input, &pool).unwrap().unwrap();
    assert_eq!(input, b"next");
}

#[test]
fn a_payload_lies_in_its_own_class() {
    let (pool, mut decoder) = (pool(), Decoder::new(DEFAULT_MAX_PAYLOAD));
    for (payload_len, class) in [(1, 128), (128, 128), (129, 1024), (1024, 1024)] {
        assert_eq!(decoder.decode(&mut header(1, payload_len).as_slice(), &pool), Ok(None));
        assert_eq!(room_held(&decoder), Some(class));
        let payload = vec![5; payload_len as usize];
        let frame = decoder.decode(&mut payload.as_slice(), &pool).unwrap().unwrap();
        assert_eq!(frame.payload.as_ref(), payload);
        assert_eq!(room_held(&decoder), None);
    }
    assert_eq!(pool.stats().currently_in_use, 0);
    assert_eq!(pool.stats().heap_fallbacks, 0);
}

#[test]
fn an_announcement_alone_buys_little_room() {
    let (pool, mut decoder) = (pool(), Decoder::new(DEFAULT_MAX_PAYLOAD));
    let payload = vec![9; DEFAULT_MAX_PAYLOAD];
    assert_eq!(decoder.decode(&mut header(1, DEFAULT_MAX_PAYLOAD as u32).as_slice(), &pool), Ok(None));
    assert_eq!(room_held(&decoder), Some(FIRST_UNPOOLED_LOAN));

    let mut sent = 0;
    for piece in payload.chunks(100_000) {
        if let Some(frame) = decoder.decode(&mut &piece[..], &pool).unwrap() {
            assert!(frame.payload.as_ref() == payload);
        }
        sent += piece.len();
        assert!(room_held(&decoder).is_none_or(|room| room < 2 * sent + FIRST_UNPOOLED_LOAN));
    }
    assert_eq!(decoder.finish(), Ok(()));
    assert_eq!(pool.stats().currently_in_use, 0);
}

#[test]
fn the_first_error_is_final() {
    let (pool, mut decoder) = (pool(), Decoder::new(1000));
    let error = TlvError::MessageTooLarge { size: 1001, max: 1000 };
    assert_eq!(decoder.decode(&mut header(1, 1001).as_slice(), &pool), Err(error));

    let good = header(1, 0);
    let mut input = good.as_slice();
    assert_eq!(decoder.decode(&mut input, &pool), Err(error));
    assert_eq!(input, good);
    assert_eq!(decoder.finish(), Err(error));
    assert_eq!(pool.stats().total_acquires, 0);
}

#[test]
fn finish_tells_where_the_stream_broke() {
    let (pool, mut decoder) = (pool(), Decoder::new(1000));
    let wire = *b"\x01\0\x03\0\0\0abc";
    assert_eq!(decoder.finish(), Ok(()));
    for (byte, received) in wire.chunks(1).zip(1..) {
        let frame = decoder.decode(&mut &byte[..], &pool).unwrap();
        let expected = if received < HEADER_LEN { HEADER_LEN } else { wire.len() };
        match frame {
            Some(frame) => assert_eq!((received, frame.payload.as_ref()), (9, b"abc".as_slice())),
            None => assert_eq!(decoder.finish(), Err(TlvError::Truncated { received, expected })),
        }
    }
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn a_dropped_decoder_gives_its_buffer_back() {
    let (pool, mut decoder) = (pool(), Decoder::new(1000));
    decoder.decode(&mut header(1, 1000).as_slice(), &pool).unwrap();
    assert_eq!(pool.stats().currently_in_use, 1);
    drop(decoder);
    assert_eq!(pool.stats().currently_in_use, 0);
}

proptest! {
    #[test]
    fn round_trip_in_any_chunking(
        messages in vec((any::<u16>(), vec(any::<u8>(), 0..3000)), 0..12),
        cuts in vec(1_usize..2000, 1..20),
    ) {
        let pool = pool();
        let mut wire = Vec::new();
        for (type_id, payload) in &messages {
            encode(*type_id, payload, &mut wire).unwrap();
        }

        let (mut decoder, mut frames) = (Decoder::new(3000), Vec::new());
        let mut rest = wire.as_slice();
        for &cut in cuts.iter().cycle() {
            let Some((mut piece, behind)) = rest.split_at_checked(cut.min(rest.len())) else { break };
            while let Some(frame) = decoder.decode(&mut piece, &pool).unwrap() {
                frames.push((frame.type_id, frame.payload));
            }
            prop_assert!(piece.is_empty());
            if behind.is_empty() { break }
            rest = behind;
        }

        prop_assert_eq!(decoder.finish(), Ok(()));
        let decoded: Vec<_> = frames.iter().map(|(type_id, payload)| (*type_id, payload.to_vec())).collect();
        prop_assert_eq!(decoded, messages);
        prop_assert_eq!(pool.stats().currently_in_use, frames.len() as u64);
        drop(frames);
        prop_assert_eq!(pool.stats().currently_in_use, 0);
    }
}
