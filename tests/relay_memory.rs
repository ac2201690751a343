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

/// Ten descriptors each, in two rounds, below the usual limit of 1024.
const CONNECTIONS: usize = 48;
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes.
const MAX_EACH: usize = 2560;
/// The client's address beside the proxy's, in bytes.
const MAX_CLIENT: usize = 64;

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Connections that stay open, and what they take with both their ends. These bytes go over each, of which the server gets one.
async fn connect(to: &Endpoint, upstream: &Listener, bytes: &[u8]) -> (Vec<(Stream, Stream)>, usize) {
    let mut ends = Vec::with_capacity(CONNECTIONS);
    let before = held();
    for _ in 0..CONNECTIONS {
        let mut client = Stream::connect(to.clone(), PATIENCE).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut server = upstream.accept().await.unwrap();
        server.read_exact(&mut [0]).await.unwrap();
        ends.push((client, server));
    }
    let heap = held() - before;
    (ends, heap)
}

/// A relay to this upstream.
async fn relay(config: RelayConfig, to: &Endpoint) -> Endpoint {
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config);
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_endpoint().clone();
    let to = to.clone();
    tokio::spawn(async move { relay.serve(listener, to, pending()).await });
    endpoint
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_endpoint();
    let plain = relay(RelayConfig::default(), to).await;
    let trusted = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    let named = relay(RelayConfig::default().accept_proxy(trusted), to).await;
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\nx";
    // The first round fills the pool and the runtime's own lists.
    let _warm = (
        connect(to, &upstream, b"x").await,
        connect(&plain, &upstream, b"x").await,
        connect(&named, &upstream, header).await,
    );
    let (_direct, without_relay) = connect(to, &upstream, b"x").await;
    let (_plain, with_relay) = connect(&plain, &upstream, b"x").await;
    let (_named, with_header) = connect(&named, &upstream, header).await;
    let each = (with_relay - without_relay) / CONNECTIONS;
    println!("{each} B of heap per idle relayed connection");
    assert!(each < MAX_EACH, "{each}");
    let client = with_header.saturating_sub(with_relay) / CONNECTIONS;
    println!("{client} B more with a client that a PROXY header names");
    assert!(client <= MAX_CLIENT, "{client}");
}
