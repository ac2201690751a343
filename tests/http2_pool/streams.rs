//! Connections, streams, permits and the queue.

use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use millpond::connection::https::{
    Http2Pool, Http2PoolConfig, Http2Windows, HttpsConfig, HttpsConnectionManager, HttpsErrorKind,
    RequestBody, Upstreams, UpstreamsConfig, Urgency,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::server::{Node, eventually, fetch, get, read};

fn config() -> Http2PoolConfig {
    Http2PoolConfig::default()
}

#[tokio::test]
async fn one_connection_carries_more_than_a_hundred_requests_at_once() {
    const REQUESTS: usize = 150;
    let mut node = Node::with("{ settings: { maxConcurrentStreams: 1000 } }", "");
    let pool = node.pool(config().max_connections(1).max_streams(REQUESTS));
    let (bodies, others) = tokio::join!(join_all((0..REQUESTS).map(|_| fetch(&pool, "/hold"))), async {
        let others = node.says_times("begin /hold", REQUESTS).await;
        assert_eq!(pool.state().connections[0].streams, REQUESTS);
        node.free();
        others
    });
    assert_eq!(others, ["session"]);
    assert!(bodies.into_iter().all(|body| body.unwrap() == b"grist"));
}

#[tokio::test]
async fn a_connection_has_at_most_as_many_streams_as_the_server_allows() {
    let mut node = Node::with("{ settings: { maxConcurrentStreams: 3 } }", "");
    let pool = node.pool(config().max_connections(1));
    let (bodies, ()) = tokio::join!(join_all((0..10).map(|_| fetch(&pool, "/hold"))), async {
        let mut begun = 0;
        while begun < 10 {
            let batch = 3.min(10 - begun);
            node.says_times("begin", batch).await;
            eventually(&pool, |state| state.waiting == 10 - begun - batch).await;
            assert_eq!(pool.state().streams, batch);
            begun += batch;
            node.free();
        }
    });
    assert!(bodies.into_iter().all(|body| body.unwrap() == b"grist"));
}

#[tokio::test]
async fn a_request_that_waits_is_served_when_the_server_allows_more_streams() {
    let own = "handle = (stream, path, session) => {
        session.settings({ maxConcurrentStreams: 2 });
        held.push(() => { stream.respond(); stream.end(); });
    };";
    let mut node = Node::with("{ settings: { maxConcurrentStreams: 1 } }", own);
    let pool = node.pool(config().max_connections(1));
    let (_first, second) = tokio::join!(fetch(&pool, "/own"), async {
        node.says("begin /own").await;
        let second = fetch(&pool, "/").await;
        node.free();
        second
    });
    assert_eq!(second.unwrap(), b"grist");
}

#[tokio::test]
async fn there_is_another_connection_from_the_configured_load_on() {
    let mut node = Node::start();
    let pool = node.pool(config().max_connections(2).max_streams(10));
    let mut running = Vec::new();
    for _ in 0..7 {
        let pool = pool.clone();
        running.push(tokio::spawn(async move { fetch(&pool, "/hold").await }));
        node.says("begin").await;
    }
    let state = pool.state();
    assert_eq!((state.connections.len(), state.is_connecting), (1, false));
    let eighth = pool.clone();
    running.push(tokio::spawn(async move { fetch(&eighth, "/hold").await }));
    node.says("session").await;
    eventually(&pool, |state| state.connections.len() == 2).await;
    node.free();
}

#[tokio::test]
async fn there_are_no_more_connections_than_allowed() {
    let mut node = Node::start();
    let pool = node.pool(config().max_connections(2).max_streams(4));
    let (_, others) = tokio::join!(join_all((0..20).map(|_| fetch(&pool, "/hold"))), async {
        let others = node.says_times("begin", 8).await;
        let state = pool.state();
        assert_eq!((state.streams, state.waiting), (8, 12));
        for _ in 0..20 {
            node.free();
            sleep(Duration::from_millis(1)).await;
        }
        while pool.state().statistics.completed_gets() < 20 || pool.state().streams > 0 {
            node.free();
            sleep(Duration::from_millis(1)).await;
        }
        others
    });
    assert_eq!(others, ["session", "session"]);
}

#[tokio::test]
async fn requests_are_spread_over_the_connections() {
    let mut node = Node::start();
    let pool = node.pool(config().max_connections(2).max_streams(100).grow_at_percent(1));
    let running: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { fetch(&pool, "/hold").await })
        })
        .collect();
    node.says_times("begin", 2).await;
    eventually(&pool, |state| state.connections.len() == 2).await;
    let more: Vec<_> = (0..40)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { fetch(&pool, "/hold").await })
        })
        .collect();
    node.says_times("begin", 40).await;
    // Of two connections, both are looked at, and so the loads differ by one at most.
    let state = pool.state();
    assert_eq!(state.connections[0].streams, state.connections[1].streams);
    node.free();
    join_all(running.into_iter().chain(more)).await;
}

/// Passes connections on to a server, once it is told to.
struct Gate {
    port: u16,
    accepted: mpsc::UnboundedReceiver<()>,
    open: mpsc::UnboundedSender<()>,
}

impl Gate {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accept, accepted) = mpsc::unbounded_channel();
        let (open, mut opened) = mpsc::unbounded_channel::<()>();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let _ = accept.send(());
                if opened.recv().await.is_none() {
                    return;
                }
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, accepted, open }
    }
}

#[tokio::test]
async fn a_cancelled_request_does_not_abort_the_connect_that_another_waits_for() {
    let node = Node::start();
    let mut gate = Gate::start(node.port).await;
    let pool = Http2Pool::new(&format!("http://127.0.0.1:{}", gate.port), config());
    let pool = pool.unwrap();
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, "/").await }
    });
    gate.accepted.recv().await.unwrap();
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, "/").await }
    });
    eventually(&pool, |state| state.waiting == 2).await;
    first.abort();
    eventually(&pool, |state| state.waiting == 1).await;
    gate.open.send(()).unwrap();
    assert_eq!(second.await.unwrap().unwrap(), b"grist");
    assert!(gate.accepted.try_recv().is_err(), "there was a second connect");
}

#[tokio::test]
async fn requests_that_come_at_once_share_one_connect() {
    let mut node = Node::start();
    let pool = node.pool(config());
    let bodies = join_all((0..50).map(|_| fetch(&pool, "/"))).await;
    assert!(bodies.into_iter().all(|body| body.is_ok()));
    let others = node.says_times("end", 50).await;
    assert_eq!(others.iter().filter(|line| *line == "session").count(), 1);
}

#[tokio::test]
async fn a_stream_is_open_until_the_response_was_read() {
    let mut node = Node::start();
    let pool = node.pool(config());
    let response = pool.send(get("/half")).await.unwrap();
    assert_eq!(pool.state().streams, 1);
    node.free();
    read(response).await.unwrap();
    assert_eq!(pool.state().streams, 0);
}

#[tokio::test]
async fn a_stream_is_open_until_the_request_was_sent() {
    // Without `resume`, node resets a stream whose request it does not want.
    let own = "handle = stream => { stream.resume(); stream.respond(); stream.end('grist'); };";
    let node = Node::with("{}", own);
    let pool = node.pool(config());
    let (body, pieces) = mpsc::unbounded_channel::<bytes::Bytes>();
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((Ok::<_, std::io::Error>(http_body::Frame::data(piece)), pieces))
    });
    let request = Request::post("/own").body(RequestBody::stream(StreamBody::new(pieces))).unwrap();
    let response = pool.send(request).await.unwrap();
    read(response).await.unwrap();
    assert_eq!(pool.state().streams, 1);
    drop(body);
    eventually(&pool, |state| state.streams == 0).await;
}

#[tokio::test]
async fn a_dropped_body_resets_its_stream_and_frees_it() {
    let mut node = Node::start();
    let pool = node.pool(config());
    let response = pool.send(get("/half")).await.unwrap();
    drop(response);
    assert_eq!(pool.state().streams, 0);
    node.says("end /half 8").await;
}

#[tokio::test]
async fn a_dropped_request_resets_its_stream_and_frees_it() {
    let mut node = Node::start();
    let pool = node.pool(config());
    let request = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, "/hold").await }
    });
    node.says("begin /hold").await;
    request.abort();
    eventually(&pool, |state| state.streams == 0).await;
    node.says("end /hold 8").await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_gives_the_request_back() {
    let mut node = Node::start();
    let pool = node.pool(config().max_connections(1).max_streams(1).max_waiting(1));
    let mut running = Vec::new();
    for waiting in 0..2 {
        let pool = pool.clone();
        running.push(tokio::spawn({
            let pool = pool.clone();
            async move { fetch(&pool, "/hold").await }
        }));
        eventually(&pool, |state| state.streams == 1 && state.waiting == waiting).await;
    }
    let mut error = pool.send(get("/third")).await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::PoolFull);
    assert_eq!(error.take_request().unwrap().uri().path(), "/third");
    node.says("begin").await;
    node.free();
    node.says("begin").await;
    node.free();
    for request in running {
        assert!(request.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_request_waits_no_longer_than_allowed() {
    let mut node = Node::start();
    let limit = Duration::from_secs(1);
    let pool = node.pool(config().max_connections(1).max_streams(1).wait_timeout(limit));
    let first = pool.send(get("/half")).await.unwrap();
    let error = fetch(&pool, "/").await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::PoolTimeout { after: limit });
    assert_eq!(pool.state().waiting, 0);
    node.free();
    read(first).await.unwrap();
}

#[tokio::test]
async fn the_most_urgent_request_is_served_first() {
    let mut node = Node::start();
    let pool = node.pool(config().max_connections(1).max_streams(1));
    let first = pool.send(get("/half")).await.unwrap();
    let mut waiting = Vec::new();
    for (at, urgency) in [7, 3, 0, 5].into_iter().enumerate() {
        let mut request = get(&format!("/{urgency}"));
        request.extensions_mut().insert(Urgency::new(urgency));
        let sender = pool.clone();
        waiting.push(tokio::spawn(async move { read(sender.send(request).await.unwrap()).await }));
        eventually(&pool, |state| state.waiting == at + 1).await;
    }
    node.free();
    read(first).await.unwrap();
    for request in waiting {
        request.await.unwrap().unwrap();
    }
    let said = node.says_times("end", 5).await;
    let begun: Vec<_> = said.into_iter().filter(|line| line.starts_with("begin")).collect();
    assert_eq!(begun, ["begin /half", "begin /0", "begin /3", "begin /5", "begin /7"]);
}

#[tokio::test]
async fn a_closed_pool_waits_for_its_requests_and_refuses_others() {
    let mut node = Node::start();
    let pool = node.pool(config().max_connections(1).max_streams(1));
    let response = pool.send(get("/half")).await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, "/").await }
    });
    eventually(&pool, |state| state.waiting == 1).await;
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), &HttpsErrorKind::PoolClosed);
    assert_eq!(fetch(&pool, "/").await.unwrap_err().kind(), &HttpsErrorKind::PoolClosed);
    assert!(!closing.is_finished());
    node.free();
    assert_eq!(read(response).await.unwrap(), b"gristmill");
    closing.await.unwrap();
    assert!(pool.state().connections.is_empty());
    node.says("closed").await;
}

#[tokio::test]
async fn a_dropped_pool_closes_its_connections() {
    let mut node = Node::start();
    let pool = node.pool(config());
    fetch(&pool, "/").await.unwrap();
    drop(pool);
    node.says("closed").await;
}

#[tokio::test]
async fn a_response_outlives_its_pool() {
    let mut node = Node::start();
    let pool = node.pool(config());
    let response = pool.send(get("/half")).await.unwrap();
    drop(pool);
    node.free();
    assert_eq!(read(response).await.unwrap(), b"gristmill");
    node.says("closed").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let mut node = Node::start();
    let pool = node.pool(config().idle_timeout(Duration::from_millis(50)));
    fetch(&pool, "/").await.unwrap();
    node.says("closed").await;
    eventually(&pool, |state| state.connections.is_empty()).await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
}

#[tokio::test]
async fn an_old_connection_ends_after_its_last_stream() {
    let mut node = Node::start();
    let pool = node.pool(config().max_lifetime(Duration::from_millis(50)));
    let response = pool.send(get("/half")).await.unwrap();
    eventually(&pool, |state| state.connections[0].is_draining).await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    node.free();
    assert_eq!(read(response).await.unwrap(), b"gristmill");
    node.says("closed").await;
}

#[tokio::test]
async fn a_connection_that_is_one_too_many_is_closed_though_it_is_used() {
    let mut node = Node::start();
    let pool =
        node.pool(config().max_connections(2).max_streams(10).idle_timeout(Duration::from_millis(100)));
    let burst = tokio::spawn({
        let pool = pool.clone();
        async move { join_all((0..16).map(|_| fetch(&pool, "/hold"))).await }
    });
    node.says_times("begin", 16).await;
    eventually(&pool, |state| state.connections.len() == 2).await;
    node.free();
    burst.await.unwrap();
    // Both carry requests all the time, so none is idle.
    let using = async {
        loop {
            tokio::join!(fetch(&pool, "/"), fetch(&pool, "/")).0.unwrap();
        }
    };
    tokio::select! {
        () = using => {}
        () = node.says("closed") => {}
    }
    eventually(&pool, |state| state.connections.len() == 1).await;
}

#[tokio::test]
async fn trailers_arrive() {
    let own = "handle = stream => {
        stream.respond({}, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ sum: '5' }));
        stream.end('grist');
    };";
    let node = Node::with("{}", own);
    let pool = node.pool(config());
    let body = pool.send(get("/own")).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["sum"], "5");
}

#[tokio::test]
async fn a_connection_knows_when_it_was_last_used() {
    const PAUSE: Duration = Duration::from_millis(200);
    // The clock of pools is coarse.
    const LEAST: Duration = Duration::from_millis(180);
    let mut node = Node::start();
    let pool = node.pool(config());
    let state = || pool.state().connections.remove(0);
    let last_use = || state().age - state().since_last_use;
    fetch(&pool, "/").await.unwrap();
    sleep(PAUSE).await;
    assert!(state().since_last_use >= LEAST, "{:?}", state());
    let made = last_use();
    let held = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, "/hold").await }
    });
    node.says("begin /hold").await;
    let begun = last_use();
    assert!(begun >= made + LEAST, "{begun:?} after {made:?}");
    sleep(PAUSE).await;
    node.free();
    held.await.unwrap().unwrap();
    let ended = last_use();
    assert!(ended >= begun + LEAST, "{ended:?} after {begun:?}");
}

#[tokio::test]
async fn a_connection_counts_the_requests_that_failed_on_it() {
    let own = "handle = (stream, path) => {
        if (path === '/own/head') return stream.close(c.NGHTTP2_INTERNAL_ERROR);
        stream.respond(); stream.write('gri', () => stream.destroy(new Error('mill')));
    };";
    let node = Node::with("{}", own);
    let pool = node.pool(config());
    for (path, errors) in [("/", 0), ("/own/head", 1), ("/own/body", 2), ("/", 2)] {
        assert_eq!(fetch(&pool, path).await.is_err(), path != "/", "{path}");
        assert_eq!(pool.state().connections[0].errors, errors, "{path}");
    }
    assert_eq!(pool.state().connections[0].requests, 4);
}

#[tokio::test]
async fn a_connection_takes_no_more_requests_than_it_may() {
    const REQUESTS: usize = 20;
    const MAX_REQUESTS: u64 = 5;
    let mut node = Node::start();
    let https = HttpsConfig::default().max_requests(Some(MAX_REQUESTS));
    let pool = node.pool(Http2PoolConfig::default().https(https));
    let bodies = join_all((0..REQUESTS).map(|_| fetch(&pool, "/"))).await;
    assert!(bodies.into_iter().all(|body| body.is_ok_and(|body| body == b"grist")));
    // The last one, too, ends with its last stream.
    node.says_times("closed", REQUESTS / MAX_REQUESTS as usize).await;
    eventually(&pool, |state| state.connections.is_empty()).await;
    assert_eq!(pool.state().statistics.connections_created, REQUESTS as u64 / MAX_REQUESTS);
}

#[tokio::test]
async fn a_response_outlives_the_last_request_of_its_connection() {
    let mut node = Node::start();
    let https = HttpsConfig::default().max_requests(Some(2));
    let pool = node.pool(Http2PoolConfig::default().https(https));
    let half = pool.send(get("/half")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    }
    assert!(pool.state().connections[0].is_draining);
    node.free();
    assert_eq!(read(half).await.unwrap(), b"gristmill");
}

#[test]
fn settings_out_of_their_ranges_are_refused() {
    const WINDOW: u32 = 65_536;
    const LARGEST: u32 = u32::MAX >> 1;
    let windows =
        |stream, connection| HttpsConfig::default().windows(Http2Windows::Fixed { stream, connection });
    for (https, expected) in [
        (windows(1, 1), None),
        (windows(LARGEST, LARGEST), None),
        (windows(0, WINDOW), Some("windows")),
        (windows(WINDOW, 0), Some("windows")),
        (windows(LARGEST + 1, WINDOW), Some("windows")),
        (windows(WINDOW, LARGEST + 1), Some("windows")),
        (HttpsConfig::default().max_requests(Some(0)), Some("max_requests")),
    ] {
        let error = HttpsConnectionManager::with_config("http://mill.example", https.clone()).err();
        assert_eq!(error.map(|error| error.kind().clone()), expected.map(HttpsErrorKind::OutOfRange));
        let error = Upstreams::new(UpstreamsConfig::default().https(https)).err();
        assert_eq!(error.map(|error| error.kind().clone()), expected.map(HttpsErrorKind::OutOfRange));
    }
    for (config, expected) in
        [(config().max_connections(0), "max_connections"), (config().max_streams(0), "max_streams")]
    {
        let error = Http2Pool::new("http://mill.example", config.clone()).unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::OutOfRange(expected));
        let error = Upstreams::new(UpstreamsConfig::default().http2(config)).unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::OutOfRange(expected));
    }
}
