//! Where the heap goes: a profile by dhat of each of three scenarios, from the first connection to the last message.
//!
//! `cargo bench --features bus,relay --bench heap_profile [-- relay|bus|frames]`
//!
//! Prints what each scenario allocates in all, at its peak (t-gmax) and at its end, and what its second half allocates,
//! which is steady state. The files that it names have the call stack of each allocation. Open them in `dh_view.html`,
//! which is part of valgrind (on Debian `/usr/libexec/valgrind/dh_view.html`), and sort by "At t-gmax (bytes)".
//!
//! dhat slows each allocation down, so this says nothing about time.

use std::time::Duration;

use dhat::{HeapStats, Profiler};
use millpond::bus::TcpTransport;
use millpond::frame::{Assembler, Lines, ReadMode};
use millpond::net::{FrameReader, FrameWriter, Listener, Stream};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[path = "../tests/messages/mod.rs"]
mod messages;

use messages::TextMessage;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const HALF: usize = 5000;
const WINDOW: usize = 50;
const MESSAGE: &[u8] = &[b'x'; 1024];

fn main() {
    // Cargo adds `--bench`.
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let chosen = |name| only.as_deref().is_none_or(|only| only == name);
    if chosen("relay") {
        profile("relay", relay());
    }
    if chosen("bus") {
        profile("bus", bus());
    }
    if chosen("frames") {
        profile("frames", frames());
    }
}

/// Runs a scenario, which returns what its second half allocated.
fn profile(name: &str, scenario: impl Future<Output = Spent>) {
    println!("{name}: {HALF} messages, and {HALF} more as the second half");
    let file = format!("{}/dhat-{name}.json", env!("CARGO_TARGET_TMPDIR"));
    let profiler = Profiler::builder().file_name(file).trim_backtraces(Some(20)).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Spent { blocks, bytes } = runtime.block_on(scenario);
    drop(runtime);
    drop(profiler);
    println!("second half: {bytes} bytes in {blocks} blocks\n");
}

struct Spent {
    blocks: u64,
    bytes: u64,
}

fn since(before: &HeapStats) -> Spent {
    let after = HeapStats::get();
    Spent { blocks: after.total_blocks - before.total_blocks, bytes: after.total_bytes - before.total_bytes }
}

/// A client, the relay and an echoing upstream over TCP.
async fn relay() -> Spent {
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_endpoint().clone();
    tokio::spawn(async move {
        let mut stream = upstream.accept().await.unwrap();
        let mut buffer = [0; MESSAGE.len()];
        while stream.read_exact(&mut buffer).await.is_ok() {
            stream.write_all(&buffer).await.unwrap();
        }
    });
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_endpoint().clone();
    tokio::spawn(async move { relay.serve(listener, to, std::future::pending()).await });
    let mut client = Stream::connect(&address, Duration::from_secs(5)).await.unwrap();
    let mut echo = async || {
        let mut buffer = [0; MESSAGE.len()];
        for _ in 0..HALF {
            client.write_all(MESSAGE).await.unwrap();
            client.read_exact(&mut buffer).await.unwrap();
        }
    };
    echo().await;
    let before = HeapStats::get();
    echo().await;
    since(&before)
}

/// A publisher and two subscribers over TCP.
async fn bus() -> Spent {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut subscribers = [server.subscriber::<TextMessage>(), server.subscriber()];
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    let publisher = client.publisher();
    let text = TextMessage { sender: "s".to_owned(), content: "c".repeat(256), timestamp: 0 };
    let mut publish = async || {
        for _ in 0..HALF / WINDOW {
            for _ in 0..WINDOW {
                publisher.publish(&text).await.unwrap();
            }
            for subscriber in &mut subscribers {
                for _ in 0..WINDOW {
                    subscriber.recv().await.unwrap();
                }
            }
        }
    };
    publish().await;
    let before = HeapStats::get();
    publish().await;
    since(&before)
}

/// Lines of 1 KiB through a Unix socket, read in batches.
async fn frames() -> Spent {
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let (here, there) = UnixStream::pair().unwrap();
    let mut writer = FrameWriter::new(here, Lines::default(), pool.clone());
    let mut reader = FrameReader::new(there, Assembler::new(Lines::default(), pool, ReadMode::batched()));
    let mut send = async || {
        for _ in 0..HALF / WINDOW {
            for _ in 0..WINDOW {
                writer.feed(MESSAGE).await.unwrap();
            }
            writer.flush().await.unwrap();
            for _ in 0..WINDOW {
                assert_eq!(reader.next_frame().await.unwrap().unwrap(), MESSAGE);
            }
        }
    };
    send().await;
    let before = HeapStats::get();
    send().await;
    since(&before)
}
