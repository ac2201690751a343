//! Connections at rest: what the server says to them, and how they go on.

use http::Request;
use http_body_util::BodyExt;
use millpond::connection::https::{Http2Pool, Http2PoolConfig, Http2Windows, HttpsConfig, RequestBody};
use tokio::time::timeout;

use crate::server::{Node, eventually, fetch, get, read};
use crate::upstream::{LARGE, Nghttpd, Nginx, PATIENCE};

/// How often a connection rests.
const RESTS: usize = 12;

/// A pool with one connection, which is at rest.
async fn at_rest(node: &Node) -> Http2Pool {
    let pool = node.pool(Http2PoolConfig::default());
    // Two, so that the next h2 has other numbers for streams than the server.
    for _ in 0..2 {
        fetch(&pool, "/").await.unwrap();
    }
    rest(&pool).await;
    pool
}

async fn rest(pool: &Http2Pool) {
    eventually(pool, |state| state.connections.iter().all(|connection| connection.is_at_rest)).await;
    assert_eq!(pool.state().connections.len(), 1);
}

fn post(len: usize) -> Request<RequestBody> {
    Request::post("/own").body(RequestBody::from(vec![b'g'; len])).unwrap()
}

/// Answers with the size of the body.
const COUNT: &str = "handle = stream => {
    let size = 0;
    stream.on('data', data => size += data.length);
    stream.on('end', () => { stream.respond(); stream.end(String(size)); });
};";

#[tokio::test]
async fn requests_go_on_after_a_rest() {
    let node = Node::start();
    let pool = at_rest(&node).await;
    for _ in 0..2 {
        assert_eq!(fetch(&pool, "/large").await.unwrap().len(), LARGE);
        rest(&pool).await;
    }
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn many_requests_wake_a_connection_at_once() {
    let node = Node::with("{ maxSessionMemory: 1000 }", "");
    let pool = at_rest(&node).await;
    let bodies = futures_util::future::join_all((0..50).map(|_| fetch(&pool, "/large"))).await;
    assert!(bodies.into_iter().all(|body| body.unwrap().len() == LARGE));
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn the_windows_are_right_after_a_rest() {
    // The server opens the window of the connection again only after half of it, 32 KiB.
    let node = Node::with("{}", COUNT);
    let pool = at_rest(&node).await;
    for len in [1, 20_000, 30_000, 40_000, 3 * LARGE] {
        for _ in 0..2 {
            assert_eq!(read(pool.send(post(len)).await.unwrap()).await.unwrap(), len.to_string().as_bytes());
        }
        rest(&pool).await;
    }
    assert_eq!(fetch(&pool, "/large").await.unwrap().len(), LARGE);
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn headers_are_understood_after_a_rest() {
    let own =
        "handle = (stream, path) => { stream.respond({ grain: 'barley', path }); stream.end('grist'); };";
    let node = Node::with("{}", own);
    let pool = at_rest(&node).await;
    for path in ["/own/1", "/own/2"] {
        for _ in 0..3 {
            let request = Request::get(path).header("miller", path).body(RequestBody::empty()).unwrap();
            let response = pool.send(request).await.unwrap();
            assert_eq!(response.headers()["grain"], "barley");
            assert_eq!(response.headers()["path"], path);
            response.into_body().collect().await.unwrap();
        }
        rest(&pool).await;
    }
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered_at_rest() {
    let own = "server.on('session', session => held.push(() => session.ping(() => console.log('pong'))));";
    let mut node = Node::with("{}", own);
    let pool = at_rest(&node).await;
    node.free();
    node.says("pong").await;
    rest(&pool).await;
}

#[tokio::test]
async fn new_settings_hold_after_a_rest() {
    let own =
        "server.on('session', session => held.push(() => session.settings({ maxConcurrentStreams: 3 })));";
    let mut node = Node::with("{}", own);
    let pool = at_rest(&node).await;
    node.free();
    eventually(&pool, |state| state.connections[0].max_streams == 3).await;
    rest(&pool).await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    assert_eq!(pool.state().connections[0].max_streams, 3);
}

#[tokio::test]
async fn goaway_at_rest_retires_a_connection() {
    let own = "server.on('session', session => held.push(() => session.goaway()));";
    let mut node = Node::with("{}", own);
    let pool = at_rest(&node).await;
    node.free();
    eventually(&pool, |state| state.statistics.connections_closed_broken == 1).await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    assert_eq!(pool.state().statistics.connections_created, 2);
}

#[tokio::test]
async fn a_connection_that_the_server_closes_at_rest_is_gone() {
    let own = "server.on('session', session => held.push(() => session.destroy()));";
    let mut node = Node::with("{}", own);
    let pool = at_rest(&node).await;
    node.free();
    eventually(&pool, |state| state.connections.is_empty()).await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
}

#[tokio::test]
async fn a_pool_that_closes_ends_a_connection_at_rest() {
    let mut node = Node::start();
    let pool = at_rest(&node).await;
    pool.close().await;
    node.says("closed").await;
}

#[tokio::test]
async fn a_connection_with_a_stream_does_not_rest() {
    let mut node = Node::start();
    let pool = node.pool(Http2PoolConfig::default());
    let held = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, "/hold").await }
    });
    node.says("begin /hold").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(!pool.state().connections[0].is_at_rest);
    node.free();
    assert_eq!(held.await.unwrap().unwrap(), b"grist");
}

#[tokio::test]
async fn a_late_frame_for_a_stream_of_before_the_rest_does_no_harm() {
    // The stream is reset by us, and answered by the server after the rest.
    let mut node = Node::start();
    let pool = node.pool(Http2PoolConfig::default());
    let response = pool.send(Request::get("/half").body(RequestBody::empty()).unwrap()).await.unwrap();
    drop(response);
    node.says("end /half 8").await;
    rest(&pool).await;
    node.free();
    assert_eq!(fetch(&pool, "/large").await.unwrap().len(), LARGE);
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn adaptive_windows_grow_and_outlast_a_rest() {
    let own = "handle = (stream, path, session) => {
        stream.respond(); stream.end(String(session.remoteSettings.initialWindowSize));
    };";
    let node = Node::with("{ maxSessionMemory: 1000 }", own);
    let https = HttpsConfig::default().windows(Http2Windows::Adaptive);
    let pool = node.pool(Http2PoolConfig::default().https(https));
    let window =
        async || String::from_utf8(fetch(&pool, "/own").await.unwrap()).unwrap().parse::<u32>().unwrap();
    let begun = std::time::Instant::now();
    while window().await <= 65_535 {
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(fetch(&pool, "/large").await.unwrap().len(), LARGE);
    }
    rest(&pool).await;
    assert!(window().await > 65_535);
    assert_eq!(fetch(&pool, "/large").await.unwrap().len(), LARGE);
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn after_a_rest_the_server_keeps_to_the_window() {
    let own = "handle = (stream, path) => {
        stream.respond(); stream.end(Buffer.alloc(Number(path.split('/')[2]), 103));
    };";
    let node = Node::with("{ maxSessionMemory: 1000 }", own);
    let pool = at_rest(&node).await;
    // Less than what h2 tells the server that it has read.
    assert_eq!(fetch(&pool, "/own/40000").await.unwrap().len(), 40_000);
    rest(&pool).await;
    let large = || pool.send(get("/own/1048576"));
    let responses = futures_util::future::join_all((0..4).map(|_| large())).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    for response in responses {
        assert_eq!(read(response.unwrap()).await.unwrap().len(), LARGE);
    }
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn a_smaller_table_for_headers_is_heard_of_at_rest() {
    let own = "server.on('session', session => held.push(() =>
        session.settings({ headerTableSize: 256, maxConcurrentStreams: 9 })
    ));";
    let mut node = Node::with("{}", &format!("{own} {COUNT}"));
    let pool = node.pool(Http2PoolConfig::default());
    fetch(&pool, "/").await.unwrap();
    rest(&pool).await;
    node.free();
    eventually(&pool, |state| state.connections[0].max_streams == 9).await;
    rest(&pool).await;
    timeout(PATIENCE, fetch(&pool, "/")).await.expect("no answer").unwrap();
    assert_eq!(pool.state().statistics.connections_created, 1);
}

/// Between two rests: a response is dropped in the middle, another is read, and a body is sent. What comes late for the first
/// one may come before or after the next rest.
async fn rests_over_and_over(pool: &Http2Pool) {
    for round in 0..RESTS {
        let dropped = pool.send(get("/large")).await.unwrap();
        drop(dropped);
        if round % 2 == 0 {
            rest(pool).await;
        }
        assert_eq!(fetch(pool, "/large").await.unwrap().len(), LARGE, "{round}");
        // Servers of files do not want it. They answer all the same.
        let post = Request::post("/own").body(RequestBody::from(vec![b'g'; 20_000])).unwrap();
        pool.send(post).await.unwrap().into_body().collect().await.unwrap();
        rest(pool).await;
    }
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn a_connection_to_node_rests_over_and_over() {
    let node = Node::with("{ maxSessionMemory: 1000 }", COUNT);
    rests_over_and_over(&node.pool(Http2PoolConfig::default())).await;
}

#[tokio::test]
async fn a_connection_to_nginx_rests_over_and_over() {
    let nginx = Nginx::start();
    rests_over_and_over(&Http2Pool::new(&nginx.http2(), Http2PoolConfig::default()).unwrap()).await;
}

#[tokio::test]
async fn a_connection_to_nghttpd_rests_over_and_over() {
    let nghttpd = Nghttpd::start(&[]);
    rests_over_and_over(&Http2Pool::new(&nghttpd.url(), Http2PoolConfig::default()).unwrap()).await;
}

#[tokio::test]
async fn a_connection_over_tls_rests_over_and_over() {
    let nginx = Nginx::start();
    let config = Http2PoolConfig::default().https(nginx.trusting(&["h2"]));
    rests_over_and_over(&Http2Pool::new(&nginx.https(), config).unwrap()).await;
}

#[tokio::test]
async fn a_request_waits_for_a_server_that_allows_no_stream_after_a_rest() {
    let own = "let allowed = 0;
        server.on('session', session => {
            const allow = () => {
                session.settings({ maxConcurrentStreams: allowed++ ? 100 : 0 });
                held.push(allow);
            };
            held.push(allow);
        });";
    let mut node = Node::with("{}", own);
    let pool = node.pool(Http2PoolConfig::default().max_connections(1));
    fetch(&pool, "/").await.unwrap();
    rest(&pool).await;
    node.free();
    eventually(&pool, |state| state.connections[0].max_streams == 0).await;
    rest(&pool).await;
    // It is woken by settings, and by the request.
    node.free();
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn goaway_after_a_rest_refuses_the_streams_after_it_and_no_others() {
    let own = "const waiting = [];
        handle = (stream, path, session) => {
            if (session.number > 1) { stream.respond(); return stream.end('barley'); }
            waiting.push(stream);
            if (waiting.length < 2) return;
            session.goaway(0, waiting[0].id); waiting[0].respond(); waiting[0].end('grist');
        };";
    let node = Node::with("{}", own);
    let pool = at_rest(&node).await;
    let both = futures_util::future::join(fetch(&pool, "/own"), fetch(&pool, "/own"));
    let (first, second) = timeout(PATIENCE, both).await.unwrap();
    let mut bodies = [first.unwrap(), second.unwrap()];
    bodies.sort();
    assert_eq!(bodies, [b"barley".as_slice(), b"grist".as_slice()]);
    assert_eq!(pool.state().statistics.connections_created, 2);
}

/// A server between the client and node's, in which `join` says what passes.
const BETWEEN: &str = "const net = require('net');
    const between = net.createServer(client => {
        const ahead = net.connect(address().port);
        join(client.on('error', () => {}), ahead.on('error', () => {}));
    });
    const address = server.address.bind(server);
    const listen = server.listen.bind(server);
    server.address = () => between.address();
    server.listen = (port, host, on) => listen(port, host, () => between.listen(port, host, on));";

/// Keeps from node that its table for headers must be empty.
const IGNORE: &str = "const join = (client, ahead) => {
        client.once('data', first => {
            const settings = 24 + 9, end = settings + first.readUIntBE(24, 3);
            for (let at = settings; at < end; at += 6) {
                // Nobody knows a setting of this number.
                if (first.readUInt16BE(at) === 1) first.writeUInt16BE(0xff00, at);
            }
            ahead.write(first);
            client.pipe(ahead).pipe(client);
        });
    };
    handle = stream => { stream.respond({ mill: 'grist' }); stream.end('grist'); };";

#[tokio::test]
async fn a_connection_whose_server_has_a_table_for_headers_does_not_rest() {
    let node = Node::with("{}", &format!("{BETWEEN} {IGNORE}"));
    let pool = node.pool(Http2PoolConfig::default());
    for _ in 0..3 {
        assert_eq!(fetch(&pool, "/own").await.unwrap(), b"grist");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(!pool.state().connections[0].is_at_rest);
    }
}

#[tokio::test]
async fn a_connection_whose_server_has_changed_the_size_of_its_table_understands_requests() {
    let own = "const sizes = [100, 4096];
        server.on('session', session => {
            const next = () => {
                session.settings({ headerTableSize: sizes.shift() }, () => console.log('set'));
                held.push(next);
            };
            held.push(next);
        });";
    let mut node = Node::with("{}", own);
    let pool = at_rest(&node).await;
    node.free();
    node.says("set").await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    rest(&pool).await;
    node.free();
    node.says("set").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    for _ in 0..3 {
        // With the name of the server it does not fit into the smaller table.
        let request = Request::get("/").header("miller", "g".repeat(50)).body(RequestBody::empty()).unwrap();
        let answer = timeout(PATIENCE, async { read(pool.send(request).await?).await }).await;
        assert_eq!(answer.expect("no answer").unwrap(), b"grist");
    }
    assert_eq!(pool.state().statistics.connections_created, 1);
}

/// Sends to the client, at `free`, what a server may have sent for stream 1 before it heard that this was reset: twice 16 KiB
/// of DATA, a head, more of the window, and a reset.
const LATE: &str = "const frame = (kind, flags, payload) => {
        const head = Buffer.from([0, 0, 0, kind, flags, 0, 0, 0, 1]);
        head.writeUIntBE(payload.length, 0, 3);
        return Buffer.concat([head, payload]);
    };
    const data = frame(0, 0, Buffer.alloc(16384, 'g'));
    const number = Buffer.from([0, 0, 0, 8]);
    const late = [data, frame(1, 4, Buffer.from([0x88])), data, frame(8, 0, number), frame(3, 0, number)];
    const join = (client, ahead) => {
        client.pipe(ahead).pipe(client);
        const send = () => { client.write(Buffer.concat(late)); held.push(send); };
        held.push(send);
    };";

#[tokio::test]
async fn late_frames_of_all_kinds_do_no_harm_and_their_window_is_given_back() {
    let mut node = Node::with("{ maxSessionMemory: 1000 }", &format!("{BETWEEN} {LATE}"));
    let pool = at_rest(&node).await;
    // Together it is more than the window of the connection.
    for _ in 0..RESTS {
        node.free();
        assert_eq!(fetch(&pool, "/large").await.unwrap().len(), LARGE);
        rest(&pool).await;
    }
    assert_eq!(pool.state().statistics.connections_created, 1);
}
