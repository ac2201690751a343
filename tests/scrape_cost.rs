//! What a scrape takes with 10 000 connections and a hundred pools: text, time, allocations; the report of the greediest of
//! them; and the admin endpoint at rest, while requests are relayed.
//!
//! `cargo test --release --all-features --test scrape_cost` shows the time. Without the test harness, whose own thread
//! allocates at any time.

use std::alloc::System;
use std::fmt;
use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use metrics::with_local_recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
use millpond::connection::{ManageConnection, Pool};
use millpond::metric::{Metrics, Report, Row, Source, Value, VisitRow};
use millpond::net::{Listener, Stream};
use millpond::observe::admin::{Admin, AdminConfig};
use millpond::observe::{Format, Publisher, Registry};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: u32 = 10_000;
const BUFFER_POOLS: usize = 100;
const MAX_TEXT: usize = 1_000_000;
const MAX_TIME: Duration = Duration::from_millis(10);
/// Of the endpoint without a connection, in bytes.
const AT_REST: usize = 3_072;
/// And for each that has had an answer, and is kept open. Most of it is hyper's buffer.
const PER_CONNECTION: usize = 24_576;
const IDLE: usize = 16;

struct Nowhere;

impl ManageConnection for Nowhere {
    type Connection = ();
    type Error = io::Error;

    async fn connect(&self) -> io::Result<()> {
        Ok(())
    }

    async fn is_valid(&self, (): &mut ()) -> io::Result<()> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let pool = Pool::builder().max_size(CONNECTIONS).min_idle(CONNECTIONS).build(Nowhere).await.unwrap();
    assert_eq!(pool.state().connections, CONNECTIONS);
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    let buffers: Vec<_> = (0..BUFFER_POOLS).map(|_| BufferPool::new(BufferPoolConfig::proxy())).collect();
    let registry = Registry::new();
    registry.add("connections", &pool);
    registry.add("relay", &relay);
    buffers.iter().enumerate().for_each(|(at, pool)| registry.add(format!("buffers {at}"), pool));
    a_scrape_is_small_and_fast(&registry);
    publishing_allocates_for_the_snapshots_only(&registry);
    the_endpoint_at_rest_is_small(registry).await;
    relayed_requests_allocate_nothing(&relay).await;
    the_greediest_are_found_fast(relay).await;
}

fn a_scrape_is_small_and_fast(registry: &Registry) {
    let mut samples = 0;
    let before = allocations();
    registry.each(&mut |_, _, value| {
        samples += if let Value::Histogram { buckets, .. } = value { buckets.len() + 2 } else { 1 };
    });
    let for_snapshots = allocations() - before;
    for format in [Format::Prometheus, Format::OpenMetrics, Format::Json] {
        let before = allocations();
        let text = format.encode(registry).len();
        let for_text = allocations() - before - for_snapshots;
        let time = (0..20).map(|_| {
            let start = Instant::now();
            let _ = format.encode(registry);
            start.elapsed()
        });
        let time = time.min().unwrap();
        println!(
            "{format:?}: {samples} samples, {text} B, {time:?}; allocations: {for_snapshots} for the snapshots, {for_text} \
             for the text"
        );
        assert!(text < MAX_TEXT, "{text}");
        assert!(for_text < samples / 5, "{for_text} allocations for the text of {samples} samples");
        assert!(cfg!(debug_assertions) || time < MAX_TIME, "{time:?}");
    }
}

fn publishing_allocates_for_the_snapshots_only(registry: &Registry) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let mut publisher = Publisher::new(registry.clone());
    let mut publish = || with_local_recorder(&recorder, || publisher.publish());
    publish();
    let before = allocations();
    registry.each(&mut |_, _, _| {});
    let for_snapshots = allocations() - before;
    let (before, start) = (allocations(), Instant::now());
    publish();
    let (time, allocated) = (start.elapsed(), allocations() - before);
    println!("published in {time:?}; {allocated} allocations");
    assert_eq!(allocated, for_snapshots);
}

async fn the_endpoint_at_rest_is_small(registry: Registry) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_endpoint().clone();
    let before = held();
    let admin = Admin::new(registry, AdminConfig::default());
    let _serving = tokio::spawn(admin.serve(listener, pending()).unwrap());
    tokio::task::yield_now().await;
    let at_rest = held() - before;

    let mut clients = Vec::with_capacity(IDLE);
    let before = held();
    for _ in 0..IDLE {
        let mut client = Stream::connect(endpoint.clone(), Duration::from_secs(10)).await.unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 1_024];
        let read = client.read(&mut answer).await.unwrap();
        assert!(answer[..read].ends_with(b"ok\n"));
        clients.push(client);
    }
    let per_connection = (held() - before) / IDLE;
    println!("admin endpoint: {at_rest} B at rest, {per_connection} B per idle connection, with its client");
    assert!(at_rest < AT_REST, "{at_rest}");
    assert!(per_connection < PER_CONNECTION, "{per_connection}");
}

/// The endpoint is still there.
async fn relayed_requests_allocate_nothing(relay: &Relay) {
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let mut client =
        Stream::connect(listener.local_endpoint().clone(), Duration::from_secs(10)).await.unwrap();
    let (relay, to) = (relay.clone(), upstream.local_addr().unwrap());
    let relaying = tokio::spawn(async move { relay.serve(listener, to, pending()).await });
    let (mut server, _) = upstream.accept().await.unwrap();
    let mut allocated = 0;
    for round in 0..200 {
        let before = allocations();
        let mut bytes = [7; 64];
        client.write_all(&bytes).await.unwrap();
        server.read_exact(&mut bytes).await.unwrap();
        server.write_all(&bytes).await.unwrap();
        client.read_exact(&mut bytes).await.unwrap();
        // The first ones fill the caches.
        allocated += if round < 100 { 0 } else { allocations() - before };
    }
    assert_eq!(allocated, 0);
    relaying.abort();
}

/// As many connections as a busy relay has, in the worst order: each leads those before it.
struct Crowd(Relay);

impl Source for Crowd {
    type Snapshot = <Relay as Source>::Snapshot;

    fn watch(&self) -> impl Fn() -> Option<Self::Snapshot> + Send + Sync + 'static {
        self.0.watch()
    }

    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        |_, visit| {
            for id in 0..CONNECTIONS {
                let labels: [(_, &dyn fmt::Display); 3] =
                    [("id", &id), ("client", &"203.0.113.77:40000"), ("upstream", &"tcp://192.0.2.7:6379")];
                let numbers = Report::Connections.numbers().iter();
                let numbers: Vec<_> = numbers.map(|number| (*number, f64::from(id) * 1.1)).collect();
                visit(Row::new(&labels, &numbers));
            }
            true
        }
    }
}

async fn the_greediest_are_found_fast(relay: Relay) {
    let registry = Registry::new();
    registry.add("crowd", &Crowd(relay));
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_endpoint().clone();
    let _serving =
        tokio::spawn(Admin::new(registry, AdminConfig::default()).serve(listener, pending()).unwrap());
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        let mut client = Stream::connect(endpoint.clone(), Duration::from_secs(10)).await.unwrap();
        client
            .write_all(b"GET /connections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        best = best.min(start.elapsed());
        assert!(answer.contains("\"id\":\"9999\""), "{answer}");
        assert!(answer.len() < 8_192, "{answer}");
    }
    println!("the greediest of {CONNECTIONS} connections in the worst order: {best:?}, with the request");
    assert!(cfg!(debug_assertions) || best < MAX_TIME, "{best:?}");
}
