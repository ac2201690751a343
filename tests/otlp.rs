//! Traces and metrics in a real collector, over gRPC and HTTP; and a collector that is dead.

mod collector;
mod upstream;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use millpond::connection::https::{HttpVersion, HttpsConfig, RequestBody, Upstreams, UpstreamsConfig};
use millpond::metric::{Metrics, Value};
use millpond::net::Listener;
use millpond::observe::Registry;
use millpond::observe::otlp::{
    Otlp, OtlpConfig, OtlpProtocol, propagate_context, server_span, set_status, trace_id,
};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::{Event, Instrument, Subscriber, debug_span};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::collector::{Collector, Received, text_of};
use self::upstream::{Nginx, PATIENCE};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

/// Says which `traceparent` came.
const SETTINGS: &str = "location = /context { return 200 '$http_traceparent'; }";

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

/// What a server sees of a request with this header, in a span of another trace.
async fn seen_by_server(otlp: &Otlp, header: Option<&str>) -> String {
    propagate_context();
    let nginx = Nginx::with(SETTINGS);
    let upstreams = Upstreams::new(UpstreamsConfig::default()).unwrap();
    let mut request = Request::get(format!("{}/context", nginx.http1()));
    if let Some(header) = header {
        request = request.header("traceparent", header);
    }
    let request = request.body(RequestBody::empty()).unwrap();
    let subscriber = tracing_subscriber::registry().with(otlp.layer().with_filter(filter()));
    let asking = async {
        let response = upstreams.send(request).instrument(debug_span!(target: "millpond", "mill")).await;
        response.unwrap().into_body().collect().await.unwrap().to_bytes()
    };
    String::from_utf8(asking.with_subscriber(subscriber).await.to_vec()).unwrap()
}

fn otlp(config: OtlpConfig) -> Otlp {
    Otlp::new(config.endpoint("http://127.0.0.1:9")).unwrap()
}

#[tokio::test]
async fn a_header_of_another_trace_stays() {
    let set = format!("00-{TRACE}-{CLIENT}-01");
    assert_eq!(seen_by_server(&otlp(OtlpConfig::default()), Some(&set)).await, set);
}

#[tokio::test]
async fn a_header_that_is_no_context_stays() {
    assert_eq!(seen_by_server(&otlp(OtlpConfig::default()), Some("grain")).await, "grain");
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_says_so() {
    let otlp = otlp(OtlpConfig::default().sample_ratio(0.0));
    let seen = seen_by_server(&otlp, None).await;
    assert!(seen.starts_with("00-") && seen.ends_with("-00"), "{seen}");
    assert_eq!(otlp.stats().waiting, 0);
}

/// Keeps the events about the collector.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0.contains("collector") {
            self.0.lock().unwrap().push(message.0);
        }
    }
}

struct Message(String);

impl Visit for Message {
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

/// A server that says 200 to everything.
fn answering(port: u16) -> JoinHandle<()> {
    tokio::spawn(async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async {
                request.into_body().collect().await?;
                Ok::<_, hyper::Error>(Response::new(String::new()))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
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
    assert_eq!(*log.0.lock().unwrap(), ["the collector fails: spans wait, and further ones are lost"]);
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
    let _server = answering(port);
    until(|| otlp.stats().exported == FEW as u64).await;
    let log = log.0.lock().unwrap().clone();
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
