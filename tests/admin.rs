//! The admin endpoint as curl sees it, and what clients cannot do to it: garbage, silence, and answers that are not read.

use std::fmt::Write as _;
use std::future::pending;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use millpond::metric::{Kind, Label, Metric, Metrics, Value, Visit};
use millpond::net::{Listener, Stream};
use millpond::observe::Registry;
use millpond::observe::admin::{Admin, AdminConfig, PublicAddress};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// An endpoint that serves until it is stopped.
struct Served {
    address: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Served {
    async fn start(admin: Admin) -> Self {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_endpoint().to_string().replace("tcp://", "");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(admin.serve(listener, async { drop(stopped.await) }).unwrap());
        Self { address, stop, serving }
    }

    async fn connect(&self) -> Stream {
        Stream::connect(self.address.as_str(), PATIENCE).await.unwrap()
    }

    /// What the endpoint answers to these bytes until it closes.
    async fn answer(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may have closed already.
        let _ = stream.write_all(bytes).await;
        until_closed(&mut stream).await
    }

    async fn curl(&self, arguments: &[&str], path: &str) -> Answer {
        curl(arguments, &format!("http://{}{path}", self.address)).await
    }
}

async fn until_closed(stream: &mut Stream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it does not close");
    String::from_utf8_lossy(&answer).into_owned()
}

/// What curl got.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn curl(arguments: &[&str], url: &str) -> Answer {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--include", "--http1.1"])
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn admin() -> Admin {
    Admin::new(Registry::new(), AdminConfig::default())
}

fn with_a_pool() -> (BufferPool, Admin) {
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let registry = Registry::new();
    registry.add("clients", &pool);
    (pool, Admin::new(registry, AdminConfig::default()))
}

#[tokio::test]
async fn metrics_are_prometheus_text_by_default() {
    let (pool, admin) = with_a_pool();
    let served = Served::start(admin).await;
    let _buffer = pool.acquire(8192);
    let answer = served.curl(&[], "/metrics").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer:?}");
    let lent = "\nmillpond_buffer_pool_buffers{name=\"clients\",class=\"8192\",state=\"lent\"} 1\n";
    assert!(answer.body.contains(lent), "{}", answer.body);
}

#[tokio::test]
async fn metrics_are_open_metrics_for_those_who_prefer_it() {
    let (_pool, admin) = with_a_pool();
    let served = Served::start(admin).await;
    let accept = ["--header", "Accept: text/plain;q=0.5", "--header", "Accept: application/openmetrics-text"];
    let answer = served.curl(&accept, "/metrics").await;
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer:?}");
    assert!(answer.body.ends_with("\n# EOF\n"), "{}", answer.body);
}

#[tokio::test]
async fn stats_are_json() {
    let (pool, admin) = with_a_pool();
    let served = Served::start(admin).await;
    let _buffer = pool.acquire(8192);
    let answer = served.curl(&[], "/stats").await;
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    let stats: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(stats["millpond_buffer_pool_live_bytes"][0]["value"], 8192);
}

#[tokio::test]
async fn a_head_has_the_length_and_no_body() {
    let (_pool, admin) = with_a_pool();
    let served = Served::start(admin).await;
    let length = served.curl(&[], "/metrics").await.body.len();
    let answer = served.curl(&["--head"], "/metrics").await;
    assert!(answer.head.contains(&format!("content-length: {length}")), "{length}: {answer:?}");
    assert_eq!(answer.body, "");
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let served = Served::start(admin()).await;
    for path in ["/metric", "/metrics/", "/favicon.ico", "/../metrics/x", "/%6detrics"] {
        assert_eq!(served.curl(&["--path-as-is"], path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_query_changes_nothing() {
    let served = Served::start(admin()).await;
    assert_eq!(served.curl(&[], "/healthz?verbose=1").await.body, "ok\n");
}

#[tokio::test]
async fn other_methods_are_refused() {
    let served = Served::start(admin()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = served.curl(&["--request", method], "/metrics").await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("\r\nallow: get, head"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_is_not_read() {
    let served = Served::start(admin()).await;
    let head = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nsome of it";
    let answer = served.answer(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn ready_says_what_the_check_says() {
    let (send, check) = tokio::sync::watch::channel(Ok(()));
    let ready = move || {
        let says = check.borrow().clone();
        async move { says }
    };
    let served = Served::start(admin().ready(ready)).await;
    let answer = served.curl(&[], "/readyz").await;
    assert_eq!((answer.status, &*answer.body), (200, "ready\n"));

    send.send(Err("it drains".to_owned())).unwrap();
    let answer = served.curl(&[], "/readyz").await;
    assert_eq!((answer.status, &*answer.body), (503, "not ready: it drains\n"));
    assert_eq!(served.curl(&[], "/healthz").await.status, 200);
}

#[tokio::test]
async fn a_check_that_hangs_is_an_answer() {
    let config = AdminConfig::default().ready_timeout(Duration::from_millis(10));
    let served = Served::start(Admin::new(Registry::new(), config).ready(pending)).await;
    let answer = served.curl(&[], "/readyz").await;
    assert_eq!((answer.status, &*answer.body), (503, "not ready: the check takes too long\n"));
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let served = Served::start(admin()).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    let last = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = served.answer(format!("{request}{last}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
}

#[tokio::test]
async fn garbage_is_refused_and_the_next_request_served() {
    let served = Served::start(admin()).await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let many = (0..1000).fold(String::from("GET / HTTP/1.1\r\n"), |mut head, at| {
        write!(head, "x{at}: 1\r\n").unwrap();
        head
    });
    let garbage: &[&[u8]] = &[
        b"\r\n\r\n\r\n\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", // TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: \xff\0\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for garbage in garbage {
        let mut stream = served.connect().await;
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let answer = until_closed(&mut stream).await;
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{}: {answer}", garbage.escape_ascii());
        assert_eq!(served.curl(&[], "/healthz").await.status, 200, "after {}", garbage.escape_ascii());
    }
}

#[tokio::test]
async fn clients_that_send_nothing_or_too_slowly_give_their_places_back() {
    let config = AdminConfig::default().header_timeout(Duration::from_millis(200)).max_connections(2);
    let served = Served::start(Admin::new(Registry::new(), config)).await;
    let mut silent = served.connect().await;
    let mut slow = served.connect().await;
    slow.write_all(b"GET /metrics HT").await.unwrap();
    // Both places are taken, so this one waits until they are free.
    assert_eq!(served.curl(&[], "/healthz").await.status, 200);
    until_closed(&mut silent).await;
    until_closed(&mut slow).await;
}

/// Megabytes, more than the sockets take.
struct Many;

static MANY: Metric = Metric::new(Kind::Gauge, "test_many", "Many samples.", &["at"]);

impl Metrics for Many {
    fn each(&self, visit: &mut Visit<'_>) {
        (0..400_000_usize).for_each(|at| visit(&MANY, &[Label::new("at", at)], Value::Integer(1)));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_gives_its_place_back() {
    let registry = Registry::new();
    registry.add_by("many", || Some(Many));
    let config = AdminConfig::default()
        .header_timeout(Duration::from_millis(200))
        .connection_timeout(Duration::from_millis(200))
        .max_connections(1);
    let served = Served::start(Admin::new(registry, config)).await;
    let mut silent = served.connect().await;
    silent.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    silent.read_exact(&mut [0]).await.unwrap();
    assert_eq!(served.curl(&[], "/healthz").await.status, 200);
    let answer = until_closed(&mut silent).await;
    assert!(!answer.ends_with("\"399999\"} 1\n"), "it was read whole");
}

async fn may_serve(listener: Listener, allow_public: bool) -> Result<(), PublicAddress> {
    let admin = Admin::new(Registry::new(), AdminConfig::default().allow_public(allow_public));
    admin.serve(listener, async {})?.await;
    Ok(())
}

#[tokio::test]
async fn a_public_address_needs_permission() {
    for (endpoint, is_private) in [
        ("127.0.0.1:0", true),
        ("127.9.9.9:0", true),
        ("[::1]:0", true),
        ("0.0.0.0:0", false),
        ("[::]:0", false),
    ] {
        let bind = || Listener::bind(endpoint);
        assert_eq!(may_serve(bind().await.unwrap(), false).await.is_ok(), is_private, "{endpoint}");
        assert_eq!(may_serve(bind().await.unwrap(), true).await, Ok(()), "{endpoint}");
    }
}

#[tokio::test]
async fn a_refusal_names_the_address() {
    let listener = Listener::bind("0.0.0.0:0").await.unwrap();
    let endpoint = listener.local_endpoint().to_string();
    let refusal = may_serve(listener, false).await.unwrap_err().to_string();
    assert!(refusal.starts_with(&format!("{endpoint} can be reached by others")), "{refusal}");
}

#[tokio::test]
async fn a_unix_socket_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = Listener::bind(&*path).await.unwrap();
    let _serving = tokio::spawn(admin().serve(listener, pending()).unwrap());
    for host in ["localhost", "mill.example"] {
        let url = format!("http://{host}/healthz");
        let answer = curl(&["--unix-socket", path.to_str().unwrap()], &url).await;
        assert_eq!(answer.body, "ok\n", "{host}");
    }
}

#[tokio::test]
async fn a_stop_closes_idle_connections_at_once() {
    let served = Served::start(admin()).await;
    let mut idle = served.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    idle.read_exact(&mut [0]).await.unwrap();
    drop(served.stop);
    let half_of_the_header_timeout = AdminConfig::default().header_timeout / 2;
    timeout(half_of_the_header_timeout, served.serving).await.expect("it does not stop").unwrap();
    assert!(until_closed(&mut idle).await.ends_with("ok\n"));
    assert!(tokio::net::TcpStream::connect(served.address.parse::<SocketAddr>().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_stop_lets_a_request_end() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let (asked, mut is_asked) = tokio::sync::mpsc::channel(1);
    let ready = move || {
        let (mut wait, asked) = (wait.clone(), asked.clone());
        async move {
            asked.send(()).await.unwrap();
            wait.wait_for(|go| *go).await.unwrap();
            Ok(())
        }
    };
    let config = AdminConfig::default().ready_timeout(PATIENCE).header_timeout(PATIENCE);
    let served = Served::start(Admin::new(Registry::new(), config).ready(ready)).await;
    let mut client = served.connect().await;
    client.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    is_asked.recv().await.unwrap();
    drop(served.stop);
    // The listener goes first.
    while tokio::net::TcpStream::connect(served.address.parse::<SocketAddr>().unwrap()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.send(true).unwrap();
    assert!(until_closed(&mut client).await.ends_with("ready\n"));
    served.serving.await.unwrap();
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")
}

#[tokio::test]
async fn on_a_loopback_address_a_name_of_somebody_else_is_refused() {
    let served = Served::start(admin()).await;
    for host in [
        "evil.example",
        "evil.example:9900",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "10.0.0.7",
        "[::2]:9900",
        "",
        "local host",
        "localhost\r\nHost: evil.example",
    ] {
        let answer = served.answer(get("/connections", &format!("Host: {host}\r\n")).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{host}: {answer}");
    }
    let answer = served.answer(get("http://evil.example/stats", "Host: localhost\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[tokio::test]
async fn probes_may_name_any_loopback_address_and_port() {
    let served = Served::start(admin()).await;
    let own = served.address.clone();
    for host in [
        &*own,
        "127.0.0.1",
        "127.0.0.1:1",
        "127.9.9.9:9900",
        "[::1]",
        "[::1]:80",
        "localhost",
        "LocalHost:9900",
    ] {
        let answer = served.answer(get("/healthz", &format!("Host: {host}\r\n")).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    let answer = served.answer(b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}

#[tokio::test]
async fn on_a_public_address_any_name_is_served() {
    let listener = Listener::bind("0.0.0.0:0").await.unwrap();
    let address = listener.local_endpoint().to_string().replace("tcp://0.0.0.0", "127.0.0.1");
    let admin = Admin::new(Registry::new(), AdminConfig::default().allow_public(true));
    let _serving = tokio::spawn(admin.serve(listener, pending()).unwrap());
    let answer = curl(&["--header", "Host: mill.example"], &format!("http://{address}/healthz")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn other_sites_may_link_to_the_page_and_fetch_nothing() {
    let served = Served::start(admin()).await;
    for (path, site, dest, status) in [
        ("/events", "cross-site", "empty", 403),
        ("/stats", "cross-site", "image", 403),
        ("/", "cross-site", "iframe", 403),
        ("/", "cross-site", "document", 200),
        ("/stats", "same-origin", "empty", 200),
        ("/", "none", "document", 200),
    ] {
        let headers = format!("Host: localhost\r\nSec-Fetch-Site: {site}\r\nSec-Fetch-Dest: {dest}\r\n");
        let answer = served.answer(get(path, &headers).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {site} {dest}: {answer}");
    }
}

#[tokio::test]
async fn the_largest_settings_are_served() {
    let config = AdminConfig::default()
        .max_connections(usize::MAX)
        .header_timeout(Duration::MAX)
        .connection_timeout(Duration::MAX)
        .ready_timeout(Duration::MAX);
    let served = Served::start(Admin::new(Registry::new(), config)).await;
    assert_eq!(served.curl(&[], "/readyz").await.status, 200);
    let mut viewer = served.connect().await;
    viewer.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    viewer.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    drop(served.stop);
    drop(viewer);
    timeout(PATIENCE, served.serving).await.expect("it does not stop").unwrap();
}

#[tokio::test]
async fn the_only_connection_may_look_at_the_page() {
    let served = Served::start(Admin::new(Registry::new(), AdminConfig::default().max_connections(1))).await;
    let mut viewer = served.connect().await;
    viewer.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    viewer.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}
