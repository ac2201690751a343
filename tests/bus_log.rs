//! The bus logs at most once per second which connection holds the most memory, and that a connection failed.
//!
//! These tests are alone in their process: tracing caches per call site whether anyone listens, and another test that
//! reaches the call site first, without a log, could leave it off. Each test has a call site of its own.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millpond::BufferPoolConfig;
use millpond::bus::{ConnectionErrorKind, ConnectionEvent, Hub, TcpTransport, TransportConfig};
use millpond::frame::{Message, tlv};
use millpond::net::Backoff;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::subscriber::DefaultGuard;

mod messages;

use messages::{CounterUpdate, TextMessage};

const SOON: Duration = Duration::from_secs(20);
const WAITING: usize = 100;

/// Keeps the lines of the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The number of lines that contain the text.
    fn count(&self, text: &str) -> usize {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(text)).count()
    }
}

/// A log, and what keeps it in use.
fn log() -> (Log, DefaultGuard) {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn the_log_warns_of_failed_handshakes_once_per_second_and_side() {
    let (log, _guard) = log();
    let config = |digest| TransportConfig::default().schema_digest(Some(digest));
    let server = TcpTransport::bind_with("127.0.0.1:0", config([7; 32])).await.unwrap();
    let hub = Hub::new(config([8; 32]).reconnect(Some(Backoff::default().max(Duration::from_millis(1)))));
    let start = Instant::now();
    let client = TcpTransport::connect_with(server.local_addr(), hub).await.unwrap();
    while client.hub().stats().handshake_failures < 3 || server.hub().stats().handshake_failures < 3 {
        assert!(start.elapsed() < SOON, "{}", client.hub().stats());
        sleep(Duration::from_millis(2)).await;
    }
    let warned = log.count("connection failed");
    let seconds = start.elapsed().as_secs() as usize;
    assert!((2..=2 * (1 + seconds)).contains(&warned), "{warned} in {seconds} s");
    assert!(log.count("it probably uses another schema_digest") >= 1);
    assert!(log.count("does not begin with this schema's digest") >= 1);
}

#[tokio::test]
async fn the_log_names_the_largest_holder_once_per_second() {
    let (log, _guard) = log();
    let classes = BufferPoolConfig::builder().class(8192, 8).thread_cache_bytes(0).memory_limit(4 * 8192);
    let config = TransportConfig::default()
        .buffer_pool(classes.build().unwrap())
        .frame_timeout(Duration::from_millis(300));
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    server.hub().declare::<CounterUpdate>();
    let mut events = server.hub().events();
    let pool = server.hub().buffer_pool().clone();
    let _kept: Vec<_> = std::iter::from_fn(|| pool.try_acquire(8192).ok()).collect();
    let mut wire = Vec::new();
    tlv::encode(CounterUpdate::TYPE_ID, &[0; 16], &mut wire).unwrap();
    let mut sockets = Vec::new();
    for _ in 0..WAITING {
        let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
        socket.write_all(&wire).await.unwrap();
        sockets.push(socket);
    }
    let start = Instant::now();
    let mut closed = 0;
    while closed < WAITING {
        if let ConnectionEvent::Closed { error, .. } = timeout(SOON, events.recv()).await.unwrap().unwrap() {
            assert_eq!(error, Some(ConnectionErrorKind::MemoryTimeout));
            closed += 1;
        }
    }
    let seconds = start.elapsed().as_secs() as usize;
    let warned = log.count("the pool's limit is used up");
    assert!((1..=2 + seconds).contains(&warned), "{warned} in {seconds} s");
}

/// And not a peer that holds nothing.
#[tokio::test]
async fn the_log_names_the_topic_whose_subscribers_do_not_receive() {
    const FRAMES: usize = 32;
    let (log, _guard) = log();
    let limit = 2 * FRAMES * 8192;
    let classes = BufferPoolConfig::builder().class(8192, 8).thread_cache_bytes(0).memory_limit(limit);
    let config = TransportConfig::default()
        .buffer_pool(classes.build().unwrap())
        .channel_bytes(Some(FRAMES * 8192))
        .frame_timeout(Duration::from_millis(300));
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    server.hub().declare::<TextMessage>();
    let _never_receives = server.hub().subscriber::<CounterUpdate>();
    let mut events = server.hub().events();
    let pool = server.hub().buffer_pool().clone();
    let mut wire = Vec::new();
    tlv::encode(CounterUpdate::TYPE_ID, &[0; 16], &mut wire).unwrap();
    let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
    let mut kept = Vec::new();
    let start = Instant::now();
    for sent in 1..=FRAMES {
        socket.write_all(&wire).await.unwrap();
        while server.hub().stats().received_frames < sent as u64 {
            assert!(start.elapsed() < SOON, "{}", pool.stats());
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(log.count("memory is short"), 0);
    // What the channel keeps in any case is not enough for both.
    let mut other = Vec::new();
    tlv::encode(TextMessage::TYPE_ID, &[0; 312], &mut other).unwrap();
    let closed = loop {
        kept.extend(std::iter::from_fn(|| pool.try_acquire(8192).ok()));
        let _ = socket.write_all(&other).await;
        sleep(Duration::from_millis(10)).await;
        if let Ok(ConnectionEvent::Closed { error, .. }) = events.try_recv() {
            break error;
        }
        assert!(start.elapsed() < SOON, "{}", pool.stats());
    };
    assert_eq!(closed, Some(ConnectionErrorKind::MemoryTimeout));
    assert_eq!(log.count("memory is short: the subscribers"), 1);
    assert_eq!(log.count("the pool's limit is used up topic=\"examples\""), 1);
}
