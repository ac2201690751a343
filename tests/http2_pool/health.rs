//! Health checks: a connection that was silent is pinged before the next request.

use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use http::Request;
use millpond::connection::https::{HealthCheck, Http2Pool, Http2PoolConfig, HttpsConfig, Ping, RequestBody};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use crate::server::{Node, eventually, fetch, get, read};
use crate::upstream::{PATIENCE, relay};

/// A server that is there answers within this time, also on a loaded machine.
const SOON: Duration = Duration::from_secs(1);

/// Says which of its connections is pinged.
const PINGED: &str =
    "server.on('session', session => session.on('ping', () => console.log('ping ' + session.number)));";

/// Pings before each request, and waits for this time.
fn config(health_timeout: Duration) -> Http2PoolConfig {
    let https = HttpsConfig::default().health_check(HealthCheck::Ping).health_timeout(health_timeout);
    Http2PoolConfig::default().https(https).bypass_window(Duration::ZERO)
}

/// A pool that has a connection, which passes nothing on any more after a word to the sender.
async fn to_be_cut(node: &Node) -> (Http2Pool, Sender<()>) {
    let (address, cut) = relay(([127, 0, 0, 1], node.port).into()).await;
    let pool = Http2Pool::new(&format!("http://{address}"), config(SOON)).unwrap();
    fetch(&pool, "/").await.unwrap();
    (pool, cut)
}

/// It would not be sent again.
async fn post(pool: &Http2Pool) -> Vec<u8> {
    let request = Request::post("/").body(RequestBody::from("grain")).unwrap();
    let answered = timeout(PATIENCE, async { read(pool.send(request).await.unwrap()).await });
    answered.await.expect("no answer").unwrap()
}

#[tokio::test]
async fn a_connection_whose_peer_has_vanished_is_replaced_before_a_request() {
    let node = Node::start();
    let (pool, cut) = to_be_cut(&node).await;
    eventually(&pool, |state| state.connections[0].is_at_rest).await;
    cut.send(()).unwrap();
    assert_eq!(post(&pool).await, b"grist");
    let state = pool.state();
    assert_eq!(state.statistics.connections_closed_invalid, 1);
    assert_eq!(state.statistics.connections_created, 2);
    assert_eq!(state.errors.total(), 0);
}

#[tokio::test]
async fn many_requests_on_a_connection_whose_peer_has_vanished_share_another_one() {
    let node = Node::start();
    let (pool, cut) = to_be_cut(&node).await;
    cut.send(()).unwrap();
    assert_eq!(join_all((0..50).map(|_| post(&pool))).await, vec![b"grist"; 50]);
    let state = pool.state();
    assert_eq!(state.statistics.connections_closed_invalid, 1);
    assert_eq!(state.statistics.connections_created, 2);
}

#[tokio::test]
async fn a_check_whose_request_is_cancelled_comes_to_its_end() {
    let node = Node::start();
    let (pool, cut) = to_be_cut(&node).await;
    cut.send(()).unwrap();
    assert!(poll_immediate(pool.send(get("/"))).await.is_none());
    eventually(&pool, |state| state.statistics.connections_closed_invalid == 1).await;
    eventually(&pool, |state| state.connections.is_empty()).await;
    assert_eq!(pool.state().errors.total(), 0);
}

#[tokio::test]
async fn many_requests_at_once_share_a_ping() {
    let mut node = Node::with("{}", PINGED);
    let pool = node.pool(config(PATIENCE));
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    node.says("end /").await;
    join_all((0..50).map(|_| post(&pool))).await;
    let said = node.says_times("end /", 50).await;
    assert_eq!(said.iter().filter(|line| *line == "ping 1").count(), 1, "{said:?}");
}

#[tokio::test]
async fn within_the_bypass_window_nothing_is_asked() {
    const REQUESTS: usize = 3;
    for (window, pings) in [(Duration::ZERO, REQUESTS), (10 * PATIENCE, 0)] {
        let mut node = Node::with("{}", PINGED);
        let pool = node.pool(config(PATIENCE).bypass_window(window));
        for _ in 0..REQUESTS {
            fetch(&pool, "/").await.unwrap();
        }
        let said = node.says_times("end /", REQUESTS).await;
        assert_eq!(said.iter().filter(|line| *line == "ping 1").count(), pings, "{window:?}: {said:?}");
    }
}

#[tokio::test]
async fn without_a_health_check_nothing_is_asked() {
    let mut node = Node::with("{}", PINGED);
    let pool = node.pool(config(PATIENCE).https(HttpsConfig::default()));
    fetch(&pool, "/").await.unwrap();
    assert_eq!(node.says_times("end /", 1).await, ["session", "begin /"]);
    assert!(!pool.state().pings);
}

#[tokio::test]
async fn a_server_that_refuses_pings_is_not_asked_again() {
    let own = format!(
        "{PINGED} server.on('session', session => session.on('ping', () =>
            session.goaway(c.NGHTTP2_ENHANCE_YOUR_CALM)
        ));"
    );
    let mut node = Node::with("{}", &own);
    let pool = node.pool(config(PATIENCE));
    assert!(pool.state().pings);
    assert_eq!(post(&pool).await, b"grist");
    eventually(&pool, |state| !state.pings).await;
    for _ in 0..3 {
        assert_eq!(post(&pool).await, b"grist");
    }
    let said = node.says_times("end /", 4).await;
    assert_eq!(said.iter().filter(|line| line.starts_with("ping")).count(), 1, "{said:?}");
}

#[tokio::test]
async fn a_stream_of_before_the_check_comes_to_its_end() {
    let mut node = Node::start();
    let pool = node.pool(config(SOON));
    let half = pool.send(get("/half")).await.unwrap();
    node.signal(Signal::SIGSTOP);
    let other = tokio::spawn({
        let pool = pool.clone();
        async move { post(&pool).await }
    });
    eventually(&pool, |state| state.statistics.connections_closed_invalid == 1).await;
    assert!(pool.state().connections[0].is_draining);
    node.signal(Signal::SIGCONT);
    assert_eq!(other.await.unwrap(), b"grist");
    node.free();
    assert_eq!(read(half).await.unwrap(), b"gristmill");
}

#[tokio::test]
async fn an_answer_that_was_there_in_time_counts_after_a_pause_of_the_program() {
    let node = Node::start();
    let pool = node.pool(config(SOON));
    fetch(&pool, "/").await.unwrap();
    let sent = || pool.state().connections[0].bytes_sent;
    let before = sent();
    let mut request = Box::pin(fetch(&pool, "/"));
    assert!(poll_immediate(&mut request).await.is_none());
    while sent() == before {
        tokio::task::yield_now().await;
    }
    std::thread::sleep(SOON + SOON / 2);
    assert_eq!(request.await.unwrap(), b"grist");
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn an_answer_to_a_keep_alive_ping_counts_after_a_pause_of_the_program() {
    let node = Node::start();
    let ping = Ping::default().interval(SOON / 10).timeout(SOON);
    let pool = node.pool(Http2PoolConfig::default().https(HttpsConfig::default().ping(Some(ping))));
    fetch(&pool, "/").await.unwrap();
    eventually(&pool, |state| state.connections[0].is_at_rest).await;
    let sent = || pool.state().connections[0].bytes_sent;
    let before = sent();
    while sent() == before {
        tokio::task::yield_now().await;
    }
    std::thread::sleep(SOON + SOON / 2);
    eventually(&pool, |state| state.connections.first().is_none_or(|connection| connection.is_at_rest)).await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    assert_eq!(pool.state().statistics.connections_created, 1);
}

/// A relay that passes on to the server only while this holds. Returns its address.
async fn slow_uplink(port: u16, mut is_open: Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut from_client, mut to_client) = listener.accept().await.unwrap().0.into_split();
        let (mut from_server, mut to_server) =
            TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
        tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
        let mut bytes = [0; 4096];
        loop {
            let count = from_client.read(&mut bytes).await.unwrap();
            is_open.wait_for(|is_open| *is_open).await.unwrap();
            if count == 0 || to_server.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_sends_while_a_ping_is_on_its_way_is_there() {
    let own = "handle = stream => {
        stream.respond();
        const writes = setInterval(() => stream.write('grist'), 50);
        stream.on('close', () => clearInterval(writes));
    };";
    let ping = Ping::default().interval(SOON / 10).timeout(SOON);
    let keep_alive = Http2PoolConfig::default().https(HttpsConfig::default().ping(Some(ping)));
    for config in [config(SOON), keep_alive] {
        let node = Node::with("{}", own);
        let (open, is_open) = channel(true);
        let pool = Http2Pool::new(&slow_uplink(node.port, is_open).await, config).unwrap();
        let _grist = pool.send(get("/own")).await.unwrap();
        open.send(false).unwrap();
        let fetched = tokio::spawn({
            let pool = pool.clone();
            async move { fetch(&pool, "/").await }
        });
        sleep(2 * SOON).await;
        open.send(true).unwrap();
        assert_eq!(fetched.await.unwrap().unwrap(), b"grist");
        assert_eq!(pool.state().statistics.connections_created, 1);
    }
}

#[tokio::test]
async fn requests_of_a_dead_connection_keep_their_turn() {
    const STREAMS: usize = 4;
    let mut node = Node::start();
    let (address, cut) = relay(([127, 0, 0, 1], node.port).into()).await;
    let config = config(SOON).max_connections(1).max_streams(STREAMS).max_waiting(1);
    let pool = Http2Pool::new(&format!("http://{address}"), config).unwrap();
    fetch(&pool, "/").await.unwrap();
    node.says("end /").await;
    cut.send(()).unwrap();
    let paths = (0..STREAMS).map(|at| format!("/{at}")).chain(["/late".to_owned()]);
    let fetched = join_all(paths.map(|path| {
        let pool = pool.clone();
        async move { fetch(&pool, &path).await }
    }));
    for answer in fetched.await {
        assert_eq!(answer.unwrap(), b"grist");
    }
    let others = node.says_times("begin /late", 1).await;
    assert_eq!(others.iter().filter(|line| line.starts_with("begin")).count(), STREAMS, "{others:?}");
}
