//! HTTP/1.1 and HTTP/2 connections in a pool, with real servers: requests, bodies, reuse, and what is known of each
//! connection.

mod upstream;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::poll_immediate;
use futures_util::stream;
use http::header::RETRY_AFTER;
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use millpond::connection::https::{
    HealthCheck, HttpVersion, HttpsConfig, HttpsConnection, HttpsConnectionManager, HttpsError, Protocol,
    RequestBody,
};
use millpond::connection::{ManageConnection, Pool};
use tokio::task::JoinSet;
use upstream::{LARGE, Nghttpd, Nginx, Node, PATIENCE};

type HttpsPool = Pool<HttpsConnectionManager>;

fn manager(server: &str, config: HttpsConfig) -> HttpsConnectionManager {
    HttpsConnectionManager::with_config(server, config).unwrap()
}

async fn pool_of(size: u32, server: &str, config: HttpsConfig) -> HttpsPool {
    Pool::builder().max_size(size).build(manager(server, config)).await.unwrap()
}

/// A pool for HTTPS, with that version alone or with both.
async fn tls_pool(nginx: &Nginx, size: u32, protocol: Protocol) -> HttpsPool {
    let alpn: &[_] = if protocol == Protocol::Http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
    pool_of(size, &nginx.https(), nginx.trusting(alpn)).await
}

/// The pools that a server offers: HTTP/1.1 and HTTP/2, plain and over TLS.
async fn pools(nginx: &Nginx, size: u32) -> [HttpsPool; 4] {
    [
        pool_of(size, &nginx.http1(), HttpsConfig::default()).await,
        pool_of(size, &nginx.http2(), HttpsConfig::default().version(HttpVersion::Http2)).await,
        tls_pool(nginx, size, Protocol::Http1).await,
        tls_pool(nginx, size, Protocol::Http2).await,
    ]
}

fn get(path: &str) -> Request<RequestBody> {
    Request::get(path).body(RequestBody::empty()).unwrap()
}

/// The status of a response and the length of its body, which is read.
async fn fetch(pool: &HttpsPool, path: &str) -> Result<(StatusCode, usize), HttpsError> {
    let response = HttpsConnection::send(pool.get().await.unwrap(), get(path)).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes().len()))
}

#[tokio::test]
async fn the_protocol_is_negotiated_or_known() {
    let nginx = Nginx::start();
    let mut protocols = Vec::new();
    for pool in pools(&nginx, 1).await {
        assert_eq!(fetch(&pool, "/").await.unwrap(), (StatusCode::OK, 5));
        protocols.push(pool.get().await.unwrap().protocol());
    }
    assert_eq!(protocols, [Protocol::Http1, Protocol::Http2, Protocol::Http1, Protocol::Http2]);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let nginx = Nginx::start();
    for pool in pools(&nginx, 1).await {
        fetch(&pool, "/").await.unwrap();
        let before = nginx.accepts();
        for _ in 0..10 {
            assert_eq!(fetch(&pool, "/large").await.unwrap(), (StatusCode::OK, LARGE));
        }
        assert_eq!(nginx.accepts(), before, "{:?}", pool.get().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_share_fifty_connections() {
    const CONNECTIONS: usize = 50;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let nginx = Nginx::start();
        let pool = tls_pool(&nginx, CONNECTIONS as u32, protocol).await;
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let pool = pool.clone();
            tasks.spawn(async move {
                for _ in 0..100 {
                    assert_eq!(fetch(&pool, "/").await.unwrap(), (StatusCode::OK, 5));
                }
            });
        }
        tasks.join_all().await;
        let accepts = nginx.accepts();
        assert!(accepts <= CONNECTIONS, "{accepts} connections for 10 000 requests, {protocol:?}");
    }
}

#[tokio::test]
async fn a_connection_is_not_idle_while_a_body_is_read() {
    let nginx = Nginx::start();
    for pool in pools(&nginx, 1).await {
        let response = HttpsConnection::send(pool.get().await.unwrap(), get("/large")).await.unwrap();
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        let connection = body.connection().unwrap().protocol();
        assert_eq!(pool.state().idle_connections, 0, "{connection:?}");
        body.collect().await.unwrap();
        assert_eq!(pool.state().idle_connections, 1, "{connection:?}");
    }
}

#[tokio::test]
async fn the_last_piece_of_a_body_ends_it() {
    let nginx = Nginx::start();
    let pool = tls_pool(&nginx, 1, Protocol::Http1).await;
    let mut body = HttpsConnection::send(pool.get().await.unwrap(), get("/")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "grist");
    assert!(body.connection().is_none());
    assert_eq!(pool.state().idle_connections, 1);
}

#[tokio::test]
async fn settings_that_name_no_protocol_offer_those_of_the_version() {
    let nginx = Nginx::start();
    for (version, expected) in [
        (HttpVersion::Negotiated, Protocol::Http2),
        (HttpVersion::Http1, Protocol::Http1),
        (HttpVersion::Http2, Protocol::Http2),
    ] {
        let pool = pool_of(1, &nginx.https(), nginx.trusting(&[]).version(version)).await;
        assert_eq!(pool.get().await.unwrap().protocol(), expected);
    }
}

#[tokio::test]
async fn a_response_without_a_body_frees_its_connection() {
    let nginx = Nginx::start();
    for pool in pools(&nginx, 1).await {
        let head = Request::head("/large").body(RequestBody::empty()).unwrap();
        let response = HttpsConnection::send(pool.get().await.unwrap(), head).await.unwrap();
        assert_eq!(response.headers()["content-length"], LARGE.to_string());
        assert!(response.body().connection().is_none());
        assert_eq!(pool.state().idle_connections, 1);
    }
}

#[tokio::test]
async fn an_http1_connection_is_closed_with_a_large_body_that_is_dropped() {
    let nginx = Nginx::start();
    let pool = tls_pool(&nginx, 1, Protocol::Http1).await;
    drop(HttpsConnection::send(pool.get().await.unwrap(), get("/large")).await.unwrap());
    assert_eq!(pool.state().connections, 0);
    assert_eq!(fetch(&pool, "/").await.unwrap(), (StatusCode::OK, 5));
    assert_eq!(nginx.accepts(), 2);
}

#[tokio::test]
async fn an_http1_connection_outlives_a_small_body_that_is_dropped() {
    let nginx = Nginx::start();
    let pool = tls_pool(&nginx, 1, Protocol::Http1).await;
    drop(HttpsConnection::send(pool.get().await.unwrap(), get("/")).await.unwrap());
    assert_eq!(fetch(&pool, "/").await.unwrap(), (StatusCode::OK, 5));
    assert_eq!(nginx.accepts(), 1);
}

#[tokio::test]
async fn an_http2_connection_outlives_bodies_that_are_dropped() {
    let nginx = Nginx::start();
    let pool = tls_pool(&nginx, 1, Protocol::Http2).await;
    // More than the windows hold.
    for _ in 0..10 {
        drop(HttpsConnection::send(pool.get().await.unwrap(), get("/large")).await.unwrap());
    }
    assert_eq!(fetch(&pool, "/large").await.unwrap(), (StatusCode::OK, LARGE));
    assert_eq!(nginx.accepts(), 1);
}

#[tokio::test]
async fn a_request_that_is_dropped_closes_only_an_http1_connection() {
    let node = Node::https("if (request.url == '/') response.end('grist');");
    for (alpn, left) in [("http/1.1", 0), ("h2", 1)] {
        let config = HttpsConfig::default().tls(Some(node.authority.connector(&[alpn])));
        let pool = pool_of(1, &node.url(), config).await;
        fetch(&pool, "/").await.unwrap();
        let request = HttpsConnection::send(pool.get().await.unwrap(), get("/never"));
        assert!(tokio::time::timeout(Duration::from_millis(50), request).await.is_err());
        assert_eq!(pool.state().connections, left, "{alpn}");
        assert_eq!(fetch(&pool, "/").await.unwrap(), (StatusCode::OK, 5), "{alpn}");
    }
}

#[tokio::test]
async fn bodies_of_requests_are_sent() {
    let node = Node::https("request.pipe(response);");
    for alpn in ["http/1.1", "h2"] {
        let config = HttpsConfig::default().tls(Some(node.authority.connector(&[alpn])));
        let pool = pool_of(1, &node.url(), config).await;
        let piece = Bytes::from(vec![b'g'; 100_000]);
        let pieces = vec![piece; 10].into_iter().map(|piece| Ok::<_, HttpsError>(Frame::data(piece)));
        let streamed = RequestBody::stream(StreamBody::new(stream::iter(pieces)));
        for (body, len) in [(RequestBody::from("grist"), 5), (streamed, 1_000_000)] {
            let request = Request::post("/").body(body).unwrap();
            let response = HttpsConnection::send(pool.get().await.unwrap(), request).await.unwrap();
            let echo = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(echo.len(), len, "{alpn}");
        }
        assert_eq!(pool.state().statistics.connections_created, 1, "{alpn}");
    }
}

#[tokio::test]
async fn an_answer_before_the_whole_request_is_read() {
    let nginx = Nginx::with("client_max_body_size 1k; lingering_close off;");
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let pool = tls_pool(&nginx, 1, protocol).await;
        let request = Request::post("/").body(RequestBody::from(vec![0; 100_000])).unwrap();
        let response = HttpsConnection::send(pool.get().await.unwrap(), request).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{protocol:?}");
        drop(response);
        assert_eq!(fetch(&pool, "/").await.unwrap(), (StatusCode::OK, 5), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_heard() {
    let nginx = Nginx::start();
    for pool in pools(&nginx, 1).await {
        for (path, status) in
            [("/429", StatusCode::TOO_MANY_REQUESTS), ("/503", StatusCode::SERVICE_UNAVAILABLE)]
        {
            let response = HttpsConnection::send(pool.get().await.unwrap(), get(path)).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[RETRY_AFTER], "7");
        }
        assert_eq!(pool.get().await.unwrap().errors(), 0);
    }
}

#[tokio::test]
async fn a_connection_knows_what_it_did() {
    let nginx = Nginx::start();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let pool = tls_pool(&nginx, 1, protocol).await;
        fetch(&pool, "/").await.unwrap();
        fetch(&pool, "/large").await.unwrap();
        let connection = pool.get().await.unwrap();
        assert_eq!(connection.remote_address(), Some(nginx.tls_address()));
        assert_eq!(connection.requests(), 2);
        assert_eq!(connection.errors(), 0);
        assert!(connection.created() < connection.last_used());
        assert!(connection.bytes_received() > LARGE as u64, "{}", connection.bytes_received());
        assert!((30..1000).contains(&connection.bytes_sent()), "{}", connection.bytes_sent());
        let timings = connection.timings();
        assert!(timings.connect > Duration::ZERO && timings.tls.unwrap() > Duration::ZERO, "{timings:?}");
    }
}

#[tokio::test]
async fn a_connection_is_given_up_after_its_last_request() {
    let nginx = Nginx::start();
    let config = HttpsConfig::default().max_requests(Some(3));
    let pool = pool_of(1, &nginx.http1(), config).await;
    for _ in 0..9 {
        fetch(&pool, "/").await.unwrap();
    }
    assert_eq!(nginx.accepts(), 3);
}

#[tokio::test]
async fn an_unused_connection_takes_in_tickets_and_the_next_one_resumes() {
    let nginx = Nginx::start();
    let manager = manager(&nginx.https(), nginx.trusting(&["http/1.1"]));
    let mut unused = manager.connect().await.unwrap();
    assert!(!unused.is_resumed());
    let begun = Instant::now();
    loop {
        assert!(!manager.has_broken(&mut unused), "a ticket is no end");
        if manager.connect().await.unwrap().is_resumed() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no ticket is taken in");
    }
    let response = HttpsConnection::send(&mut unused, get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_health_check_asks_the_server() {
    let nginx = Nginx::start();
    for (path, is_healthy) in [("/", true), ("/missing", true), ("/503", false)] {
        let config = nginx.trusting(&["h2"]).health_check(HealthCheck::Head(path.to_owned()));
        let manager = manager(&nginx.https(), config);
        let mut connection = manager.connect().await.unwrap();
        assert_eq!(manager.is_valid(&mut connection).await.is_ok(), is_healthy, "{path}");
        assert_eq!(connection.requests(), 1);
    }
}

#[tokio::test]
async fn a_health_check_by_ping_is_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let nginx = Nginx::with(&format!("access_log {};", log.display()));
    let manager = manager(&nginx.https(), nginx.trusting(&["h2"]).health_check(HealthCheck::Ping));
    let pool = Pool::builder().max_size(1).test_on_check_out(true).build(manager).await.unwrap();
    fetch(&pool, "/first").await.unwrap();
    for _ in 0..3 {
        let before = pool.get().await.unwrap().bytes_received();
        assert!(pool.get().await.unwrap().bytes_received() > before, "nothing was asked");
    }
    assert_eq!(pool.get().await.unwrap().requests(), 1);
    fetch(&pool, "/last").await.unwrap();
    assert_eq!(nginx.accepts(), 1);
    let begun = Instant::now();
    let mut text = String::new();
    while !text.contains("/last") {
        assert!(begun.elapsed() < PATIENCE, "the server's log is {text:?}");
        text = std::fs::read_to_string(&log).unwrap();
    }
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[tokio::test]
async fn over_http1_a_health_check_by_ping_asks_nothing() {
    let nginx = Nginx::start();
    let manager = manager(&nginx.https(), nginx.trusting(&["http/1.1"]).health_check(HealthCheck::Ping));
    let mut connection = manager.connect().await.unwrap();
    manager.is_valid(&mut connection).await.unwrap();
    assert_eq!(connection.bytes_sent(), 0);
}

#[tokio::test]
async fn health_checks_by_ping_follow_each_other_and_may_be_cancelled() {
    let nginx = Nginx::start();
    let manager = manager(&nginx.https(), nginx.trusting(&["h2"]).health_check(HealthCheck::Ping));
    let mut connection = manager.connect().await.unwrap();
    for _ in 0..10 {
        let before = connection.bytes_sent();
        assert!(poll_immediate(manager.is_valid(&mut connection)).await.is_none());
        while connection.bytes_sent() == before {
            tokio::task::yield_now().await;
        }
        let before = connection.bytes_sent();
        manager.is_valid(&mut connection).await.unwrap();
        assert!(connection.bytes_sent() > before, "the answer to another ping was taken");
    }
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint_of_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let nginx = Nginx::with(&format!("listen unix:{};", socket.display()));
    let config = HttpsConfig::default().endpoint(Some(socket.as_path().into()));
    let pool = pool_of(1, "http://mill.example", config).await;
    assert_eq!(fetch(&pool, "/").await.unwrap(), (StatusCode::OK, 5));
    assert_eq!(pool.get().await.unwrap().remote_address(), None);
    drop(nginx);
}

#[tokio::test]
async fn every_method_reaches_the_server() {
    let node = Node::https("response.end(request.method + ' ' + request.url);");
    for alpn in ["http/1.1", "h2"] {
        let config = HttpsConfig::default().tls(Some(node.authority.connector(&[alpn])));
        let pool = pool_of(1, &node.url(), config).await;
        for (method, target) in
            [(Method::DELETE, "/grist"), (Method::OPTIONS, "*"), (Method::PATCH, "/a?b=c")]
        {
            let request = Request::builder().method(method.clone()).uri(target);
            let request = request.body(RequestBody::empty()).unwrap();
            let response = HttpsConnection::send(pool.get().await.unwrap(), request).await.unwrap();
            let said = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(said, format!("{method} {target}"), "{alpn}");
        }
    }
}

#[tokio::test]
async fn trailers_end_a_body() {
    let nghttpd = Nghttpd::start(&["--trailer", "grist: yes"]);
    let config = HttpsConfig::default().version(HttpVersion::Http2);
    let pool = pool_of(1, &nghttpd.url(), config).await;
    let response = HttpsConnection::send(pool.get().await.unwrap(), get("/large")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grist"], "yes");
    assert_eq!(collected.to_bytes().len(), LARGE);
    assert_eq!(pool.state().idle_connections, 1);
}
