//! The bus under memory pressure, over real sockets: peers that stop, drip, never read or never leave, and subscribers
//! that never receive, do not stop the others, and the memory stays within its limit.

use std::any::Any;
use std::io;
use std::time::Duration;

use bytes::BufMut;
use millpond::BufferPoolConfig;
use millpond::bus::{
    ConnectionErrorKind, ConnectionEvent, Hub, PublishError, RecvError, Subscriber, TcpTransport,
    TransportConfig, UnixTransport,
};
use millpond::frame::{Message, MessageError, tlv};
use millpond::net::Backoff;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// A message that needs no memory of the stalled ones arrives within this time, also on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(2);
/// A message that needs the memory of stalled peers arrives within this time: a stall timeout, and some for the machine.
const AFTER_A_STALL: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

const SMALL: usize = 16;
const LARGE: usize = 1 << 20;
const CHUNK: usize = 4096;

/// A message of any length.
struct Blob<const ID: u16>(usize);

/// The type of the well-behaved client's messages.
type Wanted = Blob<1000>;

impl<const ID: u16> Message for Blob<ID> {
    const TYPE_ID: u16 = ID;
    const TOPIC: &'static str = "blobs";
    const MAX_SIZE: usize = 16 << 20;
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

/// A server, and the well-behaved client, which connects when it is needed.
struct Stage {
    server: TcpTransport,
    wanted: Subscriber<Wanted>,
    events: broadcast::Receiver<ConnectionEvent>,
    limit: usize,
}

impl Stage {
    async fn new(config: TransportConfig) -> Self {
        let limit = config.buffer_pool.memory_limit();
        let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
        server.hub().declare::<Blob<0>>();
        Self { wanted: server.subscriber(), events: server.hub().events(), limit, server }
    }

    async fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.server.local_addr()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    async fn client(&self) -> TcpTransport {
        TcpTransport::connect(self.server.local_addr()).await.unwrap()
    }

    /// A message of a client arrives in time.
    async fn serves(&mut self, client: &TcpTransport, len: usize, within: Duration) {
        let publish = async {
            client.publisher().publish(&Blob::<1000>(len)).await.unwrap();
            self.wanted.recv().await
        };
        let received = timeout(within, publish).await;
        let received = received.unwrap_or_else(|_| {
            let (hub, stats) = (self.server.hub(), self.server.buffer_pool_stats());
            panic!("{len} B do not arrive in {within:?}: {}; {stats}", hub.stats())
        });
        assert_eq!(received.unwrap().view().unwrap().len(), len);
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

    /// Until the peers' bytes have arrived as far as there is memory for them.
    async fn until_nothing_arrives(&self) {
        let mut last = 0;
        loop {
            sleep(SHORT).await;
            let now = self.server.hub().stats().received_bytes;
            if now > 0 && now == last {
                return;
            }
            last = now;
        }
    }

    fn is_within_the_limit(&self) {
        let stats = self.server.buffer_pool_stats();
        assert_eq!((stats.overruns, stats.heap_fallbacks), (0, 0), "{stats}");
        assert!(stats.high_water_bytes <= self.limit as u64, "{stats}");
    }
}

fn frame(type_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    tlv::encode(type_id, payload, &mut wire).unwrap();
    wire
}

/// A limit of 1 MiB and payloads of up to 128 KiB.
fn small() -> TransportConfig {
    let classes = BufferPoolConfig::powers_of_two_and(tlv::HEADER_LEN, 128..=128 * 1024).unwrap();
    let pool = classes.to_builder().memory_limit(1 << 20).build().unwrap();
    TransportConfig::default().buffer_pool(pool).max_payload(128 * 1024)
}

/// Sends a part of a frame of `len` bytes, and then nothing.
async fn stop_in_a_frame(mut socket: impl AsyncWrite + AsyncReadExt + Unpin, len: usize, sent: usize) {
    let header = tlv::Header::new(0, len).unwrap().encode();
    let _ = socket.write_all(&header).await;
    for _ in 0..sent / CHUNK {
        let _ = socket.write_all(&[0; CHUNK]).await;
    }
    let _ = socket.read(&mut [0]).await;
}

async fn peers_that_stop_in_a_frame(count: usize) {
    let mut stage = Stage::new(TransportConfig::default()).await;
    let old = stage.client().await;
    let mut peers = JoinSet::new();
    for _ in 0..count {
        // In steps of four times what has arrived, their buffers are of 16 MiB by then.
        peers.spawn(stop_in_a_frame(stage.socket().await, 16 << 20, 9 << 20));
    }
    stage.until_nothing_arrives().await;
    let new = stage.client().await;
    for _ in 0..10 {
        stage.serves(&old, SMALL, AT_ONCE).await;
        stage.serves(&new, SMALL, AT_ONCE).await;
    }
    for _ in 0..4 {
        stage.serves(&old, LARGE, AFTER_A_STALL).await;
        stage.serves(&new, 4 * LARGE, AFTER_A_STALL).await;
    }
    stage.is_within_the_limit();
}

#[tokio::test]
async fn sixteen_peers_that_stop_in_a_frame_stop_no_other() {
    peers_that_stop_in_a_frame(16).await;
}

#[tokio::test]
async fn sixty_four_peers_that_stop_in_a_frame_stop_no_other() {
    peers_that_stop_in_a_frame(64).await;
}

#[tokio::test]
async fn two_hundred_and_fifty_six_peers_that_stop_in_a_frame_stop_no_other() {
    peers_that_stop_in_a_frame(256).await;
}

#[tokio::test]
async fn peers_of_a_unix_socket_that_stop_in_a_frame_stop_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixTransport::bind_with(folder.path().join("s"), small()).await.unwrap();
    server.hub().declare::<Blob<0>>();
    let mut wanted = server.subscriber::<Wanted>();
    let mut peers = JoinSet::new();
    for _ in 0..64 {
        let socket = UnixStream::connect(server.local_addr()).await.unwrap();
        peers.spawn(stop_in_a_frame(socket, 128 * 1024, 100 * 1024));
    }
    sleep(SHORT).await;
    let client = UnixTransport::connect_with(server.local_addr(), small()).await.unwrap();
    for len in [SMALL, 100 * 1024] {
        client.publisher().publish(&Blob::<1000>(len)).await.unwrap();
        let received = timeout(AFTER_A_STALL, wanted.recv()).await;
        let received = received
            .unwrap_or_else(|_| panic!("{len}: {}; {}", server.hub().stats(), server.buffer_pool_stats()));
        assert_eq!(received.unwrap().view().unwrap().len(), len);
    }
}

#[tokio::test]
async fn a_peer_that_stops_in_a_frame_is_closed_only_while_others_wait() {
    let mut stage = Stage::new(small().stall_timeout(SHORT)).await;
    let mut peers = JoinSet::new();
    peers.spawn(stop_in_a_frame(stage.socket().await, 128 * 1024, 100 * 1024));
    sleep(4 * SHORT).await;
    assert_eq!(stage.server.hub().stats().open, 1);
    for _ in 0..16 {
        peers.spawn(stop_in_a_frame(stage.socket().await, 128 * 1024, 100 * 1024));
    }
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::Stalled));
}

/// The pool's queue is the program's as well.
#[tokio::test]
async fn a_task_of_the_program_that_waits_for_memory_gets_that_of_a_stalled_peer() {
    let stage = Stage::new(small().stall_timeout(SHORT)).await;
    let mut peers = JoinSet::new();
    for _ in 0..8 {
        peers.spawn(stop_in_a_frame(stage.socket().await, 128 * 1024, 28 * 1024));
    }
    stage.until_nothing_arrives().await;
    let pool = stage.server.hub().buffer_pool();
    let mut kept = Vec::new();
    kept.extend(std::iter::from_fn(|| pool.try_acquire(100_000).ok()));
    kept.extend(std::iter::from_fn(|| pool.try_acquire(30_000).ok()));
    // No connection waits.
    assert_eq!(pool.stats().waiting, 0);
    timeout(AFTER_A_STALL, pool.acquire_async(30_000)).await.unwrap().unwrap();
    assert!(stage.server.hub().stats().timeouts > 0);
}

/// Each sends some bytes every 100 ms, much less than what it holds is worth.
#[tokio::test]
async fn three_hundred_peers_that_drip_stop_no_other() {
    let mut stage = Stage::new(small()).await;
    let mut peers = JoinSet::new();
    for _ in 0..300 {
        let mut socket = stage.socket().await;
        peers.spawn(async move {
            let wire = frame(0, &[0; 128 * 1024]);
            let (first, rest) = wire.split_at(8 * 1024);
            let mut sent = socket.write_all(first).await;
            for drop in rest.chunks(64) {
                if sent.is_err() {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
                sent = socket.write_all(drop).await;
            }
        });
    }
    sleep(4 * SHORT).await;
    let client = stage.client().await;
    for _ in 0..4 {
        stage.serves(&client, SMALL, AT_ONCE).await;
        stage.serves(&client, 100 * 1024, AFTER_A_STALL).await;
    }
    stage.is_within_the_limit();
}

/// Each sends at a rate at which it is never closed, and connects again once its frame is sent.
#[tokio::test]
async fn peers_that_send_slowly_and_reconnect_stop_no_new_client() {
    let mut stage = Stage::new(small()).await;
    let mut peers = JoinSet::new();
    let address = stage.server.local_addr();
    for _ in 0..17 {
        peers.spawn(async move {
            loop {
                let mut socket = TcpStream::connect(address).await.unwrap();
                for piece in frame(0, &[0; 128 * 1024]).chunks(8 * 1024) {
                    if socket.write_all(piece).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
        });
    }
    let start = Instant::now();
    while start.elapsed() < AFTER_A_STALL {
        let client = stage.client().await;
        stage.serves(&client, SMALL, AT_ONCE).await;
        stage.serves(&client, 4096, AT_ONCE).await;
        sleep(Duration::from_millis(50)).await;
    }
    let client = stage.client().await;
    stage.serves(&client, 100 * 1024, SOON).await;
    stage.is_within_the_limit();
}

/// They all are well-behaved, but their frames together exceed the limit: a part of them must not wait for each other.
#[tokio::test]
async fn frames_that_exceed_the_limit_together_do_not_block_each_other() {
    let mut stage = Stage::new(small()).await;
    let _subscriber = stage.server.subscriber::<Blob<0>>();
    let mut peers = JoinSet::new();
    for _ in 0..64 {
        let mut socket = stage.socket().await;
        peers.spawn(async move {
            let wire = frame(0, &[0; 128 * 1024]);
            let (first, rest) = wire.split_at(32 * 1024);
            let _ = socket.write_all(first).await;
            sleep(SHORT).await;
            let _ = socket.write_all(rest).await;
        });
    }
    let start = Instant::now();
    let mut served = 0;
    for _ in 0..64 {
        served += usize::from(stage.end().await.is_none());
    }
    assert!(start.elapsed() < 2 * AFTER_A_STALL, "after {:?}", start.elapsed());
    assert!(served >= 16, "{served} of 64 frames arrive");
    stage.is_within_the_limit();
}

macro_rules! subscribe {
    ($hub:expr, $($id:literal)*) => {
        vec![$(Box::new($hub.subscriber::<Blob<$id>>()) as Box<dyn Any + Send>),*]
    };
}

/// Subscribers of `types` types that never receive.
fn never_receiving(hub: &Hub, types: usize) -> Vec<Box<dyn Any + Send>> {
    let mut all = subscribe!(hub, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50);
    all.truncate(types);
    all
}

async fn subscribers_that_never_receive(types: u16) {
    let mut stage = Stage::new(TransportConfig::default()).await;
    let _never_receiving = never_receiving(stage.server.hub(), types.into());
    let mut flooder = stage.socket().await;
    let flood = async {
        for _ in 0..400 / types + 1 {
            for type_id in 1..=types {
                flooder.write_all(&frame(type_id, &vec![0; LARGE])).await.unwrap();
            }
        }
    };
    timeout(SOON, flood).await.expect("the flood is not received");
    let client = stage.client().await;
    for len in [SMALL, 4096, LARGE, SMALL, 8 * LARGE] {
        stage.serves(&client, len, AT_ONCE).await;
    }
    assert!(stage.server.hub().stats().lagged_frames > 100);
    stage.is_within_the_limit();
}

#[tokio::test]
async fn nine_types_that_nobody_receives_stop_no_other() {
    subscribers_that_never_receive(9).await;
}

#[tokio::test]
async fn ten_types_that_nobody_receives_stop_no_other() {
    subscribers_that_never_receive(10).await;
}

#[tokio::test]
async fn fifty_types_that_nobody_receives_stop_no_other() {
    subscribers_that_never_receive(50).await;
}

/// Also when the publisher is the one that needs memory.
#[tokio::test]
async fn peers_that_never_read_lose_before_others_wait() {
    let mut stage = Stage::new(small().stall_timeout(SHORT)).await;
    let client = stage.client().await;
    let mut silent = Vec::new();
    let publisher = stage.server.publisher::<Blob<0>>();
    client.hub().declare::<Blob<0>>();
    for _ in 0..16 {
        silent.push(stage.socket().await);
        for _ in 0..40 {
            let _ = publisher.try_publish(&Blob(100_000));
            tokio::task::yield_now().await;
        }
    }
    // They are stalled by now.
    sleep(2 * SHORT).await;
    stage.serves(&client, 100_000, AFTER_A_STALL).await;
    let published = async {
        while publisher.try_publish(&Blob(100_000)).is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(AFTER_A_STALL, published).await.expect("there is no memory to publish");
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::Stalled));
    stage.is_within_the_limit();
}

/// Takes all memory, and waits until a peer waits for some.
async fn a_peer_waits_for_memory(stage: &Stage) -> (TcpStream, Vec<millpond::PooledBuffer>) {
    let pool = stage.server.hub().buffer_pool().clone();
    let mut kept = Vec::new();
    for len in [100_000, 10_000, 1000, 100] {
        kept.extend(std::iter::from_fn(|| pool.try_acquire(len).ok()));
    }
    let mut socket = stage.socket().await;
    socket.write_all(&frame(1000, &[0; 50])).await.unwrap();
    let start = Instant::now();
    while pool.stats().waiting == 0 {
        assert!(start.elapsed() < SOON, "{}", pool.stats());
        sleep(Duration::from_millis(2)).await;
    }
    (socket, kept)
}

#[tokio::test]
async fn a_peer_that_resets_while_it_waits_for_memory_leaves_the_queue() {
    let mut stage = Stage::new(small()).await;
    let (socket, kept) = a_peer_waits_for_memory(&stage).await;
    socket.set_zero_linger().unwrap();
    drop(socket);
    assert_eq!(timeout(AFTER_A_STALL, stage.end()).await.unwrap(), Some(ConnectionErrorKind::Reset));
    assert_eq!(stage.server.buffer_pool_stats().waiting, 0);
    drop(kept);
}

#[tokio::test]
async fn waiting_for_memory_is_not_the_peers_silence() {
    let config = small().idle_timeout(Some(SHORT)).first_byte_timeout(Some(SHORT));
    let mut stage = Stage::new(config).await;
    let (_socket, kept) = a_peer_waits_for_memory(&stage).await;
    sleep(3 * SHORT).await;
    drop(kept);
    timeout(SOON, stage.wanted.recv()).await.unwrap().unwrap();
    // But then it is silent.
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::IdleTimeout));
}

/// Progress is what the peer took, and not what the send buffer of this side took.
#[tokio::test]
async fn a_slow_but_steady_reader_is_not_cut() {
    const LEN: usize = 8 << 20;
    let config = TransportConfig::default().idle_timeout(Some(SHORT)).write_timeout(SHORT);
    let stage = Stage::new(config).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut slow = socket.connect(stage.server.local_addr()).await.unwrap();
    while stage.server.hub().stats().open == 0 {
        sleep(Duration::from_millis(2)).await;
    }
    stage.server.publisher().try_publish(&Blob::<0>(LEN)).unwrap();
    let mut received = 0;
    let mut piece = vec![0; 16 * 1024];
    while received < LEN + tlv::HEADER_LEN {
        let count = timeout(SOON, slow.read(&mut piece)).await.unwrap();
        let count = count.unwrap_or_else(|error| panic!("cut after {received} bytes: {error}"));
        assert!(count > 0, "ended after {received} bytes");
        received += count;
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_frame_is_a_reset() {
    let mut stage = Stage::new(TransportConfig::default().frame_timeout(SHORT)).await;
    let mut socket = stage.socket().await;
    socket.write_all(&frame(0, &[0; 312])[..100]).await.unwrap();
    assert_eq!(stage.end().await, Some(ConnectionErrorKind::FrameTimeout));
    let end = timeout(SOON, socket.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// Publishers wait for an absent server as long as for one that does not read.
#[tokio::test]
async fn messages_for_an_absent_server_are_dropped_after_the_write_timeout() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let forever = Backoff::default().initial(Duration::from_secs(1000)).max(Duration::from_secs(1000));
    let config = TransportConfig::default().channel_capacity(4).write_timeout(SHORT).reconnect(Some(forever));
    let client = TcpTransport::connect_with(server.local_addr(), config).await.unwrap();
    while client.hub().stats().open == 0 {
        sleep(Duration::from_millis(2)).await;
    }
    drop(server);
    while client.hub().stats().open > 0 {
        sleep(Duration::from_millis(2)).await;
    }
    let publisher = client.publisher::<Wanted>();
    for _ in 0..10 {
        timeout(SOON, publisher.publish(&Blob(1000))).await.unwrap().unwrap();
    }
    assert_eq!(client.hub().stats().missed_frames, 10);
    assert_eq!(client.buffer_pool_stats().in_use, 0);
}

#[tokio::test]
async fn a_shutdown_ends_a_publisher_that_waits_for_memory() {
    let hub = Hub::new(small().drain_timeout(SHORT));
    let _kept: Vec<_> = std::iter::from_fn(|| hub.buffer_pool().try_acquire(100_000).ok()).collect();
    let publisher = hub.publisher::<Wanted>();
    let waiting = tokio::spawn(async move { publisher.publish(&Blob(100_000)).await });
    sleep(SHORT).await;
    assert!(!waiting.is_finished());
    hub.shutdown().await;
    let published = timeout(AT_ONCE, waiting).await.expect("it waits for ever").unwrap();
    assert_eq!(published, Err(PublishError::Closed));
    assert_eq!(hub.stats().refused_messages, 1);
}

#[tokio::test]
async fn a_message_above_the_largest_class_is_refused_at_once() {
    let hub = Hub::new(small().max_payload(16 << 20));
    let published = timeout(AT_ONCE, hub.publisher::<Wanted>().publish(&Blob(2 * LARGE))).await;
    assert!(matches!(published, Ok(Err(PublishError::OutOfMemory(_)))), "{published:?}");
}

/// It stalls at once, but its task looks only from time to time whether others wait.
#[tokio::test]
async fn a_peer_without_a_stall_timeout_causes_no_busy_loop() {
    let stage = Stage::new(small().stall_timeout(Duration::ZERO)).await;
    let mut peers = JoinSet::new();
    peers.spawn(stop_in_a_frame(stage.socket().await, 128 * 1024, 64 * 1024));
    stage.until_nothing_arrives().await;
    let polls = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
    let before = polls();
    sleep(SHORT).await;
    let woken = polls() - before;
    assert!(woken < 100, "{woken} in {SHORT:?}");
}

#[tokio::test]
async fn a_slow_link_that_makes_progress_is_not_closed_while_others_wait() {
    let classes = BufferPoolConfig::powers_of_two_and(tlv::HEADER_LEN, 128..=LARGE).unwrap();
    let pool = classes.to_builder().memory_limit(3 << 20).build().unwrap();
    let mut stage = Stage::new(TransportConfig::default().buffer_pool(pool).max_payload(LARGE)).await;
    let mut slow = stage.socket().await;
    let sending = tokio::spawn(async move {
        // 100 KB/s.
        for piece in frame(1000, &vec![0; LARGE]).chunks(10_000) {
            slow.write_all(piece).await?;
            sleep(Duration::from_millis(100)).await;
        }
        io::Result::Ok(slow)
    });
    sleep(2 * SHORT).await;
    let mut peers = JoinSet::new();
    let address = stage.server.local_addr();
    for _ in 0..4 {
        peers.spawn(async move {
            loop {
                stop_in_a_frame(TcpStream::connect(address).await.unwrap(), LARGE, LARGE / 2).await;
            }
        });
    }
    let received = timeout(SOON, stage.wanted.recv()).await.expect("the frame does not arrive");
    // A peer that waits for memory may take that of the frame before this task runs.
    let arrived =
        received.map_or_else(|error| error == RecvError::Lagged(1), |frame| frame.payload().len() == LARGE);
    assert!(arrived);
    assert!(sending.await.unwrap().is_ok());
}
