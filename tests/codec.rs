//! The framings under `tokio_util`'s `Framed`, over a pipe that holds few bytes.

use std::fmt::Debug;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use millpond::frame::sse::Event;
use millpond::frame::{
    Decoder, EncodeError, Encoder, FrameError, FrameErrorKind, FrameSink, Hdlc, Kiss, Lines, Sse, Tlv, tlv,
};
use millpond::net::{Codec, CodecError};
use millpond::{BufferPool, BufferPoolConfig, PooledBytes};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::timeout;
use tokio_util::codec::{Decoder as _, Encoder as _, Framed, FramedRead};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn pool() -> BufferPool {
    BufferPool::new(BufferPoolConfig::builder().class(128, 8).class(1024, 8).build().unwrap())
}

/// Sends the messages through a pipe. Asserts that they arrive, in `plain` values, that the stream ends without an error,
/// and that all buffers are returned after it.
async fn exchange<F, M, T>(framing: impl Fn() -> F, messages: Vec<(M, T)>, plain: impl Fn(F::Frame) -> T)
where
    F: Decoder + Encoder<M>,
    T: PartialEq + Debug,
{
    let pool = pool();
    let (here, there) = duplex(7);
    let mut sender = Framed::new(here, Codec::new(framing(), pool.clone()));
    let mut receiver = Framed::new(there, Codec::new(framing(), pool.clone()));
    let (messages, expected): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
    let send = async {
        for message in messages {
            sender.send(message).await.unwrap();
        }
        sender.close().await.unwrap();
    };
    let receive = async {
        let mut received = Vec::new();
        while let Some(frame) = receiver.next().await {
            received.push(plain(frame.unwrap().unwrap()));
        }
        received
    };
    let ((), received) = timeout(PATIENCE, async { tokio::join!(send, receive) }).await.unwrap();
    assert_eq!(received, expected);
    drop((sender, receiver));
    assert_eq!(pool.stats().in_use, 0);
}

/// Payloads of arbitrary bytes, one larger than every class.
fn payloads() -> Vec<(Vec<u8>, Vec<u8>)> {
    [20, 500, 64, 5000, 21].map(|len| (0..len).map(|at| (at * 7 % 256) as u8).collect()).map(twice).to_vec()
}

fn twice(bytes: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    (bytes.clone(), bytes)
}

#[tokio::test]
async fn tlv_frames_arrive_as_they_were_sent() {
    let messages = payloads().into_iter().zip(1001..).map(|((sent, seen), id)| ((id, sent), (id, seen)));
    let plain = |frame: tlv::Frame| (frame.type_id, frame.payload.to_vec());
    exchange(Tlv::default, messages.collect(), plain).await;
}

#[tokio::test]
async fn hdlc_frames_arrive_as_they_were_sent() {
    exchange(Hdlc::default, payloads(), |payload| payload.to_vec()).await;
}

#[tokio::test]
async fn kiss_frames_arrive_as_they_were_sent() {
    exchange(Kiss::default, payloads(), |frame| frame.payload.to_vec()).await;
}

#[tokio::test]
async fn lines_arrive_as_they_were_sent() {
    let lines = [&b"{\"id\":1}"[..], b"", b"\r.", &[b'x'; 5000]].map(|line| twice(line.to_vec()));
    exchange(Lines::default, lines.to_vec(), |line| line.to_vec()).await;
}

#[tokio::test]
async fn server_sent_events_arrive_as_they_were_sent() {
    let sent: [Event<&[u8]>; 3] = [
        Event::new(&b"/messages"[..]).with_type(b"endpoint"),
        Event::new(&b"two\nlines"[..]).with_id(b"7"),
        Event::new(&[b'x'; 5000][..]).with_retry(Duration::from_millis(1500)),
    ];
    let mut expected = sent.map(|event| (event, own(event)));
    expected[2].1.2 = Some(b"7".to_vec());
    exchange(Sse::default, expected.to_vec(), own).await;
}

type Owned = (Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>, Option<Duration>);

fn own<P: AsRef<[u8]>>(event: Event<P>) -> Owned {
    let bytes = |bytes: P| bytes.as_ref().to_vec();
    (event.event.map(bytes), bytes(event.data), event.id.map(bytes), event.retry)
}

/// The frames and errors of a stream.
async fn outcomes<F: Decoder>(framing: F, wire: &'static [u8]) -> Vec<Result<F::Frame, FrameError>> {
    let (mut here, there) = duplex(7);
    let frames = FramedRead::new(there, Codec::new(framing, pool()));
    let send = async move { here.write_all(wire).await.unwrap() };
    let outcome = |outcome| match outcome {
        Ok(outcome) => outcome,
        Err(CodecError::Frame(error)) => Err(error),
        Err(other) => panic!("{other}"),
    };
    let receive = frames.map(outcome).collect();
    timeout(PATIENCE, async { tokio::join!(send, receive) }).await.unwrap().1
}

/// The stream stays open, and nothing more arrives.
#[tokio::test]
async fn a_frame_after_a_skipped_one_does_not_wait_for_more_bytes() {
    let (mut here, there) = duplex(64);
    let mut lines = FramedRead::new(there, Codec::new(Lines::new(3), pool()));
    here.write_all(b"four\ntwo\n").await.unwrap();
    let mut next = async || {
        timeout(PATIENCE, lines.next()).await.expect("the decoder waits for more bytes").unwrap().unwrap()
    };
    assert!(next().await.is_err());
    assert_eq!(next().await.unwrap(), *b"two");
}

#[tokio::test]
async fn errors_have_an_offset_and_only_fatal_ones_end_the_stream() {
    let [too_large, skipped, line] = &outcomes(Lines::new(3), b"four\nthree\r\ntwo\n").await[..] else {
        panic!()
    };
    for (error, at) in [(too_large, 0), (skipped, 5)] {
        let error = error.as_ref().unwrap_err();
        assert_eq!(error.kind(), FrameErrorKind::MessageTooLarge { size: 4, max: 3 });
        assert_eq!((error.offset(), error.is_fatal()), (at, false));
    }
    assert_eq!(*line.as_ref().unwrap(), *b"two");

    let hdlc = Hdlc::default();
    let [escape, payload, truncated] = &outcomes(hdlc, b"\x7Ea\x7D\x7Eb\x7Ec").await[..] else { panic!() };
    let escape = escape.as_ref().unwrap_err();
    assert_eq!((escape.kind(), escape.offset()), (FrameErrorKind::BadEscape { byte: 0x7E }, 2));
    assert_eq!(*payload.as_ref().unwrap(), *b"b");
    let truncated = truncated.as_ref().unwrap_err();
    assert_eq!(truncated.kind(), FrameErrorKind::Truncated { received: 1, expected: 2 });
    assert_eq!((truncated.offset(), truncated.is_fatal()), (7, true));
}

#[tokio::test]
async fn a_message_that_cannot_be_encoded_is_not_sent() {
    let (here, there) = duplex(64);
    let mut sender = Framed::new(here, Codec::new(Lines::default(), pool()));
    let refused = sender.send("two\nlines").await.unwrap_err();
    assert!(matches!(refused, CodecError::Encode(EncodeError::Delimiter { at: 3 })), "{refused}");
    assert_eq!(refused.to_string(), "the framing cannot carry the message");
    sender.send("one").await.unwrap();
    drop(sender);
    let mut receiver = FramedRead::new(there, Codec::new(Lines::default(), pool()));
    assert_eq!(receiver.next().await.unwrap().unwrap().unwrap(), *b"one");
    assert!(receiver.next().await.is_none());
}

/// Writes the start of a frame before it finds out that it cannot write the rest.
struct Fickle;

impl Encoder<bool> for Fickle {
    fn encoded_len(&self, _: &bool) -> usize {
        4
    }

    fn copied_len(&self, _: &bool) -> usize {
        4
    }

    fn encode(&self, is_whole: bool, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        out.push_copy(b"fr");
        if !is_whole {
            return Err(EncodeError::Delimiter { at: 2 });
        }
        out.push_copy(b"me");
        Ok(())
    }
}

#[test]
fn nothing_is_left_of_a_message_whose_encoder_fails_midway() {
    let (mut codec, mut out) = (Codec::new(Fickle, pool()), BytesMut::new());
    codec.encode(true, &mut out).unwrap();
    codec.encode(false, &mut out).unwrap_err();
    assert_eq!(out, b"frme".as_slice());
}

/// A read buffer is taken only within the memory limit.
#[tokio::test]
async fn a_frame_that_gets_no_memory_is_skipped() {
    let pool = BufferPool::new(BufferPoolConfig::builder().class(128, 8).memory_limit(128).build().unwrap());
    let (mut here, there) = duplex(64);
    let mut lines = FramedRead::new(there, Codec::new(Lines::default(), pool.clone()));
    let taken = pool.try_acquire(128).unwrap();
    here.write_all(b"one\ntwo\n").await.unwrap();
    let refused = lines.next().await.unwrap().unwrap().unwrap_err();
    assert!(matches!(refused.kind(), FrameErrorKind::OutOfMemory(_)), "{refused}");
    drop(taken);
    assert_eq!(lines.next().await.unwrap().unwrap().unwrap(), *b"two");
    assert_eq!(pool.stats().overruns, 0);
}

/// `Framed` calls the codec again at once: an error without progress would keep its task busy for ever.
#[tokio::test]
async fn without_memory_each_frame_is_refused_once() {
    async fn refused<F: Decoder>(framing: F, wire: &[u8]) -> usize {
        let pool =
            BufferPool::new(BufferPoolConfig::builder().class(128, 8).memory_limit(128).build().unwrap());
        let _taken = pool.try_acquire(128).unwrap();
        let (mut here, there) = duplex(64);
        let frames = FramedRead::new(there, Codec::new(framing, pool.clone()));
        here.write_all(wire).await.unwrap();
        drop(here);
        // Far more than there are frames.
        let outcomes: Vec<_> = frames.take(100).collect().await;
        let refused = outcomes.iter().filter(|outcome| {
            let Ok(Err(error)) = outcome else { return false };
            matches!(error.kind(), FrameErrorKind::OutOfMemory(_))
        });
        assert_eq!(pool.stats().overruns, 0);
        assert_eq!(refused.clone().count(), outcomes.len());
        refused.count()
    }
    assert_eq!(refused(Lines::default(), b"one\ntwo\nthree\n").await, 3);
    assert_eq!(refused(Hdlc::default(), b"\x7Eone\x7Etwo\x7E\x7D\x5Ethree\x7E").await, 3);
    assert_eq!(refused(Kiss::default(), b"\xC0\x00one\xC0\x00two\xC0\x00three\xC0").await, 3);
    assert_eq!(refused(Sse::default(), b"data: one\n\ndata: two\n\ndata: 3\ndata: 4\n\n").await, 3);
}

/// Decodes numbered payloads, which arrive in pieces of these sizes while another task takes and returns memory. Frames are
/// kept for a while. Returns how many were delivered and how many were refused.
fn under_pressure<F>(framing: impl Fn() -> F, frames: usize, pieces: &[(usize, bool)]) -> (usize, usize)
where
    F: Decoder<Frame = PooledBytes> + Encoder<Vec<u8>>,
{
    let classes = BufferPoolConfig::builder().class(64, 8).class(256, 8).thread_cache_bytes(0);
    let pool = BufferPool::new(classes.memory_limit(600).build().unwrap());
    let (mut wire, mut source) = (BytesMut::new(), BytesMut::new());
    let (mut sender, mut codec) = (Codec::new(framing(), pool.clone()), Codec::new(framing(), pool.clone()));
    let payload = |number: usize| format!("{number}{}", "}".repeat(number * 31 % 200)).into_bytes();
    (0..frames).for_each(|number| sender.encode(payload(number), &mut wire).unwrap());
    drop(sender);
    let (mut next, mut delivered, mut refused) = (0, 0, 0);
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for &(piece, takes) in pieces.iter().cycle() {
        if takes {
            taken.extend(pool.try_acquire(piece.min(256)));
            kept.pop();
        } else {
            taken.pop();
        }
        let outcome = if wire.is_empty() { codec.decode_eof(&mut source) } else { codec.decode(&mut source) };
        match outcome.unwrap() {
            Some(Ok(frame)) => {
                // In order, and whole.
                next = 1 + (next..frames).find(|&number| frame == payload(number)).unwrap();
                delivered += 1;
                kept.push(frame);
            }
            Some(Err(error)) => {
                assert!(matches!(error.kind(), FrameErrorKind::OutOfMemory(_)), "{error}");
                refused += 1;
            }
            None if wire.is_empty() => break,
            None => source.extend_from_slice(&wire.split_to(piece.min(wire.len()))),
        }
    }
    assert_eq!((pool.stats().overruns, pool.stats().heap_fallbacks), (0, 0));
    (delivered, refused)
}

proptest! {
    #[test]
    fn each_frame_is_delivered_or_refused_whatever_the_memory(
        pieces in vec((1..400_usize, any::<bool>()), 1..50),
    ) {
        const FRAMES: usize = 30;
        let (delivered, refused) = under_pressure(Lines::default, FRAMES, &pieces);
        prop_assert_eq!(delivered + refused, FRAMES);
        let (delivered, refused) = under_pressure(Hdlc::default, FRAMES, &pieces);
        prop_assert_eq!(delivered + refused, FRAMES);
    }
}

#[tokio::test]
async fn a_silent_peer_needs_no_memory() {
    let pool = BufferPool::new(BufferPoolConfig::builder().class(128, 8).memory_limit(128).build().unwrap());
    let (mut here, there) = duplex(64);
    let mut lines = FramedRead::new(there, Codec::new(Lines::default(), pool.clone()));
    here.write_all(b"one\n").await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().unwrap(), *b"one");
    let mut other = FramedRead::new(tokio::io::empty(), Codec::new(Lines::default(), pool.clone()));
    let taken = pool.try_acquire(128).ok();
    assert!(timeout(Duration::from_millis(5), lines.next()).await.is_err());
    assert!(other.next().await.is_none());
    drop(taken);
    here.write_all(b"two\n").await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().unwrap(), *b"two");
    assert_eq!((pool.stats().overruns, pool.stats().heap_fallbacks), (0, 0));
}

/// `Framed` lets a program at its buffers.
#[test]
fn the_pool_gets_no_storage_of_which_the_program_has_a_part() {
    let pool = pool();
    let mut lines = Codec::new(Lines::default(), pool.clone());
    let mut source = BytesMut::from("one\nt");
    assert_eq!(lines.decode(&mut source).unwrap().unwrap().unwrap(), *b"one");
    assert!(lines.decode(&mut source).unwrap().is_none());
    assert_eq!(source, b"t".as_slice());
    source.extend_from_slice(b"wo\nthree");
    let head = source.split_to(4);
    assert_eq!((&head[..], &source[..]), (&b"two\n"[..], &b"three"[..]));
    assert!(lines.decode(&mut source).unwrap().is_none());
    let exchanged = std::mem::replace(&mut source, BytesMut::from("three\nfour\nf"));
    assert_eq!(exchanged, b"three".as_slice());
    assert_eq!(lines.decode(&mut source).unwrap().unwrap().unwrap(), *b"three");
    assert_eq!(lines.decode(&mut source).unwrap().unwrap().unwrap(), *b"four");

    let mut out = BytesMut::new();
    lines.encode("five", &mut out).unwrap();
    let written = out.split();
    lines.encode("six", &mut out).unwrap();
    assert_eq!((&written[..], &out[..]), (&b"five\n"[..], &b"six\n"[..]));

    let (_, rest) = lines.into_parts();
    assert_eq!(rest.unwrap(), b"f");
    assert_eq!(pool.stats().in_use, 0);
    let buffers: Vec<_> = (0..8).map(|_| pool.acquire(1024)).collect();
    assert!(buffers.iter().all(|buffer| buffer.capacity() == 1024));
    assert_eq!((&head[..], &written[..]), (&b"two\n"[..], &b"five\n"[..]));
}
