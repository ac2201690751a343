//! What goes wrong with connections to real HTTP servers, and what is said of it.

mod upstream;

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use millpond::connection::https::{
    ConnectPhase, HealthCheck, HttpVersion, HttpsConfig, HttpsConnection, HttpsConnectionManager, HttpsError,
    HttpsErrorKind, Ping, Protocol, RequestBody,
};
use millpond::connection::{ErrorSink, ManageConnection, Pool};
use millpond::net::tls::TlsErrorKind;
use millpond::net::{Dial, Endpoint, ErrorKind, Keepalive};
use nix::sys::signal::Signal;
use rcgen::date_time_ymd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use upstream::{Authority, Nginx, Node, PATIENCE, relay};

const SHORT: Duration = Duration::from_millis(300);

fn manager(server: &str, config: HttpsConfig) -> HttpsConnectionManager {
    HttpsConnectionManager::with_config(server, config).unwrap()
}

fn get(path: &str) -> Request<RequestBody> {
    Request::get(path).body(RequestBody::empty()).unwrap()
}

async fn fetch(connection: &mut HttpsConnection, path: &str) -> Result<(StatusCode, usize), HttpsError> {
    let fetch = async {
        let response = HttpsConnection::send(connection, get(path)).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes().len()))
    };
    timeout(PATIENCE, fetch).await.expect("no answer")
}

/// The error and its sources, as a program shows them.
fn said(error: &HttpsError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// Waits until the manager sees that the connection has ended.
async fn end_of(manager: &HttpsConnectionManager, connection: &mut HttpsConnection) {
    let watch = async {
        while !manager.has_broken(connection) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, watch).await.expect("the end is not seen");
}

/// Settings for HTTP/1.1 and HTTP/2 over TLS.
fn both(nginx: &Nginx) -> [HttpsConfig; 2] {
    [nginx.trusting(&["http/1.1"]), nginx.trusting(&["h2"])]
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_is_not_given_out() {
    let nginx = Nginx::with("keepalive_timeout 1s;");
    for config in both(&nginx) {
        let manager = manager(&nginx.https(), config);
        let mut watched = manager.connect().await.unwrap();
        let pool = Pool::builder().max_size(1).build(manager.clone()).await.unwrap();
        fetch(&mut pool.get().await.unwrap(), "/").await.unwrap();
        // Closed later than the pool's.
        fetch(&mut watched, "/").await.unwrap();
        end_of(&manager, &mut watched).await;
        let fetched = fetch(&mut pool.get().await.unwrap(), "/").await;
        assert_eq!(fetched.unwrap(), (StatusCode::OK, 5));
    }
}

#[tokio::test]
async fn a_server_that_ends_each_connection_after_a_few_requests_causes_no_error() {
    const REQUESTS: usize = 50;
    const EACH: usize = 5;
    let nginx = Nginx::with(&format!("keepalive_requests {EACH};"));
    for config in both(&nginx) {
        let before = nginx.accepts();
        let pool = Pool::builder().max_size(1).build(manager(&nginx.https(), config)).await.unwrap();
        for _ in 0..REQUESTS {
            fetch(&mut pool.get().await.unwrap(), "/").await.unwrap();
        }
        let accepts = nginx.accepts() - before;
        assert!((REQUESTS / EACH..=REQUESTS / EACH + 1).contains(&accepts), "{accepts}");
    }
}

#[tokio::test]
async fn a_connection_closed_between_checkout_and_request_gives_the_request_back() {
    for index in 0..2 {
        let nginx = Nginx::start();
        let manager = manager(&nginx.https(), both(&nginx)[index].clone());
        let mut connection = manager.connect().await.unwrap();
        fetch(&mut connection, "/").await.unwrap();
        let mut watched = manager.connect().await.unwrap();
        fetch(&mut watched, "/").await.unwrap();
        drop(nginx);
        end_of(&manager, &mut watched).await;
        let mut error = fetch(&mut connection, "/lost").await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::Closed, "{}", said(&error));
        assert!(error.is_unprocessed());
        assert_eq!(error.take_request().unwrap().uri().path(), "/lost");
        assert_eq!(connection.errors(), 1);
        assert_eq!(manager.request_errors().to_string(), "total=1 closed=1");
    }
}

#[tokio::test]
async fn a_connection_closed_after_the_request_leaves_it_unknown() {
    for index in 0..2 {
        let nginx = Nginx::start();
        let manager = manager(&nginx.https(), both(&nginx)[index].clone());
        let mut connection = manager.connect().await.unwrap();
        fetch(&mut connection, "/").await.unwrap();
        nginx.program.signal(Signal::SIGSTOP);
        let sent = connection.bytes_sent();
        let mut request = Box::pin(fetch(&mut connection, "/"));
        assert!(timeout(SHORT, &mut request).await.is_err());
        drop(nginx);
        let mut error = request.await.unwrap_err();
        assert!(!error.is_unprocessed(), "{}", said(&error));
        assert!(error.take_request().is_none());
        assert!(connection.bytes_sent() > sent);
        assert!(manager.has_broken(&mut connection));
    }
}

#[tokio::test]
async fn a_health_check_finds_a_server_that_hangs() {
    let nginx = Nginx::start();
    let [http1, http2] = both(&nginx);
    let head = HealthCheck::Head("/".to_owned());
    for config in [
        http1.health_check(head.clone()),
        http2.clone().health_check(head),
        http2.health_check(HealthCheck::Ping),
    ] {
        let manager = manager(&nginx.https(), config.health_timeout(SHORT));
        let mut connection = manager.connect().await.unwrap();
        manager.is_valid(&mut connection).await.unwrap();
        nginx.program.signal(Signal::SIGSTOP);
        let error = manager.is_valid(&mut connection).await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::HealthTimeout { after: SHORT });
        assert!(error.is_timeout());
        nginx.program.signal(Signal::SIGCONT);
    }
}

/// Keeps the kinds of errors.
#[derive(Clone, Debug, Default)]
struct Sink(Arc<Mutex<Vec<HttpsErrorKind>>>);

impl ErrorSink<HttpsError> for Sink {
    fn sink(&self, error: HttpsError) {
        self.0.lock().unwrap().push(error.kind().clone());
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<HttpsError>> {
        Box::new(self.clone())
    }
}

#[tokio::test]
async fn a_connection_whose_peer_has_vanished_is_replaced_after_a_ping() {
    let nginx = Nginx::start();
    let (address, cut) = relay(nginx.tls_address()).await;
    let config = nginx.trusting(&["h2"]).endpoint(Some(Endpoint::from(address)));
    let manager = manager(&nginx.https(), config.health_check(HealthCheck::Ping));
    let sink = Sink::default();
    let pool = Pool::builder().max_size(1).test_on_check_out(true).error_sink(Box::new(sink.clone()));
    let pool = pool.build(manager).await.unwrap();
    fetch(&mut pool.get().await.unwrap(), "/").await.unwrap();
    cut.send(()).unwrap();
    let mut connection = pool.get().await.unwrap();
    assert_eq!(fetch(&mut connection, "/").await.unwrap(), (StatusCode::OK, 5));
    assert_eq!(connection.requests(), 1, "the same connection");
    assert_eq!(pool.state().statistics.connections_closed_invalid, 1);
    // With default settings, the check ends before the pool gives it up.
    let errors = sink.0.lock().unwrap();
    assert!(matches!(errors[..], [HttpsErrorKind::HealthTimeout { .. }]), "{errors:?}");
    assert_eq!(nginx.accepts(), 2);
}

#[tokio::test]
async fn a_ping_finds_a_server_that_hangs() {
    let nginx = Nginx::start();
    let ping = Ping::default().interval(Duration::from_millis(50)).timeout(SHORT);
    let manager = manager(&nginx.https(), nginx.trusting(&["h2"]).ping(Some(ping)));
    let mut connection = manager.connect().await.unwrap();
    fetch(&mut connection, "/").await.unwrap();
    sleep(2 * SHORT).await;
    assert!(!manager.has_broken(&mut connection), "the server answers");
    nginx.program.signal(Signal::SIGSTOP);
    end_of(&manager, &mut connection).await;
}

/// Whether this process has a network of its own. If not, the test is run once more in such a process, and must pass there.
fn in_network(test: &str) -> bool {
    const IN_NETWORK: &str = "MILLPOND_IN_NETWORK";
    if env::var_os(IN_NETWORK).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-ec", "ip link set lo up; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(IN_NETWORK, "1")
        .status()
        .expect("unshare is part of util-linux");
    assert!(status.success(), "{test} failed in its network");
    false
}

#[tokio::test]
async fn a_server_that_vanishes_without_a_word_is_found_by_keepalive() {
    if !in_network("a_server_that_vanishes_without_a_word_is_found_by_keepalive") {
        return;
    }
    const SECOND: Duration = Duration::from_secs(1);
    let keepalive = Keepalive::default().idle(SECOND).interval(SECOND).probes(1);
    let nginx = Nginx::start();
    let mut idle = Vec::new();
    for config in both(&nginx) {
        let config = config.dial(Dial::default().keepalive(Some(keepalive)));
        let manager = manager(&nginx.https(), config);
        let mut connection = manager.connect().await.unwrap();
        fetch(&mut connection, "/").await.unwrap();
        idle.push((manager, connection));
    }
    sleep(2 * SECOND).await;
    for (manager, connection) in &mut idle {
        assert!(!manager.has_broken(connection), "the server answers");
    }
    // No packet arrives any more, neither its end nor a reset.
    assert!(Command::new("ip").args(["link", "set", "lo", "down"]).status().unwrap().success());
    for (manager, connection) in &mut idle {
        end_of(manager, connection).await;
    }
}

#[test]
fn the_user_of_a_uri_is_refused_and_not_repeated() {
    for uri in ["https://miller:secret@mill.example", "https://miller:secret@mill example"] {
        let error = HttpsConnectionManager::new(uri).unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::InvalidUri);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

/// A listener that accepts nothing more: packets to it are dropped.
async fn full(address: &str) -> (TcpListener, Vec<TcpStream>) {
    let address: SocketAddr = address.parse().unwrap();
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(0).unwrap();
    let mut clients = Vec::new();
    while let Ok(client) = timeout(SHORT, TcpStream::connect(listener.local_addr().unwrap())).await {
        clients.push(client.unwrap());
    }
    (listener, clients)
}

#[tokio::test]
async fn a_connect_that_nobody_answers_times_out() {
    let (listener, _clients) = full("127.0.0.1:0").await;
    let address = listener.local_addr().unwrap();
    let config = HttpsConfig::default().dial(Dial::default().timeout(SHORT));
    let error = manager(&format!("http://{address}"), config).connect().await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Net(ErrorKind::ConnectTimeout { after: SHORT }));
    assert_eq!(error.phase(), Some(ConnectPhase::Connect));
    assert!(error.is_timeout() && error.is_unprocessed());
    assert!(said(&error).ends_with("check the network and the firewall"), "{}", said(&error));
}

#[tokio::test]
async fn a_name_with_a_dead_and_a_live_address_is_served_by_the_live_one() {
    let nginx = Nginx::start();
    let port = nginx.tls_address().port();
    let (_listener, _clients) = full(&format!("[::1]:{port}")).await;
    let connection = manager(&nginx.https(), nginx.trusting(&[])).connect().await.unwrap();
    assert_eq!(connection.remote_address(), Some(nginx.tls_address()));
}

#[tokio::test]
async fn a_name_without_a_live_address_names_one_of_them() {
    let (listener, _clients) = full("127.0.0.1:0").await;
    let port = listener.local_addr().unwrap().port();
    let (_listener, _clients) = full(&format!("[::1]:{port}")).await;
    let config = HttpsConfig::default().dial(Dial::default().address_timeout(SHORT));
    let error = manager(&format!("http://localhost:{port}"), config).connect().await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Net(ErrorKind::ConnectTimeout { after: SHORT }));
    assert_eq!(error.address().unwrap().port(), port);
    assert!(said(&error).contains(" at "), "{}", said(&error));
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_an_error_of_the_lookup() {
    let error = manager("http://mill.invalid", HttpsConfig::default()).connect().await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Net(ErrorKind::Lookup));
    assert_eq!(error.phase(), Some(ConnectPhase::Lookup));
}

/// The error of a connect over TLS.
async fn tls_error(nginx: &Nginx, config: HttpsConfig) -> HttpsError {
    let error = manager(&nginx.https(), config).connect().await.unwrap_err();
    assert_eq!(error.phase(), Some(ConnectPhase::Tls));
    assert_eq!(error.address(), Some(nginx.tls_address()));
    error
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let nginx = Nginx::with_certificate("", "localhost", |certificate| {
        certificate.not_after = date_time_ymd(2024, 1, 1);
    });
    let error = tls_error(&nginx, nginx.trusting(&[])).await;
    assert!(matches!(error.kind(), HttpsErrorKind::Tls(TlsErrorKind::Expired { .. })), "{}", said(&error));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let nginx = Nginx::with_certificate("", "mill.example", |_| {});
    let error = tls_error(&nginx, nginx.trusting(&[])).await;
    assert!(matches!(error.kind(), HttpsErrorKind::Tls(TlsErrorKind::WrongName { .. })), "{}", said(&error));
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let nginx = Nginx::start();
    let config = HttpsConfig::default().tls(Some(Authority::new().connector(&[])));
    let error = tls_error(&nginx, config).await;
    // Both authorities have the same name, so the signature is what is wrong.
    assert_eq!(error.kind(), &HttpsErrorKind::Tls(TlsErrorKind::BadSignature), "{}", said(&error));
}

#[tokio::test]
async fn a_server_without_tls_is_said_to_be_none() {
    let nginx = Nginx::start();
    let server = nginx.http1().replace("http://127.0.0.1", "https://localhost");
    let error = manager(&server, nginx.trusting(&[])).connect().await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::Tls(TlsErrorKind::NotTls), "{}", said(&error));
}

#[tokio::test]
async fn a_server_that_never_begins_tls_times_out() {
    let nginx = Nginx::start();
    let config = nginx.trusting(&[]).handshake_timeout(SHORT);
    nginx.program.signal(Signal::SIGSTOP);
    let error = tls_error(&nginx, config).await;
    assert_eq!(error.kind(), &HttpsErrorKind::HandshakeTimeout { after: SHORT });
    assert!(error.is_timeout());
}

#[tokio::test]
async fn a_version_that_the_server_does_not_speak_is_an_error() {
    let nginx = Nginx::start();
    for (version, alpn) in [(HttpVersion::Http2, "http/1.1"), (HttpVersion::Http1, "h2")] {
        let config = nginx.trusting(&[alpn]).version(version);
        let error = manager(&nginx.https(), config).connect().await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::WrongVersion);
        assert_eq!(error.phase(), Some(ConnectPhase::Http));
    }
    // Without TLS, the server's settings are missing.
    let config = HttpsConfig::default().version(HttpVersion::Http2);
    let error = manager(&nginx.http1(), config).connect().await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::InvalidResponse, "{}", said(&error));
    assert_eq!(error.phase(), Some(ConnectPhase::Http));
}

#[tokio::test]
async fn a_goaway_lets_the_request_end_and_no_other_begin() {
    let node = Node::http2("request.stream.session.goaway(0); setTimeout(() => response.end('grist'), 100);");
    let config = HttpsConfig::default().version(HttpVersion::Http2);
    let manager = manager(&format!("http://127.0.0.1:{}", node.port), config);
    let mut connection = manager.connect().await.unwrap();
    assert_eq!(fetch(&mut connection, "/").await.unwrap(), (StatusCode::OK, 5));
    end_of(&manager, &mut connection).await;
    let error = fetch(&mut connection, "/").await.unwrap_err();
    assert!(error.is_unprocessed(), "{}", said(&error));
}

#[tokio::test]
async fn a_goaway_that_leaves_the_request_out_lets_it_be_sent_again() {
    let node =
        Node::http2("if (request.url == '/') response.end(); else request.stream.session.goaway(0, 1);");
    let config = HttpsConfig::default().version(HttpVersion::Http2);
    let manager = manager(&format!("http://127.0.0.1:{}", node.port), config);
    let mut connection = manager.connect().await.unwrap();
    fetch(&mut connection, "/").await.unwrap();
    let error = fetch(&mut connection, "/goaway").await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::GoAway(0), "{}", said(&error));
    assert!(error.is_unprocessed());
    end_of(&manager, &mut connection).await;
}

#[tokio::test]
async fn a_stream_that_is_reset_leaves_its_connection() {
    let node = Node::http2("request.stream.close(Number(request.url.slice(1)));");
    let config = HttpsConfig::default().version(HttpVersion::Http2);
    let manager = manager(&format!("http://127.0.0.1:{}", node.port), config);
    let mut connection = manager.connect().await.unwrap();
    const REFUSED_STREAM: u32 = 7;
    const CANCEL: u32 = 8;
    for (code, is_unprocessed) in [(CANCEL, false), (REFUSED_STREAM, true)] {
        let error = fetch(&mut connection, &format!("/{code}")).await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::Reset(code), "{}", said(&error));
        assert_eq!(error.is_unprocessed(), is_unprocessed);
    }
    assert!(!manager.has_broken(&mut connection));
    assert_eq!(connection.errors(), 2);
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_an_error() {
    let node = Node::https(
        "response.writeHead(200, {'content-length': 100}); response.write('grist'); setTimeout(() => { request.socket.destroy() }, 50);",
    );
    for (alpn, protocol) in [("http/1.1", Protocol::Http1), ("h2", Protocol::Http2)] {
        let config = HttpsConfig::default().tls(Some(node.authority.connector(&[alpn])));
        let manager = manager(&node.url(), config);
        let mut connection = manager.connect().await.unwrap();
        assert_eq!(connection.protocol(), protocol);
        let response = HttpsConnection::send(&mut connection, get("/")).await.unwrap();
        let error = response.into_body().collect().await.unwrap_err();
        assert!(!error.is_unprocessed(), "{}", said(&error));
        assert_eq!(connection.errors(), 1);
        // node resets the stream of HTTP/2 alone.
        assert_eq!(manager.has_broken(&mut connection), protocol == Protocol::Http1);
    }
}

/// A server without TLS that sends this response to its first request and closes the connection.
async fn sends(response: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        // All of the request is read: else the close would be a reset.
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            client.read_buf(&mut request).await.unwrap();
        }
        // The client may have refused it already.
        let _ = client.write_all(&response).await;
    });
    server
}

/// The error of the response's body, and what the manager has counted.
async fn body_error(response: &'static [u8]) -> (HttpsError, String) {
    let manager = manager(&sends(response.to_vec()).await, HttpsConfig::default());
    let mut connection = manager.connect().await.unwrap();
    let error = fetch(&mut connection, "/").await.unwrap_err();
    (error, manager.request_errors().to_string())
}

#[tokio::test]
async fn a_body_shorter_than_its_content_length_is_incomplete() {
    let (error, counted) = body_error(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ngrist").await;
    assert_eq!(error.kind(), &HttpsErrorKind::Incomplete, "{}", said(&error));
    assert_eq!(counted, "total=1 incomplete=1");
}

#[tokio::test]
async fn a_body_that_ends_within_a_chunk_is_incomplete() {
    let (error, counted) =
        body_error(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\ngrist").await;
    assert_eq!(error.kind(), &HttpsErrorKind::Incomplete, "{}", said(&error));
    assert_eq!(counted, "total=1 incomplete=1");
}

#[tokio::test]
async fn a_body_that_ends_before_its_last_chunk_is_incomplete() {
    let (error, counted) =
        body_error(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ngrist\r\n").await;
    assert_eq!(error.kind(), &HttpsErrorKind::Incomplete, "{}", said(&error));
    assert_eq!(counted, "total=1 incomplete=1");
}

#[tokio::test]
async fn a_chunk_without_a_size_is_an_invalid_response() {
    for chunks in ["grist\r\n", "-5\r\ngrist\r\n", "fffffffffffffffff\r\n", "5\r\ngrist!\r\n"] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let server = sends([head, chunks].concat().into_bytes()).await;
        let mut connection = manager(&server, HttpsConfig::default()).connect().await.unwrap();
        let error = fetch(&mut connection, "/").await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::InvalidResponse, "{chunks:?} {}", said(&error));
    }
}

/// Whether a response over HTTP/1.1 is accepted whose head has this many bytes and header lines.
async fn is_accepted(bytes: usize, lines: usize, config: HttpsConfig) -> bool {
    const HEAD: &str = "HTTP/1.1 204 No Content\r\n";
    const LINE: &str = "grist: ";
    let mut head = HEAD.to_owned();
    for line in 1..=lines {
        let filled = if line < lines { 1 } else { bytes - head.len() - LINE.len() - "\r\n\r\n".len() };
        head += &format!("{LINE}{}\r\n", "g".repeat(filled));
    }
    head += "\r\n";
    assert_eq!(head.len(), bytes);
    let server = sends(head.into_bytes()).await;
    let mut connection = manager(&server, config).connect().await.unwrap();
    match fetch(&mut connection, "/").await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), &HttpsErrorKind::InvalidResponse, "{}", said(&error));
            false
        }
    }
}

#[tokio::test]
async fn a_head_over_http1_has_16_kib_at_most_or_what_is_set() {
    const MOST: usize = 16 * 1024;
    for (set, limit) in [(64 * 1024, MOST), (1_000, 1_000)] {
        let config = || HttpsConfig::default().max_header_bytes(set);
        assert!(is_accepted(limit, 1, config()).await, "{set}");
        assert!(!is_accepted(limit + 1, 1, config()).await, "{set}");
    }
}

#[tokio::test]
async fn a_head_over_http1_has_100_lines_at_most() {
    const LINES: usize = 100;
    assert!(is_accepted(16_000, LINES, HttpsConfig::default()).await);
    assert!(!is_accepted(16_000, LINES + 1, HttpsConfig::default()).await);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let node = Node::https("response.setHeader('grist', 'g'.repeat(10000)); response.end();");
    for alpn in ["http/1.1", "h2"] {
        let tls = node.authority.connector(&[alpn]);
        for (limit, is_accepted) in [(8_000, false), (16_000, true)] {
            let config = HttpsConfig::default().tls(Some(tls.clone())).max_header_bytes(limit);
            let mut connection = manager(&node.url(), config).connect().await.unwrap();
            let fetched = fetch(&mut connection, "/").await;
            assert_eq!(fetched.is_ok(), is_accepted, "{alpn} {limit} {:?}", fetched.err());
        }
    }
}
