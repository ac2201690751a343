//! Memory of the framings under `tokio_util`'s `Framed`, counted by dhat: none per frame in steady state, and
//! little at rest, whatever the largest frame was.
//!
//! Without the test harness, whose own thread allocates at any time.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use dhat::HeapStats;
use futures_util::{SinkExt, Stream};
use millpond::frame::{Tlv, tlv};
use millpond::net::Codec;
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::codec::Framed;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const KIB: usize = 1024;
const FRAMES: usize = 2000;
/// What `Framed` allocates for each direction when it is made, and one read of the codec.
const SMALL: usize = 8 * KIB;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    a_frame_takes_no_allocation_in_steady_state();
    payloads_stay_where_they_were_read();
    a_framed_at_rest_holds_one_small_read();
    a_written_message_takes_no_allocation_in_steady_state();
    println!("test result: ok. {FRAMES} frames of each size");
}

/// A peer that sends these bytes, `times` times, takes everything, and is silent then.
struct Peer {
    wire: Bytes,
    rest: Bytes,
    times: usize,
}

impl Peer {
    fn new(wire: Vec<u8>, times: usize) -> Self {
        Self { wire: wire.into(), rest: Bytes::new(), times }
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            if self.times == 0 {
                return Poll::Pending;
            }
            self.times -= 1;
            self.rest = self.wire.clone();
        }
        let count = room.remaining().min(self.rest.len());
        room.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Frames = Framed<Peer, Codec<Tlv>>;

/// An empty pool that has allocated what it keeps: this thread's cache, and the queue of each class.
///
/// Without decay: on a slow machine a step between two frames would free idle buffers, and the next would allocate.
fn pool() -> BufferPool {
    let classes = BufferPoolConfig::powers_of_two_and(tlv::HEADER_LEN, 128..=1 << 20).unwrap();
    let pool = BufferPool::new(classes.to_builder().decay_interval(None).build().unwrap());
    pool.stats().classes.iter().for_each(|class| drop(pool.acquire(class.size)));
    pool.trim();
    pool
}

fn frame(len: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    tlv::encode(7, vec![5; len], &mut wire).unwrap();
    wire
}

fn next(frames: &mut Frames) -> Option<tlv::Frame> {
    match pin!(frames).poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => Some(frame.unwrap().unwrap().unwrap()),
        Poll::Pending => None,
    }
}

fn a_frame_takes_no_allocation_in_steady_state() {
    for len in [0, 16, 1000, 16 * KIB, 200 * KIB, 1 << 20] {
        let mut frames = Framed::new(Peer::new(frame(len), usize::MAX), Codec::new(Tlv::default(), pool()));
        let mut receive =
            |count| (0..count).for_each(|_| assert_eq!(next(&mut frames).unwrap().payload.len(), len));
        let count = if len > 100 * KIB { FRAMES / 20 } else { FRAMES };
        receive(count);
        let before = HeapStats::get();
        receive(count);
        assert_eq!(HeapStats::get().total_blocks, before.total_blocks, "{count} frames of {len} bytes");
    }
}

fn payloads_stay_where_they_were_read() {
    let wire = frame(100).repeat(50);
    let mut frames = Framed::new(Peer::new(wire, 3), Codec::new(Tlv::default(), pool()));
    // The first read goes into the buffer that `Framed` made itself.
    (0..50).for_each(|_| drop(next(&mut frames)));
    let read: Vec<_> = (0..50).map(|_| next(&mut frames).unwrap().payload).collect();
    assert!(read.iter().all(|payload| payload.storage_len() >= SMALL), "a payload was copied");
    let at = |payload: &[u8]| payload.as_ptr().addr();
    assert!(read.windows(2).all(|two| at(&two[1]) - at(&two[0]) == 100 + tlv::HEADER_LEN));
}

fn a_framed_at_rest_holds_one_small_read() {
    let pool = pool();
    let peer = Peer::new([frame(1 << 20), frame(5)].concat(), 1);
    let before = HeapStats::get();
    let mut frames = Framed::new(peer, Codec::new(Tlv::default(), pool.clone()));
    assert_eq!(next(&mut frames).unwrap().payload.len(), 1 << 20);
    assert_eq!(next(&mut frames).unwrap().payload.len(), 5);
    assert!(next(&mut frames).is_none());
    pool.trim();
    let held = HeapStats::get().curr_bytes.saturating_sub(before.curr_bytes);
    assert!(held <= 2 * SMALL + KIB, "{held} bytes are held");
    drop(frames);
    assert_eq!(pool.stats().in_use, 0);
}

fn a_written_message_takes_no_allocation_in_steady_state() {
    let pool = pool();
    for len in [0, 16, 1000, 16 * KIB, 1 << 20] {
        let (payload, peer) = (vec![5; len], Peer::new(Vec::new(), 0));
        let empty = HeapStats::get();
        let mut frames = Framed::new(peer, Codec::new(Tlv::default(), pool.clone()));
        let mut send = |payload: &[u8]| {
            let mut sending = pin!(frames.send((7_u16, payload)));
            assert!(sending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        };
        (0..20).for_each(|_| send(&payload));
        let before = HeapStats::get();
        (0..20).for_each(|_| send(&payload));
        assert_eq!(HeapStats::get().total_blocks, before.total_blocks, "messages of {len} bytes");
        // After a large message, the next small one gives up its buffer.
        send(b"small");
        pool.trim();
        let held = HeapStats::get().curr_bytes.saturating_sub(empty.curr_bytes);
        assert!(held <= 2 * SMALL + KIB, "{held} bytes are held after messages of {len}");
    }
}
