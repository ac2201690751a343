//! Pools for many servers: what they share, what they wait for, and which requests are sent again.

mod upstream;

use std::error::Error;
use std::fs;
use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use millpond::connection::Pool;
use millpond::connection::https::{
    ConnectPhase, HealthCheck, Http2Pool, Http2PoolConfig, HttpVersion, HttpsConfig, HttpsError,
    HttpsErrorKind, Protocol, RequestBody, Upstreams, UpstreamsConfig,
};
use millpond::metric::{Report, Source};
use millpond::net::tls::{TlsConfig, TlsErrorKind, TlsRoots};
use millpond::net::{Endpoint, ErrorKind};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use upstream::{Authority, LARGE, Nginx, Node, PATIENCE, free_port, relay};

fn request(method: Method, uri: &str) -> Request<RequestBody> {
    Request::builder().method(method).uri(uri).body(RequestBody::empty()).unwrap()
}

fn upstreams(config: UpstreamsConfig) -> Upstreams {
    Upstreams::new(config).unwrap()
}

/// The status of a response and the length of its body, which is read.
async fn fetch(upstreams: &Upstreams, method: Method, uri: &str) -> Result<(StatusCode, usize), HttpsError> {
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
    let upstreams = upstreams(config.http1(|| Pool::builder().min_idle(None).max_size(CONNECTIONS as u32)));
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (upstreams, uri) = (upstreams.clone(), format!("{}/large", nginx.https()));
        tasks.spawn(async move { fetch(&upstreams, Method::GET, &uri).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await, [(StatusCode::OK, LARGE); 50]);
    assert_eq!(nginx.accepts(), CONNECTIONS);
}

#[tokio::test]
async fn requests_to_a_server_of_http2_share_its_connection() {
    const STREAMS: usize = 10;
    let nginx = Nginx::start();
    let config = UpstreamsConfig::default().https(nginx.trusting(&["h2", "http/1.1"]));
    let config = config.http2(Http2PoolConfig::default().max_connections(1).max_streams(STREAMS));
    let upstreams = upstreams(config);
    let mut tasks = JoinSet::new();
    for _ in 0..5 * STREAMS {
        let (upstreams, uri) = (upstreams.clone(), format!("{}/large", nginx.https()));
        tasks.spawn(async move { fetch(&upstreams, Method::GET, &uri).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await, [(StatusCode::OK, LARGE); 5 * STREAMS]);
    assert_eq!(nginx.accepts(), 1);
    assert_eq!(upstreams.servers()[0].connects.protocol, Some(Protocol::Http2));
}

#[tokio::test]
async fn a_server_that_chooses_another_version_loses_no_request() {
    // Each connection has one request, and the next connection the other version.
    let node = Node::https(
        "const is_http2 = request.httpVersionMajor === 2;
        require('tls').convertALPNProtocols([is_http2 ? 'http/1.1' : 'h2'], server);
        if (!is_http2) response.setHeader('connection', 'close');
        response.end('grist');
        if (is_http2) request.stream.session.close();",
    );
    let config = HttpsConfig::default().tls(Some(node.authority.connector(&["h2", "http/1.1"])));
    let upstreams = upstreams(UpstreamsConfig::default().https(config));
    let mut spoken = Vec::new();
    for _ in 0..6 {
        let response = upstreams.send(request(Method::POST, &node.url())).await.unwrap();
        spoken.push(response.body().connection().protocol);
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(spoken, [Protocol::Http2, Protocol::Http1].repeat(3));
}

#[tokio::test]
async fn a_limit_of_the_server_is_passed_on_with_its_time() {
    let nginx = Nginx::start();
    for protocol in ["h2", "http/1.1"] {
        let upstreams = upstreams(UpstreamsConfig::default().https(nginx.trusting(&[protocol])));
        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
            let uri = format!("{}/{}", nginx.https(), status.as_u16());
            let response = upstreams.send(request(Method::GET, &uri)).await.unwrap();
            assert_eq!(
                (response.status(), &response.headers()["retry-after"]),
                (status, &"7".parse().unwrap())
            );
        }
    }
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
async fn a_request_is_sent_again_on_a_new_connection_only() {
    const CONNECTIONS: u32 = 2;
    let node = fickle();
    let config = UpstreamsConfig::default().https(trusting(&node.authority));
    let upstreams = upstreams(config.http1(|| Pool::builder().min_idle(None).max_size(CONNECTIONS)));
    let mut responses = Vec::new();
    for _ in 0..CONNECTIONS {
        responses.push(upstreams.send(request(Method::GET, &node.url())).await.unwrap());
    }
    for response in responses {
        response.into_body().collect().await.unwrap();
    }
    // The server ends both at their next request.
    let response = upstreams.send(request(Method::GET, &node.url())).await.unwrap();
    assert_eq!(response.body().connection().requests_before, 0);
}

/// Both begin before the connection is made that serves one after the other.
#[tokio::test]
async fn a_request_that_has_waited_for_a_used_connection_is_sent_again() {
    let node = fickle();
    let config = UpstreamsConfig::default().https(trusting(&node.authority));
    let upstreams = upstreams(config.http1(|| Pool::builder().min_idle(None).max_size(1)));
    let url = node.url();
    let fetched = [(); 2].map(|()| fetch(&upstreams, Method::GET, &url));
    assert!(join_all(fetched).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    let node = fickle();
    let config = UpstreamsConfig::default().https(trusting(&node.authority));
    for (config, method) in [(config.clone(), Method::POST), (config.replay(false), Method::GET)] {
        let upstreams = upstreams(config);
        fetch(&upstreams, Method::GET, &node.url()).await.unwrap();
        let error = fetch(&upstreams, method, &node.url()).await.unwrap_err();
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
    assert_eq!(refused.kind(), &HttpsErrorKind::TooManyServers);
    response.into_body().collect().await.unwrap();
    fetch(&upstreams, Method::GET, &second.http1()).await.unwrap();
    assert_eq!(upstreams.servers()[0].uri, *format!("{}/", second.http1()));
}

#[tokio::test]
async fn a_server_that_is_refused_makes_no_other_one_leave() {
    let nginx = Nginx::start();
    let upstreams = upstreams(UpstreamsConfig::default().max_servers(1));
    fetch(&upstreams, Method::GET, &nginx.http1()).await.unwrap();
    let refused = fetch(&upstreams, Method::GET, "ftp://mill.example/").await.unwrap_err();
    assert_eq!(refused.kind(), &HttpsErrorKind::InvalidUri);
    assert_eq!(upstreams.servers().len(), 1);
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
async fn after_a_reload_connections_from_before_end_with_what_is_under_way() {
    let nginx = Nginx::start();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    for protocol in ["h2", "http/1.1"] {
        fs::write(&roots, nginx.authority.pem()).unwrap();
        let tls = TlsConfig::new().roots(TlsRoots::OnlyAdded).add_root_file(&roots).alpn([protocol]);
        let tls = tls.build().unwrap();
        let config = HttpsConfig::default().tls(Some(tls.clone()));
        let upstreams = upstreams(UpstreamsConfig::default().https(config));
        let large = format!("{}/large", nginx.https());
        fetch(&upstreams, Method::GET, &large).await.unwrap();
        let under_way = upstreams.send(request(Method::GET, &large)).await.unwrap();
        assert_eq!(under_way.body().connection().requests_before, 1);

        fs::write(&roots, nginx.authority.pem() + &Authority::new().pem()).unwrap();
        tls.reload().unwrap();
        let next = upstreams.send(request(Method::GET, &large)).await.unwrap();
        assert_eq!(next.body().connection().requests_before, 0, "{protocol}");
        assert_eq!(under_way.into_body().collect().await.unwrap().to_bytes().len(), LARGE);
        drop(next);

        // The server's authority is not trusted any more.
        fs::write(&roots, Authority::new().pem()).unwrap();
        tls.reload().unwrap();
        let refused = fetch(&upstreams, Method::GET, &large).await.unwrap_err();
        assert_eq!(refused.phase(), Some(ConnectPhase::Tls), "{protocol}: {refused:?}");
    }
}

#[tokio::test]
async fn idle_connections_from_before_a_reload_are_closed() {
    const OFTEN: Duration = Duration::from_millis(20);
    let nginx = Nginx::start();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, nginx.authority.pem()).unwrap();
    let tls = TlsConfig::new().roots(TlsRoots::OnlyAdded).add_root_file(&roots).build().unwrap();
    let config = HttpsConfig::default().version(HttpVersion::Http1).tls(Some(tls.clone()));
    let config = UpstreamsConfig::default().https(config);
    let upstreams = upstreams(config.http1(|| Pool::builder().min_idle(None).reaper_rate(OFTEN)));
    fetch(&upstreams, Method::GET, &nginx.https()).await.unwrap();
    let open = || upstreams.servers()[0].http1.as_ref().unwrap().connections;
    assert_eq!(open(), 1);
    fs::write(&roots, Authority::new().pem()).unwrap();
    tls.reload().unwrap();
    let closed = async {
        while open() > 0 {
            sleep(OFTEN).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("it stays open");
}

#[tokio::test]
async fn closed_upstreams_wait_for_what_is_under_way_and_refuse_the_rest() {
    let nginx = Nginx::start();
    for protocol in ["h2", "http/1.1"] {
        let upstreams = upstreams(UpstreamsConfig::default().https(nginx.trusting(&[protocol])));
        let large = format!("{}/large", nginx.https());
        fetch(&upstreams, Method::GET, &large).await.unwrap();
        let under_way = upstreams.send(request(Method::GET, &large)).await.unwrap();
        let mut close = Box::pin(upstreams.close());
        assert!((&mut close).now_or_never().is_none(), "{protocol}");
        for uri in [large, nginx.http1()] {
            let refused = fetch(&upstreams, Method::GET, &uri).await.unwrap_err();
            assert_eq!(refused.kind(), &HttpsErrorKind::PoolClosed, "{protocol}");
        }
        assert_eq!(under_way.into_body().collect().await.unwrap().to_bytes().len(), LARGE);
        timeout(PATIENCE, close).await.expect("it does not end");
        let server = upstreams.servers().remove(0);
        assert_eq!(server.http1.map_or(0, |state| state.connections), 0, "{protocol}");
        assert_eq!(server.http2.map_or(0, |state| state.connections.len()), 0, "{protocol}");
        timeout(PATIENCE, upstreams.close()).await.expect("a second one does not end");
    }
}

#[tokio::test]
async fn a_failed_connect_says_what_failed_and_leaves_the_request() {
    let nginx = Nginx::start();
    let port = free_port();
    let refused = HttpsErrorKind::Net(ErrorKind::Connect);
    let lookup = HttpsErrorKind::Net(ErrorKind::Lookup);
    let unknown = HttpsErrorKind::Tls(TlsErrorKind::UnknownAuthority);
    let upstreams = upstreams(UpstreamsConfig::default());
    for (uri, kind, phase) in [
        (format!("http://127.0.0.1:{port}"), &refused, ConnectPhase::Connect),
        (format!("https://127.0.0.1:{port}"), &refused, ConnectPhase::Connect),
        ("http://mill.invalid".to_owned(), &lookup, ConnectPhase::Lookup),
        ("https://mill.invalid".to_owned(), &lookup, ConnectPhase::Lookup),
        (nginx.https(), &unknown, ConnectPhase::Tls),
    ] {
        let mut error = upstreams.send(request(Method::POST, &uri)).await.unwrap_err();
        assert_eq!((error.kind(), error.phase()), (kind, Some(phase)), "{uri}: {error:?}");
        assert!(error.to_string().contains(&uri), "{error}");
        assert!(error.take_request().is_some(), "{uri}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_http2_is_told_apart() {
    let nginx = Nginx::start();
    let config = HttpsConfig::default().version(HttpVersion::Http2);
    let upstreams = upstreams(UpstreamsConfig::default().https(config));
    let error = fetch(&upstreams, Method::GET, &nginx.http1()).await.unwrap_err();
    assert_eq!(error.phase(), Some(ConnectPhase::Http), "{error:?}");
    assert!(error.to_string().contains("does not speak HTTP/2"), "{error}");
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_a_connection_is_given_back() {
    const LIMIT: Duration = Duration::from_millis(500);
    let nginx = Nginx::start();
    for protocol in ["h2", "http/1.1"] {
        let http2 = Http2PoolConfig::default().max_connections(1).max_streams(1).wait_timeout(LIMIT);
        let config = UpstreamsConfig::default().https(nginx.trusting(&[protocol])).http2(http2);
        let config = config.http1(|| Pool::builder().min_idle(None).max_size(1).connection_timeout(LIMIT));
        let upstreams = upstreams(config);
        let large = format!("{}/large", nginx.https());
        let holder = upstreams.send(request(Method::GET, &large)).await.unwrap();
        let mut error = upstreams.send(request(Method::POST, &large)).await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::PoolTimeout { after: LIMIT }, "{protocol}");
        assert!(error.take_request().is_some(), "{protocol}");
        drop(holder);
    }
}

/// How many of ten requests, the first ones to a server of this protocol, the pools are too full for.
async fn refused_at_first(version: HttpVersion, protocol: &str, max_waiting: Option<usize>) -> usize {
    const REQUESTS: usize = 10;
    let nginx = Nginx::start();
    let config = UpstreamsConfig::default().https(nginx.trusting(&[protocol]).version(version));
    let config = config.http2(Http2PoolConfig::default().max_waiting(2));
    let upstreams =
        upstreams(config.http1(move || Pool::builder().min_idle(None).max_size(10).max_waiting(max_waiting)));
    let uri = nginx.https();
    let fetched = join_all((0..REQUESTS).map(|_| fetch(&upstreams, Method::GET, &uri))).await;
    let failed = fetched.into_iter().filter_map(Result::err);
    failed.filter(|error| *error.kind() == HttpsErrorKind::PoolFull).count()
}

#[tokio::test]
async fn the_first_requests_wait_for_the_version_in_a_queue_as_long_as_either_pool_has() {
    assert_eq!(refused_at_first(HttpVersion::Negotiated, "http/1.1", None).await, 0);
    assert_eq!(refused_at_first(HttpVersion::Negotiated, "http/1.1", Some(4)).await, 6);
}

#[tokio::test]
async fn the_first_requests_wait_in_the_queue_of_http2_if_nothing_else_may_be_spoken() {
    assert_eq!(refused_at_first(HttpVersion::Http2, "h2", None).await, 8);
}

#[tokio::test]
async fn a_failed_connect_has_its_sources() {
    let port = free_port();
    let upstreams = upstreams(UpstreamsConfig::default());
    for scheme in ["http", "https"] {
        let uri = format!("{scheme}://127.0.0.1:{port}");
        let error = upstreams.send(request(Method::GET, &uri)).await.unwrap_err();
        let mut next: Option<&(dyn Error + 'static)> = Some(&error);
        let mut found = None;
        while let Some(error) = next {
            found = found.or(error.downcast_ref::<io::Error>().map(io::Error::kind));
            next = error.source();
        }
        assert_eq!(found, Some(io::ErrorKind::ConnectionRefused), "{error:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_server_is_refused() {
    let upstreams = upstreams(UpstreamsConfig::default());
    let error = fetch(&upstreams, Method::GET, "/grist").await.unwrap_err();
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
    let config = UpstreamsConfig::default()
        .https(server.trusting(&["http/1.1"]))
        .http1(|| Pool::builder().min_idle(0));
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
async fn a_server_of_http2_is_counted_like_one_of_http1() {
    let nginx = Nginx::start();
    for protocol in ["h2", "http/1.1"] {
        let upstreams = upstreams(UpstreamsConfig::default().https(nginx.trusting(&[protocol])));
        for _ in 0..4 {
            fetch(&upstreams, Method::GET, &nginx.https()).await.unwrap();
        }
        let server = upstreams.servers().remove(0);
        let statistics = match server.http1 {
            Some(state) => state.statistics,
            None => server.http2.unwrap().statistics,
        };
        assert_eq!((statistics.get_started, statistics.completed_gets()), (4, 4), "{protocol}");
        assert_eq!((statistics.connections_created, statistics.get_new), (1, 1), "{protocol}");
        assert_eq!(statistics.reuse_rate(), 0.75, "{protocol}");
    }
}

/// The labels of each connection in the report of those, and its numbers.
fn connections(source: &impl Source) -> Vec<(String, Vec<(&'static str, f64)>)> {
    let mut rows = Vec::new();
    let is_complete = source.reports()(Report::Connections, &mut |row| {
        let labels: Vec<_> = row.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        rows.push((labels.join(" "), row.numbers.to_vec()));
    });
    assert!(is_complete);
    rows
}

fn number(row: &(String, Vec<(&'static str, f64)>), name: &str) -> f64 {
    row.1.iter().find(|(other, _)| *other == name).unwrap().1
}

#[tokio::test]
async fn the_report_has_each_connection_of_http2() {
    let nginx = Nginx::start();
    let upstreams = upstreams(UpstreamsConfig::default().https(nginx.trusting(&["h2"])));
    assert!(connections(&upstreams).is_empty());
    fetch(&upstreams, Method::GET, &format!("{}/large", nginx.https())).await.unwrap();
    let rows = connections(&upstreams);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert!(row.0.starts_with("id="), "{row:?}");
    assert!(row.0.contains(&format!(" upstream={} address=", nginx.https())), "{row:?}");
    assert!(number(row, "to_client_bytes") > LARGE as f64, "{row:?}");
    let sent = number(row, "to_upstream_bytes");
    assert!((1.0..LARGE as f64).contains(&sent), "{row:?}");
    assert_eq!(number(row, "traffic_bytes"), sent + number(row, "to_client_bytes"));
    assert!(number(row, "idle_seconds") <= number(row, "age_seconds"), "{row:?}");
}

#[tokio::test]
async fn the_report_of_a_single_pool_names_its_server() {
    let nginx = Nginx::start();
    let config = Http2PoolConfig::default().https(nginx.trusting(&["h2"]));
    let pool = Http2Pool::new(&nginx.https(), config).unwrap();
    drop(pool.send(request(Method::GET, &nginx.https())).await.unwrap());
    let rows = connections(&pool);
    assert!(rows[0].0.contains(&format!(" upstream={} address=", nginx.https())), "{rows:?}");
}

#[tokio::test]
async fn a_failed_handshake_is_counted_by_its_phase() {
    let server = Nginx::start();
    let upstreams = upstreams(UpstreamsConfig::default());
    assert!(upstreams.send(request(Method::GET, &server.https())).await.is_err());
    let connects = upstreams.servers()[0].connects;
    assert_eq!((connects.tls_errors, connects.connect_errors), (1, 0));
}

#[tokio::test]
async fn over_http2_a_health_check_by_head_is_a_ping() {
    let nginx = Nginx::start();
    let (address, cut) = relay(nginx.tls_address()).await;
    let config = nginx.trusting(&["h2"]).endpoint(Some(Endpoint::from(address)));
    let config = config.health_check(HealthCheck::Head("/".to_owned()));
    let upstreams = upstreams(
        UpstreamsConfig::default()
            .https(config)
            .http2(Http2PoolConfig::default().bypass_window(Duration::ZERO)),
    );
    fetch(&upstreams, Method::POST, &nginx.https()).await.unwrap();
    cut.send(()).unwrap();
    let fetched = timeout(PATIENCE, fetch(&upstreams, Method::POST, &nginx.https())).await;
    assert_eq!(fetched.expect("no answer").unwrap().0, StatusCode::OK);
    let state = upstreams.servers().remove(0).http2.unwrap();
    assert_eq!(state.statistics.connections_closed_invalid, 1);
    assert_eq!(state.errors.total(), 0);
}

#[tokio::test]
async fn requests_are_counted_by_their_end_over_both_versions() {
    let nginx = Nginx::start();
    for protocol in ["h2", "http/1.1"] {
        let upstreams = upstreams(UpstreamsConfig::default().https(nginx.trusting(&[protocol])));
        for path in ["/", "/large", "/429", "/503", "/nowhere"] {
            fetch(&upstreams, Method::GET, &format!("{}{path}", nginx.https())).await.unwrap();
        }
        // Dropped after its first poll.
        assert!(fetch(&upstreams, Method::GET, &nginx.https()).now_or_never().is_none(), "{protocol}");
        let requests = upstreams.servers().remove(0).requests;
        assert_eq!((requests.successes, requests.client_errors, requests.server_errors), (2, 2, 1));
        assert_eq!((requests.failed, requests.cancelled), (0, 1), "{protocol}");
        assert_eq!(requests.head_times.count(), 5, "{protocol}");
    }
}

#[tokio::test]
async fn errors_of_requests_are_counted_per_server_by_kind() {
    let node = Node::https(
        "if (request.httpVersion == '2.0') request.stream.close(2); else request.socket.destroy();",
    );
    for (protocol, expected) in [("h2", "total=2 reset=2"), ("http/1.1", "total=2 incomplete=2")] {
        let config = HttpsConfig::default().tls(Some(node.authority.connector(&[protocol])));
        let upstreams = upstreams(UpstreamsConfig::default().https(config));
        for _ in 0..2 {
            assert!(fetch(&upstreams, Method::POST, &node.url()).await.is_err(), "{protocol}");
        }
        let server = upstreams.servers().remove(0);
        assert_eq!(server.errors.to_string(), expected);
        assert_eq!(server.requests.failed, 2, "{protocol}");
        assert_eq!(server.connects.http_errors, 0, "{protocol}");
    }
}

#[tokio::test]
async fn an_attempt_after_which_a_request_is_sent_again_counts_as_an_error() {
    let node = fickle();
    let upstreams = upstreams(UpstreamsConfig::default().https(trusting(&node.authority)));
    for _ in 0..2 {
        fetch(&upstreams, Method::GET, &node.url()).await.unwrap();
    }
    assert_eq!(upstreams.servers()[0].errors.total(), 1);
}
