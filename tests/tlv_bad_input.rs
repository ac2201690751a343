//! Peers that break the framing, over real sockets: each gets a typed error, and every buffer is returned to the pool.
#![cfg(feature = "net")]

use std::error::Error;
use std::io;

use millpond::frame::tlv::{DEFAULT_MAX_PAYLOAD, Frame, HEADER_LEN, Header};
use millpond::frame::{FrameError, FrameErrorKind};
use millpond::net::{ReadFrameError, ReadFrameErrorKind, read_frame_pooled};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, yield_now};

const PAYLOAD_LEN: u32 = 312;

#[tokio::test]
async fn a_length_above_the_limit_reserves_and_reads_nothing() {
    let (mut peer, mut socket) = connection().await;
    let pool = pool();
    let size = DEFAULT_MAX_PAYLOAD + 1;
    peer.write_all(&header(size as u32)).await.unwrap();
    peer.write_all(b"payload").await.unwrap();
    peer.shutdown().await.unwrap();

    let error = read_frame_pooled(&mut socket, &pool).await.unwrap_err();
    assert_protocol(&error, FrameErrorKind::MessageTooLarge { size, max: DEFAULT_MAX_PAYLOAD }, 0);
    assert_all_returned(&pool);
    let mut unread = [0; 7];
    socket.read_exact(&mut unread).await.unwrap();
    assert_eq!(&unread, b"payload");
}

#[tokio::test]
async fn the_largest_possible_length_reserves_nothing() {
    let (mut peer, mut socket) = connection().await;
    let pool = pool();
    peer.write_all(&[0xFF; HEADER_LEN]).await.unwrap();
    peer.shutdown().await.unwrap();

    let error = read_frame_pooled(&mut socket, &pool).await.unwrap_err();
    let size = u32::MAX as usize;
    assert_protocol(&error, FrameErrorKind::MessageTooLarge { size, max: DEFAULT_MAX_PAYLOAD }, 0);
    assert_all_returned(&pool);
}

#[tokio::test]
async fn an_end_of_stream_between_frames_is_not_an_error() {
    let (mut peer, mut socket) = connection().await;
    let pool = pool();
    peer.write_all(&header(0)).await.unwrap();
    peer.shutdown().await.unwrap();

    let frame = read_frame_pooled(&mut socket, &pool).await.unwrap().unwrap();
    assert_eq!(frame.payload.len(), 0);
    drop(frame);
    assert!(read_frame_pooled(&mut socket, &pool).await.unwrap().is_none());
    assert_all_returned(&pool);
}

#[tokio::test]
async fn an_end_of_stream_inside_the_header_is_a_truncation() {
    let (mut peer, mut socket) = connection().await;
    let pool = pool();
    peer.write_all(&header(PAYLOAD_LEN)[..3]).await.unwrap();
    peer.shutdown().await.unwrap();

    let error = read_frame_pooled(&mut socket, &pool).await.unwrap_err();
    assert_protocol(&error, FrameErrorKind::Truncated { received: 3, expected: HEADER_LEN }, 3);
    assert_all_returned(&pool);
}

#[tokio::test]
async fn an_end_of_stream_inside_the_payload_is_a_truncation() {
    for payload_sent in [0, 1, 311] {
        let (mut peer, mut socket) = connection().await;
        let pool = pool();
        peer.write_all(&header(PAYLOAD_LEN)).await.unwrap();
        peer.write_all(&vec![7; payload_sent]).await.unwrap();
        peer.shutdown().await.unwrap();

        let error = read_frame_pooled(&mut socket, &pool).await.unwrap_err();
        assert_protocol(
            &error,
            FrameErrorKind::Truncated { received: 6 + payload_sent, expected: 6 + 312 },
            6 + payload_sent,
        );
        assert_all_returned(&pool);
    }
}

#[tokio::test]
async fn a_reset_inside_the_payload_is_an_io_error() {
    let (mut peer, socket) = connection().await;
    let pool = pool();
    peer.write_all(&header(PAYLOAD_LEN)).await.unwrap();
    peer.write_all(b"the first bytes").await.unwrap();
    let reading = read_in_the_background(socket, &pool);
    wait_until_a_buffer_is_in_use(&reading, &pool).await;
    peer.set_zero_linger().unwrap();
    drop(peer);

    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ReadFrameErrorKind::Io(io::ErrorKind::ConnectionReset));
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>()).unwrap();
    assert!(source.raw_os_error().is_some(), "the system's error is lost: {source:?}");
    assert_all_returned(&pool);
}

#[tokio::test]
async fn a_cancelled_read_returns_its_buffer() {
    let (mut peer, socket) = connection().await;
    let pool = pool();
    peer.write_all(&header(PAYLOAD_LEN)).await.unwrap();
    peer.write_all(b"the first bytes").await.unwrap();
    let reading = read_in_the_background(socket, &pool);
    wait_until_a_buffer_is_in_use(&reading, &pool).await;
    reading.abort();

    assert!(reading.await.unwrap_err().is_cancelled());
    assert_all_returned(&pool);
}

/// Both ends of a TCP connection over loopback.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    (peer, socket)
}

fn pool() -> BufferPool {
    BufferPool::new(BufferPoolConfig::messages())
}

fn header(payload_len: u32) -> [u8; HEADER_LEN] {
    Header::new(1001, payload_len as usize).unwrap().encode()
}

fn read_in_the_background(
    mut socket: TcpStream,
    pool: &BufferPool,
) -> JoinHandle<Result<Option<Frame>, ReadFrameError>> {
    let pool = pool.clone();
    tokio::spawn(async move { read_frame_pooled(&mut socket, &pool).await })
}

async fn wait_until_a_buffer_is_in_use<T>(reading: &JoinHandle<T>, pool: &BufferPool) {
    while pool.stats().in_use == 0 {
        assert!(!reading.is_finished());
        yield_now().await;
    }
}

fn assert_protocol(error: &ReadFrameError, expected: FrameErrorKind, offset: usize) {
    assert_eq!(error.kind(), ReadFrameErrorKind::Protocol(expected));
    let source = error.source().and_then(|source| source.downcast_ref::<FrameError>()).unwrap();
    assert_eq!((source.kind(), source.offset()), (expected, offset as u64));
    assert!(error.is_fatal());
}

fn assert_all_returned(pool: &BufferPool) {
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.returns), (0, stats.acquires));
}
