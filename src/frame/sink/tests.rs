//! Frames through a sink that keeps shared bytes, against the encoders that copy everything.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::pieces::pool;
use crate::frame::sse::Event;
use crate::frame::{EncodeError, Encoder, Hdlc, Kiss, Lines, Sse, Tlv, tlv};

/// A sink that keeps shared bytes and counts copied ones.
#[derive(Default)]
struct Keeping {
    bytes: Vec<u8>,
    copied: usize,
    kept: Vec<PooledBytes>,
}

impl FrameSink for Keeping {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn push_copy(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.copied += bytes.len();
    }

    fn push_shared(&mut self, bytes: PooledBytes) {
        self.bytes.extend_from_slice(&bytes);
        self.kept.push(bytes);
    }
}

fn pooled(bytes: &[u8]) -> PooledBytes {
    let mut buffer = pool().acquire(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer.into_shared()
}

/// Encodes the same message from borrowed and from pooled bytes. Asserts that the frames and the promised lengths are equal.
fn kept<F, B: Clone, S: Clone>(framing: &F, borrowed: B, shared: S) -> Result<Keeping, EncodeError>
where
    F: Encoder<B> + Encoder<S>,
{
    let mut copied = Vec::new();
    framing.encode(borrowed.clone(), &mut copied)?;
    assert_eq!(framing.encoded_len(&borrowed), copied.len());
    assert_eq!(framing.copied_len(&borrowed), copied.len());
    assert_eq!(framing.encoded_len(&shared), copied.len());
    let mut copied_again = Vec::new();
    framing.encode(shared.clone(), &mut copied_again)?;
    assert!(copied_again == copied);

    let mut keeping = Keeping::default();
    let copied_len = framing.copied_len(&shared);
    framing.encode(shared, &mut keeping)?;
    assert!(keeping.bytes == copied);
    assert_eq!(keeping.copied, copied_len);
    assert!(keeping.kept.iter().all(|piece| piece.len() > SHARE_ABOVE));
    Ok(keeping)
}

#[test]
fn a_long_payload_is_shared_in_one_piece() {
    let payload = [b'x'; SHARE_ABOVE + 1];
    let sinks = [
        kept(&Tlv::default(), (7, &payload[..]), (7, pooled(&payload))),
        kept(&Hdlc::default(), &payload[..], pooled(&payload)),
        kept(&Kiss::default(), &payload[..], pooled(&payload)),
        kept(&Lines::default(), &payload[..], pooled(&payload)),
        kept(&Sse::default(), Event::new(&payload[..]), Event::new(pooled(&payload))),
    ];
    for sink in sinks {
        let [piece]: [PooledBytes; 1] = sink.unwrap().kept.try_into().unwrap();
        assert_eq!(piece, payload);
        assert!(piece.try_into_mut().is_ok(), "another handle holds the storage");
    }
}

#[test]
fn a_payload_at_the_limit_is_copied() {
    let payload = [b'x'; SHARE_ABOVE];
    let sink = kept(&Lines::default(), &payload[..], pooled(&payload)).unwrap();
    assert_eq!(sink.copied, SHARE_ABOVE + 1);
}

#[test]
fn a_long_run_between_two_escapes_is_shared() {
    let payload = [&[7; 2000][..], &[0x7E], &[7; 100], &[0x7D], &[7; 3000]].concat();
    let sink = kept(&Hdlc::default(), payload.as_slice(), pooled(&payload)).unwrap();
    let lengths: Vec<_> = sink.kept.iter().map(PooledBytes::len).collect();
    assert_eq!((lengths, sink.copied), (vec![2000, 3000], 1 + 2 + 100 + 2 + 1));
}

proptest! {
    #[test]
    fn a_sink_that_keeps_bytes_gets_the_frame_of_one_that_copies(
        runs in vec((prop_oneof![0..50_usize, 1000..1100_usize, 0..9000_usize], any::<u8>(), 0..6_usize), 1..8),
        event in prop_oneof![Just(None), prop_oneof![0..50_usize, 1000..1100_usize].prop_map(Some)],
    ) {
        // Between the runs there are bytes that a framing escapes or ends at.
        let payload: Vec<u8> = runs.iter().flat_map(|&(len, byte, special)| {
            let special = [0x7E, 0x7D, 0xC0, 0xDB, b'\n', b'\r'][special];
            core::iter::repeat_n(byte, len).chain([special])
        }).collect();
        let bytes = payload.as_slice();
        kept(&Tlv::default(), (7, bytes), tlv::Frame::new(7, pooled(bytes))).unwrap();
        kept(&Hdlc::default(), bytes, pooled(bytes)).unwrap();
        kept(&Kiss::default(), bytes, pooled(bytes)).unwrap();
        let _delimiter = kept(&Lines::default(), bytes, pooled(bytes));
        let name = event.map(|len| vec![b'e'; len]);
        let borrowed = Event::new(bytes).with_retry(Duration::from_millis(5));
        let borrowed = name.iter().fold(borrowed, |event, name| event.with_type(name).with_id(name));
        let shared = Event {
            event: borrowed.event.map(pooled),
            data: pooled(borrowed.data),
            id: borrowed.id.map(pooled),
            retry: borrowed.retry,
        };
        let _delimiter = kept(&Sse::default(), borrowed, shared);
    }
}
