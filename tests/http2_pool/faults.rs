//! What servers do to connections and streams, and what becomes of the requests.

use std::convert::Infallible;
use std::error::Error;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use millpond::connection::https::{
    ConnectPhase, Http2Pool, Http2PoolConfig, Http2Windows, HttpsConfig, HttpsErrorKind, Ping, RequestBody,
    Upstreams, UpstreamsConfig,
};
use millpond::net::{Backoff, Dial, Resolve, Resolving};
use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};

use crate::server::{Node, eventually, fetch, get, read};
use crate::upstream::{Nginx, PATIENCE, Program, free_port, wait_for};

fn config() -> Http2PoolConfig {
    Http2PoolConfig::default()
}

const REFUSE_FIRST: &str = "let refused = false;
    handle = (stream, path) => {
        if (!refused || path == '/own/always') { refused = true; return stream.close(c.NGHTTP2_REFUSED_STREAM); }
        stream.respond(); stream.end('grist');
    };";

#[tokio::test]
async fn a_refused_request_is_sent_again() {
    let node = Node::with("{}", REFUSE_FIRST);
    let pool = node.pool(config());
    let request = Request::post("/own").body(RequestBody::from("grist")).unwrap();
    assert_eq!(read(pool.send(request).await.unwrap()).await.unwrap(), b"grist");
    assert_eq!(pool.state().http2.replays, 1);
}

#[tokio::test]
async fn a_request_that_is_refused_too_often_is_given_back() {
    let mut node = Node::with("{}", REFUSE_FIRST);
    let pool = node.pool(config().max_replays(2));
    let mut error = fetch(&pool, "/own/always").await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Reset(7));
    assert!(error.is_unprocessed());
    assert_eq!(error.take_request().unwrap().uri().path(), "/own/always");
    node.says_times("end /own/always 7", 3).await;
    assert_eq!(pool.state().errors.to_string(), "total=3 reset=3");
    eventually(&pool, |state| state.streams == 0).await;
}

#[tokio::test]
async fn a_request_whose_body_streams_is_not_sent_again() {
    let node = Node::with("{}", REFUSE_FIRST);
    let pool = node.pool(config());
    let body = RequestBody::stream(Full::new(bytes::Bytes::from("grist")));
    let mut error = pool.send(Request::post("/own").body(body).unwrap()).await.unwrap_err();
    assert!(error.is_unprocessed());
    assert!(error.take_request().is_none());
    assert_eq!(pool.state().http2.replays, 0);
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_is_given_back_with_its_body() {
    let node = Node::start();
    let pool = node.pool(config());
    let body = RequestBody::stream(Full::new(bytes::Bytes::from("grist")));
    // `CONNECT` needs an authority.
    let request = Request::builder().method(Method::CONNECT).uri("/mill").body(body).unwrap();
    let mut error = pool.send(request).await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::InvalidRequest);
    let body = error.take_request().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "grist");
    assert_eq!(pool.state().errors.to_string(), "total=1 invalid_request=1");
}

#[tokio::test]
async fn a_request_that_was_reset_otherwise_is_not_sent_again() {
    let own = "handle = stream => stream.close(c.NGHTTP2_INTERNAL_ERROR);";
    let node = Node::with("{}", own);
    let pool = node.pool(config());
    let error = fetch(&pool, "/own").await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Reset(2));
    assert_eq!(pool.state().http2.replays, 0);
    assert_eq!(pool.state().streams, 0);
}

#[tokio::test]
async fn a_response_that_is_reset_frees_its_stream() {
    let own = "handle = stream => {
        stream.respond(); stream.write('gri', () => stream.destroy(new Error('mill')));
    };";
    let node = Node::with("{}", own);
    let pool = node.pool(config());
    let error = fetch(&pool, "/own").await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Reset(2));
    assert_eq!(pool.state().errors.to_string(), "total=1 reset=1");
    assert_eq!(pool.state().streams, 0);
}

#[tokio::test]
async fn a_response_that_is_reset_without_an_error_is_not_taken_for_whole() {
    let own = "handle = stream => {
        stream.respond(); stream.write('gri', () => stream.destroy());
    };";
    let mut node = Node::with("{}", own);
    let pool = node.pool(config());
    let error = fetch(&pool, "/own").await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Incomplete);
    node.says("end /own 0").await;
    let error = read(pool.send(post_without_end()).await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Incomplete);
    node.says("end /own 0").await;
}

#[tokio::test]
async fn a_response_that_ends_before_its_request_is_whole() {
    let own = "handle = stream => {
        stream.on('finish', () => stream.close(c.NGHTTP2_NO_ERROR)); stream.respond(); stream.end('grist');
    };";
    let mut node = Node::with("{}", own);
    let pool = node.pool(config());
    assert_eq!(read(pool.send(post_without_end()).await.unwrap()).await.unwrap(), b"grist");
    node.says("end /own 0").await;
    eventually(&pool, |state| state.streams == 0).await;
}

fn post_without_end() -> Request<RequestBody> {
    let body = StreamBody::new(futures_util::stream::pending::<Result<_, Infallible>>());
    Request::post("/own").body(RequestBody::stream(body)).unwrap()
}

#[tokio::test]
async fn after_goaway_running_requests_end_and_others_take_another_connection() {
    let own = "handle = (stream, path, session) => { session.goaway(0, stream.id); stream.respond(); stream.end('grist'); };";
    let mut node = Node::with("{}", own);
    let pool = node.pool(config());
    let running = pool.send(get("/half")).await.unwrap();
    assert_eq!(fetch(&pool, "/own").await.unwrap(), b"grist");
    eventually(&pool, |state| state.connections[0].is_draining).await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    let generations: Vec<_> = pool.state().connections.iter().map(|c| (c.id, c.streams)).collect();
    assert_eq!(generations, [(1, 1), (2, 0)]);
    node.free();
    assert_eq!(read(running).await.unwrap(), b"gristmill");
    eventually(&pool, |state| state.connections.len() == 1).await;
    assert_eq!(pool.state().statistics.connections_closed_broken, 1);
}

#[tokio::test]
async fn the_late_end_of_a_stream_does_not_count_for_the_next_connection() {
    let own = "handle = (stream, path, session) => { session.goaway(0, stream.id); stream.respond(); stream.end('grist'); };";
    let mut node = Node::with("{}", own);
    let pool = node.pool(config());
    let old = pool.send(get("/half")).await.unwrap();
    fetch(&pool, "/own").await.unwrap();
    eventually(&pool, |state| state.connections[0].is_draining).await;
    let new = pool.send(get("/half")).await.unwrap();
    drop(old);
    eventually(&pool, |state| state.connections.len() == 1).await;
    let state = pool.state();
    assert_eq!((state.connections[0].id, state.connections[0].streams), (2, 1));
    node.free();
    assert_eq!(read(new).await.unwrap(), b"gristmill");
}

#[tokio::test]
async fn requests_that_goaway_leaves_out_are_sent_again() {
    // The first connection says of all but the first request that it has not processed them.
    let own = "let waiting = 0, first;
    handle = (stream, path, session) => {
        if (session.number > 1) { stream.respond(); return stream.end('grist'); }
        if (stream.id == 1) first = stream;
        if (++waiting == 5) { session.goaway(0, 1); first.respond(); first.end('grist'); }
    };";
    let node = Node::with("{}", own);
    let pool = node.pool(config());
    let bodies = join_all((0..5).map(|_| fetch(&pool, "/own"))).await;
    assert!(bodies.into_iter().all(|body| body.unwrap() == b"grist"));
    assert_eq!(pool.state().http2.replays, 4);
}

#[tokio::test]
async fn a_closed_connection_fails_its_requests_and_the_next_one_connects_anew() {
    let own = "handle = (stream, path, session) => session.destroy();";
    let node = Node::with("{}", own);
    let pool = node.pool(config());
    let running = pool.send(get("/half")).await.unwrap();
    assert!(fetch(&pool, "/own").await.is_err());
    assert!(read(running).await.is_err());
    assert_eq!(pool.state().streams, 0);
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_costs_no_request() {
    let mut node = Node::with("{}", "server.on('session', session => held.push(() => session.close()));");
    let pool = node.pool(config());
    for _ in 0..3 {
        assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
        node.free();
        node.says("closed").await;
        eventually(&pool, |state| state.connections.is_empty()).await;
    }
}

#[tokio::test]
async fn a_failed_connect_fails_all_who_wait_with_its_error() {
    let port = free_port();
    let pool = Http2Pool::new(&format!("http://127.0.0.1:{port}"), config()).unwrap();
    for result in join_all((0..5).map(|_| pool.send(get("/mill")))).await {
        let mut error = result.unwrap_err();
        assert_eq!(error.phase(), Some(ConnectPhase::Connect));
        assert_eq!(error.take_request().unwrap().uri().path(), "/mill");
    }
    assert_eq!(pool.state().statistics.connect_errors, 1);
}

/// A resolver with a fault.
#[derive(Debug)]
struct Panics;

impl Resolve for Panics {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(async { panic!("the mill stands still") })
    }
}

#[tokio::test]
async fn a_connect_that_panics_fails_all_who_wait_at_once() {
    let dial = Dial::default().resolver(Some(Arc::new(Panics)));
    let config = config().https(HttpsConfig::default().dial(dial));
    let pool = Http2Pool::new("http://mill.example", config).unwrap();
    for result in join_all((0..5).map(|_| pool.send(get("/mill")))).await {
        let mut error = result.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::ConnectPanicked);
        assert!(error.is_unprocessed());
        assert_eq!(error.take_request().unwrap().uri().path(), "/mill");
    }
    let statistics = pool.state().statistics;
    assert_eq!((statistics.connect_panics, statistics.connect_errors), (1, 0));
}

#[tokio::test]
async fn after_a_failed_connect_the_next_request_tries_again() {
    let port = free_port();
    let pool = Http2Pool::new(&format!("http://127.0.0.1:{port}"), config()).unwrap();
    fetch(&pool, "/").await.unwrap_err();
    let _nghttpd = nghttpd(port);
    fetch(&pool, "/").await.unwrap();
}

#[tokio::test]
async fn a_failed_further_connect_is_not_repeated_at_once() {
    let mut node = Node::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut server = tokio::net::TcpStream::connect(("127.0.0.1", node.port)).await.unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        drop(listener);
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    });
    let retry = Backoff::default().initial(Duration::from_secs(3600)).max(Duration::from_secs(3600));
    let pool = Http2Pool::new(&url, config().max_streams(1).retry(retry)).unwrap();
    let running = pool.send(get("/half")).await.unwrap();
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { fetch(&pool, "/").await })
        })
        .collect();
    eventually(&pool, |state| state.waiting == 5 && state.statistics.connect_errors == 1).await;
    node.free();
    read(running).await.unwrap();
    for request in waiting {
        assert_eq!(request.await.unwrap().unwrap(), b"grist");
    }
    assert_eq!(pool.state().statistics.connect_errors, 1);
}

#[tokio::test]
async fn a_server_that_does_not_speak_http2_is_noticed() {
    let nginx = Nginx::start();
    let pool = Http2Pool::new(&nginx.http1(), config()).unwrap();
    let error = fetch(&pool, "/").await.unwrap_err();
    assert_eq!(error.phase(), Some(ConnectPhase::Http));
}

#[tokio::test]
async fn a_server_without_an_answer_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let limit = Duration::from_millis(50);
    let config = config().https(HttpsConfig::default().handshake_timeout(limit));
    let pool = Http2Pool::new(&format!("http://{}", silent.local_addr().unwrap()), config).unwrap();
    let error = fetch(&pool, "/").await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::HandshakeTimeout { after: limit });
}

#[tokio::test]
async fn a_pool_that_closes_does_not_wait_for_a_connect() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let https = HttpsConfig::default().handshake_timeout(10 * PATIENCE);
    let url = format!("http://{}", silent.local_addr().unwrap());
    let pool = Http2Pool::new(&url, config().https(https)).unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, "/").await }
    });
    let _connected = silent.accept().await.unwrap();
    timeout(PATIENCE, pool.close()).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), &HttpsErrorKind::PoolClosed);
}

#[tokio::test]
async fn a_pool_that_closes_gives_up_a_server_that_does_not_read() {
    const MORE_THAN_THE_KERNEL_TAKES: usize = 64 * 1024 * 1024;
    let node = Node::with(
        "{ settings: { initialWindowSize: 2 ** 30 } }",
        "server.on('session', session => session.setLocalWindowSize(2 ** 30));",
    );
    let pool = node.pool(config());
    fetch(&pool, "/").await.unwrap();
    node.signal(Signal::SIGSTOP);
    // From now on, a sleep ends when nothing else goes on.
    tokio::time::pause();
    let body = RequestBody::from(vec![b'g'; MORE_THAN_THE_KERNEL_TAKES]);
    let request = Request::post("/").body(body).unwrap();
    let sent = timeout(Duration::from_secs(1), pool.send(request)).await;
    assert!(sent.is_err(), "a server that is stopped has answered");
    timeout(PATIENCE, pool.close()).await.unwrap();
}

#[tokio::test]
async fn a_body_that_the_server_does_not_read_after_its_response_is_given_up() {
    const MORE_THAN_A_WINDOW: usize = 1024 * 1024;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = Http2Pool::new(&format!("http://{}", listener.local_addr().unwrap()), config()).unwrap();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(client).await.unwrap();
        let mut requests = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            respond.send_response(http::Response::new(()), true).unwrap();
            requests.push(request);
        }
    });
    let request = Request::post("/").body(RequestBody::from(vec![b'g'; MORE_THAN_A_WINDOW])).unwrap();
    read(pool.send(request).await.unwrap()).await.unwrap();
    // From now on, a sleep ends when nothing else goes on.
    tokio::time::pause();
    timeout(PATIENCE, pool.close()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_answers_no_ping_is_given_up() {
    let node = Node::start();
    let ping = Ping::default().interval(Duration::from_millis(20)).timeout(Duration::from_millis(100));
    let pool = node.pool(config().https(HttpsConfig::default().ping(Some(ping))));
    let response = pool.send(get("/half")).await.unwrap();
    assert!(pool.state().pings);
    node.signal(Signal::SIGSTOP);
    let error = read(response).await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::PingTimeout);
    eventually(&pool, |state| state.connections.is_empty() && state.streams == 0).await;
}

#[tokio::test]
async fn a_server_that_refuses_pings_is_not_pinged_again() {
    let own = "server.on('session', session => session.on('ping', () => {
        console.log('ping'); session.goaway(c.NGHTTP2_ENHANCE_YOUR_CALM);
    }));";
    let mut node = Node::with("{}", own);
    let ping = Ping::default().interval(Duration::from_millis(200));
    let pool = node.pool(config().https(HttpsConfig::default().ping(Some(ping))));
    fetch(&pool, "/").await.unwrap();
    node.says("ping").await;
    eventually(&pool, |state| !state.pings).await;
    fetch(&pool, "/").await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert!(!node.said().contains(&"ping".to_owned()));
}

#[tokio::test]
async fn pings_come_at_the_interval_however_long_an_answer_may_take() {
    let own = "server.on('session', session => session.on('ping', () => console.log('ping')));";
    let mut node = Node::with("{}", own);
    let ping = Ping::default().interval(Duration::from_millis(20)).timeout(2 * PATIENCE);
    let pool = node.pool(config().https(HttpsConfig::default().ping(Some(ping))));
    fetch(&pool, "/").await.unwrap();
    node.says_times("ping", 3).await;
}

#[tokio::test]
async fn adaptive_windows_do_not_ping_a_server_that_refuses_pings() {
    let own = "handle = stream => { stream.respond(); stream.end(large); };
        server.on('session', session => session.on('ping', () => {
            console.log('ping'); session.goaway(c.NGHTTP2_ENHANCE_YOUR_CALM);
        }));";
    let mut node = Node::with("{}", own);
    let pool = node.pool(config().https(HttpsConfig::default().windows(Http2Windows::Adaptive)));
    assert!(pool.state().pings);
    // It may fail, by the GOAWAY.
    let _ = fetch(&pool, "/large").await;
    node.says("ping").await;
    eventually(&pool, |state| !state.pings).await;
    fetch(&pool, "/own").await.unwrap();
    let said = node.says_times("end /own", 1).await;
    assert!(!said.contains(&"ping".to_owned()), "{said:?}");
}

#[tokio::test]
async fn other_connections_do_not_ping_a_server_that_refuses_pings() {
    const INTERVAL: Duration = Duration::from_millis(200);
    let own = "let first;
        server.on('session', session => {
            first ??= session;
            session.on('ping', () => {
                console.log('ping ' + session.number);
                if (session.number === 2 && !first.closed) first.goaway(c.NGHTTP2_ENHANCE_YOUR_CALM);
            });
        });";
    let mut node = Node::with("{}", own);
    let ping = Ping::default().interval(INTERVAL);
    let pool = node.pool(config().max_streams(1).https(HttpsConfig::default().ping(Some(ping))));
    for _ in 0..2 {
        let pool = pool.clone();
        tokio::spawn(async move { fetch(&pool, "/hold").await });
    }
    node.says("ping 2").await;
    eventually(&pool, |state| !state.pings).await;
    sleep(5 * INTERVAL).await;
    // One may have been on its way.
    let said = node.said();
    assert!(said.iter().filter(|line| *line == "ping 2").count() <= 1, "{said:?}");
}

#[tokio::test]
async fn a_pool_works_after_the_runtime_of_its_connection_has_shut_down() {
    let node = Node::start();
    let pool = node.pool(config());
    let other = pool.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fetch(&other, "/")).unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
    assert_eq!(pool.state().statistics.connections_created, 2);
}

#[tokio::test]
async fn a_connect_whose_runtime_shuts_down_is_begun_anew_by_who_waits() {
    let mut node = Node::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = Http2Pool::new(&format!("http://{}", listener.local_addr().unwrap()), config()).unwrap();
    // The first connect gets no answer.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let other = pool.clone();
    runtime.spawn(async move { fetch(&other, "/").await });
    let _silent = listener.accept().await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { fetch(&pool, "/").await }
    });
    eventually(&pool, |state| state.waiting == 2).await;
    runtime.shutdown_background();
    let (mut client, _) = listener.accept().await.unwrap();
    let mut server = tokio::net::TcpStream::connect(("127.0.0.1", node.port)).await.unwrap();
    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
    assert_eq!(waiting.await.unwrap().unwrap(), b"grist");
    node.says("end /").await;
}

#[tokio::test]
async fn a_body_may_be_dropped_outside_of_a_runtime() {
    let node = Node::start();
    let pool = node.pool(config().max_connections(2).max_streams(1));
    let response = pool.send(get("/half")).await.unwrap();
    std::thread::spawn(move || drop(response)).join().unwrap();
    assert_eq!(fetch(&pool, "/").await.unwrap(), b"grist");
}

#[tokio::test]
async fn two_runtimes_share_a_connection() {
    let node = Node::start();
    let pool = node.pool(config());
    fetch(&pool, "/").await.unwrap();
    let other = pool.clone();
    let body = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fetch(&other, "/"))
    });
    assert_eq!(body.await.unwrap().unwrap(), b"grist");
    assert_eq!(pool.state().statistics.connections_created, 1);
}

#[tokio::test]
async fn nginx_may_end_a_connection_after_any_number_of_requests() {
    const REQUESTS: usize = 1_000;
    let nginx = Nginx::with("keepalive_requests 200;");
    let pool = Http2Pool::new(&nginx.https(), config().https(nginx.trusting(&["h2"]))).unwrap();
    let bodies = join_all((0..REQUESTS).map(|_| fetch(&pool, "/"))).await;
    let failed: Vec<_> = bodies.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of {REQUESTS}: {:?}", failed.len(), failed[0]);
}

/// nghttp2's server, for the files of the current folder.
fn nghttpd(port: u16) -> Program {
    let mut command = Command::new("nghttpd");
    command.args(["--no-tls", "--max-concurrent-streams=20", &port.to_string()]).stdout(Stdio::null());
    let program = Program::start(&mut command);
    wait_for(&format!("127.0.0.1:{port}"));
    program
}

#[tokio::test]
async fn nghttpd_answers_a_thousand_requests() {
    let port = free_port();
    let _nghttpd = nghttpd(port);
    let pool = Http2Pool::new(&format!("http://127.0.0.1:{port}"), config().max_connections(2)).unwrap();
    let bodies = join_all((0..1_000).map(|_| fetch(&pool, "/Cargo.toml"))).await;
    assert!(bodies.into_iter().all(|body| body.is_ok_and(|body| body.starts_with(b"[package]"))));
    let state = pool.state();
    assert_eq!((state.streams, state.waiting), (0, 0));
}

#[tokio::test]
async fn a_request_that_waits_for_a_connect_says_so_at_its_end() {
    const LIMIT: Duration = Duration::from_millis(200);
    // It accepts no connection, and the kernel does.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let pool = Http2Pool::new(&url, config().wait_timeout(LIMIT)).unwrap();
    let error = pool.send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::PoolTimeout { after: LIMIT });
    let said = format!("{error:?}");
    assert!(said.contains("within 200ms: a connect began ") && !said.contains("raise"), "{said}");
}

#[tokio::test]
async fn a_server_that_speaks_http2_only_is_told_apart_over_http1() {
    let node = Node::start();
    let upstreams = Upstreams::new(UpstreamsConfig::default()).unwrap();
    let request = Request::post(node.url()).body(RequestBody::from("grain")).unwrap();
    let error = upstreams.send(request).await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::WrongVersion, "{error:?}");
    assert!(error.is_unprocessed());
    assert!(format!("{error:?}").contains("HttpVersion::Http2"), "{error:?}");
}

#[tokio::test]
async fn the_own_error_of_a_request_body_is_the_source() {
    let node = Node::start();
    let pool = node.pool(config());
    for pause in [Duration::ZERO, Duration::from_millis(50)] {
        let frames = failing(pause);
        let body = RequestBody::stream(StreamBody::new(frames));
        let error = pool.send(Request::post("/hold").body(body).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::InvalidRequest, "{error:?}");
        assert_eq!(error.source().unwrap().to_string(), "the mill stands still", "{pause:?}");
    }
}

/// A body that fails after this time, at once if it is zero.
fn failing(pause: Duration) -> impl Stream<Item = std::io::Result<Frame<bytes::Bytes>>> + Send {
    futures_util::stream::once(async move {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        Err(std::io::Error::other("the mill stands still"))
    })
}
