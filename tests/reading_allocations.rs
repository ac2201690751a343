//! Heap blocks of a buffered reader in steady state: none per read, and none at rest.
//!
//! Without the test harness, whose own thread allocates at any time.

use dhat::HeapStats;
use millpond::net::PooledBufReader;
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const READERS: usize = 50;
const BURSTS: usize = 200;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(no_read_allocates_and_no_reader_at_rest_holds_a_buffer());
    println!("test result: ok. {BURSTS} bursts to each of {READERS} readers");
}

async fn no_read_allocates_and_no_reader_at_rest_holds_a_buffer() {
    // A step of decay between two bursts would free what the next one makes anew.
    let pool = BufferPoolConfig::proxy().to_builder().decay_interval(None).build().unwrap();
    let pool = BufferPool::new(pool);
    let mut pairs = Vec::new();
    for _ in 0..READERS {
        let (here, there) = UnixStream::pair().unwrap();
        pairs.push((here, PooledBufReader::new(there, pool.clone())));
    }
    let mut text = vec![b'x'; 20_000];
    text.push(b'\n');
    let mut line = Vec::with_capacity(2 * text.len());
    let mut before = HeapStats::get();
    for burst in 0..2 * BURSTS {
        if burst == BURSTS {
            before = HeapStats::get();
        }
        for (here, reader) in &mut pairs {
            here.write_all(&text).await.unwrap();
            line.clear();
            reader.read_until(b'\n', &mut line).await.unwrap();
            assert_eq!(line.len(), text.len());
        }
    }
    let blocks = HeapStats::get().total_blocks - before.total_blocks;
    assert_eq!(blocks, 0);
    assert_eq!(pool.stats().in_use, 0, "at rest");
    assert_eq!(pool.stats().classes[1].high_water, 1, "one reader reads at a time");
}
