//! Faults of peers over real sockets: each is a typed error, and other peers do not notice it. After each fault a
//! well-behaved client is still served, and every buffer is returned.
//!
//! `a_full_disk_is_reported` needs `unshare` and `mount` (util-linux) and user namespaces.

use std::io;
use std::process::Command;
use std::time::Duration;

use bytes::BufMut;
use millpond::bus::{
    ConnectionErrorKind, ConnectionEvent, PublishError, RecvError, Subscriber, TcpTransport, TransportConfig,
    UnixTransport,
};
use millpond::frame::{FrameErrorKind, Message, MessageError, Protocol, ReadMode, tlv};
use millpond::net::{Endpoint, ErrorKind, Listener};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

mod messages;

use messages::{CounterUpdate, TextMessage};

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

/// A server, a well-behaved client, and the events of the server.
struct Stage {
    server: TcpTransport,
    client: TcpTransport,
    counters: Subscriber<CounterUpdate>,
    events: broadcast::Receiver<ConnectionEvent>,
}

impl Stage {
    async fn new(config: TransportConfig) -> Self {
        let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
        server.hub().declare::<TextMessage>();
        let counters = server.subscriber();
        let client = TcpTransport::connect(server.local_addr()).await.unwrap();
        let mut stage = Self { events: server.hub().events(), server, client, counters };
        stage.is_unharmed().await;
        stage.events = stage.server.hub().events();
        stage
    }

    async fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.server.local_addr()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// How the next connection ends.
    async fn end(&mut self) -> Option<ConnectionErrorKind> {
        loop {
            let event = timeout(SOON, self.events.recv()).await.expect("no connection ends");
            if let ConnectionEvent::Closed { error, .. } = event.unwrap() {
                return error;
            }
        }
    }

    async fn is_unharmed(&mut self) {
        let sent = CounterUpdate { counter_id: 1, value: 2, delta: 3 };
        self.client.publisher().publish(&sent).await.unwrap();
        assert_eq!(timeout(SOON, self.counters.recv()).await.unwrap().unwrap().view().unwrap(), sent);
        let start = Instant::now();
        while self.server.buffer_pool_stats().in_use > 0 {
            assert!(start.elapsed() < SOON, "{}", self.server.buffer_pool_stats());
            sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(self.server.hub().connections().iter().map(|info| info.held_bytes).sum::<usize>(), 0);
    }
}

fn frame(type_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    tlv::encode(type_id, payload, &mut wire).unwrap();
    wire
}

#[tokio::test]
async fn a_length_over_the_limit_is_an_error() {
    let mut stage = Stage::new(TransportConfig::default().max_payload(1000)).await;
    let mut socket = stage.socket().await;
    socket.write_all(&frame(TextMessage::TYPE_ID, &[0; 1001])).await.unwrap();
    let kind = FrameErrorKind::MessageTooLarge { size: 1001, max: 1000 };
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::Protocol(kind)));
    stage.is_unharmed().await;
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_is_an_error() {
    let wire = frame(TextMessage::TYPE_ID, &[0; 70_000]);
    for sent in [1, 5, 6, 7, 5000, 70_005] {
        let mut stage = Stage::new(TransportConfig::default()).await;
        let mut socket = stage.socket().await;
        socket.write_all(&wire[..sent]).await.unwrap();
        drop(socket);
        let kind =
            FrameErrorKind::Truncated { received: sent, expected: if sent < 6 { 6 } else { wire.len() } };
        assert_eq!(stage.end().await, Some(ConnectionErrorKind::Protocol(kind)));
        stage.is_unharmed().await;
    }
}

#[tokio::test]
async fn an_http_request_is_named() {
    let mut stage = Stage::new(TransportConfig::default()).await;
    let mut socket = stage.socket().await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n").await.unwrap();
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::WrongProtocol(Protocol::Http)));
    stage.is_unharmed().await;
}

#[tokio::test]
async fn a_reset_inside_a_frame_is_reported() {
    let mut stage = Stage::new(TransportConfig::default()).await;
    let mut socket = stage.socket().await;
    socket.write_all(&frame(TextMessage::TYPE_ID, &[0; 5000])[..1000]).await.unwrap();
    while stage.server.hub().connections().iter().all(|info| info.held_bytes == 0) {
        sleep(Duration::from_millis(2)).await;
    }
    socket.set_zero_linger().unwrap();
    drop(socket);
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::Reset));
    stage.is_unharmed().await;
}

#[tokio::test]
async fn a_frame_that_arrives_byte_by_byte_times_out() {
    for reading in [ReadMode::PerFrame, ReadMode::batched()] {
        let config = TransportConfig::default().frame_timeout(SHORT).read_mode(reading);
        let mut stage = Stage::new(config).await;
        let mut socket = stage.socket().await;
        let drip = tokio::spawn(async move {
            for byte in frame(TextMessage::TYPE_ID, &[0; 312]) {
                if socket.write_all(&[byte]).await.is_err() {
                    return;
                }
                sleep(SHORT / 10).await;
            }
            panic!("the whole frame was taken");
        });
        assert_eq!(stage.end().await, Some(ConnectionErrorKind::FrameTimeout));
        stage.is_unharmed().await;
        drip.await.unwrap();
    }
}

/// However much of the frame arrived before, and however fast.
#[tokio::test]
async fn a_large_frame_that_stops_before_its_end_times_out() {
    let mut stage = Stage::new(TransportConfig::default().frame_timeout(SHORT)).await;
    let mut socket = stage.socket().await;
    let wire = frame(TextMessage::TYPE_ID, &[0; 4 << 20]);
    socket.write_all(&wire[..wire.len() - 1]).await.unwrap();
    // Much earlier than the minute by which 4 MiB could extend the timeout.
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::FrameTimeout));
    stage.is_unharmed().await;
}

/// A slow peer that continues has more time.
#[tokio::test]
async fn a_large_frame_may_take_longer_than_the_timeout() {
    let config = TransportConfig::default().frame_timeout(Duration::from_secs(2));
    let mut stage = Stage::new(config).await;
    let mut socket = stage.socket().await;
    for piece in frame(TextMessage::TYPE_ID, &[0; 2 << 20]).chunks(1 << 18) {
        socket.write_all(piece).await.unwrap();
        sleep(SHORT).await;
    }
    drop(socket);
    assert_eq!(stage.end().await, None);
    stage.is_unharmed().await;
}

/// However long the declared length, an unfinished frame that stops is kept in a buffer of the size that has arrived.
#[tokio::test]
async fn peers_that_declare_much_and_send_little_hold_small_buffers() {
    let mut stage = Stage::new(TransportConfig::default().frame_timeout(SOON)).await;
    let wire = frame(TextMessage::TYPE_ID, &[0; 200_000]);
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let mut socket = stage.socket().await;
        // A whole frame first, so that the next is expected to be as large.
        socket.write_all(&wire).await.unwrap();
        socket.write_all(&wire[..100]).await.unwrap();
        sockets.push(socket);
    }
    let held = || {
        let infos = stage.server.hub().connections();
        let parts = infos.iter().filter(|info| info.held_bytes > 0).count();
        (parts, infos.iter().map(|info| info.held_bytes).sum::<usize>(), infos[0].held_bytes)
    };
    let start = Instant::now();
    while held().0 < 100 || held().1 > 100 * 262 {
        assert!(start.elapsed() < SOON, "{:?} {}", held(), stage.server.hub().stats());
        sleep(Duration::from_millis(20)).await;
    }
    assert!(held().2 <= 262, "the greediest holds {}", held().2);
    drop(sockets);
    for _ in 0..100 {
        assert!(matches!(
            stage.end().await,
            Some(ConnectionErrorKind::Protocol(FrameErrorKind::Truncated { .. }))
        ));
    }
    stage.is_unharmed().await;
}

/// The buffer of an earlier large frame is not kept either.
#[tokio::test]
async fn a_peer_that_sends_a_byte_now_and_then_holds_no_large_buffer() {
    let mut stage = Stage::new(TransportConfig::default().frame_timeout(3 * SOON)).await;
    let wire = frame(TextMessage::TYPE_ID, &[0; 200_000]);
    let mut socket = stage.socket().await;
    socket.write_all(&wire).await.unwrap();
    socket.write_all(&wire[..100]).await.unwrap();
    let greediest = || stage.server.hub().connections()[0].held_bytes;
    let start = Instant::now();
    let mut most = 0;
    while most < 200_000 || greediest() > 8192 + tlv::HEADER_LEN {
        assert!(start.elapsed() < SOON, "{} of {most} are held", greediest());
        most = most.max(greediest());
        socket.write_all(&[0]).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    drop(socket);
    assert!(stage.end().await.is_some());
    stage.is_unharmed().await;
}

#[tokio::test]
async fn a_peer_that_never_reads_times_out() {
    let config = TransportConfig::default().write_timeout(SHORT);
    let mut stage = Stage::new(config).await;
    let socket = stage.socket().await;
    while stage.server.hub().stats().open < 2 {
        sleep(Duration::from_millis(2)).await;
    }
    let publisher = stage.server.publisher::<TextMessage>();
    let text = TextMessage { sender: "s".to_owned(), content: "c".repeat(256), timestamp: 0 };
    // The well-behaved client has no subscriber, and reads everything.
    stage.client.hub().declare::<TextMessage>();
    let publish = async {
        loop {
            publisher.publish(&text).await.unwrap();
        }
    };
    tokio::select! {
        error = stage.end() => assert_eq!(error, Some(ConnectionErrorKind::WriteTimeout)),
        () = publish => {}
    }
    stage.is_unharmed().await;
    drop(socket);
}

#[tokio::test]
async fn a_thousand_silent_peers_time_out() {
    let config = TransportConfig::default().first_byte_timeout(Some(SHORT));
    let mut stage = Stage::new(config).await;
    let mut events = stage.server.hub().events();
    let ends = tokio::spawn(async move {
        let mut ends = 0;
        while ends < 1000 {
            match events.recv().await {
                Ok(ConnectionEvent::Closed {
                    error: Some(ConnectionErrorKind::FirstByteTimeout), ..
                }) => {
                    ends += 1;
                }
                Ok(ConnectionEvent::Opened { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let mut sockets = Vec::new();
    for _ in 0..1000 {
        sockets.push(stage.socket().await);
    }
    stage.is_unharmed().await;
    timeout(SOON, ends).await.unwrap().unwrap();
    for mut socket in sockets {
        assert!(matches!(timeout(SOON, socket.read(&mut [0])).await.unwrap(), Ok(0) | Err(_)));
    }
    stage.is_unharmed().await;
    assert_eq!((stage.server.hub().stats().timeouts, stage.server.hub().stats().open), (1000, 1));
}

#[tokio::test]
async fn an_idle_connection_times_out() {
    let config = TransportConfig::default().idle_timeout(Some(SHORT));
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let mut events = server.hub().events();
    let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
    let mut counters = server.subscriber::<CounterUpdate>();
    socket.write_all(&frame(CounterUpdate::TYPE_ID, &[0; 16])).await.unwrap();
    counters.recv().await.unwrap();
    loop {
        if let ConnectionEvent::Closed { error, .. } = timeout(SOON, events.recv()).await.unwrap().unwrap() {
            assert_eq!(error, Some(ConnectionErrorKind::IdleTimeout));
            return;
        }
    }
}

#[tokio::test]
async fn a_subscriber_may_be_dropped_while_its_message_arrives() {
    let mut stage = Stage::new(TransportConfig::default()).await;
    let texts = stage.server.subscriber::<TextMessage>();
    let mut socket = stage.socket().await;
    let wire = frame(TextMessage::TYPE_ID, &[0; 312]);
    socket.write_all(&wire).await.unwrap();
    socket.write_all(&wire[..100]).await.unwrap();
    while stage.server.hub().stats().received_bytes < 22 + 318 + 100 {
        sleep(Duration::from_millis(2)).await;
    }
    drop(texts);
    socket.write_all(&wire[100..]).await.unwrap();
    drop(socket);
    assert_eq!(stage.end().await, None);
    stage.is_unharmed().await;
}

/// When the memory limit is used up, readers wait. They are served when memory is returned, or time out.
#[tokio::test]
async fn readers_wait_for_memory_or_time_out() {
    let classes = BufferPoolConfig::builder().class(8192, 8).thread_cache_bytes(0).memory_limit(4 * 8192);
    let config = TransportConfig::default()
        .buffer_pool(classes.build().unwrap())
        .frame_timeout(Duration::from_secs(2))
        .read_mode(ReadMode::Batched { detach_below: 0 });
    let mut stage = Stage::new(config).await;
    let pool = stage.server.hub().buffer_pool().clone();
    let mut kept: Vec<_> = std::iter::from_fn(|| pool.try_acquire(8192).ok()).collect();
    assert_eq!(kept.len(), 4);
    // This wakes the client's connection, which has nothing to send and so must not ask for memory.
    let told = CounterUpdate { counter_id: 4, value: 5, delta: 6 };
    let mut idle = stage.client.subscriber::<CounterUpdate>();
    let refused = stage.server.publisher().try_publish(&told).unwrap_err();
    assert!(matches!(refused, PublishError::OutOfMemory(_)), "{refused:?}");
    let others = BufferPool::new(BufferPoolConfig::messages());
    let payload = told.encode_pooled(&others).into_shared();
    assert_eq!(
        stage.server.hub().forward(tlv::Frame::new(CounterUpdate::TYPE_ID, payload)).await.unwrap(),
        1
    );
    assert_eq!(timeout(SOON, idle.recv()).await.unwrap().unwrap().view().unwrap(), told);
    assert_eq!(pool.stats().overruns, 0);
    let mut socket = stage.socket().await;
    socket.write_all(&frame(CounterUpdate::TYPE_ID, &[0; 16])).await.unwrap();
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::MemoryTimeout));

    let mut socket = stage.socket().await;
    socket.write_all(&frame(CounterUpdate::TYPE_ID, &[0; 16])).await.unwrap();
    sleep(SHORT).await;
    kept.pop();
    timeout(SOON, stage.counters.recv()).await.unwrap().unwrap();
    drop(kept);
    drop(socket);
    assert_eq!(stage.end().await, None);
    stage.is_unharmed().await;
}

/// Each peer that does not read keeps other messages: those that were published since it connected.
#[tokio::test]
async fn peers_that_stop_reading_do_not_push_publishers_over_the_limit() {
    const LIMIT: usize = 1 << 20;
    let classes = BufferPoolConfig::builder().class(8192, 8).class(65_536, 8).memory_limit(LIMIT);
    let config = TransportConfig::default().buffer_pool(classes.build().unwrap());
    let stage = Stage::new(config).await;
    let publisher = stage.server.publisher::<Blob>();
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(TcpStream::connect(stage.server.local_addr()).await.unwrap());
        for _ in 0..200 {
            let _ = publisher.try_publish(&Blob(60_000));
            tokio::task::yield_now().await;
        }
    }
    let stats = stage.server.buffer_pool_stats();
    assert_eq!((stats.overruns, stats.heap_fallbacks), (0, 0), "{stats}");
}

/// Frames that do not fit the limit wait. Those that stop lose their memory to them, and the last ones time out.
#[tokio::test]
async fn many_large_frames_stay_within_the_limit() {
    const LIMIT: usize = 32 << 20;
    let config = TransportConfig::default();
    let buffer_pool = config.buffer_pool.to_builder().memory_limit(LIMIT).build().unwrap();
    let config = config.buffer_pool(buffer_pool).frame_timeout(Duration::from_secs(2));
    let mut stage = Stage::new(config).await;
    let mut peers = JoinSet::new();
    for _ in 0..16 {
        let mut socket = stage.socket().await;
        peers.spawn(async move {
            let mut part = frame(TextMessage::TYPE_ID, &[0; 12 << 20]);
            part.truncate(6 << 20);
            // Until it is closed.
            let _ = socket.write_all(&part).await;
            let _ = socket.read(&mut [0]).await;
        });
    }
    let mut ends = Vec::new();
    for _ in 0..16 {
        ends.push(stage.end().await.expect("no frame is complete"));
    }
    assert!(ends.contains(&ConnectionErrorKind::Stalled), "{ends:?}");
    peers.join_all().await;
    let stats = stage.server.buffer_pool_stats();
    assert_eq!((stats.heap_fallbacks, stats.overruns), (0, 0), "{stats}");
    assert!(stats.high_water_bytes <= LIMIT as u64, "{stats}");
    stage.is_unharmed().await;
}

#[tokio::test]
async fn connections_above_the_limit_wait() {
    let stage = Stage::new(TransportConfig::default().max_connections(2)).await;
    let second = stage.socket().await;
    let mut third = stage.socket().await;
    third.write_all(&frame(CounterUpdate::TYPE_ID, &[0; 16])).await.unwrap();
    sleep(SHORT).await;
    assert_eq!((stage.server.hub().stats().opened, stage.server.hub().stats().open), (2, 2));
    drop(second);
    let mut counters = stage.counters;
    timeout(SOON, counters.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_live_socket_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.sock");
    let server = UnixTransport::bind(&path).await.unwrap();
    assert_eq!(UnixTransport::bind(&path).await.unwrap_err().kind(), ErrorKind::AddressInUse);
    let mut counters = server.subscriber::<CounterUpdate>();
    let client = UnixTransport::connect(&path).await.unwrap();
    let sent = CounterUpdate { counter_id: 1, value: 2, delta: 3 };
    client.publisher().publish(&sent).await.unwrap();
    assert_eq!(counters.recv().await.unwrap().view().unwrap(), sent);
    server.shutdown().await;
    assert!(!path.exists());

    // The socket file of a server that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    UnixTransport::bind(&path).await.unwrap().shutdown().await;

    std::fs::write(&path, "no socket").unwrap();
    assert_eq!(
        UnixTransport::bind(&path).await.unwrap_err().kind(),
        ErrorKind::NotASocket { found: "a file" }
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"no socket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_servers_gets_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.sock");
    let mut servers = JoinSet::new();
    for _ in 0..8 {
        let path = path.clone();
        servers.spawn(async move { UnixTransport::bind(path).await });
    }
    let outcomes = servers.join_all().await;
    let (bound, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((bound.len(), refused.len()), (1, 7));
    assert!(refused.into_iter().all(|error| error.unwrap_err().kind() == ErrorKind::AddressInUse));
    UnixTransport::connect(&path).await.unwrap();
}

/// With and without the file of a server that was killed. Each server has a thread with its own runtime, as a process
/// would. There are many rounds, because a wrong interleaving would take microseconds.
#[test]
fn one_of_two_servers_on_two_threads_gets_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let (together, ended) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    let bind = |leaves_a_file: bool| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let round = |round| {
            let path = folder.path().join(format!("{round}.sock"));
            if leaves_a_file && round % 2 == 0 {
                drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            }
            together.wait();
            let bound = runtime.block_on(Listener::bind(&Endpoint::Unix(path.clone())));
            // The server that has the path keeps it until both have tried; then its file is there.
            ended.wait();
            assert!(bound.is_err() || path.exists(), "the file of round {round} is gone");
            ended.wait();
            bound.map(drop).map_err(|error| error.kind())
        };
        (0..10_000).map(round).collect::<Vec<_>>()
    };
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| bind(true));
        (bind(false), one.join().unwrap())
    });
    for (round, outcomes) in one.into_iter().zip(other).enumerate() {
        let refused = Err(ErrorKind::AddressInUse);
        assert!(
            outcomes == (Ok(()), refused) || outcomes == (refused, Ok(())),
            "round {round}: {outcomes:?}"
        );
    }
}

/// Runs itself again, in a file system without room for a file.
#[test]
fn a_full_disk_is_reported() {
    const FULL: &str = "MILLPOND_FULL_DISK";
    if let Ok(folder) = std::env::var(FULL) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let path = std::path::Path::new(&folder).join("a.sock");
        let error = runtime.block_on(UnixTransport::bind(path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o nr_inodes=1 tmpfs $MILLPOND_FULL_DISK && exec $0 --exact a_full_disk_is_reported";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(FULL, folder.path())
        .status()
        .expect("unshare is part of util-linux");
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_drains_all_connections() {
    // What the sockets hold by then is received, however slow this is.
    let config = TransportConfig::default().drain_timeout(SOON);
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let mut texts = server.subscriber::<TextMessage>();
    let address = server.local_addr();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(async move {
            let config = TransportConfig::default().reconnect(None);
            let client = TcpTransport::connect_with(address, config).await.unwrap();
            let publisher = client.publisher::<TextMessage>();
            let text = TextMessage { sender: "s".to_owned(), content: "c".repeat(256), timestamp: 0 };
            loop {
                if let Err(error) = publisher.publish(&text).await {
                    return error;
                }
            }
        });
    }
    while server.hub().stats().open < 8 {
        sleep(Duration::from_millis(2)).await;
    }
    for _ in 0..1000 {
        let received = texts.recv().await;
        assert!(matches!(received, Ok(_) | Err(RecvError::Lagged(_))));
    }
    let hub = server.hub().clone();
    let report = server.shutdown().await;
    assert_eq!((report.drained, report.aborted), (8, 0));
    for error in timeout(SOON, clients.join_all()).await.unwrap() {
        assert_eq!(error, PublishError::Closed);
    }
    loop {
        match texts.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(error) => break assert_eq!(error, RecvError::Closed),
        }
    }
    assert_eq!((hub.buffer_pool_stats().in_use, hub.connections().len(), hub.stats().open), (0, 0, 0));
}

#[tokio::test]
async fn a_connection_that_does_not_end_is_aborted() {
    let mut stage = Stage::new(TransportConfig::default().drain_timeout(SHORT)).await;
    let mut silent = stage.socket().await;
    silent.write_all(&frame(TextMessage::TYPE_ID, &[0; 312])[..100]).await.unwrap();
    while stage.server.hub().stats().open < 2 {
        sleep(Duration::from_millis(2)).await;
    }
    let hub = stage.server.hub().clone();
    let report = stage.server.shutdown().await;
    assert_eq!((report.drained, report.aborted), (1, 1));
    let ends = [stage.events.recv().await, stage.events.recv().await, stage.events.recv().await];
    let aborted = |event: &ConnectionEvent| {
        matches!(event, ConnectionEvent::Closed { error: Some(ConnectionErrorKind::Aborted), .. })
    };
    assert!(ends.iter().flatten().any(aborted), "{ends:?}");
    assert_eq!((hub.buffer_pool_stats().in_use, hub.stats().open), (0, 0));
}

/// After a normal end the peer would believe that it has all frames.
#[tokio::test]
async fn an_abort_with_bytes_under_way_is_a_reset_for_the_peer() {
    let stage = Stage::new(TransportConfig::default().drain_timeout(SHORT)).await;
    let mut silent = stage.socket().await;
    while stage.server.hub().stats().open < 2 {
        sleep(Duration::from_millis(2)).await;
    }
    for _ in 0..16 {
        stage.server.publisher().try_publish(&Blob(1 << 20)).unwrap();
        tokio::task::yield_now().await;
    }
    assert!(stage.server.shutdown().await.aborted >= 1);
    let end = loop {
        match timeout(SOON, silent.read(&mut [0; 65_536])).await.unwrap() {
            Ok(count) if count > 0 => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// A message of any length.
struct Blob(usize);

impl Message for Blob {
    const TYPE_ID: u16 = 9;
    const TOPIC: &'static str = "blobs";
    const MAX_SIZE: usize = 1 << 20;
    type View<'a> = &'a [u8];

    fn encoded_len(&self) -> usize {
        self.0
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_bytes(7, self.0);
    }

    fn view(payload: &[u8]) -> Result<&[u8], MessageError> {
        Ok(payload)
    }
}

#[tokio::test]
async fn the_queue_of_a_peer_that_never_reads_is_bounded() {
    let stage = Stage::new(TransportConfig::default().channel_capacity(4)).await;
    let _silent = stage.socket().await;
    while stage.server.hub().stats().open < 2 {
        sleep(Duration::from_millis(2)).await;
    }
    let publisher = stage.server.publisher::<Blob>();
    for size in [1025, 200_000] {
        for _ in 0..200 {
            publisher.try_publish(&Blob(size)).unwrap();
            sleep(Duration::from_millis(1)).await;
        }
    }
    let greediest = &stage.server.hub().connections()[0];
    assert!(greediest.held_bytes + greediest.waiting_bytes < 2 << 20, "{greediest}");
    assert!(greediest.missed_frames > 100, "{greediest}");
}

#[tokio::test]
async fn frames_sent_before_a_peer_closed_are_received() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixTransport::bind(folder.path().join("s")).await.unwrap();
    let mut counters = server.subscriber::<CounterUpdate>();
    let mut events = server.hub().events();
    let mut socket = std::os::unix::net::UnixStream::connect(server.local_addr()).unwrap();
    while server.hub().stats().open < 1 {
        sleep(Duration::from_millis(2)).await;
    }
    for _ in 0..10 {
        io::Write::write_all(&mut socket, &frame(CounterUpdate::TYPE_ID, &[0; 16])).unwrap();
    }
    drop(socket);
    // The peer is closed, so this write fails.
    server.publisher().try_publish(&Blob(10)).unwrap();
    for _ in 0..10 {
        timeout(SOON, counters.recv()).await.unwrap().unwrap();
    }
    events.recv().await.unwrap();
    let ConnectionEvent::Closed { error, .. } = events.recv().await.unwrap() else { panic!("not its end") };
    assert_eq!(error, Some(ConnectionErrorKind::Reset));
}

#[tokio::test]
async fn a_timeout_beyond_the_range_of_the_clock_never_expires() {
    let config = TransportConfig::default().frame_timeout(Duration::MAX).write_timeout(Duration::MAX);
    let mut stage = Stage::new(config).await;
    let mut socket = stage.socket().await;
    let wire = frame(CounterUpdate::TYPE_ID, &[0; 16]);
    socket.write_all(&wire[..10]).await.unwrap();
    sleep(SHORT).await;
    socket.write_all(&wire[10..]).await.unwrap();
    timeout(SOON, stage.counters.recv()).await.unwrap().unwrap();
}
