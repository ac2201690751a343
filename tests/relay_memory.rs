//! The heap that an idle relayed connection takes, by the allocator: its task, its list entry, and what tokio keeps of its two
//! sockets. Without the test harness, whose own thread allocates at any time.

use std::alloc::System;
use std::future::pending;
use std::time::Duration;

use millpond::net::{Endpoint, Listener, Stream};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Six descriptors each, in two rounds, below the usual limit of 1024.
const CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes.
const MAX_EACH: usize = 2560;

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Connections that stay open, and what they take with both their ends. A byte goes over each.
async fn connect(to: &Endpoint, upstream: &Listener) -> (Vec<(Stream, Stream)>, usize) {
    let mut ends = Vec::with_capacity(CONNECTIONS);
    let before = held();
    for _ in 0..CONNECTIONS {
        let mut client = Stream::connect(to.clone(), PATIENCE).await.unwrap();
        client.write_all(b"x").await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.read_exact(&mut [0]).await.unwrap();
        ends.push((client, server));
    }
    let heap = held() - before;
    (ends, heap)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_endpoint().clone();
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let through_relay = listener.local_endpoint().clone();
    let _serving = tokio::spawn({
        let to = to.clone();
        async move { relay.serve(listener, to, pending()).await }
    });
    // The first round fills the pool and the runtime's own lists.
    let _warm = (connect(&to, &upstream).await, connect(&through_relay, &upstream).await);
    let (_direct, without_relay) = connect(&to, &upstream).await;
    let (_relayed, with_relay) = connect(&through_relay, &upstream).await;
    let each = (with_relay - without_relay) / CONNECTIONS;
    println!("{each} B of heap per idle relayed connection");
    assert!(each < MAX_EACH, "{each}");
}
