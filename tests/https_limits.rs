//! What `Upstreams` refuse: connections beyond a maximum over all servers, and requests to a server that fails.

mod upstream;

use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use millpond::connection::Pool;
use millpond::connection::https::{
    Http2PoolConfig, HttpVersion, HttpsConfig, HttpsError, HttpsErrorKind, RequestBody, Upstreams,
    UpstreamsConfig,
};
use millpond::policy::{BreakerPolicy, BreakerState};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use upstream::{LARGE, Nginx, Node, PATIENCE, free_port};

fn get(uri: &str) -> Request<RequestBody> {
    Request::get(uri).body(RequestBody::empty()).unwrap()
}

/// The status of a response, whose body is read.
async fn fetch(upstreams: &Upstreams, uri: &str) -> Result<StatusCode, HttpsError> {
    let response = timeout(PATIENCE, upstreams.send(get(uri))).await.expect("no end")?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

fn kind(result: Result<StatusCode, HttpsError>) -> HttpsErrorKind {
    result.unwrap_err().kind().clone()
}

fn at_most(connections: usize, version: HttpVersion) -> Upstreams {
    let config = UpstreamsConfig::default().https(HttpsConfig::default().version(version));
    Upstreams::new(config.max_connections(connections)).unwrap()
}

async fn until_open(nginx: &Nginx, count: usize) {
    let reached = async {
        while nginx.open() != count {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("not as many connections");
}

#[tokio::test]
async fn an_idle_connection_to_another_server_makes_room() {
    let [first, second] = [Nginx::start(), Nginx::start()];
    for (version, url) in
        [(HttpVersion::Http1, Nginx::http1 as fn(&_) -> _), (HttpVersion::Http2, Nginx::http2)]
    {
        let upstreams = at_most(1, version);
        for server in [&first, &second, &first] {
            assert_eq!(fetch(&upstreams, &url(server)).await.unwrap(), StatusCode::OK, "{version:?}");
        }
        until_open(&second, 0).await;
        let state = upstreams.state().connections;
        assert_eq!((state.connections, state.evicted, state.refused), (1, 2, 0), "{version:?}");
    }
}

#[tokio::test]
async fn the_server_that_was_used_least_recently_makes_room() {
    let [first, second, third] = [(); 3].map(|()| Nginx::start());
    let upstreams = at_most(2, HttpVersion::Http1);
    for server in [&first, &second, &first, &third] {
        fetch(&upstreams, &server.http1()).await.unwrap();
    }
    until_open(&second, 0).await;
    assert_eq!(first.open(), 1);
}

#[tokio::test]
async fn without_an_idle_connection_a_request_is_refused_and_given_back() {
    let [first, second] = [Nginx::start(), Nginx::start()];
    let upstreams = at_most(1, HttpVersion::Http1);
    let response = upstreams.send(get(&format!("{}/large", first.http1()))).await.unwrap();
    let mut refused = upstreams.send(get(&second.http1())).await.unwrap_err();
    assert_eq!(refused.kind(), &HttpsErrorKind::TooManyConnections);
    assert!(refused.take_request().is_some());
    assert_eq!(upstreams.state().connections.refused, 1);
    assert_eq!(second.accepts(), 0);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), LARGE);
    assert_eq!(fetch(&upstreams, &second.http1()).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn requests_over_http2_share_the_only_connection() {
    const STREAMS: usize = 2;
    let nginx = Nginx::start();
    let config = UpstreamsConfig::default().https(HttpsConfig::default().version(HttpVersion::Http2));
    let config = config.http2(Http2PoolConfig::default().max_streams(STREAMS)).max_connections(1);
    let upstreams = Upstreams::new(config).unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..10 * STREAMS {
        let (upstreams, uri) = (upstreams.clone(), format!("{}/large", nginx.http2()));
        tasks.spawn(async move { fetch(&upstreams, &uri).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await, [StatusCode::OK; 10 * STREAMS]);
    assert_eq!(nginx.accepts(), 1);
}

#[tokio::test]
async fn idle_connections_that_a_pool_wants_to_keep_stay() {
    let [first, second] = [Nginx::start(), Nginx::start()];
    let config = UpstreamsConfig::default().max_connections(1);
    let upstreams =
        Upstreams::new(config.http1(|| Pool::builder().min_idle(1).retry_connection(false))).unwrap();
    fetch(&upstreams, &first.http1()).await.unwrap();
    assert_eq!(kind(fetch(&upstreams, &second.http1()).await), HttpsErrorKind::TooManyConnections);
    assert_eq!(fetch(&upstreams, &first.http1()).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_connection_counts_until_it_is_closed() {
    let nginx = Nginx::start();
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let upstreams = at_most(10, version);
        let url = if version == HttpVersion::Http1 { nginx.http1() } else { nginx.http2() };
        let response = upstreams.send(get(&format!("{url}/large"))).await.unwrap();
        assert_eq!(upstreams.state().connections.connections, 1, "{version:?}");
        let mut closed = Box::pin(upstreams.close());
        assert!(closed.as_mut().now_or_never().is_none());
        assert_eq!(upstreams.state().connections.connections, 1, "{version:?}");
        drop(response);
        timeout(PATIENCE, closed).await.unwrap();
        until_given_back(&upstreams).await;
    }
}

/// Some of which nobody waits for to the end.
async fn requests(upstreams: Upstreams, urls: [String; 3], seed: usize) {
    for turn in 0..30 {
        let fetched = fetch(&upstreams, &urls[(seed + turn) % 3]);
        let patience = if turn % 4 == 0 { Duration::from_micros(500) } else { PATIENCE };
        match timeout(patience, fetched).await {
            Ok(Ok(status)) => assert_eq!(status, StatusCode::OK),
            Ok(Err(error)) => assert_eq!(error.kind(), &HttpsErrorKind::TooManyConnections),
            Err(_) => {}
        }
        let state = upstreams.state().connections;
        assert!(state.connections <= 2, "{state:?}");
    }
}

#[tokio::test]
async fn requests_to_many_servers_that_come_and_go_leave_no_connection_behind() {
    let servers = [(); 3].map(|()| Nginx::start());
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let url = if version == HttpVersion::Http1 { Nginx::http1 } else { Nginx::http2 };
        let urls = servers.each_ref().map(|server| format!("{}/large", url(server)));
        let upstreams = at_most(2, version);
        let mut clients = JoinSet::new();
        for seed in 0..20 {
            clients.spawn(requests(upstreams.clone(), urls.clone(), seed));
        }
        clients.join_all().await;
        let all_serve = async {
            for url in &urls {
                // A connect that nobody waits for goes on, and is not idle before its end.
                while let Err(error) = fetch(&upstreams, url).await {
                    assert_eq!(error.kind(), &HttpsErrorKind::TooManyConnections);
                    sleep(Duration::from_millis(5)).await;
                }
            }
        };
        timeout(PATIENCE, all_serve).await.expect("a server is always refused");
        timeout(PATIENCE, upstreams.close()).await.unwrap();
        until_given_back(&upstreams).await;
    }
}

/// Asks one server after another, one request at a time.
async fn walk(upstreams: Upstreams, urls: [String; 6], seed: usize) {
    let mut server = 7 * seed;
    for _ in 0..400 {
        server += 1 + seed;
        assert_eq!(fetch(&upstreams, &urls[server % urls.len()]).await.unwrap(), StatusCode::OK);
        let state = upstreams.state().connections;
        assert!(state.connections <= CLIENTS, "{state:?}");
    }
}

const CLIENTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn as_many_requests_as_connections_are_allowed_are_never_refused() {
    let servers = [(); 6].map(|()| Nginx::start());
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let url = if version == HttpVersion::Http1 { Nginx::http1 } else { Nginx::http2 };
        let urls = servers.each_ref().map(url);
        let upstreams = at_most(CLIENTS, version);
        let clients: JoinSet<()> =
            (0..CLIENTS).map(|seed| walk(upstreams.clone(), urls.clone(), seed)).collect();
        clients.join_all().await;
        // A connect may be refused whose request has got another connection in the meantime.
        assert!(upstreams.state().connections.evicted > 0, "{version:?}");
    }
}

async fn until_given_back(upstreams: &Upstreams) {
    let given_back = async {
        while upstreams.state().connections.connections > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, given_back).await.expect("they still count");
}

#[tokio::test]
async fn slow_readers_do_not_open_the_breaker() {
    let nginx = Nginx::start();
    let config = UpstreamsConfig::default().breaker(BreakerPolicy::default().failures(1)).http1(|| {
        let pool = Pool::builder().max_size(1).min_idle(None).retry_connection(false);
        pool.connection_timeout(Duration::from_millis(50))
    });
    let upstreams = Upstreams::new(config).unwrap();
    let _unread = upstreams.send(get(&format!("{}/large", nginx.http1()))).await.unwrap();
    let error = upstreams.send(get(&nginx.http1())).await.unwrap_err();
    assert!(matches!(error.kind(), HttpsErrorKind::PoolTimeout { .. }), "{error:?}");
    assert_eq!(state(&upstreams), BreakerState::Closed);
}

#[tokio::test]
async fn the_limit_does_not_open_the_breaker_of_a_pool() {
    let [first, second] = [Nginx::start(), Nginx::start()];
    let config = UpstreamsConfig::default().max_connections(1).http1(|| {
        Pool::builder().min_idle(None).retry_connection(false).breaker(BreakerPolicy::default().failures(1))
    });
    let upstreams = Upstreams::new(config).unwrap();
    let held = upstreams.send(get(&format!("{}/large", first.http1()))).await.unwrap();
    assert_eq!(kind(fetch(&upstreams, &second.http1()).await), HttpsErrorKind::TooManyConnections);
    drop(held);
    assert_eq!(fetch(&upstreams, &second.http1()).await.unwrap(), StatusCode::OK);
}

#[test]
fn no_connection_at_all_is_out_of_range() {
    let error = Upstreams::new(UpstreamsConfig::default().max_connections(0)).unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::OutOfRange("max_connections"));
}

/// A server that counts its requests: `/count` is answered with their number, `/broken` with 500, and `/cut` not at all.
fn counting() -> Node {
    Node::https(
        "globalThis.count ??= 0;
        if (request.url === '/count') return response.end(String(count));
        count += 1;
        if (request.url === '/broken') { response.writeHead(500); return response.end(); }
        if (request.url === '/cut') return (request.stream ? request.stream.close(2) : request.socket.destroy());
        if (request.url === '/held') return;
        response.end('grist');",
    )
}

fn breaking(node: &Node, protocol: &str, policy: BreakerPolicy) -> Upstreams {
    let https = HttpsConfig::default().tls(Some(node.authority.connector(&[protocol])));
    Upstreams::new(UpstreamsConfig::default().https(https).breaker(policy)).unwrap()
}

/// The state of the breaker of the only server.
fn state(upstreams: &Upstreams) -> BreakerState {
    let servers = upstreams.servers();
    assert_eq!(servers.len(), 1);
    servers[0].breaker.unwrap().state
}

async fn count(node: &Node) -> String {
    let https = HttpsConfig::default().tls(Some(node.authority.connector(&["http/1.1"])));
    let upstreams = Upstreams::new(UpstreamsConfig::default().https(https)).unwrap();
    let response = upstreams.send(get(&format!("{}/count", node.url()))).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_server_that_fails_is_not_asked_over_either_version() {
    for protocol in ["h2", "http/1.1"] {
        let node = counting();
        let upstreams = breaking(&node, protocol, BreakerPolicy::default());
        for _ in 0..5 {
            let status = fetch(&upstreams, &format!("{}/broken", node.url())).await.unwrap();
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{protocol}");
        }
        let mut refused = upstreams.send(get(&node.url())).await.unwrap_err();
        assert!(matches!(refused.kind(), HttpsErrorKind::BreakerOpen { .. }), "{protocol}: {refused:?}");
        assert!(refused.take_request().is_some(), "{protocol}");
        assert_eq!(state(&upstreams), BreakerState::Open, "{protocol}");
        assert_eq!(count(&node).await, "5", "{protocol}");
    }
}

#[tokio::test]
async fn responses_that_never_come_open_the_breaker() {
    for protocol in ["h2", "http/1.1"] {
        let node = counting();
        let upstreams = breaking(&node, protocol, BreakerPolicy::default());
        for _ in 0..5 {
            fetch(&upstreams, &format!("{}/cut", node.url())).await.unwrap_err();
        }
        assert_eq!(state(&upstreams), BreakerState::Open, "{protocol}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_opens_its_own_breaker_only() {
    let nginx = Nginx::start();
    let upstreams = Upstreams::new(UpstreamsConfig::default().breaker(BreakerPolicy::default())).unwrap();
    let gone = format!("http://127.0.0.1:{}/", free_port());
    for _ in 0..5 {
        let kind = kind(fetch(&upstreams, &gone).await);
        assert!(matches!(kind, HttpsErrorKind::Net(_)), "{kind:?}");
    }
    let kind = kind(fetch(&upstreams, &gone).await);
    assert!(matches!(kind, HttpsErrorKind::BreakerOpen { .. }), "{kind:?}");
    assert_eq!(fetch(&upstreams, &nginx.http1()).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn the_breaker_closes_after_its_probes() {
    let node = counting();
    let upstreams = breaking(&node, "h2", BreakerPolicy::default().open_for(Duration::ZERO));
    for _ in 0..5 {
        fetch(&upstreams, &format!("{}/broken", node.url())).await.unwrap();
    }
    for expected in [BreakerState::HalfOpen, BreakerState::HalfOpen, BreakerState::Closed] {
        fetch(&upstreams, &node.url()).await.unwrap();
        assert_eq!(state(&upstreams), expected);
    }
}

#[tokio::test]
async fn requests_that_nobody_waits_for_and_mistakes_of_a_client_open_no_breaker() {
    let node = counting();
    let upstreams = breaking(&node, "h2", BreakerPolicy::default().failures(1));
    fetch(&upstreams, &node.url()).await.unwrap();
    let held = format!("{}/held", node.url());
    assert!(timeout(Duration::from_millis(20), upstreams.send(get(&held))).await.is_err());
    let mut request = get(&node.url());
    request.headers_mut().insert("content-length", "5".parse().unwrap());
    assert_eq!(upstreams.send(request).await.unwrap_err().kind(), &HttpsErrorKind::InvalidHead);
    assert_eq!(state(&upstreams), BreakerState::Closed);
}

#[tokio::test]
async fn without_a_policy_there_is_no_breaker() {
    let nginx = Nginx::start();
    let upstreams = Upstreams::new(UpstreamsConfig::default()).unwrap();
    for _ in 0..10 {
        fetch(&upstreams, &format!("{}/503", nginx.http1())).await.unwrap();
    }
    assert_eq!(upstreams.servers()[0].breaker, None);
}
