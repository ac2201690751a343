//! Memory of idle WebSocket connections, by the allocator and by what the system counts for the process: after the upgrade,
//! and after a mebibyte in each direction.
//!
//! Without the test harness, whose own thread allocates at any time.

mod websocket_servers;

use std::alloc::System;
use std::fs;
use std::time::Duration;

use millpond::connection::websocket::{Message, WebSocketClient, WebSocketConfig, WebSocketConnection};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use websocket_servers::{Here, Server, soon};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 100;
const MIB: usize = 1 << 20;
/// The bar for all connections together.
const LIMIT: usize = 1_500_000;
/// What a connection at rest holds on the heap: 4 KiB of it are the buffer for reading.
const AT_REST: usize = 8_000;
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

async fn moved(connection: &mut WebSocketConnection, message: &Message) {
    assert_eq!(soon(connection.exchange(message.clone())).await.unwrap().len(), message.len());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let queued = a_server_that_does_not_read_makes_the_queue_fill_and_nothing_else().await;
    let server = Server::python(0, &[]);
    let config = server.config().queue_bytes(2 * MIB);
    let large = Message::binary(vec![7; MIB]);
    // What is allocated once. And glibc keeps a mebibyte or two of what was freed, for the whole process: after three
    // messages it does before and after the measurement.
    let mut first = WebSocketConnection::open(&config).await.unwrap();
    for _ in 0..3 {
        moved(&mut first, &large).await;
    }
    soon(first.close()).await.unwrap();

    let (before, resident_before) = (held(), resident());
    let grown = || held().saturating_sub(before);
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(soon(WebSocketConnection::open(&config)).await.unwrap());
    }
    let at_rest = grown() / CONNECTIONS;
    assert!(grown() < LIMIT, "{} bytes after the upgrade", grown());
    assert!(at_rest <= AT_REST, "{at_rest} bytes each after the upgrade");
    let resident_at_rest = resident().saturating_sub(resident_before);
    assert!(resident_at_rest < LIMIT, "{resident_at_rest} bytes resident after the upgrade");

    for connection in &mut connections {
        moved(connection, &large).await;
    }
    // The tasks shrink when they find nothing more to do; they may run once more for that.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let afterwards = grown() / CONNECTIONS;
    assert!(afterwards <= AT_REST, "{afterwards} bytes each after a mebibyte");
    let resident_afterwards = resident().saturating_sub(resident_before);
    assert!(resident_afterwards < LIMIT, "{resident_afterwards} bytes resident after a mebibyte");
    for connection in connections {
        soon(connection.close()).await.unwrap();
    }
    assert!(grown() <= SLACK, "{} bytes are left", grown());

    let unread = a_slow_reader_holds_its_limit_and_one_message(&large).await;
    println!(
        "test result: ok. {at_rest} bytes of heap per connection, {afterwards} after a mebibyte; of {CONNECTIONS}, \
         {resident_at_rest} resident, then {resident_afterwards}; {unread} with a slow reader, {queued} with a slow server"
    );
}

async fn a_slow_reader_holds_its_limit_and_one_message(large: &Message) -> usize {
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
