//! The spans that a subscriber sees: the page `src/spans.md` lists them, and each belongs to what has caused it.

mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use millpond::connection::https::{HttpVersion, HttpsConfig, RequestBody, Upstreams, UpstreamsConfig};
use millpond::connection::websocket::{WebSocketConfig, WebSocketConnection};
use millpond::net::Listener;
use millpond::observe::Registry;
use millpond::observe::admin::{Admin, AdminConfig};
use millpond::observe::otlp::{server_span, set_status};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument, Subscriber, debug_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use self::upstream::{Nginx, PATIENCE};

/// What was seen of the spans.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Spans>>);

#[derive(Clone, Default)]
struct Spans {
    fields: BTreeMap<&'static str, BTreeSet<&'static str>>,
    levels: BTreeSet<String>,
    /// The names from the root on, and how often.
    paths: BTreeMap<String, usize>,
    error_types: BTreeSet<String>,
}

impl Visit for Spans {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error.type" {
            self.error_types.insert(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let metadata = attributes.metadata();
        if metadata.target() != "millpond::span" {
            return;
        }
        let names: Vec<_> = cx.span_scope(id).unwrap().from_root().map(|span| span.name()).collect();
        let mut spans = self.0.lock().unwrap();
        *spans.paths.entry(names.join("/")).or_default() += 1;
        spans.fields.insert(metadata.name(), metadata.fields().iter().map(|field| field.name()).collect());
        spans.levels.insert(metadata.level().to_string());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut *self.0.lock().unwrap());
    }
}

/// A request twice through a relay to a server with HTTPS, in the span of a server, and then all is closed.
async fn ask_twice(version: HttpVersion) -> Spans {
    let seen = Seen::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(seen.clone()));
    let nginx = Nginx::start();
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_endpoint().to_string();
    let url = format!("https://localhost:{}/", endpoint.rsplit(':').next().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let to = format!("tcp://{}", nginx.tls_address());
    let relaying = tokio::spawn(
        async move { relay.serve(listener, to, async { drop(stopped.await) }).await }
            .instrument(debug_span!("program")),
    );

    let tls = nginx.authority.connector(&[]);
    let https = HttpsConfig::default().version(version).tls(Some(tls));
    let upstreams = Upstreams::new(UpstreamsConfig::default().https(https)).unwrap();
    for _ in 0..2 {
        let request = Request::get(&url).body(RequestBody::empty()).unwrap();
        let span = server_span(&request);
        let response = upstreams.send(request).instrument(span.clone()).await.unwrap();
        set_status(&span, response.status());
        response.into_body().collect().await.unwrap();
    }
    upstreams.close().await;
    drop(stop);
    tokio::time::timeout(PATIENCE, relaying).await.unwrap().unwrap();
    seen.0.lock().unwrap().clone()
}

fn spans_of(version: HttpVersion) -> Spans {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let spans = runtime.block_on(ask_twice(version));
    runtime.shutdown_timeout(Duration::from_secs(1));
    spans
}

static OVER_HTTP1: LazyLock<Spans> = LazyLock::new(|| spans_of(HttpVersion::Http1));

#[test]
fn the_page_lists_all_spans_with_their_fields() {
    let mut listed = BTreeMap::new();
    for row in include_str!("../src/spans.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, _, fields] = cells[..] else { panic!("{row}") };
        let fields: BTreeSet<_> = fields.split(", ").map(|field| field.trim_matches('`')).collect();
        listed.insert(name.trim_matches('`'), fields);
    }
    let mut seen = OVER_HTTP1.fields.clone();
    seen.extend(handshake().fields);
    assert_eq!(seen, listed);
}

/// The handshake of a WebSocket with a server that ends it.
fn handshake() -> Spans {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = Seen::default();
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = WebSocketConfig::new(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
        let accepting = tokio::spawn(async move { drop(listener.accept().await) });
        WebSocketConnection::open(&config).await.map(drop).unwrap_err();
        accepting.await.unwrap();
    });
    seen.0.lock().unwrap().clone()
}

#[test]
fn the_handshake_of_a_websocket_has_the_span_of_its_connect() {
    let names = ["websocket", "websocket/connect", "websocket/connect/tcp"];
    assert_eq!(handshake().paths, names.map(|name| (name.to_owned(), 1)).into());
}

#[test]
fn all_spans_are_for_debugging() {
    assert_eq!(OVER_HTTP1.levels, BTreeSet::from(["DEBUG".to_owned()]));
}

/// A warm get has no span, and neither has what happens to bytes.
const PATHS: &[(&str, usize)] = &[
    ("accept", 1),
    ("accept/relay", 1),
    ("accept/relay/connect", 1),
    ("accept/relay/connect/tcp", 1),
    ("serve", 2),
    ("serve/request", 2),
    ("serve/request/acquire", 1),
    ("serve/request/acquire/connect", 1),
    ("serve/request/acquire/connect/dns", 1),
    ("serve/request/acquire/connect/tcp", 1),
    ("serve/request/acquire/connect/tls", 1),
];

fn paths() -> BTreeMap<String, usize> {
    PATHS.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect()
}

#[test]
fn each_span_over_http1_belongs_to_what_has_caused_it() {
    assert_eq!(OVER_HTTP1.paths, paths());
}

#[test]
fn each_span_over_http2_belongs_to_what_has_caused_it() {
    assert_eq!(spans_of(HttpVersion::Http2).paths, paths());
}

#[tokio::test]
async fn the_admin_endpoint_has_no_spans() {
    let seen = Seen::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(seen.clone()));
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_endpoint().clone();
    let serving = Admin::new(Registry::new(), AdminConfig::default()).serve(listener, pending()).unwrap();
    let serving = tokio::spawn(serving);
    let mut client =
        tokio::net::TcpStream::connect(at.to_string().trim_start_matches("tcp://")).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    serving.abort();
    assert_eq!(seen.0.lock().unwrap().paths, BTreeMap::new());
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_was_cancelled() {
    let seen = Seen::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(seen.clone()));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstreams = Upstreams::new(UpstreamsConfig::default()).unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let sending = upstreams.send(Request::get(url).body(RequestBody::empty()).unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(20), sending).await.is_err());
    assert!(seen.0.lock().unwrap().error_types.contains("cancelled"));
}
