//! Frames of every framing through a `FrameWriter`, also at the memory limit and with a stalled reader.

use std::fmt::Debug;
use std::time::Duration;

use millpond::frame::sse::Event;
use millpond::frame::{Assembler, Decoder, Encoder, Hdlc, Kiss, Lines, ReadMode, Sse, Tlv, tlv};
use millpond::net::{FrameReader, FrameWriter, WriteFrameErrorKind};
use millpond::{BufferPool, BufferPoolConfig, PooledBytes};
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::timeout;

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

fn payload(pool: &BufferPool, size: usize) -> PooledBytes {
    let mut payload = pool.acquire(size);
    // Contains every byte that HDLC and KISS escape, and no line end.
    payload.extend_from_slice(&(0..size).map(|n| (n % 253) as u8 | 0x40).collect::<Vec<_>>());
    payload.into_shared()
}

/// Writes frames that a reader decodes on the other end of a narrow pipe, and returns what it decoded.
async fn there_and_back<F, M>(framing: impl Fn() -> F, messages: Vec<M>) -> Vec<F::Frame>
where
    F: Decoder + Encoder<M>,
    F::Frame: Debug,
{
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let (here, there) = duplex(100);
    let mut writer = FrameWriter::new(here, framing(), pool.clone());
    let mut reader = FrameReader::new(there, Assembler::new(framing(), pool, ReadMode::batched()));
    let write = async {
        for message in messages {
            writer.feed(message).await.unwrap();
        }
        writer.shutdown().await.unwrap();
        assert_eq!(writer.queue().held_bytes(), 0);
    };
    let read = async {
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame().await.unwrap() {
            frames.push(frame);
        }
        frames
    };
    within(async { tokio::join!(write, read) }).await.1
}

fn payloads() -> Vec<PooledBytes> {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    [20, 1024, 1025, 5000, 100, 60_000, 30].map(|size| payload(&pool, size)).into()
}

#[tokio::test]
async fn tlv_frames_arrive_as_they_were_written() {
    let frames: Vec<_> = payloads().into_iter().map(|payload| (7, payload)).collect();
    let received = there_and_back(Tlv::default, frames).await;
    let received: Vec<_> = received.into_iter().map(|tlv::Frame { payload, .. }| payload).collect();
    assert_eq!(received, payloads());
}

#[tokio::test]
async fn lines_arrive_as_they_were_written() {
    assert_eq!(there_and_back(Lines::default, payloads()).await, payloads());
}

#[tokio::test]
async fn hdlc_frames_arrive_as_they_were_written() {
    assert_eq!(there_and_back(Hdlc::default, payloads()).await, payloads());
}

#[tokio::test]
async fn kiss_frames_arrive_as_they_were_written() {
    let received = there_and_back(Kiss::default, payloads()).await;
    let received: Vec<_> = received.into_iter().map(|frame| frame.payload).collect();
    assert_eq!(received, payloads());
}

#[tokio::test]
async fn events_arrive_as_they_were_written() {
    let event = Event::new(b"one\ntwo".as_slice()).with_type(b"tick").with_id(b"7");
    let received = there_and_back(Sse::default, vec![event; 50]).await;
    assert_eq!(received.len(), 50);
    assert_eq!(received[49].data, b"one\ntwo");
    assert_eq!(received[49].id.as_deref(), Some(&b"7"[..]));
}

/// The limit allows one buffer, which all writers share.
#[tokio::test]
async fn writers_at_the_memory_limit_take_turns_and_do_not_exceed_it() {
    let config = BufferPoolConfig::builder().class(8192, 8).memory_limit(8192).build().unwrap();
    let pool = BufferPool::new(config);
    let mut writers = tokio::task::JoinSet::new();
    for id in 0..20_u8 {
        let (here, there) = duplex(64);
        let mut writer = FrameWriter::new(here, Lines::default(), pool.clone());
        writers.spawn(async move {
            for _ in 0..50 {
                writer.send([b'a' + id; 300].as_slice()).await.unwrap();
            }
        });
        writers.spawn(async move {
            let own = BufferPool::new(BufferPoolConfig::messages());
            let mut reader =
                FrameReader::new(there, Assembler::new(Lines::default(), own, ReadMode::PerFrame));
            for _ in 0..50 {
                assert_eq!(reader.next_frame().await.unwrap().unwrap(), [b'a' + id; 300].as_slice());
            }
        });
    }
    within(writers.join_all()).await;
    let stats = pool.stats();
    assert_eq!((stats.overruns, stats.heap_fallbacks), (0, 0), "{stats}");
    assert!(stats.high_water_bytes <= 8192, "{stats}");
}

#[tokio::test]
async fn a_frame_larger_than_every_class_is_refused_and_the_stream_continues() {
    let config = BufferPoolConfig::builder().class(1024, 8).memory_limit(8192).build().unwrap();
    let (here, there) = duplex(10_000);
    let mut writer = FrameWriter::new(here, Lines::default(), BufferPool::new(config));
    let refused = writer.send([b'x'; 5000].as_slice()).await.unwrap_err();
    assert_eq!(refused.kind(), WriteFrameErrorKind::Memory);
    assert!(!refused.is_fatal());
    writer.send(b"next".as_slice()).await.unwrap();
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let mut reader = FrameReader::new(there, Assembler::new(Lines::default(), pool, ReadMode::PerFrame));
    assert_eq!(within(reader.next_frame()).await.unwrap().unwrap(), b"next".as_slice());
}

#[tokio::test]
async fn a_cancelled_feed_leaves_the_stream_at_a_frame_boundary() {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let (here, there) = duplex(64);
    let mut writer = FrameWriter::new(here, Lines::default(), pool.clone());
    writer.feed([b'a'; 70_000].as_slice()).await.unwrap();
    // More than 64 KiB are queued, and the peer does not read.
    let cancelled = timeout(Duration::from_millis(50), writer.feed(b"dropped".as_slice())).await;
    assert!(cancelled.is_err());
    let mut reader = FrameReader::new(there, Assembler::new(Lines::default(), pool, ReadMode::PerFrame));
    let (first, _) = within(async { tokio::join!(reader.next_frame(), writer.flush()) }).await;
    assert_eq!(first.unwrap().unwrap().len(), 70_000);
    let (second, _) =
        within(async { tokio::join!(reader.next_frame(), writer.send(b"next".as_slice())) }).await;
    assert_eq!(second.unwrap().unwrap(), b"next".as_slice());
}

/// A pool of one buffer, which is held.
fn used_up() -> (BufferPool, millpond::PooledBuffer) {
    let config = BufferPoolConfig::builder().class(8192, 8).memory_limit(8192).build().unwrap();
    let pool = BufferPool::new(config);
    let held = pool.try_acquire(8192).unwrap();
    (pool, held)
}

#[tokio::test]
async fn a_cancelled_feed_gives_up_its_place_in_the_memory_queue() {
    let (pool, held) = used_up();
    let (here, _there) = duplex(64);
    let mut writer = FrameWriter::new(here, Lines::default(), pool.clone());
    assert!(timeout(Duration::from_millis(50), writer.feed(b"hello".as_slice())).await.is_err());
    drop(held);
    within(pool.acquire_async(4000)).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_read_gives_up_its_place_in_the_memory_queue() {
    let (pool, held) = used_up();
    let (mut here, there) = duplex(64);
    let mut reader =
        FrameReader::new(there, Assembler::new(Lines::default(), pool.clone(), ReadMode::PerFrame));
    here.write_all(b"hel").await.unwrap();
    assert!(timeout(Duration::from_millis(50), reader.next_frame()).await.is_err());
    drop(held);
    drop(within(pool.acquire_async(4000)).await.unwrap());
    here.write_all(b"lo\n").await.unwrap();
    assert_eq!(within(reader.next_frame()).await.unwrap().unwrap(), b"hello".as_slice());
}
