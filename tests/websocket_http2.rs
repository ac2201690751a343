//! WebSockets that share HTTP/2 connections (RFC 8441), through haproxy and node to Python's `websockets`.

#[path = "websocket_servers/http2.rs"]
mod http2_servers;
#[path = "http2_pool/server.rs"]
#[expect(dead_code, reason = "what it has for requests that are no WebSockets")]
mod server;
mod upstream;
mod websocket_servers;

use std::time::Duration;

use futures_util::future::join_all;
use http2_servers::{Haproxy, OFFERED, handing_to};
use millpond::connection::ManageConnection;
use millpond::connection::https::{Http2Pool, Http2PoolConfig, HttpsConfig, StalledReader};
use millpond::connection::websocket::{
    Message, WebSocketClient, WebSocketConfig, WebSocketConnection, WebSocketErrorKind, WebSocketManager,
};
use millpond::net::Backoff;
use millpond::net::tls::TlsConfig;
use server::{Node, eventually};
use websocket_servers::{Server, soon};

const SHORT: Duration = Duration::from_millis(200);
const LARGE: usize = 60_000;

async fn open(config: &WebSocketConfig) -> WebSocketConnection {
    soon(WebSocketConnection::open(config)).await.unwrap()
}

async fn refused(config: &WebSocketConfig) -> WebSocketErrorKind {
    soon(WebSocketConnection::open(config)).await.unwrap_err().kind()
}

async fn echoes(connection: &mut WebSocketConnection, text: &str) {
    assert_eq!(soon(connection.exchange(text)).await.unwrap().as_text(), Some(text));
}

/// node in front of Python, a pool, and a URL of node with this path.
struct Front {
    _python: Server,
    node: Node,
    pool: Http2Pool,
}

impl Front {
    fn start(pool: Http2PoolConfig) -> Self {
        Self::with(pool, "")
    }

    fn with(pool: Http2PoolConfig, script: &str) -> Self {
        let python = Server::python(0, &[]);
        let node = Node::with(OFFERED, &(handing_to(python.port) + script));
        let pool = node.pool(pool);
        Self { _python: python, node, pool }
    }

    fn config(&self, path: &str) -> WebSocketConfig {
        let url = format!("ws://127.0.0.1:{}{path}", self.node.port);
        WebSocketConfig::new(&url).unwrap().http2(Some(self.pool.clone()))
    }
}

/// How many of these texts node has said.
fn count(said: &[String], text: &str) -> usize {
    said.iter().filter(|line| *line == text).count()
}

#[tokio::test]
async fn many_share_one_connection_with_tls() {
    const MANY: usize = 60;
    let python = Server::python(0, &[]);
    let haproxy = Haproxy::start(python.port, "h2,http/1.1");
    let before = haproxy.accepts();
    let pool = haproxy.pool(Http2PoolConfig::default());
    let config = haproxy.config("/").http2(Some(pool.clone()));
    let mut connections = join_all((0..MANY).map(|_| open(&config))).await;
    assert_eq!(pool.state().streams, MANY);
    let exchanges = connections.iter_mut().enumerate().map(async |(number, connection)| {
        echoes(connection, &format!("{number}")).await;
    });
    join_all(exchanges).await;
    assert_eq!(haproxy.accepts() - before, 1);
    for connection in connections {
        soon(connection.close()).await.unwrap();
    }
    eventually(&pool, |state| state.streams == 0).await;
}

#[tokio::test]
async fn messages_come_back_as_they_were_sent_and_in_order() {
    let front = Front::start(Http2PoolConfig::default());
    let connection = open(&front.config("/own").queue_bytes(4 << 20)).await;
    let sent = [
        Message::text("hello"),
        Message::binary(vec![0, 159, 255]),
        Message::text(""),
        Message::text("größer".repeat(10_000)),
        Message::binary(vec![7; 1 << 20]),
        Message::text("end"),
    ];
    for message in &sent {
        connection.send(message.clone()).await.unwrap();
    }
    for message in &sent {
        assert_eq!(soon(connection.recv()).await.unwrap(), *message);
    }
    soon(connection.close()).await.unwrap();
}

#[tokio::test]
async fn pings_go_in_both_directions() {
    let python = Server::python(0, &[]);
    let haproxy = Haproxy::start(python.port, "h2,http/1.1");
    let config = haproxy.config("/").http2(Some(haproxy.pool(Http2PoolConfig::default())));
    let mut connection = open(&config).await;
    soon(connection.ping()).await.unwrap();
    assert_eq!(soon(connection.exchange("ping")).await.unwrap().as_text(), Some("pong received"));
}

#[tokio::test]
async fn the_server_chooses_one_of_the_subprotocols() {
    let python = Server::python(0, &["subprotocol"]);
    let haproxy = Haproxy::start(python.port, "h2,http/1.1");
    let config = haproxy.config("/").http2(Some(haproxy.pool(Http2PoolConfig::default())));
    let connection = open(&config.clone().subprotocols(["a", "b"]).unwrap()).await;
    assert_eq!(connection.subprotocol(), Some("b"));
}

#[tokio::test]
async fn a_close_of_the_server_has_its_code_and_ends_the_stream_without_an_error() {
    let mut front = Front::start(Http2PoolConfig::default());
    let connection = open(&front.config("/own")).await;
    connection.send("close").await.unwrap();
    let error = soon(connection.recv()).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::ClosedByServer { code: 4001 });
    front.node.says("end /own 0").await;
}

#[tokio::test]
async fn a_close_on_this_side_ends_the_stream_without_an_error() {
    let mut front = Front::start(Http2PoolConfig::default());
    soon(open(&front.config("/own")).await.close()).await.unwrap();
    front.node.says("end /own 0").await;
    eventually(&front.pool, |state| state.streams == 0).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_close_is_reset() {
    let mut front = Front::start(Http2PoolConfig::default());
    let connection = open(&front.config("/own/silent").close_timeout(SHORT)).await;
    let error = soon(connection.close()).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::CloseTimeout { after: SHORT });
    // CANCEL.
    front.node.says("end /own/silent 8").await;
    eventually(&front.pool, |state| state.streams == 0).await;
}

#[tokio::test]
async fn a_server_that_reads_nothing_is_reset_with_what_it_was_sent() {
    let mut front = Front::start(Http2PoolConfig::default());
    let connection = open(&front.config("/own/silent").close_timeout(SHORT)).await;
    connection.send(Message::binary(vec![7; 1 << 20])).await.unwrap();
    drop(connection);
    front.node.says("end /own/silent 8").await;
}

#[tokio::test]
async fn a_stream_that_the_server_ends_is_lost() {
    let front = Front::start(Http2PoolConfig::default());
    for path in ["/own/end", "/own/reset"] {
        let connection = open(&front.config(path)).await;
        let error = soon(connection.recv()).await.unwrap_err();
        assert_eq!(error.kind(), WebSocketErrorKind::Lost, "{path}");
    }
}

#[tokio::test]
async fn a_refused_connect_has_its_status_and_leaves_the_connection_to_the_others() {
    let python = Server::python(0, &[]);
    let haproxy = Haproxy::start(python.port, "h2,http/1.1");
    let before = haproxy.accepts();
    let pool = haproxy.pool(Http2PoolConfig::default());
    let at = |path| haproxy.config(path).http2(Some(pool.clone()));
    let mut connection = open(&at("/")).await;
    assert_eq!(refused(&at("/forbidden")).await, WebSocketErrorKind::Refused { status: 403 });
    let error = soon(WebSocketConnection::open(&at("/busy"))).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    echoes(&mut connection, "still here").await;
    eventually(&pool, |state| state.streams == 1).await;
    assert_eq!(haproxy.accepts() - before, 1);
}

#[tokio::test]
async fn an_extension_that_was_not_offered_is_a_bad_handshake() {
    let front = Front::start(Http2PoolConfig::default());
    assert_eq!(refused(&front.config("/own/plain")).await, WebSocketErrorKind::BadHandshake);
}

#[tokio::test]
async fn a_server_that_does_not_offer_it_is_asked_for_an_upgrade() {
    let python = Server::python(0, &[]);
    let silent = "h2-workaround-bogus-websocket-clients";
    for (alpn, global) in [("h2,http/1.1", silent), ("http/1.1", "")] {
        let haproxy = Haproxy::with(python.port, alpn, global);
        let before = haproxy.accepts();
        let pool = haproxy.pool(Http2PoolConfig::default());
        let manager = WebSocketManager::new(haproxy.config("/").http2(Some(pool.clone()))).unwrap();
        let mut first = soon(manager.connect()).await.unwrap();
        let mut second = soon(manager.connect()).await.unwrap();
        echoes(&mut first, "by HTTP/1.1").await;
        echoes(&mut second, "so, too").await;
        assert_eq!(manager.statistics().http2_connects, 0, "{alpn}");
        assert_eq!(pool.state().streams, 0);
        // The second did not ask for HTTP/2 any more.
        assert_eq!(haproxy.accepts() - before, 3, "{alpn}");
    }
}

#[tokio::test]
async fn a_pool_of_another_server_is_refused() {
    let pool = Http2Pool::new("https://localhost", Http2PoolConfig::default()).unwrap();
    for url in ["ws://localhost:443/", "wss://localhost:444/", "wss://localhost.example/"] {
        let config = WebSocketConfig::new(url).unwrap().http2(Some(pool.clone()));
        assert_eq!(refused(&config).await, WebSocketErrorKind::InvalidRequest, "{url}");
    }
}

#[tokio::test]
async fn a_pool_of_another_server_is_named_in_one_short_line() {
    let pool = Http2Pool::new("https://localhost", Http2PoolConfig::default()).unwrap();
    let config = WebSocketConfig::new("ws://127.0.0.1:1").unwrap().http2(Some(pool));
    let said = format!("{:?}", WebSocketConnection::open(&config).await.unwrap_err());
    let start =
        "the settings for ws://127.0.0.1:1 are not valid: the pool of http2 is for https://localhost; ";
    assert!(said.starts_with(start) && said.len() < 200, "{said}");
}

#[tokio::test]
async fn a_pool_with_another_identity_is_refused() {
    let pool = Http2Pool::new("https://localhost", Http2PoolConfig::default()).unwrap();
    let config = WebSocketConfig::new("wss://localhost/").unwrap().http2(Some(pool));
    let tls = config.clone().tls(Some(TlsConfig::new().build().unwrap()));
    assert_eq!(refused(&tls).await, WebSocketErrorKind::InvalidRequest);
    let endpoint = config.endpoint(Some("tcp://127.0.0.1:1".into()));
    assert_eq!(refused(&endpoint).await, WebSocketErrorKind::InvalidRequest);
}

#[tokio::test]
async fn the_identity_of_the_pool_may_be_repeated() {
    let tls = TlsConfig::new().alpn(["h2"]).build().unwrap();
    let https = HttpsConfig::default().tls(Some(tls.clone())).endpoint(Some("tcp://127.0.0.1:1".into()));
    let pool = Http2Pool::new("https://localhost", Http2PoolConfig::default().https(https)).unwrap();
    let config = WebSocketConfig::new("wss://localhost/").unwrap().http2(Some(pool));
    let config = config.tls(Some(tls)).endpoint(Some("tcp://127.0.0.1:1".into()));
    // Nobody listens there.
    assert_eq!(refused(&config).await, WebSocketErrorKind::Connect);
}

#[tokio::test]
async fn a_goaway_leaves_those_that_are_open_and_sends_others_to_the_next_connection() {
    let on_free = "server.on('session', session => held.push(() => session.close()));";
    let mut front = Front::with(Http2PoolConfig::default(), on_free);
    let config = front.config("/own");
    let mut first = open(&config).await;
    front.node.free();
    eventually(&front.pool, |state| state.connections.iter().all(|connection| connection.is_draining)).await;
    let mut second = open(&config).await;
    echoes(&mut first, "on the old one").await;
    echoes(&mut second, "on the new one").await;
    soon(first.close()).await.unwrap();
    eventually(&front.pool, |state| state.connections.len() == 1).await;
    assert_eq!(count(&front.node.said(), "session"), 2);
}

#[tokio::test]
async fn a_client_comes_back_after_the_connection_was_cut() {
    let on_free = "server.on('session', session => held.push(() => session.destroy()));";
    let mut front = Front::with(Http2PoolConfig::default(), on_free);
    let moment = Duration::from_millis(10);
    let config = front.config("/own").backoff(Backoff::default().initial(moment).max(moment));
    let clients: Vec<_> = (0..3).map(|_| WebSocketClient::start(config.clone()).unwrap()).collect();
    for client in &clients {
        soon(client.up()).await.unwrap();
    }
    front.node.free();
    for client in &clients {
        soon(async {
            while client.statistics().connects < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        client.send("again").await.unwrap();
        assert_eq!(soon(client.recv()).await.unwrap().as_text(), Some("again"));
        assert_eq!(client.statistics().lost, 1);
    }
    assert_eq!(count(&front.node.said(), "session"), 2);
}

/// Whose program takes nothing of what comes back.
async fn stalled(config: &WebSocketConfig) -> WebSocketConnection {
    let connection = open(&config.clone().queue_bytes(64 * LARGE)).await;
    for _ in 0..20 {
        connection.send(Message::binary(vec![7; LARGE])).await.unwrap();
    }
    connection
}

/// As many exchanges of large messages as would fill the window of a connection many times.
async fn others_go_on(config: &WebSocketConfig) {
    let work = (0..5).map(async |_| {
        let mut connection = open(config).await;
        for _ in 0..20 {
            let message = Message::binary(vec![7; LARGE]);
            assert_eq!(soon(connection.exchange(message)).await.unwrap().len(), LARGE);
        }
    });
    join_all(work).await;
}

#[tokio::test]
async fn those_that_are_not_read_are_ended_after_a_deadline() {
    let config = Http2PoolConfig::default().stalled_reader(StalledReader::Reset { after: SHORT });
    let front = Front::start(config.max_connections(1));
    let config = front.config("/own");
    let stalled = [stalled(&config).await, stalled(&config).await, stalled(&config).await];
    others_go_on(&config).await;
    eventually(&front.pool, |state| state.http2.stalled_resets == 3).await;
    for connection in stalled {
        let error = loop {
            if let Err(error) = soon(connection.recv()).await {
                break error;
            }
        };
        assert_eq!(error.kind(), WebSocketErrorKind::Stalled { after: SHORT });
    }
}

#[tokio::test]
async fn those_that_are_not_read_hold_up_none_of_the_others() {
    let never = StalledReader::Reset { after: Duration::from_secs(3600) };
    let front = Front::start(Http2PoolConfig::default().max_connections(1).stalled_reader(never));
    let config = front.config("/own");
    let stalled = [stalled(&config).await, stalled(&config).await, stalled(&config).await];
    others_go_on(&config).await;
    for connection in stalled {
        for _ in 0..20 {
            assert_eq!(soon(connection.recv()).await.unwrap().len(), LARGE);
        }
    }
}
