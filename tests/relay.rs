//! The relay between real sockets: every pair of TCP and Unix, and every way a connection can fail.

use std::io::{self, ErrorKind as Io};
use std::path::PathBuf;
use std::time::Duration;

use millpond::net::{AsyncStream, DrainReport, Endpoint, ErrorKind, Listener, Stream};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running relay and the upstream that it connects to. The test plays the upstream.
struct Setup {
    relay: Relay,
    upstream: Listener,
    listen: Endpoint,
    stop: oneshot::Sender<()>,
    served: JoinHandle<DrainReport>,
}

impl Setup {
    async fn new(listen: &Endpoint, upstream: &Endpoint, config: RelayConfig) -> Self {
        Self::with(Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config), listen, upstream).await
    }

    async fn with(relay: Relay, listen: &Endpoint, upstream: &Endpoint) -> Self {
        let upstream = Listener::bind(upstream).await.unwrap();
        let to = upstream.local_endpoint().clone();
        let (listen, stop, served) = serve(&relay, listen, to).await;
        Self { relay, upstream, listen, stop, served }
    }

    async fn tcp(config: RelayConfig) -> Self {
        Self::new(&any_port(), &any_port(), config).await
    }

    async fn client(&self) -> Stream {
        connect(&self.listen).await
    }

    /// Both ends of one relayed connection.
    async fn connection(&self) -> (Stream, Stream) {
        let client = self.client().await;
        (client, within(self.upstream.accept()).await.unwrap())
    }

    async fn end(self) -> DrainReport {
        self.stop.send(()).unwrap();
        let report = within(self.served).await.unwrap();
        assert_nothing_held(&self.relay);
        report
    }
}

async fn serve(
    relay: &Relay,
    listen: &Endpoint,
    to: Endpoint,
) -> (Endpoint, oneshot::Sender<()>, JoinHandle<DrainReport>) {
    let listener = Listener::bind(listen).await.unwrap();
    let listen = listener.local_endpoint().clone();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn({
        let relay = relay.clone();
        async move { relay.serve(listener, to, async { drop(stopped.await) }).await }
    });
    (listen, stop, served)
}

fn any_port() -> Endpoint {
    "tcp://127.0.0.1:0".parse().unwrap()
}

fn socket_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("millpond-relay-{}-{name}", std::process::id())).join("s.sock")
}

async fn connect(endpoint: &Endpoint) -> Stream {
    Stream::connect(endpoint, PATIENCE).await.unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[track_caller]
fn assert_nothing_held(relay: &Relay) {
    let pool = relay.pool().stats();
    assert_eq!((pool.in_use, pool.acquires), (0, pool.returns), "{pool}");
}

async fn read_all(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.map(|_| bytes)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn bytes_and_half_closes_are_relayed_between_all_kinds_of_sockets() {
    for (number, (listen_unix, upstream_unix)) in
        [(false, false), (false, true), (true, false), (true, true)].into_iter().enumerate()
    {
        let endpoint = |unix, name: &str| {
            if unix { Endpoint::Unix(socket_file(&format!("{name}{number}"))) } else { any_port() }
        };
        let listen = endpoint(listen_unix, "listen");
        let setup = Setup::new(&listen, &endpoint(upstream_unix, "upstream"), RelayConfig::default()).await;
        let (request, answer) = (bytes(300_000), bytes(500_000));

        // The client closes first; the upstream answers after it has read everything.
        let (mut client, mut upstream) = setup.connection().await;
        let send = async {
            client.write_all(&request).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let (seen, ()) = tokio::join!(read_all(&mut upstream), send);
        assert!(seen.unwrap() == request);
        let send = async {
            upstream.write_all(&answer).await.unwrap();
            upstream.shutdown().await.unwrap();
        };
        let (seen, ()) = tokio::join!(read_all(&mut client), send);
        assert!(seen.unwrap() == answer);

        // The upstream closes first; the client keeps sending.
        let (mut client, mut upstream) = setup.connection().await;
        upstream.shutdown().await.unwrap();
        assert!(read_all(&mut client).await.unwrap().is_empty());
        client.write_all(b"still here").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut upstream).await.unwrap(), b"still here");

        eventually("both connections close", || setup.relay.stats().closed == 2).await;
        let stats = setup.relay.stats();
        assert_eq!((stats.bytes_to_upstream, stats.bytes_to_client), (300_010, 500_000), "{stats}");
        setup.end().await;
        if let Endpoint::Unix(path) = listen {
            assert!(!path.exists(), "the listener left its socket file");
        }
    }
}

#[tokio::test]
async fn a_connection_without_traffic_holds_no_buffer() {
    let setup = Setup::tcp(RelayConfig::default()).await;
    let (mut client, mut upstream) = setup.connection().await;
    let (sent, mut seen) = (bytes(64 * 1024), vec![0; 64 * 1024]);
    client.write_all(&sent).await.unwrap();
    upstream.read_exact(&mut seen).await.unwrap();
    assert!(seen == sent);
    eventually("the buffer is returned", || setup.relay.pool().stats().in_use == 0).await;
    let pool = setup.relay.pool().stats();
    assert!(pool.acquires > 0, "{pool}");
    assert_eq!((pool.in_use, setup.relay.stats().active), (0, 1));
    drop((client, upstream));
    setup.end().await;
}

#[tokio::test]
async fn a_reset_by_either_side_resets_the_other() {
    let setup = Setup::tcp(RelayConfig::default()).await;
    for client_resets in [true, false] {
        let (mut client, mut upstream) = setup.connection().await;
        // Until one byte is relayed, the relay may still be connecting to the upstream.
        client.write_all(b"x").await.unwrap();
        within(upstream.read_exact(&mut [0])).await.unwrap();
        let (mut resets, mut other) = if client_resets { (client, upstream) } else { (upstream, client) };
        resets.reset_on_close();
        drop(resets);
        let error = read_all(&mut other).await.expect_err("a clean close instead of a reset");
        assert_eq!(error.kind(), Io::ConnectionReset, "client resets: {client_resets}");
    }
    eventually("both resets are counted", || setup.relay.stats().reset == 2).await;
    setup.end().await;
}

#[tokio::test]
async fn an_early_answer_arrives_whole_when_the_upstream_stops_reading() {
    let setup = Setup::tcp(RelayConfig::default()).await;
    let (client, mut upstream) = setup.connection().await;
    let Stream::Tcp(client) = client else { unreachable!() };
    let (mut read, mut write) = client.into_split();
    let sender = tokio::spawn(async move { while write.write_all(&[0; 4096]).await.is_ok() {} });
    upstream.read_exact(&mut [0; 4096]).await.unwrap();
    upstream.write_all(&bytes(100_000)).await.unwrap();
    // Closing with unread bytes sends a reset, which must not overtake the answer.
    drop(upstream);
    let mut answer = vec![0; 100_000];
    within(read.read_exact(&mut answer)).await.unwrap();
    assert!(answer == bytes(100_000));
    drop(read);
    within(sender).await.unwrap();
    eventually("the connection ends", || setup.relay.stats().active == 0).await;
    setup.end().await;
}

#[tokio::test]
async fn a_stalled_reader_stops_its_sender_and_holds_at_most_one_small_buffer() {
    let setup = Setup::tcp(RelayConfig::default()).await;
    let (mut client, mut upstream) = setup.connection().await;
    let mut sent = 0;
    let chunk = bytes(64 * 1024);
    // Until the kernel's buffers on the path are full.
    while let Ok(written) = timeout(Duration::from_millis(500), client.write(&chunk)).await {
        sent += written.unwrap();
    }
    let pool = setup.relay.pool().stats();
    assert!(pool.in_use <= 1, "{pool}");
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut upstream).await.unwrap().len(), sent);
    drop((client, upstream));
    setup.end().await;
}

#[tokio::test]
async fn the_idle_timeout_closes_a_silent_connection_and_keeps_an_active_one() {
    let idle = Duration::from_millis(400);
    let setup = Setup::tcp(RelayConfig::default().idle_timeout(Some(idle))).await;
    let (mut client, mut upstream) = setup.connection().await;
    for _ in 0..10 {
        sleep(idle / 4).await;
        client.write_all(b"x").await.unwrap();
        within(upstream.read_exact(&mut [0])).await.unwrap();
    }
    assert_eq!(setup.relay.stats().idle_timeouts, 0);
    // A peer may wait for the rest of an answer, so this is no clean end.
    for stream in [&mut client, &mut upstream] {
        assert_eq!(read_all(stream).await.unwrap_err().kind(), Io::ConnectionReset);
    }
    eventually("the timeout is counted", || setup.relay.stats().idle_timeouts == 1).await;
    setup.end().await;
}

#[tokio::test]
async fn connections_above_the_limit_wait_until_another_ends() {
    let setup = Setup::tcp(RelayConfig::default().max_connections(1)).await;
    let (first, _upstream) = setup.connection().await;
    let mut second = setup.client().await;
    second.write_all(b"hello").await.unwrap();
    let early = timeout(Duration::from_millis(200), setup.upstream.accept()).await;
    assert!(early.is_err(), "served above the limit");
    drop((first, _upstream));
    let mut upstream = within(setup.upstream.accept()).await.unwrap();
    within(upstream.read_exact(&mut [0; 5])).await.unwrap();
    assert_eq!(setup.relay.stats().accepted, 2);
    drop((second, upstream));
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_limit_of_one_small_buffer_serves_every_connection() {
    let limit = 8 * 1024;
    let pool = BufferPoolConfig::builder().class(limit, 4).memory_limit(limit).build().unwrap();
    let relay = Relay::new(BufferPool::new(pool), RelayConfig::default());
    let setup = Setup::with(relay, &any_port(), &any_port()).await;
    let mut echoes = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (mut client, upstream) = setup.connection().await;
        let (mut read, mut write) = tokio::io::split(upstream);
        echoes.spawn(async move {
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        });
        echoes.spawn(async move {
            let sent = bytes(256 * 1024);
            let (mut read, mut write) = tokio::io::split(&mut client);
            let send = async {
                write.write_all(&sent).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut seen = Vec::new();
            let (count, ()) = tokio::join!(read.read_to_end(&mut seen), send);
            count.unwrap();
            assert!(seen == sent);
        });
    }
    within(echoes.join_all()).await;
    eventually("all connections close", || setup.relay.stats().closed == 20).await;
    let pool = setup.relay.pool().stats();
    assert!(pool.high_water_bytes <= limit as u64, "{pool}");
    assert_eq!(pool.overruns + pool.heap_fallbacks, 0, "{pool}");
    assert_eq!(pool.waits, 0, "a connection waited for memory");
    setup.end().await;
}

#[tokio::test]
async fn a_shutdown_drains_and_then_aborts() {
    let config = RelayConfig::default().drain_timeout(Duration::from_secs(1));
    let setup = Setup::tcp(config).await;
    let (mut ends, upstream_of_ends) = setup.connection().await;
    let (mut stays, _upstream_of_stays) = setup.connection().await;
    eventually("both connections are open", || setup.relay.stats().active == 2).await;
    setup.stop.send(()).unwrap();
    // Well into the drain: the accept queue is served, and a shutdown that aborts at once would have finished by now.
    sleep(Duration::from_millis(100)).await;
    assert!(Stream::connect(&setup.listen, PATIENCE).await.is_err(), "it still listens");
    ends.write_all(b"last words").await.unwrap();
    drop(ends);
    let mut upstream_of_ends = upstream_of_ends;
    assert_eq!(read_all(&mut upstream_of_ends).await.unwrap(), b"last words");
    drop(upstream_of_ends);
    let report = within(setup.served).await.unwrap();
    assert_eq!((report.drained, report.aborted), (1, 1));
    assert_eq!(read_all(&mut stays).await.unwrap_err().kind(), Io::ConnectionReset);
    let stats = setup.relay.stats();
    assert_eq!((stats.active, stats.closed, stats.aborted), (0, 1, 1), "{stats}");
    assert_nothing_held(&setup.relay);
}

#[tokio::test]
async fn connections_that_a_cancelled_serve_aborts_are_counted() {
    let setup = Setup::tcp(RelayConfig::default()).await;
    let (_client, _upstream) = setup.connection().await;
    setup.served.abort();
    eventually("the connection is aborted", || setup.relay.stats().aborted == 1).await;
    assert_eq!(setup.relay.stats().active, 0);
}

#[tokio::test]
async fn an_unreachable_upstream_is_a_typed_error_and_resets_the_client() {
    let gone = Listener::bind(&any_port()).await.unwrap().local_endpoint().clone();
    let error = Stream::connect(&gone, PATIENCE).await.unwrap_err();
    assert_eq!((error.kind(), error.endpoint()), (ErrorKind::Connect, &gone));
    let text = error.to_string();
    assert!(text.contains(&gone.to_string()) && !text.contains('\n'), "{text}");

    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    let (listen, stop, served) = serve(&relay, &any_port(), gone).await;
    let mut client = connect(&listen).await;
    assert_eq!(read_all(&mut client).await.unwrap_err().kind(), Io::ConnectionReset);
    eventually("the error is counted", || relay.stats().connect_errors == 1).await;
    stop.send(()).unwrap();
    within(served).await.unwrap();
    assert_nothing_held(&relay);
}

#[tokio::test]
async fn binding_refuses_an_address_in_use_and_replaces_only_a_stale_socket_file() {
    let tcp = Listener::bind(&any_port()).await.unwrap();
    let error = Listener::bind(tcp.local_endpoint()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressInUse, "{error}");

    let path = socket_file("in-use");
    let endpoint = Endpoint::Unix(path.clone());
    let live = Listener::bind(&endpoint).await.unwrap(); // makes the directory
    let error = Listener::bind(&endpoint).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressInUse, "{error}");
    let (client, accepted) = tokio::join!(connect(&endpoint), live.accept());
    drop((client, accepted.unwrap(), live));
    assert!(!path.exists());

    // The listener of std does not remove its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Listener::bind(&endpoint).await.expect("a stale socket file is replaced"));

    std::fs::write(&path, "precious").unwrap();
    let error = Listener::bind(&endpoint).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotASocket { found: "a file" }, "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
