//! A side that is not read from is watched: after its end, and while its bytes wait.

use std::io::{self, ErrorKind as Io};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use millpond::net::{AsyncStream, HangUp, Listener, Stream};
use millpond::relay::{Relay, RelayConfig, RelayError, RelayErrorKind, Side, Transferred};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for bytes sent over loopback to arrive.
const ARRIVAL: Duration = Duration::from_millis(200);
/// Longer than it takes until a side that is not read from is watched.
const WATCHED: Duration = Duration::from_millis(500);
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

fn unix() -> (Stream, Stream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Stream::Unix(near), Stream::Unix(far))
}

async fn pair(is_unix: bool) -> (Stream, Stream) {
    if is_unix { unix() } else { tcp().await }
}

/// A relay without an idle timeout: only a hang-up that is noticed ends its connections.
fn relay() -> Relay {
    Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default().idle_timeout(None))
}

fn start(relay: &Relay, client: impl AsyncStream + Send + 'static, upstream: Stream) -> Outcome {
    let relay = relay.clone();
    tokio::spawn(async move { relay.relay(client, upstream).await })
}

fn reset(mut stream: Stream) {
    stream.reset_on_close();
}

async fn ended(outcome: Outcome) -> Result<Transferred, RelayError> {
    within(outcome).await.unwrap()
}

/// The number of bytes before the end, and how the stream ended.
async fn read_all(stream: &mut Stream) -> (usize, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = within(stream.read_to_end(&mut bytes)).await;
    (bytes.len(), end.map(drop))
}

#[tokio::test]
async fn a_reset_of_a_side_after_its_end_resets_the_other() {
    for client_resets in [true, false] {
        let relay = relay();
        let (client, client_side) = tcp().await;
        let (upstream_side, upstream) = tcp().await;
        let outcome = start(&relay, client_side, upstream_side);
        let (mut resets, mut other) = if client_resets { (client, upstream) } else { (upstream, client) };
        resets.write_all(b"a request").await.unwrap();
        resets.shutdown().await.unwrap();
        assert_eq!(read_all(&mut other).await.0, 9);
        reset(resets);
        let side = if client_resets { Side::Client } else { Side::Upstream };
        let error = ended(outcome).await.unwrap_err();
        assert_eq!(error.kind(), RelayErrorKind::Reset(side), "{error}");
        let error = within(other.write_all(b"an answer")).await.unwrap_err();
        assert!(matches!(error.kind(), Io::ConnectionReset | Io::BrokenPipe), "{error}");
    }
}

#[tokio::test]
async fn the_close_of_a_unix_client_after_its_end_ends_the_connection() {
    for upstream_is_unix in [true, false] {
        let relay = relay();
        let (mut client, client_side) = unix();
        let (upstream_side, mut upstream) = pair(upstream_is_unix).await;
        let outcome = start(&relay, client_side, upstream_side);
        client.write_all(b"a request").await.unwrap();
        client.shutdown().await.unwrap();
        sleep(ARRIVAL).await;
        drop(client);
        assert_eq!(ended(outcome).await.unwrap().to_upstream, 9);
        let (seen, end) = read_all(&mut upstream).await;
        end.unwrap();
        assert_eq!(seen, 9);
    }
}

#[tokio::test]
async fn the_close_of_a_unix_upstream_after_its_end_ends_the_connection() {
    let relay = relay();
    let (mut client, client_side) = tcp().await;
    let (upstream_side, mut upstream) = unix();
    let outcome = start(&relay, client_side, upstream_side);
    upstream.write_all(b"an answer").await.unwrap();
    drop(upstream);
    assert_eq!(read_all(&mut client).await.0, 9);
    assert_eq!(ended(outcome).await.unwrap().to_client, 9);
}

#[tokio::test]
async fn a_reset_of_the_client_while_its_bytes_wait_for_the_upstream_is_noticed() {
    for half_closes in [true, false] {
        let relay = relay();
        let (mut client, client_side) = tcp().await;
        let (upstream_side, _stalls) = tcp().await;
        let outcome = start(&relay, client_side, upstream_side);
        while let Ok(written) = timeout(ARRIVAL, client.write(&[7; 64 * 1024])).await {
            written.unwrap();
        }
        if half_closes {
            client.shutdown().await.unwrap();
            sleep(ARRIVAL).await;
        }
        reset(client);
        let error = ended(outcome).await.unwrap_err();
        assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Client), "{error}");
        assert_eq!(relay.pool().stats().in_use, 0);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Idle,
    Blocked,
    Ended,
}

/// A relayed connection whose directions, from the client and from the upstream, are in these states.
async fn connection_in(relay: &Relay, up: Direction, down: Direction) -> (Stream, Stream, Outcome) {
    let (mut client, client_side) = tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    let outcome = start(relay, client_side, upstream_side);
    for (source, state) in [(&mut client, up), (&mut upstream, down)] {
        match state {
            Direction::Idle => {}
            Direction::Blocked => {
                while let Ok(written) = timeout(ARRIVAL, source.write(&[7; 64 * 1024])).await {
                    written.unwrap();
                }
            }
            Direction::Ended => source.shutdown().await.unwrap(),
        }
    }
    sleep(WATCHED).await;
    (client, upstream, outcome)
}

#[tokio::test]
async fn a_reset_of_the_client_is_noticed_in_every_state() {
    use Direction::{Blocked, Ended, Idle};
    for (up, down) in [
        (Idle, Idle),
        (Idle, Blocked),
        (Idle, Ended),
        (Blocked, Idle),
        (Blocked, Blocked),
        (Blocked, Ended),
        (Ended, Idle),
        (Ended, Blocked),
    ] {
        let relay = relay();
        let (client, _upstream, outcome) = connection_in(&relay, up, down).await;
        reset(client);
        let ended = timeout(PATIENCE, outcome).await;
        let ended = ended.unwrap_or_else(|_| panic!("not noticed, up {up:?}, down {down:?}"));
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Client), "up {up:?}, down {down:?}: {error}");
        assert_eq!(relay.pool().stats().in_use, 0, "up {up:?}, down {down:?}");
    }
}

/// Bytes that wait for the client are delivered first, see below.
#[tokio::test]
async fn a_reset_of_the_upstream_is_noticed_in_every_state_without_bytes_for_the_client() {
    use Direction::{Blocked, Ended, Idle};
    for (up, down) in [(Idle, Idle), (Idle, Ended), (Blocked, Idle), (Blocked, Ended), (Ended, Idle)] {
        let relay = relay();
        let (_client, upstream, outcome) = connection_in(&relay, up, down).await;
        reset(upstream);
        let ended = timeout(PATIENCE, outcome).await;
        let ended = ended.unwrap_or_else(|_| panic!("not noticed, up {up:?}, down {down:?}"));
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Upstream), "up {up:?}, down {down:?}: {error}");
    }
}

/// A stream that cannot be peeked, as a relay waits for memory only for those.
struct Opaque(Stream);

impl AsyncStream for Opaque {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    fn hang_up(&self) -> Option<HangUp> {
        self.0.hang_up()
    }

    fn reset_on_close(&mut self) {
        self.0.reset_on_close();
    }
}

impl AsyncRead for Opaque {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, room)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn relay_without_memory(idle_timeout: Option<Duration>) -> (Relay, millpond::PooledBuffer) {
    let pool = BufferPoolConfig::builder().class(SMALL, 4).memory_limit(SMALL).build().unwrap();
    let relay = Relay::new(BufferPool::new(pool), RelayConfig::default().idle_timeout(idle_timeout));
    let held = relay.pool().try_acquire(SMALL).unwrap();
    (relay, held)
}

#[tokio::test]
async fn a_client_that_resets_while_it_waits_for_memory_leaves_the_queue() {
    let (relay, _held) = relay_without_memory(None);
    let (mut client, client_side) = tcp().await;
    let (upstream_side, _upstream) = tcp().await;
    let outcome = start(&relay, Opaque(client_side), upstream_side);
    client.write_all(b"a request").await.unwrap();
    sleep(ARRIVAL).await;
    assert_eq!(relay.pool().stats().waiting, 1);
    reset(client);
    let error = ended(outcome).await.unwrap_err();
    assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Client), "{error}");
    assert_eq!(relay.pool().stats().waiting, 0);
}

#[tokio::test]
async fn an_upstream_that_resets_while_the_client_waits_for_memory_ends_the_wait() {
    let (relay, _held) = relay_without_memory(None);
    let (mut client, client_side) = tcp().await;
    let (upstream_side, upstream) = tcp().await;
    let outcome = start(&relay, Opaque(client_side), upstream_side);
    client.write_all(b"a request").await.unwrap();
    sleep(ARRIVAL).await;
    assert_eq!(relay.pool().stats().waiting, 1);
    reset(upstream);
    let error = ended(outcome).await.unwrap_err();
    assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Upstream), "{error}");
    assert_eq!(relay.pool().stats().waiting, 0);
}

#[tokio::test]
async fn waiting_for_memory_is_not_idle() {
    let idle = Duration::from_millis(300);
    let (relay, held) = relay_without_memory(Some(idle));
    let (mut client, client_side) = tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    let outcome = start(&relay, Opaque(client_side), upstream_side);
    client.write_all(b"a request").await.unwrap();
    sleep(4 * idle).await;
    assert_eq!(relay.pool().stats().waiting, 1);
    drop(held);
    within(upstream.read_exact(&mut [0; 9])).await.unwrap();
    outcome.abort();
}

#[tokio::test]
async fn sockets_are_relayed_while_the_pool_has_no_memory() {
    for (client_is_unix, upstream_is_unix) in [(false, false), (true, true)] {
        let (relay, _held) = relay_without_memory(None);
        let (mut client, client_side) = pair(client_is_unix).await;
        let (upstream_side, mut upstream) = pair(upstream_is_unix).await;
        let outcome = start(&relay, client_side, upstream_side);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|index| (index / 3) as u8).collect();
        let mut seen = Vec::new();
        let send = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let (read, ()) = within(async { tokio::join!(upstream.read_to_end(&mut seen), send) }).await;
        read.unwrap();
        assert!(seen == sent, "{} of {} bytes", seen.len(), sent.len());
        drop(upstream);
        drop(client);
        ended(outcome).await.unwrap();
        assert_eq!(relay.pool().stats().acquires, 1, "more than the one that the test holds");
    }
}

#[tokio::test]
async fn what_a_unix_client_sent_before_it_closed_is_delivered() {
    let relay = relay();
    let (mut client, client_side) = unix();
    let (upstream_side, mut upstream) = unix();
    let outcome = start(&relay, client_side, upstream_side);
    let mut sent = 0;
    while let Ok(written) = timeout(ARRIVAL, client.write(&[7; 4096])).await {
        sent += written.unwrap();
    }
    drop(client);
    // The upstream takes nothing until the client's hang-up is noticed.
    sleep(WATCHED).await;
    let (seen, end) = read_all(&mut upstream).await;
    end.unwrap();
    assert_eq!(seen, sent);
    drop(upstream);
    ended(outcome).await.unwrap();
}

#[tokio::test]
async fn an_answer_is_relayed_whole_although_its_sender_has_reset_the_connection_after_it() {
    let relay = relay();
    let (mut client, client_side) = narrow_tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    let answer = 60 * 1024;
    let outcome = start(&relay, client_side, upstream_side);
    upstream.write_all(&vec![7; answer]).await.unwrap();
    sleep(ARRIVAL).await;
    reset(upstream);
    sleep(WATCHED).await;
    assert!(relay.stats().bytes_to_client < answer as u64, "the answer is not in flight");
    assert_eq!(read_all(&mut client).await.1.unwrap_err().kind(), Io::ConnectionReset);
    let error = ended(outcome).await.unwrap_err();
    assert_eq!(error.kind(), RelayErrorKind::Reset(Side::Upstream), "{error}");
    assert_eq!(error.transferred().to_client, answer as u64);
}

#[tokio::test]
async fn a_client_that_has_ended_its_direction_waits_for_its_answer() {
    for (client_is_unix, upstream_is_unix) in [(false, false), (false, true), (true, false), (true, true)] {
        let relay = relay();
        let (mut client, client_side) = pair(client_is_unix).await;
        let (upstream_side, mut upstream) = pair(upstream_is_unix).await;
        let outcome = start(&relay, client_side, upstream_side);
        client.write_all(b"a request").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut upstream).await.0, 9);
        sleep(WATCHED).await;
        upstream.write_all(&[7; 300_000]).await.unwrap();
        let close = async {
            upstream.shutdown().await.unwrap();
            drop(upstream);
        };
        let ((seen, end), ()) = tokio::join!(read_all(&mut client), close);
        end.unwrap();
        assert_eq!(seen, 300_000);
        assert_eq!(ended(outcome).await.unwrap().to_client, 300_000);
    }
}

#[tokio::test]
async fn a_half_closed_client_that_resets_frees_its_place() {
    let relay = Relay::new(
        BufferPool::new(BufferPoolConfig::proxy()),
        RelayConfig::default().max_connections(1).drain_timeout(Duration::ZERO),
    );
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let (to, listen) = (upstream.local_endpoint().clone(), listener.local_endpoint().clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = relay.clone();
    let served =
        tokio::spawn(async move { serving.serve(listener, to, async { drop(stopped.await) }).await });
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = Stream::connect(&listen, PATIENCE).await.unwrap();
        client.write_all(b"a request").await.unwrap();
        client.shutdown().await.unwrap();
        let mut accepted = within(upstream.accept()).await.unwrap();
        assert_eq!(read_all(&mut accepted).await.0, 9);
        reset(client);
        kept.push(accepted);
    }
    drop(stop);
    within(served).await.unwrap();
}

#[tokio::test]
async fn the_shortest_and_the_longest_idle_timeout_work_while_a_connection_waits_for_memory() {
    for idle in [Duration::ZERO, Duration::MAX] {
        let (relay, held) = relay_without_memory(Some(idle));
        let (mut client, client_side) = tcp().await;
        let (upstream_side, mut upstream) = tcp().await;
        client.write_all(b"a request").await.unwrap();
        sleep(ARRIVAL).await;
        let outcome = start(&relay, Opaque(client_side), upstream_side);
        sleep(ARRIVAL).await;
        assert_eq!(relay.pool().stats().waiting, 1);
        drop(held);
        within(upstream.read_exact(&mut [0; 9])).await.unwrap();
        outcome.abort();
    }
}
