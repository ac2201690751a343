//! Truncated data never ends with a clean close: a side that lacks bytes gets a reset.

use std::io::{self, ErrorKind as Io};
use std::time::Duration;

use millpond::net::{AsyncStream, Listener, Peekable, Stream};
use millpond::relay::{Relay, RelayConfig, RelayError, RelayErrorKind, Side, Transferred};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for bytes sent over loopback to arrive.
const ARRIVAL: Duration = Duration::from_millis(100);
/// The smallest buffer.
const SMALL: usize = 8 * 1024;

type Outcome = JoinHandle<Result<Transferred, RelayError>>;

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

/// Both ends of a TCP connection.
async fn tcp() -> (Stream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) =
        tokio::join!(Stream::connect(listener.local_endpoint(), PATIENCE), within(listener.accept()));
    (near.unwrap(), far.unwrap())
}

/// The same, with kernel buffers that a few KiB from the second to the first fill.
async fn narrow_tcp() -> (Stream, Stream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let (near, far) = tokio::join!(socket.connect(listener.local_addr().unwrap()), within(listener.accept()));
    (Stream::Tcp(near.unwrap()), Stream::Tcp(far.unwrap().0))
}

fn relay(config: RelayConfig) -> Relay {
    Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config)
}

fn start(relay: &Relay, client: impl AsyncStream + Send + 'static, upstream: Stream) -> Outcome {
    let relay = relay.clone();
    tokio::spawn(async move { relay.relay(client, upstream).await })
}

/// Writes until all kernel buffers on the path are full. Returns the number of bytes.
async fn fill_the_path(stream: &mut Stream) -> usize {
    let mut sent = 0;
    while let Ok(written) = timeout(3 * ARRIVAL, stream.write(&[7; 64 * 1024])).await {
        sent += written.unwrap();
    }
    sent
}

/// The number of bytes before the end, and how the stream ended.
async fn read_all(stream: &mut Stream) -> (usize, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = within(stream.read_to_end(&mut bytes)).await;
    (bytes.len(), end.map(drop))
}

fn reset(mut stream: Stream) {
    stream.reset_on_close();
}

#[track_caller]
fn assert_reset(end: io::Result<()>) {
    let error = end.expect_err("a clean close instead of a reset");
    assert_eq!(error.kind(), Io::ConnectionReset);
}

#[tokio::test]
async fn the_client_gets_a_reset_of_the_upstream_that_a_write_sees_first() {
    let (mut client, client_side) = tcp().await;
    let (upstream_side, upstream) = tcp().await;
    // The relay finds both at once. Writing to a socket that was reset consumes its error, and the next read sees an
    // end of stream.
    client.write_all(b"a request").await.unwrap();
    reset(upstream);
    sleep(ARRIVAL).await;

    let relay = relay(RelayConfig::default());
    let outcome = start(&relay, client_side, upstream_side);
    assert_reset(read_all(&mut client).await.1);
    let error = within(outcome).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Upstream), "{error}");
    assert_eq!(relay.pool().stats().in_use, 0);
}

#[tokio::test]
async fn the_upstream_gets_a_reset_of_the_client_that_a_write_sees_first() {
    let (mut client, client_side) = tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    let relay = relay(RelayConfig::default());
    let outcome = start(&relay, client_side, upstream_side);
    // The relay is blocked in a write to the upstream, so it does not read from the client before it writes to it.
    fill_the_path(&mut client).await;
    reset(client);
    upstream.write_all(b"an answer").await.unwrap();
    sleep(ARRIVAL).await;

    assert_reset(read_all(&mut upstream).await.1);
    let error = within(outcome).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Client), "{error}");
    assert_eq!(relay.pool().stats().in_use, 0);
}

#[tokio::test]
async fn a_complete_answer_ends_with_a_clean_close_when_its_sender_reads_no_more() {
    let (mut client, client_side) = narrow_tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    let answer = 60 * 1024;
    upstream.write_all(&vec![7; answer]).await.unwrap();
    drop(upstream);

    let relay = relay(RelayConfig::default());
    let outcome = start(&relay, client_side, upstream_side);
    // The upstream answers the first with a reset, so the write of the second fails with a broken pipe.
    for word in [b"first.", b"second"] {
        sleep(ARRIVAL).await;
        client.write_all(word).await.unwrap();
    }
    sleep(ARRIVAL).await;
    assert!(relay.stats().bytes_to_client < answer as u64, "the answer is not in flight");
    let (seen, end) = read_all(&mut client).await;
    end.unwrap();
    assert_eq!(seen, answer);
    let error = within(outcome).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Upstream), "{error}");
}

#[tokio::test]
async fn a_timeout_with_bytes_in_flight_resets_the_side_that_lacks_them() {
    let relay = relay(RelayConfig::default().idle_timeout(Some(Duration::from_millis(500))));
    for upstream_stalls in [true, false] {
        let (mut client, client_side) = tcp().await;
        let (upstream_side, mut upstream) = tcp().await;
        let mut outcome = start(&relay, client_side, upstream_side);
        let (sender, staller) =
            if upstream_stalls { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        let mut sent = 0;
        let error = loop {
            tokio::select! {
                ended = within(&mut outcome) => break ended.unwrap().unwrap_err(),
                written = sender.write(&[7; 64 * 1024]) => sent += written.unwrap_or(0),
            }
        };
        assert_eq!(error.kind(), RelayErrorKind::IdleTimeout, "{error}");
        let (seen, end) = read_all(staller).await;
        assert!(seen < sent, "no bytes were in flight");
        assert_reset(end);
        assert_eq!(relay.pool().stats().in_use, 0);
    }
}

#[tokio::test]
async fn an_abort_with_bytes_in_flight_resets_the_side_that_lacks_them() {
    let (mut client, client_side) = tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    let relay = relay(RelayConfig::default());
    let outcome = start(&relay, client_side, upstream_side);
    let sent = fill_the_path(&mut client).await;
    outcome.abort();
    assert!(within(outcome).await.unwrap_err().is_cancelled());
    let (seen, end) = read_all(&mut upstream).await;
    assert!(seen < sent, "no bytes were in flight");
    assert_reset(end);
    assert_eq!(relay.pool().stats().in_use, 0);
}

#[tokio::test]
async fn an_abort_between_two_pieces_of_an_answer_is_no_clean_end() {
    let relay = relay(RelayConfig::default());
    let (mut client, client_side) = tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    let outcome = start(&relay, client_side, upstream_side);
    upstream.write_all(b"the first piece").await.unwrap();
    within(client.read_exact(&mut [0; 15])).await.unwrap();
    outcome.abort();
    assert_reset(read_all(&mut client).await.1);
}

#[tokio::test]
async fn an_abort_while_waiting_for_memory_resets_the_side_that_lacks_bytes() {
    let pool = BufferPoolConfig::builder().class(SMALL, 4).memory_limit(SMALL).build().unwrap();
    let relay = Relay::new(BufferPool::new(pool), RelayConfig::default());
    let held = relay.pool().acquire_async(SMALL).await.unwrap();
    let (mut client, client_side) = tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    // A socket would be relayed without the pool.
    let waits = start(&relay, Peekable::new(client_side), upstream_side);
    client.write_all(b"a request").await.unwrap();
    sleep(ARRIVAL).await;
    assert_eq!(relay.pool().stats().waiting, 1);
    waits.abort();
    let (seen, end) = read_all(&mut upstream).await;
    assert_eq!(seen, 0);
    assert_reset(end);
    drop(held);
}
