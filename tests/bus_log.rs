//! The bus logs once per second which connection holds the most memory, however many connections wait for memory.
//!
//! It is alone in its process: tracing caches per call site whether anyone listens, and another test that reaches the
//! call site first, without a log, could leave it off.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millpond::BufferPoolConfig;
use millpond::bus::{ConnectionErrorKind, ConnectionEvent, TcpTransport, TransportConfig};
use millpond::frame::{Message, tlv};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

mod messages;

use messages::CounterUpdate;

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

#[tokio::test]
async fn the_log_names_the_largest_holder_once_per_second() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
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
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let warned = log.lines().filter(|line| line.contains("the pool's limit is used up")).count();
    assert!((1..=2 + seconds).contains(&warned), "{warned} in {seconds} s\n{log}");
}
