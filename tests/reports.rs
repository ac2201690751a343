//! The reports beside the metrics: open connections of a relay, who holds buffers, and how the admin endpoint ranks them.

use std::future::pending;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millpond::metric::{Kind, Metric, Metrics, Report, Row, Source, Value, Visit, VisitRow};
use millpond::net::{Endpoint, Listener, Peer, Stream};
use millpond::observe::Registry;
use millpond::observe::admin::{Admin, AdminConfig};
use millpond::relay::{Relay, RelayConfig, RelayConnection};
use millpond::{BufferPool, BufferPoolConfig};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// A relay that serves, and the upstream, which the test plays.
struct Setup {
    relay: Relay,
    listen: Endpoint,
    upstream: Listener,
    serving: JoinHandle<()>,
}

impl Setup {
    async fn new() -> Self {
        let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
        let to = upstream.local_endpoint().clone();
        let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_endpoint().clone();
        let serving = tokio::spawn({
            let relay = relay.clone();
            async move {
                let _ = relay.serve(listener, to, pending()).await;
            }
        });
        Self { relay, listen, upstream, serving }
    }

    /// Both ends of a connection through the relay.
    async fn connection(&self) -> (Stream, Stream) {
        let client = Stream::connect(self.listen.clone(), PATIENCE).await.unwrap();
        (client, timeout(PATIENCE, self.upstream.accept()).await.unwrap().unwrap())
    }

    /// In the order of their accepts.
    fn connections(&self) -> Vec<RelayConnection> {
        let mut connections = self.relay.connections();
        connections.sort_by_key(|connection| connection.id);
        connections
    }

    fn lent(&self) -> usize {
        self.relay.pool().stats().classes.iter().map(|class| class.in_use as usize * class.size).sum()
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn address(stream: &Stream) -> String {
    let Stream::Tcp(stream) = stream else { panic!("no TCP") };
    stream.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn an_open_connection_says_who_it_is() {
    let setup = Setup::new().await;
    assert!(setup.connections().is_empty());
    let (first, _first) = setup.connection().await;
    let (second, _second) = setup.connection().await;
    let open = setup.connections();
    assert_eq!([open[0].id, open[1].id], [1, 2]);
    assert_eq!([&first, &second].map(address), [&open[0], &open[1]].map(|one| one.client.to_string()));
    assert!(matches!(open[0].client, Peer::Tcp(_)));
    assert_eq!(open[0].upstream.as_deref(), Some(setup.upstream.local_endpoint()));
    assert!(open[0].age >= open[1].age);
}

#[tokio::test]
async fn it_counts_the_bytes_of_each_connection_alone() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connection().await;
    let (_idle, _idle_too) = setup.connection().await;
    client.write_all(&[1; 5]).await.unwrap();
    server.write_all(&[2; 7]).await.unwrap();
    server.read_exact(&mut [0; 5]).await.unwrap();
    client.read_exact(&mut [0; 7]).await.unwrap();
    let open = setup.connections();
    assert_eq!((open[0].transferred.to_upstream, open[0].transferred.to_client), (5, 7));
    assert_eq!((open[1].transferred.to_upstream, open[1].transferred.to_client), (0, 0));
}

#[tokio::test]
async fn it_says_since_when_nothing_moved() {
    const PAUSE: Duration = Duration::from_millis(30);
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connection().await;
    sleep(PAUSE).await;
    assert!(setup.connections()[0].idle >= PAUSE - Duration::from_millis(1));
    let sent = Instant::now();
    client.write_all(b"x").await.unwrap();
    server.read_exact(&mut [0]).await.unwrap();
    let idle = setup.connections()[0].idle;
    assert!(idle <= sent.elapsed() + Duration::from_millis(1), "{idle:?}, {:?}", sent.elapsed());
}

#[tokio::test]
async fn what_it_holds_is_what_the_pool_has_lent() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connection().await;
    let (_idle, _idle_too) = setup.connection().await;
    // More than the sockets take, to a client that does not read.
    let flood = tokio::spawn(async move {
        let _ = server.write_all(&vec![0; 64 << 20]).await;
        server
    });
    eventually("the relay holds a rest", || setup.connections()[0].held_bytes > 0).await;
    eventually("all that is lent is held", || {
        let held: Vec<_> = setup.connections().iter().map(|one| one.held_bytes).collect();
        held == [setup.lent(), 0]
    })
    .await;
    client.read_exact(&mut vec![0; 64 << 20]).await.unwrap();
    let _server = flood.await.unwrap();
    eventually("nothing is held", || setup.connections()[0].held_bytes == 0).await;
}

#[tokio::test]
async fn a_connection_that_ended_is_gone_however_it_ended() {
    let setup = Setup::new().await;
    let ends = [setup.connection().await, setup.connection().await, setup.connection().await];
    let [(closed, closes), (mut reset, resets), (_client, _server)] = ends;
    drop((closed, closes));
    eventually("the first has ended", || setup.relay.stats().closed == 1).await;
    assert_eq!(setup.connections().iter().map(|one| one.id).collect::<Vec<_>>(), [2, 3]);
    let Stream::Tcp(stream) = &mut reset else { panic!("no TCP") };
    stream.set_zero_linger().unwrap();
    drop((reset, resets));
    eventually("the second has ended", || setup.relay.stats().reset == 1).await;
    assert_eq!(setup.connections()[0].id, 3);
    setup.serving.abort();
    eventually("the third is aborted", || setup.relay.stats().aborted == 1).await;
    assert!(setup.relay.connections().is_empty());
}

#[tokio::test]
async fn a_connection_that_finds_no_upstream_is_gone() {
    let setup = Setup::new().await;
    drop(setup.upstream);
    let mut client = Stream::connect(setup.listen, PATIENCE).await.unwrap();
    let _ = client.read(&mut [0]).await;
    eventually("it has ended", || setup.relay.stats().connect_errors == 1).await;
    assert!(setup.relay.connections().is_empty());
}

async fn served(registry: Registry) -> String {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_endpoint().to_string().replace("tcp://", "");
    tokio::spawn(Admin::new(registry, AdminConfig::default()).serve(listener, pending()).unwrap());
    address
}

async fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = Stream::connect(address, PATIENCE).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn rows(address: &str, path: &str) -> Json {
    let (status, body) = get(address, path).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn the_endpoint_shows_the_connections_of_a_relay() {
    let setup = Setup::new().await;
    let (mut client, mut server) = setup.connection().await;
    client.write_all(b"12345").await.unwrap();
    server.read_exact(&mut [0; 5]).await.unwrap();
    let registry = Registry::new();
    registry.add("proxy", &setup.relay);
    let answer = rows(&served(registry).await, "/connections").await;
    assert_eq!(answer["total"], 1);
    let row = &answer["rows"][0];
    assert_eq!(row["name"], "proxy");
    assert_eq!(row["id"], "1");
    assert_eq!(row["client"], address(&client));
    assert_eq!(row["upstream"], setup.upstream.local_endpoint().to_string());
    assert_eq!(row["to_upstream_bytes"], 5);
    assert_eq!(row["traffic_bytes"], 5);
    assert_eq!(row["held_bytes"], 0);
    assert!(Report::Connections.numbers().iter().all(|number| row[number].is_number()), "{row}");
}

/// Connections whose numbers grow with their ids. Counts how often it was asked.
struct Crowd {
    asked: Arc<AtomicUsize>,
}

const CROWD: u32 = 100;

struct Nothing;

static NOTHING: Metric = Metric::new(Kind::Gauge, "test_nothing", "Nothing.", &[]);

impl Metrics for Nothing {
    fn each(&self, visit: &mut Visit<'_>) {
        visit(&NOTHING, &[], Value::Integer(0));
    }
}

impl Source for Crowd {
    type Snapshot = Nothing;

    fn watch(&self) -> impl Fn() -> Option<Nothing> + Send + Sync + 'static {
        || Some(Nothing)
    }

    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        let asked = Arc::clone(&self.asked);
        move |report, visit| {
            asked.fetch_add(1, Ordering::Relaxed);
            if report == Report::Connections {
                for id in 0..CROWD {
                    let (held, traffic) = (f64::from(id % 10), f64::from(id));
                    let age = f64::from(CROWD - id);
                    let numbers = [("held_bytes", held), ("traffic_bytes", traffic), ("age_seconds", age)];
                    visit(Row::new(&[("id", &id), ("client", &"a \"client\"\n")], &numbers));
                }
            }
            report == Report::Connections
        }
    }
}

async fn crowd() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let registry = Registry::new();
    registry.add("crowd", &Crowd { asked: Arc::clone(&asked) });
    (served(registry).await, asked)
}

fn ids(answer: &Json) -> Vec<u32> {
    let rows = answer["rows"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn connections_lead_by_what_they_hold_and_then_by_traffic() {
    let (address, _) = crowd().await;
    let answer = rows(&address, "/connections?top=12").await;
    assert_eq!(ids(&answer), [99, 89, 79, 69, 59, 49, 39, 29, 19, 9, 98, 88]);
    assert_eq!(answer["total"], CROWD);
    assert_eq!(answer["rows"][0]["client"], "a \"client\"\n");
}

#[tokio::test]
async fn they_lead_by_any_number_and_there_are_20_by_default() {
    let (address, _) = crowd().await;
    let by_age: Vec<_> = (0..20).collect();
    assert_eq!(ids(&rows(&address, "/connections?by=age_seconds").await), by_age);
    let by_traffic: Vec<_> = (80..CROWD).rev().collect();
    assert_eq!(ids(&rows(&address, "/connections?by=traffic_bytes&other=1").await), by_traffic);
    assert_eq!(ids(&rows(&address, "/connections?top=1000").await).len(), CROWD as usize);
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_right() {
    let (address, _) = crowd().await;
    for (path, expected) in [
        ("/connections?by=age", "by is one of held_bytes, traffic_bytes, "),
        ("/connections?by=", "by is one of "),
        ("/events?by=samples", "by is one of held_bytes, "),
        ("/holders?by=held_bytes", "by is one of storage_bytes, pinned_bytes, "),
        ("/connections?top=0", "top is a number from 1 to 1000"),
        ("/connections?top=1001", "top is a number from 1 to 1000"),
        ("/connections?top=-1", "top is a number from 1 to 1000"),
    ] {
        let (status, body) = get(&address, path).await;
        assert_eq!(status, 400, "{path}");
        assert!(body.starts_with(expected), "{path}: {body}");
    }
}

#[tokio::test]
async fn holders_name_the_code_and_the_pools_that_do_not_sample() {
    let config = BufferPoolConfig::proxy().to_builder().sample_one_in(NonZeroU32::MIN).build().unwrap();
    let (sampled, silent) = (BufferPool::new(config), BufferPool::new(BufferPoolConfig::proxy()));
    let registry = Registry::new();
    registry.add("sampled", &sampled);
    registry.add("silent", &silent);
    let (held, line) = (sampled.acquire(5000), line!());
    held.set_label("grist");
    let _unseen = silent.acquire(5000);
    let answer = rows(&served(registry).await, "/holders").await;
    assert_eq!(answer["off"], json!(["silent"]));
    assert_eq!(answer["total"], 1);
    let row = &answer["rows"][0];
    assert!(row["caller"].as_str().unwrap().starts_with(&format!("tests/reports.rs:{line}:")), "{row}");
    assert_eq!(row["label"], "grist");
    assert_eq!(row["storage_bytes"], 8192);
    assert_eq!((&row["samples"], &row["sampled_one_in"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_report_is_made_only_for_those_who_ask() {
    let (address, asked) = crowd().await;
    for path in ["/", "/metrics", "/stats", "/healthz", "/readyz"] {
        get(&address, path).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    get(&address, "/connections").await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_source_that_is_gone_has_no_rows() {
    let registry = Registry::new();
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    registry.add("pool", &pool);
    assert_eq!(registry.report(Report::Holders, &mut |_, _| {}), ["pool"]);
    drop(pool);
    assert!(registry.report(Report::Holders, &mut |_, _| {}).is_empty());
}

#[tokio::test]
async fn the_stream_makes_reports_only_while_somebody_reads_it() {
    const LONGER_THAN_A_TICK: Duration = Duration::from_millis(1500);
    let (address, asked) = crowd().await;
    let mut viewer = Stream::connect(&*address, PATIENCE).await.unwrap();
    viewer.write_all(b"GET /events?by=age_seconds&top=2 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut text = String::new();
    while text.matches("event: connections").count() < 2 {
        let mut bytes = [0; 4096];
        let count = timeout(PATIENCE, viewer.read(&mut bytes)).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    assert!(text.contains("data: {\"name\":\"crowd\",\"id\":\"1\","), "{text}");
    assert!(!text.contains("\"id\":\"2\""), "{text}");
    drop(viewer);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = asked.load(Ordering::Relaxed);
        sleep(LONGER_THAN_A_TICK).await;
        if asked.load(Ordering::Relaxed) == before {
            break;
        }
        assert!(Instant::now() < deadline, "reports are made for nobody");
    }
}
