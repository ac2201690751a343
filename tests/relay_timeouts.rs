//! What ends a connection that is half-closed, stalled or old, and who is to blame.

use std::io::ErrorKind as Io;
use std::time::Duration;

use millpond::net::{Listener, Peekable, Stream};
use millpond::relay::{Relay, RelayConfig, RelayError, RelayErrorKind, Side, Transferred};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// The timeout in tests with real sockets.
const SHORT: Duration = Duration::from_millis(400);
const SMALL: usize = 8 * 1024;

type Outcome = JoinHandle<Result<Transferred, RelayError>>;

/// No timeout at all.
fn config() -> RelayConfig {
    RelayConfig::default().idle_timeout(None)
}

fn relay(config: RelayConfig) -> Relay {
    Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config)
}

/// A client and an upstream in memory, for tests with a paused clock.
fn in_memory(config: RelayConfig) -> (DuplexStream, DuplexStream, Outcome) {
    let ((client, client_side), (upstream_side, upstream)) = (duplex(64), duplex(64));
    let relay = relay(config);
    let outcome =
        tokio::spawn(
            async move { relay.relay(Peekable::new(client_side), Peekable::new(upstream_side)).await },
        );
    (client, upstream, outcome)
}

async fn tcp() -> (Stream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) =
        tokio::join!(Stream::connect(listener.local_endpoint(), PATIENCE), within(listener.accept()));
    (near.unwrap(), far.unwrap())
}

async fn pair(is_unix: bool) -> (Stream, Stream) {
    if is_unix {
        let (near, far) = UnixStream::pair().unwrap();
        (Stream::Unix(near), Stream::Unix(far))
    } else {
        tcp().await
    }
}

/// A client and an upstream that a relay stands between.
async fn sockets(config: RelayConfig, is_unix: bool) -> (Stream, Stream, Outcome) {
    let (client, client_side) = pair(is_unix).await;
    let (upstream_side, upstream) = pair(is_unix).await;
    let relay = relay(config);
    let outcome = tokio::spawn(async move { relay.relay(client_side, upstream_side).await });
    (client, upstream, outcome)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

async fn failed(outcome: Outcome) -> RelayError {
    within(outcome).await.unwrap().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_connection_ends_once_the_other_side_is_silent_and_not_before() {
    let config = config().half_closed_timeout(Some(10 * SECOND));
    let (mut client, mut upstream, outcome) = in_memory(config);
    let start = Instant::now();
    // Silence before the end of a direction does not count.
    sleep(100 * SECOND).await;
    client.write_all(b"a request").await.unwrap();
    client.shutdown().await.unwrap();
    for _ in 0..5 {
        sleep(9 * SECOND).await;
        upstream.write_all(b"x").await.unwrap();
    }
    let error = timeout(100 * SECOND, outcome).await.expect("it does not end").unwrap().unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 100 + 5 * 9 + 10);
    assert_eq!(error.kind(), RelayErrorKind::HalfClosedTimeout);
    assert_eq!(error.side(), Some(Side::Upstream));
    assert_eq!(error.to_string(), "one direction has ended, and the upstream sent or took no bytes for 10s");
    assert!(error.is_timeout());
}

#[tokio::test]
async fn of_a_half_closed_connection_the_side_that_takes_nothing_is_to_blame() {
    let config = config().half_closed_timeout(Some(SHORT));
    let (mut client, mut upstream, outcome) = sockets(config, true).await;
    client.shutdown().await.unwrap();
    while within(upstream.write_all(&[7; 64 * 1024])).await.is_ok() {}
    let error = failed(outcome).await;
    assert_eq!(error.kind(), RelayErrorKind::HalfClosedTimeout, "{error}");
    assert_eq!(error.side(), Some(Side::Client), "{error}");
}

#[tokio::test]
async fn a_side_that_takes_nothing_is_cut_although_it_sends() {
    for is_unix in [false, true] {
        let config = config().stalled_timeout(Some(SHORT));
        let (mut client, upstream, outcome) = sockets(config, is_unix).await;
        let (mut requests, mut answers) = tokio::io::split(upstream);
        let answering =
            tokio::spawn(async move { while answers.write_all(&[7; 64 * 1024]).await.is_ok() {} });
        while client.write_all(b"x").await.is_ok() && requests.read_exact(&mut [0]).await.is_ok() {
            sleep(SHORT / 8).await;
        }
        let error = failed(outcome).await;
        assert_eq!(error.kind(), RelayErrorKind::StalledTimeout(Side::Client), "{error}");
        assert_eq!(error.to_string(), "the client took no bytes for 400ms");
        within(answering).await.unwrap();
    }
}

#[tokio::test]
async fn a_side_that_takes_a_little_is_no_stall() {
    let config = config().stalled_timeout(Some(SECOND));
    let (mut client, mut upstream, outcome) = sockets(config, true).await;
    let sending = tokio::spawn(async move { while upstream.write_all(&[7; 64 * 1024]).await.is_ok() {} });
    let start = Instant::now();
    // The kernel reports room in a Unix socket when 160 KiB are taken, which is less often than the timeout.
    while start.elapsed() < 4 * SECOND {
        if within(client.read_exact(&mut [0; 11_000])).await.is_err() {
            panic!("{}", failed(outcome).await);
        }
        sleep(SECOND / 10).await;
    }
    outcome.abort();
    within(sending).await.unwrap();
}

#[tokio::test]
async fn waiting_for_memory_is_nobodys_stall() {
    let pool = BufferPoolConfig::builder().class(SMALL, 4).memory_limit(SMALL).build().unwrap();
    let config = config().stalled_timeout(Some(SHORT)).half_closed_timeout(Some(SHORT));
    let relay = Relay::new(BufferPool::new(pool), config);
    let held = relay.pool().try_acquire(SMALL).unwrap();
    let (mut client, client_side) = tcp().await;
    let (upstream_side, mut upstream) = tcp().await;
    let relaying = relay.clone();
    // A socket would be relayed without the pool.
    let outcome =
        tokio::spawn(async move { relaying.relay(Peekable::new(client_side), upstream_side).await });
    upstream.shutdown().await.unwrap();
    client.write_all(b"a request").await.unwrap();
    sleep(4 * SHORT).await;
    assert_eq!(relay.pool().stats().waiting, 1);
    drop(held);
    within(upstream.read_exact(&mut [0; 9])).await.unwrap();
    outcome.abort();
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_ends_at_its_maximum_lifetime() {
    let (mut client, mut upstream, outcome) = in_memory(config().max_lifetime(Some(60 * SECOND)));
    let start = Instant::now();
    tokio::spawn(async move {
        while client.write_all(b"x").await.is_ok() && upstream.read_exact(&mut [0]).await.is_ok() {
            sleep(SECOND).await;
        }
    });
    let error = timeout(100 * SECOND, outcome).await.expect("it does not end").unwrap().unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 60);
    assert_eq!((error.kind(), error.side()), (RelayErrorKind::MaxLifetime, None));
    assert_eq!(error.to_string(), "the connection was open for 60s");
}

#[tokio::test]
async fn the_end_of_a_lifetime_is_a_reset_for_both_and_is_counted() {
    let relay = relay(config().max_lifetime(Some(SHORT)));
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let (to, listen) = (upstream.local_endpoint().clone(), listener.local_endpoint().clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = relay.clone();
    let served =
        tokio::spawn(async move { serving.serve(listener, to, async { drop(stopped.await) }).await });
    let mut client = Stream::connect(&listen, PATIENCE).await.unwrap();
    let mut accepted = within(upstream.accept()).await.unwrap();
    for stream in [&mut client, &mut accepted] {
        assert_eq!(
            within(stream.read_to_end(&mut Vec::new())).await.unwrap_err().kind(),
            Io::ConnectionReset
        );
    }
    drop(stop);
    within(served).await.unwrap();
    let stats = relay.stats();
    assert_eq!((stats.max_lifetimes, stats.failed(), stats.active), (1, 1, 0), "{stats}");
}
