//! Heap allocations per frame, from the publisher over a socket to its subscribers, in steady state: none.
//!
//! Without the test harness, whose own thread allocates at any time.

use dhat::HeapStats;
use millpond::BufferPoolConfig;
use millpond::bus::{TcpTransport, TransportConfig, UnixTransport};
use millpond::frame::ReadMode;

mod messages;

use messages::TextMessage;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const WINDOW: usize = 64;
const WINDOWS: usize = 100;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // As contracts plan it, without classes for what is read and written in one go.
    let planned = BufferPoolConfig::from_map([(128, 512), (256, 256), (512, 128)]).unwrap();
    for subscribers in [1, 8] {
        for reading in [ReadMode::PerFrame, ReadMode::batched(), ReadMode::Batched { detach_below: 0 }] {
            runtime.block_on(measure(subscribers, reading, &TransportConfig::default().buffer_pool));
            runtime.block_on(measure(subscribers, reading, &planned));
        }
    }
    println!("test result: ok. {} frames in each of 24 ways", WINDOW * WINDOWS);
}

async fn measure(subscribers: usize, reading: ReadMode, pool: &BufferPoolConfig) {
    // A step of decay between two windows would free what the next one makes anew.
    let pool = pool.to_builder().decay_interval(None).build().unwrap();
    let config = TransportConfig::default().read_mode(reading).buffer_pool(pool);

    let server = TcpTransport::bind_with("127.0.0.1:0", config.clone()).await.unwrap();
    let receiving = (0..subscribers).map(|_| server.subscriber::<TextMessage>()).collect();
    let client = TcpTransport::connect_with(server.local_addr(), config.clone()).await.unwrap();
    let count = allocations(client.publisher(), receiving).await;
    assert_eq!(count, 0, "TCP, {subscribers} subscribers, {reading:?}");

    let folder = tempfile::tempdir().unwrap();
    let server = UnixTransport::bind_with(folder.path().join("s"), config.clone()).await.unwrap();
    let receiving = (0..subscribers).map(|_| server.subscriber::<TextMessage>()).collect();
    let client = UnixTransport::connect_with(server.local_addr(), config).await.unwrap();
    let count = allocations(client.publisher(), receiving).await;
    assert_eq!(count, 0, "Unix, {subscribers} subscribers, {reading:?}");
}

/// Allocations over the windows, after as many to warm up.
async fn allocations(
    publisher: millpond::bus::Publisher<TextMessage>,
    mut subscribers: Vec<millpond::bus::Subscriber<TextMessage>>,
) -> u64 {
    let text = TextMessage { sender: "s".to_owned(), content: "c".repeat(256), timestamp: 0 };
    let mut before = HeapStats::get().total_blocks;
    for window in 0..2 * WINDOWS {
        if window == WINDOWS {
            before = HeapStats::get().total_blocks;
        }
        for _ in 0..WINDOW {
            publisher.publish(&text).await.unwrap();
        }
        for subscriber in &mut subscribers {
            for _ in 0..WINDOW {
                assert_eq!(subscriber.recv().await.unwrap().view().unwrap().content.len(), 256);
            }
        }
    }
    HeapStats::get().total_blocks - before
}
