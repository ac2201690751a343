//! Reading into pooled buffers and writing out of them, over real sockets: `read_from`, `PooledBufReader`, `BytesQueue`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use millpond::net::PooledBufReader;
use millpond::{AcquireError, BufferPool, BufferPoolConfig, BytesQueue, PooledBytes};
use proptest::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, copy_buf, duplex};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a socket's bytes to arrive and a task to run.
const MOMENT: Duration = Duration::from_millis(50);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

/// Whether the future waits for longer than a moment. It is dropped then.
async fn waits<T>(future: impl Future<Output = T>) -> bool {
    timeout(MOMENT, future).await.is_err()
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (here, accepted) = tokio::join!(connect, listener.accept());
    (here.unwrap(), accepted.unwrap().0)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// One class of 8 KiB, and memory for this many of them.
fn pool_of(buffers: usize) -> BufferPool {
    let config =
        BufferPoolConfig::builder().class(8192, 8).memory_limit(buffers * 8192).thread_cache_bytes(0);
    BufferPool::new(config.build().unwrap())
}

fn shared(pool: &BufferPool, bytes: &[u8]) -> PooledBytes {
    let mut buffer = pool.acquire(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer.into_shared()
}

#[tokio::test]
async fn a_full_buffer_is_not_the_end_of_the_stream() {
    const LEN: usize = 30_000;
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let (mut here, mut there) = tcp().await;
    here.write_all(&bytes(LEN)).await.unwrap();
    drop(here);
    let mut buffer = pool.acquire(8192);
    while within(buffer.read_from(&mut there)).await.unwrap() > 0 {}
    assert_eq!(buffer[..], bytes(LEN));
    assert!(pool.owns(&buffer), "it grew into the class of 64 KiB");
}

#[tokio::test]
async fn a_full_buffer_that_cannot_grow_is_an_error_and_keeps_its_bytes() {
    const LIMIT: usize = 65_536 + 8191;
    let config = BufferPoolConfig::proxy().to_builder().memory_limit(LIMIT).build().unwrap();
    let pool = BufferPool::new(config);
    let mut buffer = pool.acquire(8192);
    buffer.resize(8192, 1);
    let mut more: &[u8] = b"more";
    let error = buffer.read_from(&mut more).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    let source = error.get_ref().and_then(|source| source.downcast_ref::<AcquireError>());
    assert_eq!(source, Some(&AcquireError::Exhausted { requested: 8193, limit: LIMIT }));
    assert_eq!((buffer.len(), more, pool.stats().overruns), (8192, &b"more"[..], 0));
}

#[tokio::test]
async fn bytes_that_were_read_make_room_without_another_buffer() {
    let pool = pool_of(1);
    let mut buffer = pool.acquire(8192);
    buffer.resize(8192, 1);
    buffer.advance(8000);
    let mut more: &[u8] = b"more";
    assert_eq!(buffer.read_from(&mut more).await.unwrap(), 4);
    assert_eq!(buffer.len(), 192 + 4);
}

#[tokio::test]
async fn lines_of_any_length_are_read_and_an_idle_reader_holds_nothing() {
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let (mut here, there) = tcp().await;
    let mut lines = PooledBufReader::new(there, pool.clone()).lines();
    assert!(waits(lines.next_line()).await);
    assert_eq!(pool.stats().in_use, 0);

    let long = "x".repeat(200_000);
    let write = async {
        here.write_all(format!("one\n{long}\nand a part").as_bytes()).await.unwrap();
    };
    let read = async {
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("one"));
        assert_eq!(lines.next_line().await.unwrap(), Some(long.clone()));
    };
    within(async { tokio::join!(write, read) }).await;
    assert!(waits(lines.next_line()).await);
    assert_eq!(pool.stats().in_use, 0, "after a burst, with an unfinished line");
    drop(here);
}

#[tokio::test]
async fn copy_buf_moves_everything_through_the_pool() {
    const LEN: usize = 3_000_000;
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let (mut here, there) = tcp().await;
    let sent = bytes(LEN);
    let mut reader = PooledBufReader::new(there, pool.clone());
    let mut copied = Vec::new();
    let write = async {
        here.write_all(&sent).await.unwrap();
        here.shutdown().await.unwrap();
    };
    let (_, count) = within(async { tokio::join!(write, copy_buf(&mut reader, &mut copied)) }).await;
    assert_eq!(count.unwrap(), LEN as u64);
    assert!(copied == sent, "the bytes differ");
    assert_eq!((pool.stats().in_use, pool.stats().heap_fallbacks), (0, 0));
    assert!(pool.stats().classes[1].acquires > 0, "a peer that fills its buffers gets large ones");
}

#[tokio::test]
async fn at_the_memory_limit_a_reader_waits_and_loses_nothing() {
    let pool = pool_of(1);
    let (mut here, there) = UnixStream::pair().unwrap();
    let mut reader = PooledBufReader::new(there, pool.clone());
    let held = pool.acquire(8192);
    assert!(waits(reader.fill_buf()).await);
    assert_eq!(pool.stats().waiting, 0, "a silent peer takes no place in the queue");

    here.write_all(b"hello\n").await.unwrap();
    let mut line = String::new();
    let give_back = async {
        while pool.stats().waiting == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
    };
    let (_, read) = within(async { tokio::join!(give_back, reader.read_line(&mut line)) }).await;
    assert_eq!((read.unwrap(), line.as_str()), (6, "hello\n"));
    assert_eq!((pool.stats().waits, pool.stats().overruns, pool.stats().in_use), (1, 0, 0));
}

#[tokio::test]
async fn many_readers_take_turns_with_little_memory() {
    const READERS: usize = 40;
    let pool = pool_of(2);
    let mut writers = Vec::new();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let (here, there) = UnixStream::pair().unwrap();
        writers.push(here);
        let mut reader = PooledBufReader::new(there, pool.clone());
        readers.push(tokio::spawn(async move {
            let mut received = Vec::new();
            copy_buf(&mut reader, &mut received).await.unwrap();
            received
        }));
    }
    let sent = bytes(50_000);
    for writer in &mut writers {
        within(writer.write_all(&sent)).await.unwrap();
    }
    drop(writers);
    for reader in readers {
        assert!(within(reader).await.unwrap() == sent, "the bytes differ");
    }
    assert_eq!((pool.stats().overruns, pool.stats().in_use), (0, 0));
}

#[tokio::test]
async fn the_end_of_the_stream_needs_no_memory() {
    let pool = pool_of(1);
    let (here, there) = UnixStream::pair().unwrap();
    let mut reader = PooledBufReader::new(there, pool.clone());
    let _held = pool.acquire(8192);
    drop(here);
    assert!(within(reader.fill_buf()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cancelled_fill_leaves_the_queue_and_keeps_what_has_arrived() {
    let pool = pool_of(1);
    let (mut here, there) = UnixStream::pair().unwrap();
    let mut reader = PooledBufReader::new(there, pool.clone());
    let held = pool.acquire(8192);
    here.write_all(b"hello").await.unwrap();
    assert!(waits(reader.fill_buf()).await);
    assert_eq!(pool.stats().waiting, 0);
    drop(held);
    assert_eq!(within(reader.fill_buf()).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_reader_that_stops_waiting_gives_up_what_was_granted() {
    let pool = pool_of(1);
    let (mut here, there) = UnixStream::pair().unwrap();
    let mut lines = PooledBufReader::new(there, pool.clone()).lines();
    let held = pool.acquire(8192);
    here.write_all(b"hello\n").await.unwrap();
    assert!(waits(lines.next_line()).await);
    assert!(lines.get_ref().is_waiting_for_memory());
    drop(held); // granted to the reader, which nobody polls
    assert!(pool.try_acquire(8192).is_err());
    lines.get_mut().stop_waiting();
    drop(pool.try_acquire(8192).unwrap());
    assert_eq!(within(lines.next_line()).await.unwrap().as_deref(), Some("hello"));
}

#[tokio::test]
async fn a_read_into_the_callers_buffer_needs_no_memory_of_the_pool() {
    let pool = pool_of(1);
    let (mut here, there) = UnixStream::pair().unwrap();
    let mut reader = PooledBufReader::new(there, pool.clone());
    let _held = pool.acquire(8192);
    here.write_all(b"hello world").await.unwrap();
    assert!(waits(reader.fill_buf()).await, "a byte is read ahead");
    let mut five = [0; 5];
    within(reader.read_exact(&mut five)).await.unwrap();
    assert_eq!(&five, b"hello");
    assert_eq!(pool.stats().waiting, 0);
}

#[tokio::test]
async fn small_reads_share_one_read_of_the_stream() {
    /// Counts the reads that its stream served.
    struct Counting<R>(R, usize);
    impl<R: AsyncRead + Unpin> AsyncRead for Counting<R> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let polled = Pin::new(&mut self.0).poll_read(cx, buffer);
            self.1 += usize::from(polled.is_ready());
            polled
        }
    }
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let mut reader = PooledBufReader::new(Counting(&b"\0\x01\0\0\0\x02abc"[..], 0), pool.clone());
    assert_eq!((reader.read_u16().await.unwrap(), reader.read_u32().await.unwrap()), (1, 2));
    assert_eq!((reader.get_ref().1, reader.buffer()), (1, &b"abc"[..]));
    let (_, unread) = reader.into_parts();
    assert_eq!(unread.unwrap()[..], *b"abc");
    assert_eq!(pool.stats().in_use, 0);
}

#[tokio::test]
async fn a_byte_that_was_read_ahead_is_one_of_the_parts() {
    let pool = pool_of(1);
    let (mut here, there) = duplex(64);
    let mut reader = PooledBufReader::new(there, pool.clone());
    let held = pool.acquire(8192);
    here.write_all(b"hello").await.unwrap();
    assert!(waits(reader.fill_buf()).await);
    drop(held);
    let (mut there, unread) = reader.into_parts();
    let mut rest = [0; 4];
    there.read_exact(&mut rest).await.unwrap();
    assert_eq!((&unread.unwrap()[..], &rest), (&b"h"[..], b"ello"));
}

#[tokio::test]
async fn an_error_of_the_stream_comes_after_its_bytes() {
    let (there, mut here) = tcp().await;
    let pool = pool_of(1);
    let mut reader = PooledBufReader::new(there, pool);
    here.write_all(b"last words").await.unwrap();
    assert_eq!(within(reader.fill_buf()).await.unwrap(), b"last words");
    reader.consume(10);
    here.set_zero_linger().unwrap();
    drop(here);
    let error = within(reader.fill_buf()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// A stream that gives its bytes in these pieces, and is pending before each.
struct Pieces<'a> {
    rest: &'a [u8],
    cuts: Vec<usize>,
    is_ready: bool,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let cut = self.cuts.pop().unwrap_or(100).min(self.rest.len()).min(buffer.remaining());
        let (piece, rest) = self.rest.split_at(cut);
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

proptest! {
    #[test]
    fn all_ways_to_read_give_the_same_bytes(
        cuts in prop::collection::vec(1_usize..80, 0..50),
        reads in prop::collection::vec((any::<bool>(), 1_usize..60), 1..50),
        is_full in prop::collection::vec(any::<bool>(), 50),
    ) {
        const LEN: usize = 1000;
        let config = BufferPoolConfig::builder().class(32, 4).memory_limit(32).thread_cache_bytes(0);
        let pool = BufferPool::new(config.build().unwrap());
        let expected = bytes(LEN);
        let mut reader = PooledBufReader::new(Pieces { rest: &expected, cuts, is_ready: false }, pool.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let received = runtime.block_on(async {
            let mut received = Vec::new();
            for ((is_read, count), is_full) in reads.into_iter().zip(is_full) {
                // Another task may have the memory, and returns it a little later.
                let other = pool.try_acquire(32).ok().filter(|_| is_full);
                let mut some = vec![0; count];
                let read = async {
                    if is_read {
                        let count = reader.read(&mut some).await.unwrap();
                        received.extend_from_slice(&some[..count]);
                    } else {
                        let unread = reader.fill_buf().await.unwrap();
                        let count = count.min(unread.len());
                        received.extend_from_slice(&unread[..count]);
                        reader.consume(count);
                    }
                };
                let give_back = async {
                    tokio::task::yield_now().await;
                    drop(other);
                };
                tokio::join!(read, give_back);
            }
            reader.read_to_end(&mut received).await.unwrap();
            received
        });
        prop_assert!(received == expected);
        prop_assert_eq!((pool.stats().overruns, pool.stats().in_use), (0, 0));
    }
}

#[tokio::test]
async fn a_queue_goes_out_in_vectored_writes() {
    const PIECES: usize = 500;
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let (mut here, mut there) = tcp().await;
    let mut queue: BytesQueue = (0..PIECES).map(|n| shared(&pool, &bytes(n))).collect();
    let expected: Vec<u8> = (0..PIECES).flat_map(bytes).collect();
    let mut received = Vec::new();
    let write = async {
        here.write_all_buf(&mut queue).await.unwrap();
        here.shutdown().await.unwrap();
    };
    within(async { tokio::join!(write, there.read_to_end(&mut received)) }).await.1.unwrap();
    assert!(received == expected, "the bytes differ");
    assert_eq!((queue.remaining(), pool.stats().in_use), (0, 0));
}
