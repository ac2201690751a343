//! Traces and metrics in a real collector, over gRPC and HTTP; and a collector that is dead.

mod collector;
mod upstream;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use millpond::connection::https::{HttpVersion, HttpsConfig, RequestBody, Upstreams, UpstreamsConfig};
use millpond::connection::websocket::{WebSocketConfig, WebSocketConnection};
use millpond::metric::{Metrics, Value};
use millpond::net::Listener;
use millpond::observe::Registry;
use millpond::observe::otlp::{
    Otlp, OtlpConfig, OtlpProtocol, propagate_context, server_span, set_status, trace_id,
};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Instrument, Subscriber, debug_span};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::collector::{Collector, Received, text_of};
use self::upstream::{Nginx, PATIENCE};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

/// Says which `traceparent` came, and which `tracestate`.
const SETTINGS: &str = "location = /context { return 200 '$http_traceparent'; } \
    location = /state { return 200 '$http_tracestate'; }";

/// Spans of this crate, and events.
fn filter() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_target("millpond", LevelFilter::DEBUG)
}

/// What came of a request with a `traceparent` that a reverse proxy forwarded.
struct Story {
    received: Received,
    /// Of the registry, when all was over.
    samples: Vec<(String, u64)>,
    /// What the server has seen.
    traceparent: String,
    /// By the span of the reverse proxy.
    trace_id: Option<String>,
}

/// The request goes through a relay to a server with HTTPS.
async fn forward(collector: &Collector, protocol: OtlpProtocol) -> Story {
    let nginx = Nginx::with(SETTINGS);
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    let https = HttpsConfig::default().version(HttpVersion::Http1).tls(Some(nginx.authority.connector(&[])));
    let upstreams = Upstreams::new(UpstreamsConfig::default().https(https)).unwrap();
    let registry = Registry::new();
    registry.add("proxy", &relay);
    registry.add("proxy", relay.pool());
    registry.add("servers", &upstreams);

    let endpoint = if protocol == OtlpProtocol::Grpc { &collector.grpc } else { &collector.http };
    let config = OtlpConfig::default().endpoint(endpoint).protocol(protocol).service_name("mill");
    let otlp = Otlp::new(config).unwrap();
    propagate_context();
    let subscriber = tracing_subscriber::registry().with(otlp.layer().with_filter(filter()));
    let _guard = tracing::subscriber::set_default(subscriber);
    otlp.start(registry.clone());

    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_endpoint().to_string().rsplit(':').next().unwrap().to_owned();
    let (stop, stopped) = oneshot::channel::<()>();
    let (serving, to) = (relay.clone(), format!("tcp://{}", nginx.tls_address()));
    let relaying =
        tokio::spawn(async move { serving.serve(listener, to, async { drop(stopped.await) }).await });

    let request = Request::get(format!("https://localhost:{port}/context?key=grain"))
        .header("traceparent", format!("00-{TRACE}-{CLIENT}-01"))
        .body(RequestBody::empty())
        .unwrap();
    let span = server_span(&request);
    let response = upstreams.send(request).instrument(span.clone()).await.unwrap();
    set_status(&span, response.status());
    let trace_id = trace_id(&span);
    drop(span);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let traceparent = String::from_utf8(body.to_vec()).unwrap();

    upstreams.close().await;
    drop(stop);
    tokio::time::timeout(PATIENCE, relaying).await.unwrap().unwrap();
    let stats = otlp.shutdown(PATIENCE).await;
    assert_eq!((stats.lost, stats.waiting, stats.failed_requests), (0, 0, 0), "{stats}");
    let samples = samples(&registry);
    let received = collector.received(|received| {
        received.spans.len() as u64 == stats.exported && received.samples().len() == samples.len()
    });
    Story { received, samples, traceparent, trace_id }
}

fn story(protocol: OtlpProtocol) -> Story {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(forward(&Collector::start(), protocol))
}

static STORIES: LazyLock<[Story; 2]> =
    LazyLock::new(|| [story(OtlpProtocol::Grpc), story(OtlpProtocol::HttpProtobuf)]);

/// All integers, and the counts of histograms.
fn samples(registry: &Registry) -> Vec<(String, u64)> {
    let mut samples = Vec::new();
    registry.each(&mut |metric, labels, value| {
        let value = match value {
            Value::Integer(value) => value,
            Value::Histogram { buckets, .. } => buckets.last().unwrap().count,
            _ => return,
        };
        let mut labels: Vec<_> =
            labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        labels.sort();
        samples.push((format!("{}{{{}}}", metric.name, labels.join(",")), value));
    });
    samples.sort();
    samples
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Story {
    /// The spans of the client's trace. Those of the relay are of another: a relay does not read HTTP.
    fn of_client(&self, name: &str, kind: i32) -> &Span {
        let spans = &self.received.spans;
        let found = spans.iter().find(|span| {
            hex(&span.trace_id) == TRACE && span.name == name && (kind == 0 || span.kind == kind)
        });
        found.unwrap_or_else(|| panic!("no {name} of the client's trace"))
    }

    fn server(&self) -> &Span {
        self.of_client("GET", SERVER)
    }

    fn client(&self) -> &Span {
        self.of_client("GET", CLIENT_KIND)
    }
}

const SERVER: i32 = 2;
const CLIENT_KIND: i32 = 3;

#[test]
fn the_span_of_a_server_continues_the_trace_of_its_client() {
    for story in &*STORIES {
        assert_eq!(hex(&story.server().parent_span_id), CLIENT);
    }
}

#[test]
fn a_request_is_within_the_span_of_the_server_that_sends_it() {
    for story in &*STORIES {
        assert_eq!(story.client().parent_span_id, story.server().span_id);
    }
}

#[test]
fn the_next_server_learns_of_the_request() {
    for story in &*STORIES {
        assert_eq!(story.traceparent, format!("00-{TRACE}-{}-01", hex(&story.client().span_id)));
    }
}

#[test]
fn a_connect_has_children_for_its_phases() {
    for story in &*STORIES {
        let connect = story.of_client("connect", 0);
        for phase in ["dns", "tcp", "tls"] {
            assert_eq!(story.of_client(phase, 0).parent_span_id, connect.span_id, "{phase}");
        }
    }
}

#[test]
fn a_connect_is_within_the_wait_for_it() {
    for story in &*STORIES {
        assert_eq!(story.of_client("connect", 0).parent_span_id, story.of_client("acquire", 0).span_id);
    }
}

#[test]
fn a_relay_is_a_trace_of_its_own() {
    for story in &*STORIES {
        let (accept, relay) = (story.received.span("accept"), story.received.span("relay"));
        assert_eq!(relay.parent_span_id, accept.span_id);
    }
}

#[test]
fn the_span_of_a_relay_has_its_bytes() {
    for story in &*STORIES {
        let relay = &story.received.span("relay").attributes;
        let count = |name: &str| {
            let metric = format!("millpond_relay_written_bytes_total{{name=proxy,to={name}}}");
            story.samples.iter().find(|(name, _)| *name == metric).unwrap().1.to_string()
        };
        assert_eq!(text_of(relay, "bytes_to_upstream").unwrap(), count("upstream"));
        assert_eq!(text_of(relay, "bytes_to_client").unwrap(), count("client"));
    }
}

#[test]
fn the_span_of_a_request_has_no_query() {
    for story in &*STORIES {
        let url = text_of(&story.client().attributes, "url.full").unwrap();
        assert!(url.ends_with("/context?REDACTED"), "{url}");
    }
}

#[test]
fn the_spans_of_both_ends_have_the_status() {
    for story in &*STORIES {
        for span in [story.server(), story.client()] {
            assert_eq!(text_of(&span.attributes, "http.response.status_code").unwrap(), "200");
        }
    }
}

/// Of all spans: `otlp.rs` makes one of each kind. An `error.type` may be a status, which is a text.
#[test]
fn integers_of_spans_are_integers() {
    let mut integers = BTreeSet::new();
    for span in STORIES.iter().flat_map(|story| &story.received.spans) {
        for attribute in span.attributes.iter().filter(|attribute| attribute.key != "error.type") {
            match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
                Some(Any::IntValue(_)) => _ = integers.insert(&*attribute.key),
                Some(Any::StringValue(text)) => assert!(text.parse::<i64>().is_err(), "{attribute:?}"),
                _ => {}
            }
        }
    }
    let named = [
        "bytes_to_client",
        "bytes_to_upstream",
        "http.response.status_code",
        "id",
        "network.peer.port",
        "server.port",
    ];
    assert!(integers.is_superset(&BTreeSet::from(named)), "{integers:?}");
}

#[test]
fn metrics_have_the_values_of_the_registry() {
    for story in &*STORIES {
        assert!(story.samples.len() > 30, "{}", story.samples.len());
        assert_eq!(story.received.samples(), story.samples);
    }
}

#[test]
fn the_program_has_its_name() {
    for story in &*STORIES {
        assert_eq!(BTreeSet::from_iter(&story.received.services), BTreeSet::from([&"mill".to_owned()]));
    }
}

#[test]
fn a_log_can_have_the_id_of_the_trace() {
    assert_eq!(STORIES[0].trace_id.as_deref(), Some(TRACE));
}

/// What a server sees of a request with these headers, in a span of another trace.
async fn seen_by_server(otlp: &Otlp, path: &str, headers: &[(&str, &str)]) -> String {
    seen_within(otlp, path, headers, |_| debug_span!(target: "millpond", "mill")).await
}

/// The same in a span of its own.
async fn seen_within(
    otlp: &Otlp,
    path: &str,
    headers: &[(&str, &str)],
    span: impl FnOnce(&Request<RequestBody>) -> tracing::Span,
) -> String {
    propagate_context();
    let nginx = Nginx::with(SETTINGS);
    let upstreams = Upstreams::new(UpstreamsConfig::default()).unwrap();
    let mut request = Request::get(format!("{}{path}", nginx.http1()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(RequestBody::empty()).unwrap();
    let subscriber = tracing_subscriber::registry().with(otlp.layer().with_filter(filter()));
    let asking = async {
        let span = span(&request);
        let response = upstreams.send(request).instrument(span).await;
        response.unwrap().into_body().collect().await.unwrap().to_bytes()
    };
    String::from_utf8(asking.with_subscriber(subscriber).await.to_vec()).unwrap()
}

fn otlp(config: OtlpConfig) -> Otlp {
    Otlp::new(config.endpoint("http://127.0.0.1:9")).unwrap()
}

fn parent() -> String {
    format!("00-{TRACE}-{CLIENT}-01")
}

#[tokio::test]
async fn a_header_of_another_trace_stays() {
    let headers = [("traceparent", &*parent())];
    assert_eq!(seen_by_server(&otlp(OtlpConfig::default()), "/context", &headers).await, parent());
}

#[tokio::test]
async fn a_header_that_is_no_context_is_replaced() {
    let headers = [("traceparent", "grain")];
    let seen = seen_by_server(&otlp(OtlpConfig::default()), "/context", &headers).await;
    assert_eq!(seen.len(), parent().len(), "{seen}");
}

#[tokio::test]
async fn a_state_alone_keeps_no_request_out_of_its_trace() {
    let headers = [("tracestate", "mill=1")];
    let seen = seen_by_server(&otlp(OtlpConfig::default()), "/context", &headers).await;
    assert_eq!(seen.len(), parent().len(), "{seen}");
}

#[tokio::test]
async fn a_state_alone_is_discarded() {
    let headers = [("tracestate", "mill=1")];
    assert_eq!(seen_by_server(&otlp(OtlpConfig::default()), "/state", &headers).await, "");
}

#[tokio::test]
async fn two_parents_are_none() {
    let headers = [("traceparent", &*parent()), ("traceparent", &*parent())];
    let seen = seen_by_server(&otlp(OtlpConfig::default()), "/context", &headers).await;
    assert!(!seen.contains(TRACE), "{seen}");
}

#[tokio::test]
async fn a_state_in_two_headers_is_one() {
    let headers = [("traceparent", &*parent()), ("tracestate", "mill=1"), ("tracestate", "sack=2")];
    let seen = seen_within(&otlp(OtlpConfig::default()), "/state", &headers, server_span).await;
    assert_eq!(seen, "mill=1,sack=2");
}

#[tokio::test]
async fn a_member_that_makes_a_state_too_long_is_left_out() {
    let long = format!("mill=1,flour={},sack=2", "f".repeat(512));
    let headers = [("traceparent", &*parent()), ("tracestate", &*long)];
    let seen = seen_within(&otlp(OtlpConfig::default()), "/state", &headers, server_span).await;
    assert_eq!(seen, "mill=1,sack=2");
}

#[tokio::test]
async fn the_handshake_of_a_websocket_has_the_context() {
    propagate_context();
    let otlp = otlp(OtlpConfig::default());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(otlp.layer()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = WebSocketConfig::new(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let span = debug_span!("mill");
    let id = trace_id(&span).unwrap();
    // The server does not answer.
    WebSocketConnection::open(&config).instrument(span).await.map(drop).unwrap_err();
    let request = server.await.unwrap();
    assert!(request.contains(&format!("traceparent: 00-{id}-")), "{request}");
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_says_so() {
    let otlp = otlp(OtlpConfig::default().sample_ratio(0.0));
    let seen = seen_by_server(&otlp, "/context", &[]).await;
    assert!(seen.starts_with("00-") && seen.ends_with("-00"), "{seen}");
    assert_eq!(otlp.stats().waiting, 0);
}

/// How many spans a request of a client with a trace makes.
fn spans_of_a_client(otlp: &Otlp) -> u64 {
    propagate_context();
    let subscriber = tracing_subscriber::registry().with(otlp.layer());
    let request = Request::get("/").header("traceparent", parent()).body(()).unwrap();
    tracing::subscriber::with_default(subscriber, || drop(server_span(&request)));
    otlp.stats().waiting
}

#[test]
fn the_trace_of_a_client_is_exported_as_it_says() {
    assert_eq!(spans_of_a_client(&otlp(OtlpConfig::default().sample_ratio(0.0))), 1);
}

#[test]
fn the_ratio_may_decide_of_the_traces_of_clients() {
    assert_eq!(spans_of_a_client(&otlp(OtlpConfig::default().sample_ratio(0.0).follows_parent(false))), 0);
}

#[tokio::test]
async fn an_export_that_is_turned_off_takes_nothing() {
    let otlp = otlp(OtlpConfig::default().is_enabled(false));
    assert_eq!(spans_of_a_client(&otlp), 0);
    otlp.start(Registry::new());
    assert_eq!(otlp.shutdown(PATIENCE).await.failed_requests, 0);
}

/// The id for logs of a trace that begins here.
fn id_for_logs(otlp: &Otlp) -> Option<String> {
    let subscriber = tracing_subscriber::registry().with(otlp.layer());
    tracing::subscriber::with_default(subscriber, || trace_id(&debug_span!("grind")))
}

#[test]
fn a_trace_that_is_not_sampled_has_no_id_for_logs() {
    assert!(id_for_logs(&otlp(OtlpConfig::default())).is_some());
    assert_eq!(id_for_logs(&otlp(OtlpConfig::default().sample_ratio(0.0))), None);
}

/// Keeps the events about the collector, and how many spans were lost by then.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(String, u64)>>>);

impl Log {
    fn messages(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(message, _)| message.clone()).collect()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new(), 0);
        event.record(&mut message);
        if message.0.contains("collector") {
            self.0.lock().unwrap().push((message.0, message.1));
        }
    }
}

struct Message(String, u64);

impl Visit for Message {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "lost_spans" {
            self.1 = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Makes spans that end at once.
fn grind(spans: usize) {
    for _ in 0..spans {
        drop(debug_span!(target: "millpond", "grind"));
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server at this port, or any, that answers everything in the same way. Returns where, and the lengths of what comes.
async fn answering(port: u16, answer: Response<Bytes>) -> (String, Arc<Mutex<Vec<usize>>>) {
    let lengths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lengths);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, answer) = (Arc::clone(&seen), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (seen, answer) = (Arc::clone(&seen), answer.clone());
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    seen.lock().unwrap().push(body.len());
                    Ok::<_, hyper::Error>(answer.map(Full::new))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (at, lengths)
}

/// The answer of a collector.
fn answer(status: u16) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::new()).unwrap()
}

/// An export over HTTP, and its log. The guard keeps its subscriber.
fn exporting(to: &str, config: OtlpConfig) -> (Otlp, Log, DefaultGuard) {
    let config = config.endpoint(to).protocol(OtlpProtocol::HttpProtobuf);
    let (otlp, log) = (Otlp::new(config).unwrap(), Log::default());
    let subscriber = tracing_subscriber::registry().with(otlp.layer()).with(log.clone());
    let guard = tracing::subscriber::set_default(subscriber);
    (otlp, log, guard)
}

/// Exports often.
fn often() -> OtlpConfig {
    OtlpConfig::default().span_interval(Duration::from_millis(5))
}

const FEW: usize = 100;
const BATCH: u64 = 512;

#[tokio::test]
async fn a_dead_collector_holds_bounded_memory_and_loses_spans_with_a_count() {
    let dead = format!("http://127.0.0.1:{}", upstream::free_port());
    let config = OtlpConfig::default().span_interval(Duration::from_millis(5)).max_spans(FEW);
    let (otlp, log) = (Otlp::new(config.endpoint(dead)).unwrap(), Log::default());
    let subscriber = tracing_subscriber::registry().with(otlp.layer()).with(log.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    otlp.start(Registry::new());
    let (mut made, mut failures) = (0, 0);
    for _ in 0..5 {
        grind(2 * FEW);
        made += 2 * FEW as u64;
        let stats = otlp.stats();
        assert!(stats.waiting <= FEW as u64 + BATCH, "{stats}");
        assert_eq!(stats.lost + stats.waiting, made, "{stats}");
        until(|| otlp.stats().failed_requests > failures).await;
        failures = otlp.stats().failed_requests;
    }
    assert_eq!(log.messages(), ["the collector fails: spans wait, and further ones are lost"]);
    let stats = otlp.shutdown(PATIENCE).await;
    assert_eq!((stats.exported, stats.waiting, stats.lost), (0, 0, made), "{stats}");
}

#[tokio::test]
async fn spans_wait_for_a_collector_that_comes_back() {
    let (port, log) = (upstream::free_port(), Log::default());
    let config = OtlpConfig::default().span_interval(Duration::from_millis(5));
    let config = config.endpoint(format!("http://127.0.0.1:{port}")).protocol(OtlpProtocol::HttpProtobuf);
    let otlp = Otlp::new(config).unwrap();
    let subscriber = tracing_subscriber::registry().with(otlp.layer()).with(log.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    otlp.start(Registry::new());
    grind(FEW);
    until(|| otlp.stats().failed_requests > 1).await;
    answering(port, answer(200)).await;
    until(|| otlp.stats().exported == FEW as u64).await;
    let log = log.messages();
    let fails = "the collector fails: spans wait, and further ones are lost";
    assert_eq!(log, [fails, "the collector works again"]);
}

#[tokio::test]
async fn a_collector_that_does_not_answer_delays_the_shutdown_by_the_limit_only() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = OtlpConfig::default().timeout(Duration::from_secs(3600));
    let config = config.endpoint(format!("http://{}", silent.local_addr().unwrap()));
    let otlp = Otlp::new(config.protocol(OtlpProtocol::HttpProtobuf)).unwrap();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(otlp.layer()));
    otlp.start(Registry::new());
    grind(FEW);
    let ended = tokio::time::timeout(PATIENCE, otlp.shutdown(Duration::from_millis(50))).await;
    assert_eq!(ended.unwrap().lost, FEW as u64);
}

#[tokio::test]
async fn a_batch_that_the_collector_refuses_is_lost() {
    let nginx = Nginx::with("location /v1/ { return 400; }");
    let config = OtlpConfig::default().endpoint(nginx.http1()).protocol(OtlpProtocol::HttpProtobuf);
    let otlp = Otlp::new(config.span_interval(Duration::from_millis(5))).unwrap();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(otlp.layer()));
    otlp.start(Registry::new());
    grind(FEW);
    until(|| otlp.stats().failed_requests > 0).await;
    let stats = otlp.stats();
    assert_eq!((stats.lost, stats.waiting), (FEW as u64, 0), "{stats}");
}

#[tokio::test]
async fn a_collector_may_need_tls_and_a_path_and_a_token() {
    let nginx = Nginx::with(
        "location /mill/v1/ { if ($http_authorization != 'Bearer grain') { return 401; } return 200; }",
    );
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", "Bearer grain".parse().unwrap());
    let config = OtlpConfig::default().endpoint(format!("{}/mill/", nginx.https())).headers(headers);
    let config = config.protocol(OtlpProtocol::HttpProtobuf).tls(Some(nginx.authority.connector(&[])));
    let otlp = Otlp::new(config).unwrap();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(otlp.layer()));
    otlp.start(Registry::new());
    grind(FEW);
    let stats = otlp.shutdown(PATIENCE).await;
    assert_eq!(stats.exported, FEW as u64, "{stats}");
}

/// A batch, larger than a message may be.
fn grind_much() {
    let flour = "f".repeat(1000);
    for _ in 0..BATCH {
        let span = debug_span!("grind", a = &*flour, b = &*flour, c = &*flour, d = &*flour, e = &*flour);
        drop(span);
    }
}

#[tokio::test]
async fn a_message_has_at_most_a_megabyte() {
    let (at, lengths) = answering(0, answer(200)).await;
    let (otlp, _, _guard) = exporting(&at, OtlpConfig::default());
    grind_much();
    otlp.start(Registry::new());
    let stats = otlp.shutdown(PATIENCE).await;
    assert_eq!(stats.exported, BATCH, "{stats}");
    let longest = *lengths.lock().unwrap().iter().max().unwrap();
    assert!((500_000..1_000_000).contains(&longest), "{longest}");
}

#[tokio::test]
async fn a_span_keeps_a_kibibyte_of_a_text() {
    const OTHERS: usize = 500;
    let (at, lengths) = answering(0, answer(200)).await;
    let (otlp, _, _guard) = exporting(&at, OtlpConfig::default());
    let path = format!("/{}", "f".repeat(60_000));
    drop(server_span(&Request::get(path).body(()).unwrap()));
    otlp.start(Registry::new());
    let stats = otlp.shutdown(PATIENCE).await;
    assert_eq!(stats.exported, 1, "{stats}");
    let length = lengths.lock().unwrap()[0];
    assert!((1024..1024 + OTHERS).contains(&length), "{length}");
}

#[tokio::test]
async fn a_batch_that_fails_ten_times_is_lost() {
    let (at, lengths) = answering(0, answer(503)).await;
    let (otlp, _, _guard) = exporting(&at, often());
    otlp.start(Registry::new());
    grind(FEW);
    until(|| otlp.stats().lost == FEW as u64).await;
    assert_eq!(lengths.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn after_a_refusal_no_request_follows_for_a_period() {
    let (at, lengths) = answering(0, answer(401)).await;
    let (otlp, _, _guard) = exporting(&at, OtlpConfig::default().span_interval(Duration::from_secs(3600)));
    otlp.start(Registry::new());
    grind(BATCH as usize);
    until(|| otlp.stats().lost == BATCH).await;
    grind(BATCH as usize);
    // Longer than a request takes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lengths.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_collector_says_when_to_ask_again() {
    let mut busy = answer(429);
    busy.headers_mut().insert("retry-after", "3600".parse().unwrap());
    let (at, lengths) = answering(0, busy).await;
    let (otlp, _, _guard) = exporting(&at, often());
    otlp.start(Registry::new());
    grind(FEW);
    until(|| otlp.stats().failed_requests > 0).await;
    // Longer than some periods.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(lengths.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_log_says_how_many_spans_a_refusal_loses() {
    let (at, _) = answering(0, answer(400)).await;
    let (otlp, log, _guard) = exporting(&at, often());
    otlp.start(Registry::new());
    grind(FEW);
    until(|| otlp.stats().lost > 0).await;
    until(|| !log.messages().is_empty()).await;
    let expected = ("the collector refuses the spans, and they are lost".to_owned(), FEW as u64);
    assert_eq!(*log.0.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn the_log_says_that_a_part_is_refused() {
    let partial = ExportTracePartialSuccess { rejected_spans: 7, error_message: "coarse".to_owned() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) };
    let (at, _) = answering(0, answer(200).map(|_| partial.encode_to_vec().into())).await;
    let (otlp, log, _guard) = exporting(&at, often());
    otlp.start(Registry::new());
    grind(FEW);
    until(|| !log.messages().is_empty()).await;
    assert_eq!(*log.0.lock().unwrap(), [("the collector refuses a part".to_owned(), 7)]);
}

#[tokio::test]
async fn the_log_says_that_metrics_do_not_arrive() {
    let (at, _) = answering(0, answer(400)).await;
    let (otlp, log, _guard) = exporting(&at, OtlpConfig::default().metric_interval(Duration::from_millis(5)));
    let registry = Registry::new();
    registry.add("collector", &otlp);
    otlp.start(registry);
    until(|| otlp.stats().failed_requests > 2).await;
    assert_eq!(log.messages(), ["the collector does not take the metrics: the next snapshot has them, too"]);
}
