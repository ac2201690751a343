//! The queue holds little, and writes exactly the bytes that were queued.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::io::AsyncWrite;

use super::{PushError, WriteQueue};
use crate::frame::tlv::Frame;
use crate::frame::{EncodeError, Encoder, FrameSink, Hdlc, Kiss, Lines, Tlv};
use crate::pool::{AcquireError, BufferPool, BufferPoolConfig, PooledBytes};

fn payload(pool: &BufferPool, size: usize, byte: u8) -> PooledBytes {
    let mut payload = pool.acquire(size);
    payload.resize(size, byte);
    payload.into_shared()
}

fn frame(type_id: u16, payload: PooledBytes) -> Frame {
    Frame { type_id, payload }
}

/// Takes a few bytes per write, and is pending between two writes.
struct Narrow {
    taken: Vec<u8>,
    at_once: usize,
    full: bool,
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.full = !self.full;
        if self.full {
            return Poll::Pending;
        }
        let count = bytes.len().min(self.at_once);
        self.taken.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn write_all(queue: &mut WriteQueue, at_once: usize) -> Vec<u8> {
    let mut writer = Narrow { taken: Vec::new(), at_once, full: false };
    while queue.poll_write(&mut Context::from_waker(Waker::noop()), Pin::new(&mut writer)).is_pending() {}
    writer.taken
}

fn drain(queue: &mut WriteQueue) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(queue.poll_write(&mut cx, pin!(tokio::io::sink())).is_ready());
}

#[test]
fn headers_of_large_payloads_share_one_buffer() {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let payload = payload(&pool, 4096, 7);
    let mut queue = WriteQueue::new(pool);
    for _ in 0..10 {
        queue.push(&Tlv::default(), frame(1, payload.clone())).unwrap();
    }
    assert_eq!(queue.len(), 10 * 4102);
    assert_eq!(queue.held_bytes(), 4096 + 16 * 1024, "one payload, ten times, and one buffer of headers");
}

/// Copies and shares more than it says.
struct Liar {
    copied_len: usize,
}

impl Encoder<PooledBytes> for Liar {
    fn encoded_len(&self, message: &PooledBytes) -> usize {
        message.len()
    }

    fn copied_len(&self, _: &PooledBytes) -> usize {
        self.copied_len
    }

    fn encode(&self, message: PooledBytes, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        out.push_copy(b"begin");
        out.push_shared(message.clone());
        out.push_copy(&message);
        out.push_shared(message);
        out.push_copy(b"end");
        Ok(())
    }
}

#[test]
fn an_encoder_that_copies_more_than_it_says_is_refused() {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    for copied_len in [0, 1, 100] {
        for queued in [&b""[..], b"before"] {
            let mut queue = WriteQueue::new(pool.clone());
            queue.push_copy(queued).unwrap();
            let held = queue.held_bytes();
            let message = payload(&pool, 16 * 1024, 7);
            let refused = queue.push(&Liar { copied_len }, message).unwrap_err();
            let is_named = matches!(refused, PushError::Encode(EncodeError::CopiedLen { .. }));
            assert!(is_named, "{refused:?}");
            assert_eq!((queue.len(), queue.held_bytes()), (queued.len(), held));
            queue.push(&Lines::default(), b"after").unwrap();
            assert_eq!(write_all(&mut queue, 1000), [queued, b"after\n"].concat());
        }
    }
    assert_eq!((pool.stats().heap_fallbacks, pool.stats().in_use), (0, 0));
}

/// Without a memory limit, too.
#[test]
fn small_frames_take_nothing_from_the_heap_where_all_classes_are_small() {
    let pool = BufferPool::new(BufferPoolConfig::builder().classes([(64, 8), (1024, 8)]).build().unwrap());
    let mut queue = WriteQueue::new(pool.clone());
    for _ in 0..100 {
        queue.push(&Lines::default(), b"a small frame of a few bytes").unwrap();
    }
    assert_eq!((pool.stats().heap_fallbacks, queue.held_bytes()), (0, 3 * 1024));
}

#[test]
fn a_queue_that_was_written_holds_nothing() {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let mut queue = WriteQueue::new(pool.clone());
    for size in [16, 1025].repeat(100) {
        queue.push(&Tlv::default(), frame(1, payload(&pool, size, 7))).unwrap();
    }
    drain(&mut queue);
    assert_eq!((queue.len(), queue.held_bytes(), pool.stats().in_use), (0, 0, 0));
}

#[test]
fn small_frames_between_large_ones_cost_no_buffer_each() {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let mut queue = WriteQueue::new(pool.clone());
    for size in [16, 1025].repeat(100) {
        queue.push(&Tlv::default(), frame(1, payload(&pool, size, 7))).unwrap();
    }
    assert!(queue.held_bytes() <= 100 * 4096 + 16 * 1024, "{} B are held", queue.held_bytes());
}

#[test]
fn a_few_bytes_that_a_stalled_peer_leaves_keep_a_small_buffer() {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let mut queue = WriteQueue::new(pool);
    queue.push(&Tlv::default(), (1, &[7_u8; 20])).unwrap();
    let mut full = Narrow { taken: Vec::new(), at_once: 1, full: false };
    assert!(queue.poll_write(&mut Context::from_waker(Waker::noop()), Pin::new(&mut full)).is_pending());
    assert_eq!(queue.held_bytes(), 128);
    let written = write_all(&mut queue, 100);
    assert_eq!((written.len(), &written[6..]), (26, &[7; 20][..]));
}

#[test]
fn a_frame_without_memory_is_handed_back() {
    let pool = BufferPoolConfig::builder().class(8192, 4).memory_limit(8192).build().unwrap();
    let pool = BufferPool::new(pool);
    let taken = pool.try_acquire(8192).unwrap();
    let mut queue = WriteQueue::new(pool.clone());
    let refused = queue.push(&Lines::default(), b"a line".as_slice());
    let Err(PushError::Memory { error: AcquireError::Exhausted { .. }, message }) = refused else {
        panic!("there was no memory")
    };
    assert_eq!((message, queue.len()), (b"a line".as_slice(), 0));
    drop(taken);
    queue.push(&Lines::default(), message).unwrap();
    assert_eq!(write_all(&mut queue, 100), b"a line\n");
    assert_eq!(pool.stats().overruns, 0);
}

#[test]
fn a_frame_can_be_queued_without_memory_of_the_pool() {
    let own = BufferPool::new(BufferPoolConfig::messages());
    let pool = BufferPoolConfig::builder().class(8192, 4).memory_limit(8192).build().unwrap();
    let pool = BufferPool::new(pool);
    let _taken = pool.try_acquire(8192).unwrap();
    let mut queue = WriteQueue::new(pool.clone());
    let header: Vec<u8> = (0..34).collect();
    queue.push_uncopied(&header, Some(payload(&own, 3, b'x')));
    assert_eq!(write_all(&mut queue, 5), [&header[..], b"xxx"].concat());
    assert_eq!(pool.stats().overruns, 0);
}

#[test]
fn a_queue_waits_for_memory_and_is_served() {
    let pool = BufferPoolConfig::builder().class(8192, 4).memory_limit(8192).build().unwrap();
    let pool = BufferPool::new(pool);
    let taken = pool.try_acquire(8192).unwrap();
    let mut queue = WriteQueue::new(pool.clone());
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut reserve = pin!(queue.reserve(7));
        assert!(reserve.as_mut().poll(&mut cx).is_pending());
        drop(taken);
        assert!(matches!(reserve.poll(&mut cx), Poll::Ready(Ok(()))));
    }
    queue.push(&Lines::default(), b"a line".as_slice()).unwrap();
}

#[test]
fn a_refused_frame_leaves_no_buffer() {
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let mut queue = WriteQueue::new(pool);
    assert!(matches!(queue.push(&Lines::default(), b"a\nb".as_slice()), Err(PushError::Encode(_))));
    assert_eq!(queue.held_bytes(), 0);
}

/// The buffer of a refused frame, or of a reservation, must not be taken for the bytes that follow.
#[test]
fn frames_after_an_unused_reservation_arrive_unharmed() {
    let mut queue = WriteQueue::new(BufferPool::new(BufferPoolConfig::proxy()));
    let reserve = pin!(queue.reserve(100)).poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!(reserve);
    let line: Vec<u8> = (0..9).flat_map(|n| vec![b'a' + n; 1000]).collect();
    queue.push(&Lines::default(), line.as_slice()).unwrap();
    assert_eq!(write_all(&mut queue, 1000), [&line[..], b"\n"].concat());
}

/// A tail that is written to its end while shared parts still wait.
#[test]
fn frames_after_a_written_tail_arrive_unharmed() {
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let mut queue = WriteQueue::new(pool.clone());
    queue.push(&Lines::default(), payload(&pool, 5000, b'x')).unwrap();
    queue.push(&Tlv::default(), frame(1, payload(&pool, 5000, b'y'))).unwrap();
    let mut writer = Narrow { taken: Vec::new(), at_once: 5007, full: true };
    let mut cx = Context::from_waker(Waker::noop());
    assert!(queue.poll_write(&mut cx, Pin::new(&mut writer)).is_pending());
    assert!(queue.poll_write(&mut cx, Pin::new(&mut writer)).is_pending());
    let line = vec![b'z'; 20_000];
    queue.push(&Lines::default(), line.as_slice()).unwrap();
    while queue.poll_write(&mut cx, Pin::new(&mut writer)).is_pending() {}
    let mut expected = vec![b'x'; 5000];
    expected.extend_from_slice(b"\n\x01\x00\x88\x13\x00\x00");
    expected.extend_from_slice(&[b'y'; 5000]);
    expected.extend_from_slice(&line);
    expected.push(b'\n');
    assert!(writer.taken == expected);
}

/// Takes everything, and records the addresses.
#[derive(Default)]
struct Places(Vec<std::ops::Range<usize>>);

impl AsyncWrite for Places {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let place = bytes.as_ptr_range();
        self.0.push(place.start.addr()..place.end.addr());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = slices.iter().map(|slice| slice.len()).sum();
        slices.iter().for_each(|slice| assert!(self.as_mut().poll_write(cx, slice).is_ready()));
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Checks that the framing writes a large payload without a copy.
#[track_caller]
fn assert_written_in_place<E: Encoder<PooledBytes>>(encoder: &E) {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let payload = payload(&pool, 4000, b'x');
    let place = payload.as_ptr_range();
    let mut queue = WriteQueue::new(pool);
    queue.push(encoder, payload).unwrap();
    let mut places = Places::default();
    assert!(queue.poll_write(&mut Context::from_waker(Waker::noop()), Pin::new(&mut places)).is_ready());
    assert!(
        places.0.contains(&(place.start.addr()..place.end.addr())),
        "{:?} is not in {places:?}",
        place,
        places = places.0
    );
}

#[test]
fn lines_write_a_large_payload_from_where_it_is() {
    assert_written_in_place(&Lines::default());
}

#[test]
fn hdlc_writes_a_large_payload_from_where_it_is() {
    assert_written_in_place(&Hdlc::default());
}

#[test]
fn kiss_writes_a_large_payload_from_where_it_is() {
    assert_written_in_place(&Kiss::default());
}

proptest! {
    /// Frames of any kind, written in any portions, with more pushed in between.
    #[test]
    fn what_is_written_is_what_was_queued(
        sizes in prop::collection::vec((0_usize..3000, 0_u8..3, any::<bool>()), 1..40),
        at_once in 1_usize..5000,
    ) {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let mut queue = WriteQueue::new(pool.clone());
        let mut writer = Narrow { taken: Vec::new(), at_once, full: false };
        let mut expected = Vec::new();
        for (size, kind, writes) in sizes {
            // A byte that HDLC escapes, and one that it does not.
            let payload = payload(&pool, size, if size % 2 == 0 { 0x7D } else { b'x' });
            match kind {
                0 => {
                    Tlv::default().encode(frame(1, payload.clone()), &mut expected).unwrap();
                    queue.push(&Tlv::default(), frame(1, payload)).unwrap();
                }
                1 if size > 0 => {
                    Hdlc::default().encode(payload.clone(), &mut expected).unwrap();
                    queue.push(&Hdlc::default(), payload).unwrap();
                }
                _ => {
                    Lines::default().encode(payload.clone(), &mut expected).unwrap();
                    queue.push(&Lines::default(), payload).unwrap();
                }
            }
            if writes {
                let _ = queue.poll_write(&mut Context::from_waker(Waker::noop()), Pin::new(&mut writer));
            }
        }
        let mut cx = Context::from_waker(Waker::noop());
        while queue.poll_write(&mut cx, Pin::new(&mut writer)).is_pending() {}
        prop_assert!(writer.taken == expected);
        prop_assert_eq!((queue.held_bytes(), pool.stats().in_use), (0, 0));
    }
}
