//! Fair under pressure: peers that stall, drip or leave do not stop the others, and a slow peer is not a silent one.

use std::io;
use std::time::Duration;

use millpond::net::{AsyncStream, Endpoint, Listener, Stream};
use millpond::relay::{Relay, RelayConfig, RelayError, RelayErrorKind, Side, Transferred};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests of well-behaved connections take milliseconds; when something stops them, they take until the idle timeout.
const PROMPTLY: Duration = Duration::from_secs(2);
/// Long enough for the kernel's buffers on the path to a stalled reader to fill.
const FILLING: Duration = Duration::from_secs(1);
/// The first byte of a request: the upstream sends back what it gets, or sends without end.
const ECHO: u8 = b'E';
const SEND: u8 = b'S';
/// The same to a client with small buffers.
const DRIP: u8 = b'D';

type Outcome = JoinHandle<Result<Transferred, RelayError>>;

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

fn relay(memory_limit: Option<usize>, config: RelayConfig) -> Relay {
    let mut pool = BufferPoolConfig::proxy().to_builder();
    if let Some(limit) = memory_limit {
        pool = pool.memory_limit(limit);
    }
    Relay::new(BufferPool::new(pool.build().unwrap()), config)
}

fn any_port() -> Endpoint {
    "tcp://127.0.0.1:0".parse().unwrap()
}

/// An upstream, and a relay that serves clients from it.
struct Setup {
    relay: Relay,
    listen: Endpoint,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    upstream: JoinHandle<()>,
}

impl Setup {
    async fn new(relay: Relay) -> Self {
        let listener = Listener::bind(&any_port()).await.unwrap();
        let to = listener.local_endpoint().clone();
        let upstream = tokio::spawn(async move {
            loop {
                tokio::spawn(upstream(listener.accept().await.unwrap()));
            }
        });
        let listener = Listener::bind(&any_port()).await.unwrap();
        let listen = listener.local_endpoint().clone();
        let (stop, stopped) = oneshot::channel();
        let serving = relay.clone();
        let served = tokio::spawn(async move {
            serving.serve(listener, to, async { drop(stopped.await) }).await;
        });
        Self { relay, listen, stop, served, upstream }
    }

    async fn client(&self, kind: u8) -> Stream {
        let Endpoint::Tcp(address) = &self.listen else { unreachable!("TCP was asked for") };
        let socket = TcpSocket::new_v4().unwrap();
        if kind == DRIP {
            socket.set_recv_buffer_size(4096).unwrap();
        }
        let mut stream = Stream::Tcp(within(socket.connect(address.parse().unwrap())).await.unwrap());
        stream.write_all(&[kind]).await.unwrap();
        stream
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        within(self.served).await.unwrap();
        self.upstream.abort();
        let pool = self.relay.pool().stats();
        assert_eq!((pool.in_use, pool.waiting), (0, 0), "{pool}");
    }
}

async fn upstream(mut stream: Stream) -> io::Result<()> {
    if stream.read_u8().await? != ECHO {
        loop {
            stream.write_all(&[7; 64 * 1024]).await?;
        }
    }
    let mut bytes = [0; 1024];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count]).await?;
    }
}

/// The time that a small request takes.
async fn request(client: &mut Stream) -> Duration {
    let start = Instant::now();
    client.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    within(client.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"ping");
    start.elapsed()
}

async fn stalled_readers_stop_nobody(readers: usize, memory_limit: Option<usize>) {
    let config = RelayConfig::default().drain_timeout(Duration::ZERO);
    let setup = Setup::new(relay(memory_limit, config)).await;
    let mut old = setup.client(ECHO).await;
    request(&mut old).await;
    let mut stalled = Vec::new();
    let kind = if readers > 16 { DRIP } else { SEND };
    for _ in 0..readers {
        stalled.push(setup.client(kind).await);
    }
    sleep(FILLING).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let mut new = setup.client(ECHO).await;
        slowest = slowest.max(request(&mut new).await).max(request(&mut old).await);
    }
    assert!(slowest < PROMPTLY, "{slowest:?}");
    let pool = setup.relay.pool().stats();
    assert_eq!(pool.waits, 0, "{pool}");
    let limit = memory_limit.unwrap_or_else(|| BufferPoolConfig::proxy().memory_limit());
    assert!(pool.high_water_bytes <= limit as u64, "{pool}");
    assert_eq!(pool.overruns + pool.heap_fallbacks, 0, "{pool}");
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_stalled_readers_stop_nobody_at_a_limit_of_1_mib() {
    stalled_readers_stop_nobody(16, Some(1 << 20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_stalled_readers_stop_nobody_at_a_limit_of_1_mib() {
    stalled_readers_stop_nobody(200, Some(1 << 20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_stalled_readers_stop_nobody_at_a_limit_of_one_small_buffer() {
    stalled_readers_stop_nobody(200, Some(64 * 1024)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_stalled_readers_stop_nobody_at_the_default_limit() {
    stalled_readers_stop_nobody(200, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_take_a_little_now_and_then_slow_nobody_down() {
    let config = RelayConfig::default().drain_timeout(Duration::ZERO);
    let setup = Setup::new(relay(Some(1 << 20), config)).await;
    let mut dripping = JoinSet::new();
    for _ in 0..100 {
        let mut reader = setup.client(DRIP).await;
        dripping.spawn(async move {
            loop {
                reader.read_exact(&mut [0; 30_000]).await.unwrap();
                sleep(Duration::from_millis(800)).await;
            }
        });
    }
    sleep(FILLING).await;
    let mut client = setup.client(ECHO).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        slowest = slowest.max(request(&mut client).await);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < PROMPTLY / 4, "{slowest:?}");
    dripping.shutdown().await;
    setup.end().await;
}

/// Both ends of a TCP connection.
async fn tcp() -> (Stream, Stream) {
    let listener = Listener::bind(&any_port()).await.unwrap();
    let (near, far) =
        tokio::join!(Stream::connect(listener.local_endpoint(), PATIENCE), within(listener.accept()));
    (near.unwrap(), far.unwrap())
}

fn unix() -> (Stream, Stream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Stream::Unix(near), Stream::Unix(far))
}

async fn pair(is_unix: bool) -> (Stream, Stream) {
    if is_unix { unix() } else { tcp().await }
}

fn start(relay: &Relay, client: Stream, upstream: Stream) -> Outcome {
    let relay = relay.clone();
    tokio::spawn(async move { relay.relay(client, upstream).await })
}

/// A reader of `rate` bytes per second, ten times per second. Returns the bytes that it got within `time`.
async fn read_slowly(mut stream: Stream, rate: usize, time: Duration) -> io::Result<usize> {
    let mut seen = 0;
    let mut bytes = vec![0; rate / 10];
    let end = Instant::now() + time;
    while Instant::now() < end {
        match stream.read(&mut bytes).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => seen += count,
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(seen)
}

/// The rates are such that the kernel reports room in a socket less often than the idle timeout: a Unix socket has room
/// when 48 KiB are taken, and reports it when 160 KiB are.
async fn a_slow_and_steady_reader_is_served(client_is_unix: bool, upstream_is_unix: bool, rate: usize) {
    let relay = relay(None, RelayConfig::default().idle_timeout(Some(Duration::from_secs(1))));
    let (client, client_side) = pair(client_is_unix).await;
    let (upstream_side, mut upstream) = pair(upstream_is_unix).await;
    let outcome = start(&relay, client_side, upstream_side);
    let sender = tokio::spawn(async move { while upstream.write_all(&[7; 64 * 1024]).await.is_ok() {} });
    let seen = within(read_slowly(client, rate, Duration::from_secs(5))).await;
    if seen.is_err() {
        panic!("{seen:?}: {:?}", within(outcome).await);
    }
    outcome.abort();
    sender.abort();
}

#[tokio::test]
async fn a_slow_and_steady_reader_is_served_over_tcp() {
    a_slow_and_steady_reader_is_served(false, false, 600_000).await;
}

#[tokio::test]
async fn a_slow_and_steady_reader_is_served_over_a_unix_socket() {
    a_slow_and_steady_reader_is_served(true, false, 110_000).await;
}

#[tokio::test]
async fn a_slow_and_steady_reader_is_served_from_a_unix_upstream() {
    a_slow_and_steady_reader_is_served(true, true, 110_000).await;
}

#[tokio::test]
async fn a_reader_that_stalls_is_cut_at_the_idle_timeout_and_named() {
    let idle = Duration::from_millis(500);
    for is_unix in [false, true] {
        let relay = relay(None, RelayConfig::default().idle_timeout(Some(idle)));
        let (_client, client_side) = pair(is_unix).await;
        let (upstream_side, mut upstream) = pair(is_unix).await;
        let outcome = start(&relay, client_side, upstream_side);
        while upstream.write_all(&[7; 64 * 1024]).await.is_ok() {}
        let error = within(outcome).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), RelayErrorKind::IdleTimeout, "{error}");
        assert_eq!(error.side(), Some(Side::Client), "{error}");
        assert_eq!(error.to_string(), "the client took no bytes for 500ms");
        assert!(error.transferred().to_client > 0, "{error}");
    }
}

/// A generator of random numbers that a seed repeats (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Byte `index` of the stream with this seed.
fn byte(seed: u64, index: usize) -> u8 {
    ((index as u64 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Sends a stream in pieces of random sizes with random pauses, and ends it; or resets the connection before.
async fn send(
    mut stream: impl AsyncWrite + Unpin,
    seed: u64,
    len: usize,
    stop_after: Option<usize>,
    reset: &Notify,
) -> io::Result<()> {
    let mut random = Random(seed | 1);
    let mut sent = 0;
    while sent < len {
        let piece: Vec<u8> =
            (sent..len.min(sent + 1 + random.below(100_000))).map(|index| byte(seed, index)).collect();
        stream.write_all(&piece).await?;
        sent += piece.len();
        if stop_after.is_some_and(|stop| sent > stop) {
            reset.notify_one();
            return Ok(());
        }
        if random.below(8) == 0 {
            sleep(Duration::from_millis(random.below(20) as u64)).await;
        }
    }
    stream.shutdown().await
}

/// Receives a stream slowly and checks every byte. Returns its length at a clean end.
async fn receive(mut stream: impl AsyncRead + Unpin, seed: u64) -> io::Result<usize> {
    let mut random = Random(!seed | 1);
    let mut seen = 0;
    let mut bytes = vec![0; 50_000];
    loop {
        let room = 1 + random.below(bytes.len());
        let count = stream.read(&mut bytes[..room]).await?;
        if count == 0 {
            return Ok(seen);
        }
        for (index, got) in bytes[..count].iter().enumerate() {
            assert_eq!(*got, byte(seed, seen + index), "at byte {} of the stream {seed}", seen + index);
        }
        seen += count;
        if random.below(4) == 0 {
            sleep(Duration::from_millis(random.below(10) as u64)).await;
        }
    }
}

/// One end of a connection: sends a stream and receives another. Returns the length of what it received, if that ended
/// cleanly.
async fn end(stream: Stream, sends: (u64, usize), receives: u64, stop_after: Option<usize>) -> Option<usize> {
    let mut stream = stream;
    let reset = Notify::new();
    let received = {
        let (read, write) = tokio::io::split(&mut stream);
        let exchange = async {
            let (received, sent) =
                tokio::join!(receive(read, receives), send(write, sends.0, sends.1, stop_after, &reset));
            // A socket reports a reset only once. After a write that did, a read sees an end.
            sent.and(received).ok()
        };
        tokio::select! {
            received = exchange => received,
            () = reset.notified() => None,
        }
    };
    if stop_after.is_some() {
        stream.reset_on_close();
    }
    received
}

/// Small pieces of memory come and go, so that some pieces are relayed by the pool's buffers and others without.
async fn take_memory_now_and_then(pool: BufferPool) {
    let mut random = Random(42);
    loop {
        let mut held = Vec::new();
        while let Ok(buffer) = pool.try_acquire(8 * 1024) {
            held.push(buffer);
        }
        sleep(Duration::from_millis(random.below(20) as u64)).await;
        drop(held);
        sleep(Duration::from_millis(random.below(20) as u64)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_is_right_and_no_part_ends_like_the_whole() {
    let relay = relay(Some(256 * 1024), RelayConfig::default());
    let taker = tokio::spawn(take_memory_now_and_then(relay.pool().clone()));
    let mut connections = JoinSet::new();
    for number in 0..60_u64 {
        let relay = relay.clone();
        connections.spawn(async move {
            let mut random = Random(number + 1);
            // A Unix socket has no reset.
            let is_unix = number % 3 == 0;
            let (client, client_side) = pair(is_unix).await;
            let (upstream_side, upstream) = pair(is_unix).await;
            let (up, down) = (random.below(2_000_000), random.below(2_000_000));
            let stop = (!is_unix && random.below(3) == 0).then(|| random.below(up.max(1)));
            let relayed = tokio::spawn(async move { relay.relay(client_side, upstream_side).await });
            let (to_client, to_upstream) = tokio::join!(
                end(client, (number, up), number + 1000, stop),
                end(upstream, (number + 1000, down), number, None),
            );
            let outcome = within(relayed).await.unwrap();
            if stop.is_none_or(|stop| stop >= up) {
                assert_eq!((to_upstream, to_client), (Some(up), Some(down)), "connection {number}");
                let transferred = outcome.unwrap();
                assert_eq!((transferred.to_upstream, transferred.to_client), (up as u64, down as u64));
            } else {
                assert!(
                    to_upstream.is_none_or(|seen| seen == up),
                    "connection {number}: a part ended cleanly"
                );
            }
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended.unwrap();
    }
    taker.abort();
    assert!(within(taker).await.unwrap_err().is_cancelled());
    let pool = relay.pool().stats();
    assert_eq!((pool.in_use, pool.waits, pool.overruns), (0, 0, 0), "{pool}");
    assert!(pool.high_water_bytes <= 256 * 1024, "{pool}");
}
