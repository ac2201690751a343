//! What a proxy needs from a socket besides reads and writes: readiness, peeking, a watch for the peer's hang-up.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use millpond::net::{AsyncStream, HangUp, Listener, Peekable, Stream};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf, duplex};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what happens at once, and short enough to wait for what must not happen.
const MOMENT: Duration = Duration::from_millis(200);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

async fn tcp() -> (Stream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) =
        tokio::join!(Stream::connect(listener.local_endpoint(), PATIENCE), within(listener.accept()));
    (near.unwrap(), far.unwrap())
}

fn unix() -> (Stream, Stream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Stream::Unix(near), Stream::Unix(far))
}

async fn peek(stream: &mut impl AsyncStream, room: usize) -> io::Result<Vec<u8>> {
    let mut storage = vec![MaybeUninit::uninit(); room];
    let mut buffer = ReadBuf::uninit(&mut storage);
    within(poll_fn(|cx| stream.poll_peek(cx, &mut buffer))).await?;
    Ok(buffer.filled().to_vec())
}

async fn hung_up(watch: &mut HangUp) -> Option<io::Result<()>> {
    timeout(MOMENT, poll_fn(|cx| watch.poll(cx))).await.ok()
}

#[tokio::test]
async fn peeked_bytes_stay_in_a_socket_until_they_are_consumed() {
    for (mut near, mut far) in [tcp().await, unix()] {
        near.write_all(b"hello").await.unwrap();
        assert!(far.can_peek());
        assert_eq!(peek(&mut far, 3).await.unwrap(), b"hel");
        assert_eq!(peek(&mut far, 64).await.unwrap(), b"hello");
        far.consume_peeked(&mut [0; 2]).unwrap();
        assert_eq!(peek(&mut far, 64).await.unwrap(), b"llo");
        let mut rest = [0; 3];
        within(far.read_exact(&mut rest)).await.unwrap();
        assert_eq!(&rest, b"llo");
    }
}

#[tokio::test]
async fn a_peek_at_the_end_of_a_socket_shows_nothing() {
    for (near, mut far) in [tcp().await, unix()] {
        drop(near);
        assert!(peek(&mut far, 64).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn consuming_more_than_there_is_is_an_error() {
    for (mut near, mut far) in [tcp().await, unix()] {
        near.write_all(b"hello").await.unwrap();
        assert_eq!(peek(&mut far, 64).await.unwrap(), b"hello");
        assert!(far.consume_peeked(&mut [0; 6]).is_err());
    }
}

#[tokio::test]
async fn a_peekable_stream_shows_one_byte() {
    let (mut near, far) = duplex(64);
    let mut far = Peekable::new(far);
    near.write_all(b"hello").await.unwrap();
    assert!(!far.can_peek());
    assert_eq!(peek(&mut far, 64).await.unwrap(), b"h");
    let mut all = [0; 5];
    within(far.read_exact(&mut all)).await.unwrap();
    assert_eq!(&all, b"hello");
}

#[tokio::test]
async fn a_socket_is_writable_until_its_peer_stalls() {
    for (mut near, mut far) in [tcp().await, unix()] {
        within(poll_fn(|cx| near.poll_write_ready(cx))).await.unwrap();
        while let Ok(written) = timeout(MOMENT, near.write(&[7; 64 * 1024])).await {
            written.unwrap();
        }
        let ready = timeout(MOMENT, poll_fn(|cx| near.poll_write_ready(cx))).await;
        assert!(ready.is_err(), "writable, and its peer takes nothing");
        let take_all = async { while within(far.read(&mut [0; 64 * 1024])).await.unwrap() > 0 {} };
        tokio::select! {
            () = take_all => unreachable!("the stream does not end"),
            ready = within(poll_fn(|cx| near.poll_write_ready(cx))) => ready.unwrap(),
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_holds_few_bytes_that_a_stalled_tcp_peer_has_not_been_sent() {
    let (near, far) = tcp().await;
    for stream in [near, far] {
        let Stream::Tcp(stream) = stream else { unreachable!("TCP was asked for") };
        assert_eq!(SockRef::from(&stream).tcp_notsent_lowat().unwrap(), 64 * 1024);
    }
}

#[tokio::test]
async fn a_reset_after_the_end_of_a_tcp_stream_is_seen() {
    let (mut near, mut far) = tcp().await;
    near.shutdown().await.unwrap();
    assert_eq!(within(far.read(&mut [0])).await.unwrap(), 0);
    let mut watch = far.hang_up().unwrap();
    assert!(hung_up(&mut watch).await.is_none(), "its peer waits for an answer");
    near.reset_on_close();
    drop(near);
    assert!(hung_up(&mut watch).await.unwrap().is_err());
}

#[tokio::test]
async fn a_reset_of_a_tcp_stream_is_seen_while_bytes_of_it_wait() {
    let (mut near, far) = tcp().await;
    near.write_all(b"hello").await.unwrap();
    let mut watch = far.hang_up().unwrap();
    assert!(hung_up(&mut watch).await.is_none());
    near.reset_on_close();
    drop(near);
    assert!(hung_up(&mut watch).await.unwrap().is_err());
}

#[tokio::test]
async fn a_close_after_the_end_of_a_unix_stream_is_seen() {
    let (mut near, mut far) = unix();
    near.shutdown().await.unwrap();
    assert_eq!(within(far.read(&mut [0])).await.unwrap(), 0);
    let mut watch = far.hang_up().unwrap();
    assert!(hung_up(&mut watch).await.is_none(), "its peer waits for an answer");
    drop(near);
    hung_up(&mut watch).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_unix_peer_that_closes_without_reading_everything_has_reset_the_stream() {
    let (mut near, mut far) = unix();
    near.shutdown().await.unwrap();
    far.write_all(b"an answer").await.unwrap();
    let mut watch = far.hang_up().unwrap();
    drop(near);
    assert!(hung_up(&mut watch).await.unwrap().is_err());
}

#[tokio::test]
async fn traffic_in_the_other_direction_is_no_hang_up() {
    for (mut near, mut far) in [tcp().await, unix()] {
        near.shutdown().await.unwrap();
        let mut watch = far.hang_up().unwrap();
        let answer = 8 << 20;
        let send = async { far.write_all(&vec![7; answer]).await.unwrap() };
        let take = async {
            let mut seen = 0;
            while seen < answer {
                seen += within(near.read(&mut [0; 64 * 1024])).await.unwrap();
                if seen % 7 == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        tokio::select! {
            biased;
            end = poll_fn(|cx| watch.poll(cx)) => panic!("hung up: {end:?}"),
            _ = async { tokio::join!(send, take) } => {}
        }
        assert!(hung_up(&mut watch).await.is_none());
    }
}

#[tokio::test]
async fn a_peer_that_resets_or_leaves_nothing_has_gone() {
    for (mut near, far) in [tcp().await, unix()] {
        let is_tcp = matches!(near, Stream::Tcp(_));
        assert!(timeout(MOMENT, far.hung_up()).await.is_err());
        near.reset_on_close();
        drop(near);
        assert_eq!(within(far.hung_up()).await.is_err(), is_tcp, "a Unix socket has no reset");
    }
}

#[tokio::test]
async fn a_peer_that_ended_its_direction_or_left_bytes_has_not_gone() {
    for (mut near, far) in [tcp().await, unix()] {
        near.write_all(b"hello").await.unwrap();
        near.shutdown().await.unwrap();
        assert!(timeout(MOMENT, far.hung_up()).await.is_err());
        drop(near);
        assert!(timeout(MOMENT, far.hung_up()).await.is_err());
    }
}

#[tokio::test]
async fn a_unix_socket_takes_bytes_before_it_is_reported_to_be_writable() {
    let (mut near, mut far) = unix();
    while let Ok(written) = timeout(MOMENT, near.write(&[7; 64 * 1024])).await {
        written.unwrap();
    }
    assert_eq!(near.write_now(b"more").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    within(far.read_exact(&mut [0; 100_000])).await.unwrap();
    assert!(timeout(MOMENT, poll_fn(|cx| near.poll_write_ready(cx))).await.is_err());
    assert_eq!(near.write_now(b"more").unwrap(), 4);
}
