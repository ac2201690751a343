//! Memory of idle WebSocket connections, by the allocator and by what the system counts for the process: after the upgrade,
//! and after a mebibyte in each direction.
//!
//! `MILLPOND_REST=10 cargo test --features websocket --test websocket_memory` looks again 10 s later.
//!
//! Without the test harness, whose own thread allocates at any time.

#[path = "websocket_servers/http2.rs"]
mod http2_servers;
mod tls_servers;
mod upstream;
mod websocket_servers;

use std::alloc::System;
use std::env;
use std::fs;
use std::time::{Duration, Instant};

use http2_servers::Haproxy;
use millpond::connection::https::Http2PoolConfig;
use millpond::connection::websocket::{Message, WebSocketClient, WebSocketConfig, WebSocketConnection};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tls_servers::{Authority, NAME, folder_with};
use websocket_servers::{Here, PATIENCE, Server, soon};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 100;
const MIB: usize = 1 << 20;
/// The bar for all connections together, by what is resident.
const LIMIT: usize = 1_500_000;
/// With TLS. aws-lc's own allocations, which only the system counts, are in it.
const TLS_LIMIT: usize = 2_000_000;
/// What a connection at rest holds on the heap: 4 KiB of it are the buffer for reading.
const AT_REST: usize = 7_000;
/// With TLS, whose own buffer makes a smaller one enough for reading.
const TLS_AT_REST: usize = 11_000;
/// In a stream of HTTP/2 that shares a connection with all others: its tables are in it.
const HTTP2_AT_REST: usize = 5_500;
/// All of those, by what is resident.
const HTTP2_LIMIT: usize = 500_000;
/// What may be in use beside the connections' own, such as the runtime's queues.
const SLACK: usize = 100_000;

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Resident bytes of this process.
fn resident() -> usize {
    let counts = fs::read_to_string("/proc/self/statm").unwrap();
    counts.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Has glibc give back what is free. Of that it keeps as much as the largest message or two, however many connections there
/// are, so it would hide what they take, or add to it.
fn give_back() {
    // SAFETY: no precondition.
    unsafe { libc::malloc_trim(0) };
}

async fn moved(connection: &mut WebSocketConnection, message: &Message) {
    assert_eq!(soon(connection.exchange(message.clone())).await.unwrap().len(), message.len());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let queued = a_server_that_does_not_read_makes_the_queue_fill_and_nothing_else().await;
    let plain_server = Server::python(0, &[]);
    let plain = connections_at_rest_hold_little(&plain_server.config(), AT_REST, LIMIT).await;
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    let server = Server::python(0, &[folder.path().to_str().unwrap()]);
    let config = WebSocketConfig::new(&format!("wss://{NAME}/")).unwrap();
    let config = config.endpoint(Some(("127.0.0.1", server.port).into()));
    let config = config.tls(Some(authority.trusted().build().unwrap()));
    let tls = connections_at_rest_hold_little(&config, TLS_AT_REST, TLS_LIMIT).await;

    let haproxy = Haproxy::start(plain_server.port, "h2");
    let config = haproxy.config("/").http2(Some(haproxy.pool(Http2PoolConfig::default())));
    let http2 = connections_at_rest_hold_little(&config, HTTP2_AT_REST, HTTP2_LIMIT).await;

    let unread = a_slow_reader_holds_its_limit_and_one_message().await;
    println!(
        "test result: ok. {plain}; over TLS {tls}; in one HTTP/2 connection {http2}; {unread} bytes with a slow reader, {queued} with a slow server"
    );
}

/// Says how much.
async fn connections_at_rest_hold_little(config: &WebSocketConfig, limit: usize, all: usize) -> String {
    let config = config.clone().queue_bytes(2 * MIB);
    let large = Message::binary(vec![7; MIB]);
    // What is allocated once.
    let mut first = WebSocketConnection::open(&config).await.unwrap();
    for _ in 0..3 {
        moved(&mut first, &large).await;
    }
    soon(first.close()).await.unwrap();

    give_back();
    let (before, resident_before) = (held(), resident());
    let grown = || held().saturating_sub(before);
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(soon(WebSocketConnection::open(&config)).await.unwrap());
    }
    let before_use = at_rest(&grown, limit).await;
    assert!(before_use <= limit, "{before_use} bytes each after the upgrade");
    let resident_at_rest = resident().saturating_sub(resident_before);
    assert!(resident_at_rest < all, "{resident_at_rest} bytes resident after the upgrade");

    for connection in &mut connections {
        moved(connection, &large).await;
    }
    let rest = env::var("MILLPOND_REST").ok().and_then(|seconds| seconds.parse().ok());
    tokio::time::sleep(Duration::from_secs(rest.unwrap_or_default())).await;
    let afterwards = at_rest(&grown, limit).await;
    assert!(afterwards <= limit, "{afterwards} bytes each after a mebibyte");
    let with_free = resident().saturating_sub(resident_before);
    give_back();
    let resident_afterwards = resident().saturating_sub(resident_before);
    assert!(resident_afterwards < all, "{resident_afterwards} bytes resident after a mebibyte");
    for connection in connections {
        soon(connection.close()).await.unwrap();
    }
    // A shared connection gives back what its streams have needed when it has been without one for a second.
    let left = until(&grown, SLACK).await;
    assert!(left <= SLACK, "{left} bytes are left");
    format!(
        "{before_use} bytes of heap per connection, {afterwards} after a mebibyte, and of {CONNECTIONS} {resident_at_rest} \
         resident, then {resident_afterwards} and {} that glibc keeps",
        with_free.saturating_sub(resident_afterwards)
    )
}

/// What each holds once its task has found nothing more to do: at most `limit`, or as much as it is after a long time.
async fn at_rest(grown: impl Fn() -> usize, limit: usize) -> usize {
    until(grown, limit * CONNECTIONS).await / CONNECTIONS
}

/// What has grown once it is at most `limit`, or after a long time.
async fn until(grown: impl Fn() -> usize, limit: usize) -> usize {
    let started = Instant::now();
    while grown() > limit && started.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    grown()
}

async fn a_slow_reader_holds_its_limit_and_one_message() -> usize {
    let large = Message::binary(vec![7; MIB]);
    let server = Server::python(0, &[]);
    let config = server.config().incoming_bytes(MIB / 2).queue_bytes(16 * MIB);
    let before = held();
    let connection = soon(WebSocketConnection::open(&config)).await.unwrap();
    for _ in 0..8 {
        connection.send(large.clone()).await.unwrap();
    }
    // Reading has stopped when nothing changes any more.
    let mut last = 0;
    while last != held() {
        last = held();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let unread = held().saturating_sub(before);
    assert!(unread <= MIB + MIB / 2 + SLACK, "{unread} bytes");
    unread
}

async fn a_server_that_does_not_read_makes_the_queue_fill_and_nothing_else() -> usize {
    let server = Here::new().await;
    let config: WebSocketConfig = server.config().queue_bytes(MIB).queue_messages(64);
    let before = held();
    let client = WebSocketClient::start(config).unwrap();
    let there = server.accept_tcp();
    let (_there, ()) = tokio::join!(there, async {
        for _ in 0..64 {
            client.send(Message::binary(vec![7; MIB / 64])).await.unwrap();
        }
    });
    let queued = held().saturating_sub(before);
    assert!(client.try_send("one more").is_err());
    assert!(queued <= MIB + SLACK, "{queued} bytes");
    queued
}
