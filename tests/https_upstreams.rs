//! Pools for many servers: what they share, what they wait for, and which requests are sent again.

mod upstream;

use std::fs;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use millpond::connection::Pool;
use millpond::connection::https::{
    HttpsConfig, HttpsErrorKind, RequestBody, UpstreamError, Upstreams, UpstreamsConfig,
};
use millpond::net::tls::{TlsConfig, TlsRoots};
use tokio::task::JoinSet;
use tower::ServiceExt;
use upstream::{Authority, LARGE, Nginx, Node};

fn request(method: Method, uri: &str) -> Request<RequestBody> {
    Request::builder().method(method).uri(uri).body(RequestBody::empty()).unwrap()
}

fn upstreams(config: UpstreamsConfig) -> Upstreams {
    Upstreams::new(config).unwrap()
}

/// The status of a response and the length of its body, which is read.
async fn fetch(
    upstreams: &Upstreams,
    method: Method,
    uri: &str,
) -> Result<(StatusCode, usize), UpstreamError> {
    let response = upstreams.send(request(method, uri)).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes().len()))
}

#[tokio::test]
async fn each_server_has_a_pool() {
    let servers = [Nginx::start(), Nginx::start()];
    let upstreams = upstreams(UpstreamsConfig::default());
    for _ in 0..5 {
        for server in &servers {
            let fetched = fetch(&upstreams, Method::GET, &format!("{}/large", server.http1())).await;
            assert_eq!(fetched.unwrap(), (StatusCode::OK, LARGE));
        }
    }
    assert_eq!(upstreams.servers().len(), 2);
    assert_eq!(servers.map(|server| server.accepts()), [1, 1]);
}

#[tokio::test]
async fn requests_beyond_the_maximum_of_a_server_wait() {
    const CONNECTIONS: usize = 2;
    let nginx = Nginx::start();
    let config = UpstreamsConfig::default().https(nginx.trusting(&["http/1.1"]));
    let upstreams = upstreams(config.pool(|| Pool::builder().min_idle(None).max_size(CONNECTIONS as u32)));
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (upstreams, uri) = (upstreams.clone(), format!("{}/large", nginx.https()));
        tasks.spawn(async move { fetch(&upstreams, Method::GET, &uri).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await, [(StatusCode::OK, LARGE); 50]);
    assert_eq!(nginx.accepts(), CONNECTIONS);
}

/// A server that closes each connection at its second request, without an answer.
fn fickle() -> Node {
    Node::https(
        "const socket = request.socket; socket.count = (socket.count || 0) + 1;
        if (socket.count == 2) socket.destroy(); else response.end('grist');",
    )
}

fn trusting(authority: &Authority) -> HttpsConfig {
    HttpsConfig::default().tls(Some(authority.connector(&["http/1.1"])))
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again() {
    let node = fickle();
    let upstreams = upstreams(UpstreamsConfig::default().https(trusting(&node.authority)));
    for _ in 0..5 {
        let fetched = fetch(&upstreams, Method::GET, &node.url()).await;
        assert_eq!(fetched.unwrap(), (StatusCode::OK, 5));
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    let node = fickle();
    let config = UpstreamsConfig::default().https(trusting(&node.authority));
    for (config, method) in [(config.clone(), Method::POST), (config.replay(false), Method::GET)] {
        let upstreams = upstreams(config);
        fetch(&upstreams, Method::GET, &node.url()).await.unwrap();
        let error = fetch(&upstreams, method, &node.url()).await.unwrap_err();
        let UpstreamError::Request(error) = error else { panic!("{error:?}") };
        assert!(!error.is_unprocessed(), "{error:?}");
    }
}

#[tokio::test]
async fn a_request_that_no_server_processed_is_sent_again_whatever_its_method() {
    let node = Node::https(
        "const session = request.stream.session; session.count = (session.count || 0) + 1;
        if (session.count == 2) request.stream.close(7); else response.end('grist');",
    );
    let config = HttpsConfig::default().tls(Some(node.authority.connector(&["h2"])));
    let upstreams = upstreams(UpstreamsConfig::default().https(config));
    for _ in 0..3 {
        let fetched = fetch(&upstreams, Method::POST, &node.url()).await;
        assert_eq!(fetched.unwrap(), (StatusCode::OK, 5));
    }
}

#[tokio::test]
async fn the_server_that_was_used_least_recently_makes_room() {
    let [first, second] = [Nginx::start(), Nginx::start()];
    let upstreams = upstreams(UpstreamsConfig::default().max_servers(1));
    let response = upstreams.send(request(Method::GET, &format!("{}/large", first.http1()))).await.unwrap();
    let refused = fetch(&upstreams, Method::GET, &second.http1()).await.unwrap_err();
    assert!(matches!(refused, UpstreamError::TooManyServers), "{refused:?}");
    response.into_body().collect().await.unwrap();
    fetch(&upstreams, Method::GET, &second.http1()).await.unwrap();
    assert_eq!(upstreams.servers()[0].uri, *format!("{}/", second.http1()));
}

#[tokio::test]
async fn an_idle_server_is_forgotten_when_there_is_a_new_one() {
    let [first, second] = [Nginx::start(), Nginx::start()];
    let upstreams = upstreams(UpstreamsConfig::default().idle_timeout(Duration::ZERO));
    for server in [&first, &second] {
        fetch(&upstreams, Method::GET, &server.http1()).await.unwrap();
        assert_eq!(upstreams.servers()[0].uri, *format!("{}/", server.http1()));
    }
    assert_eq!(upstreams.servers().len(), 1);
}

#[tokio::test]
async fn connections_from_before_a_reload_are_not_used() {
    let nginx = Nginx::start();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, nginx.authority.pem()).unwrap();
    let tls = TlsConfig::new().roots(TlsRoots::OnlyAdded).add_root_file(&roots).build().unwrap();
    let config = HttpsConfig::default().tls(Some(tls.clone()));
    // A pool tries to connect until a get gives up.
    let pool = || Pool::builder().min_idle(None).connection_timeout(Duration::from_secs(1));
    let upstreams = upstreams(UpstreamsConfig::default().https(config).pool(pool));
    fetch(&upstreams, Method::GET, &nginx.https()).await.unwrap();
    fs::write(&roots, Authority::new().pem()).unwrap();
    tls.reload().unwrap();
    let refused = fetch(&upstreams, Method::GET, &nginx.https()).await.unwrap_err();
    assert!(matches!(refused, UpstreamError::NoConnection(_)), "{refused:?}");
}

#[tokio::test]
async fn a_request_without_a_server_is_refused() {
    let upstreams = upstreams(UpstreamsConfig::default());
    let error = fetch(&upstreams, Method::GET, "/grist").await.unwrap_err();
    let UpstreamError::Request(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), &HttpsErrorKind::InvalidUri);
}

#[tokio::test]
async fn it_is_a_service_of_tower() {
    let nginx = Nginx::start();
    let response = upstreams(UpstreamsConfig::default()).oneshot(request(Method::GET, &nginx.http1())).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn the_handshakes_of_each_server_are_counted() {
    let server = Nginx::start();
    let config =
        UpstreamsConfig::default().https(server.trusting(&["http/1.1"])).pool(|| Pool::builder().min_idle(0));
    let upstreams = upstreams(config);
    // One after another, so that the second can resume the session of the first, which it closes.
    for _ in 0..2 {
        let response =
            upstreams.send(request(Method::GET, &format!("{}/large", server.https()))).await.unwrap();
        drop(response);
    }
    let connects = upstreams.servers()[0].connects;
    assert_eq!((connects.full_handshakes, connects.resumed_handshakes), (1, 1));
    assert_eq!(connects.connected, 2);
}

#[tokio::test]
async fn a_failed_handshake_is_counted_by_its_phase() {
    let server = Nginx::start();
    let upstreams = upstreams(UpstreamsConfig::default());
    assert!(upstreams.send(request(Method::GET, &server.https())).await.is_err());
    let connects = upstreams.servers()[0].connects;
    assert_eq!((connects.tls_errors, connects.connect_errors), (1, 0));
}
