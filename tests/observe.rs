//! What a registry says of real pools at work, as read by `promtool` and by the strict OpenMetrics parser of Python's
//! `prometheus_client`, and by an exporter of the crate `metrics`. `tests/install` installs the first two.

mod upstream;

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt;
use metrics::with_local_recorder;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use millpond::bus::TcpTransport;
use millpond::connection::Pool;
use millpond::connection::https::{
    Http2Pool, Http2PoolConfig, HttpVersion, HttpsConfig, HttpsConnectionManager, RequestBody, Upstreams,
    UpstreamsConfig,
};
use millpond::metric::{Bucket, Kind, Label, Metric, Metrics, Value, Visit, each_labelled};
use millpond::net::Peekable;
use millpond::observe::otlp::{Otlp, OtlpConfig};
use millpond::observe::{Format, Publisher, Registry, tables};
use millpond::policy::{
    BreakerPolicy, BudgetPolicy, LimitPolicy, Outcome, QueuePolicy, RegionPolicy, Regions, RetryBudget,
};
use millpond::relay::{Backend, Relay, RelayConfig};
use millpond::resilience::{ByteLimitLayer, DeadlineLayer, FallbackLayer, LimitLayer, Quota, RateLimitLayer};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use upstream::Nginx;

/// One of each thing that can be observed, each of which has done something.
struct Mill {
    buffers: BufferPool,
    relay: Relay,
    backend: Backend,
    hub: TcpTransport,
    pool: Pool<HttpsConnectionManager>,
    http2: Http2Pool,
    upstreams: Upstreams,
    regions: Regions,
    nginx: Nginx,
}

const RELAYED: u64 = 7;

impl Mill {
    async fn start() -> Self {
        let nginx = Nginx::start();
        let buffers = BufferPool::new(BufferPoolConfig::proxy());
        let relay = Relay::new(buffers.clone(), RelayConfig::default());
        let (mut client, here) = duplex(64);
        let (there, mut server) = duplex(64);
        let relaying = relay.clone();
        let relayed =
            tokio::spawn(async move { relaying.relay(Peekable::new(here), Peekable::new(there)).await });
        client.write_all(&[0; RELAYED as usize]).await.unwrap();
        client.shutdown().await.unwrap();
        server.read_to_end(&mut Vec::new()).await.unwrap();
        drop((client, server));
        relayed.await.unwrap().unwrap();

        let manager = HttpsConnectionManager::with_config(&nginx.http1(), HttpsConfig::default()).unwrap();
        let pool = Pool::builder().max_size(3).min_idle(None).breaker(BreakerPolicy::default());
        let pool = pool.build(manager).await.unwrap();
        drop(pool.get().await.unwrap());

        let https = nginx.trusting(&["h2", "http/1.1"]).version(HttpVersion::Negotiated);
        let upstreams = Upstreams::new(
            UpstreamsConfig::default().https(https).breaker(BreakerPolicy::default()).max_connections(10),
        )
        .unwrap();
        for server in [nginx.https(), nginx.http1()] {
            let request = Request::get(format!("{server}/large")).body(RequestBody::empty()).unwrap();
            upstreams.send(request).await.unwrap().into_body().collect().await.unwrap();
        }
        let http2 = Http2Pool::new(&nginx.http2(), Http2PoolConfig::default()).unwrap();
        let request = Request::get("/large").body(RequestBody::empty()).unwrap();
        http2.send(request).await.unwrap().into_body().collect().await.unwrap();

        let mut regions = Regions::new(RegionPolicy::default(), 2);
        for _ in 0..RegionPolicy::default().min_samples {
            regions.record(Instant::now(), 0, Duration::from_millis(20), Outcome::Success);
        }

        let hub = TcpTransport::bind("127.0.0.1:0").await.unwrap();
        Self {
            buffers,
            relay,
            backend: Backend::from("127.0.0.1:1"),
            hub,
            pool,
            http2,
            upstreams,
            regions,
            nginx,
        }
    }

    fn registry(&self) -> Registry {
        let registry = Registry::new();
        registry.add("a", &self.buffers);
        registry.add("a \"quoted\\ \n name", &self.buffers);
        registry.add("a", &self.relay);
        registry.add("a", &self.backend);
        registry.add("a", self.hub.hub());
        registry.add("a", &self.pool);
        registry.add("b", &self.http2);
        registry.add("c", &self.upstreams);
        let regions = self.regions.clone();
        registry.add_by("d", move || Some(regions.state(Instant::now(), ["east", "west"])));
        let retries = RetryBudget::new(BudgetPolicy::default());
        registry.add_by("d", move || Some(retries.stats()));
        // Layers are forgotten when they are dropped.
        let limit = LimitLayer::new(LimitPolicy::default(), QueuePolicy::default()).state();
        registry.add_by("e", move || Some(limit));
        let rate = RateLimitLayer::<()>::new(Quota::per_second(NonZeroU32::MIN)).stats();
        registry.add_by("e", move || Some(rate));
        let bytes = ByteLimitLayer::new(1).state();
        registry.add_by("e", move || Some(bytes));
        let deadline = DeadlineLayer::new(Duration::from_secs(1)).stats();
        registry.add_by("e", move || Some(deadline));
        let fallback = FallbackLayer::new(|(): &()| (), |(), _: &Result<(), _>| None).stats();
        registry.add_by("e", move || Some(fallback));
        let otlp = Otlp::new(OtlpConfig::default()).unwrap().stats();
        registry.add_by("e", move || Some(otlp));
        registry
    }
}

/// The sum of the samples of this name.
fn total(metrics: &dyn Metrics, name: &str) -> u64 {
    let mut total = 0;
    metrics.each(&mut |metric, _, value| match value {
        Value::Integer(number) if metric.name == name => total += number,
        Value::Histogram { buckets, .. } if metric.name == name => total += buckets.last().unwrap().count,
        _ => {}
    });
    total
}

/// The output of a program that must succeed with this input.
fn output(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/install installs it"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn python(script: &str) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python"));
    command.args(["-c", script]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_no_fault_in_any_metric() {
    let mill = Mill::start().await;
    let text = Format::Prometheus.encode(&mill.registry());
    for metric in tables() {
        assert!(text.contains(&format!("# TYPE {} ", metric.name)), "{} is not reported", metric.name);
    }
    assert_eq!(output(Command::new("promtool").args(["check", "metrics"]), &text), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strict_parser_reads_all_samples_of_open_metrics() {
    let mill = Mill::start().await;
    let registry = mill.registry();
    let text = Format::OpenMetrics.encode(&registry);
    let mut samples = 0;
    registry.each(&mut |_, _, value| {
        samples += if let Value::Histogram { buckets, .. } = value { buckets.len() + 2 } else { 1 };
    });
    let read = output(
        &mut python(
            "import sys\n\
             from prometheus_client.openmetrics.parser import text_string_to_metric_families\n\
             print(sum(len(family.samples) for family in text_string_to_metric_families(sys.stdin.read())))",
        ),
        &text,
    );
    assert_eq!(read.trim().parse::<usize>().unwrap(), samples);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_values_are_those_of_the_snapshots() {
    let mill = Mill::start().await;
    let registry = Registry::new();
    registry.add("relay", &mill.relay);
    registry.add("pool", &mill.pool);
    registry.add("http2", &mill.http2);
    assert_eq!(total(&registry, "millpond_relay_written_bytes_total"), RELAYED);
    // One by the pool, one by the other pool.
    assert_eq!(total(&registry, "millpond_connection_pool_created_connections_total"), 2);
    assert_eq!(total(&registry, "millpond_connection_pool_connect_seconds"), 2);
    assert_eq!(total(&registry, "millpond_http2_pool_connections"), 1);
    let max = total(&registry, "millpond_connection_pool_max_connections");
    assert_eq!(max, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_of_upstreams_is_a_label() {
    let mill = Mill::start().await;
    let registry = Registry::new();
    registry.add("up", &mill.upstreams);
    let text = Format::Prometheus.encode(&registry);
    for server in [mill.nginx.https(), mill.nginx.http1()] {
        let line = format!(
            "millpond_http_connects_total{{name=\"up\",server=\"{server}\",outcome=\"connected\"}} 1\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_disappears() {
    let Mill { buffers, relay, backend, hub, pool, http2, upstreams, regions: _, nginx: _nginx } =
        Mill::start().await;
    let registry = Registry::new();
    registry.add("buffers", &buffers);
    registry.add("relay", &relay);
    registry.add("backend", &backend);
    registry.add("hub", hub.hub());
    registry.add("pool", &pool);
    registry.add("http2", &http2);
    registry.add("upstreams", &upstreams);
    let left = || {
        let _ = Format::Prometheus.encode(&registry);
        format!("{registry:?}")
    };
    assert_eq!(left(), r#"["buffers", "relay", "backend", "hub", "pool", "http2", "upstreams"]"#);

    http2.close().await;
    pool.close().await;
    upstreams.close().await;
    hub.shutdown().await;
    drop((relay, backend, buffers, http2, pool, upstreams));
    // A task may hold the last reference for a moment.
    let gone = async {
        while left() != "[]" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), gone).await.is_ok(), "{} stay", left());
}

/// Labels of its own stand beside that of the registry.
#[test]
fn own_metrics_may_have_labels() {
    struct Labelled(BufferPool);
    impl Metrics for Labelled {
        fn each(&self, visit: &mut Visit<'_>) {
            each_labelled(Label::new("side", "left"), &self.0.stats(), visit);
        }
    }
    let registry = Registry::new();
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    registry.add_by("own", move || Some(Labelled(pool.clone())));
    let text = Format::Prometheus.encode(&registry);
    assert!(text.contains("millpond_buffer_pool_waits_total{name=\"own\",side=\"left\"} 0\n"), "{text}");
}

/// An exporter whose histograms have the bounds of ours.
fn exporter(metrics: &dyn Metrics) -> PrometheusRecorder {
    let mut bounds = Vec::new();
    metrics.each(&mut |_, _, value| {
        if let Value::Histogram { buckets, .. } = value {
            bounds = buckets.iter().map(|bucket| bucket.le).filter(|le| le.is_finite()).collect();
        }
    });
    PrometheusBuilder::new().set_buckets(&bounds).unwrap().build_recorder()
}

/// The value of each sample of a page. The exporter writes 1, and not 1.0.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.replace(".0\"}", "\"}"), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_of_the_facade_shows_the_same_values() {
    let mill = Mill::start().await;
    let registry = mill.registry();
    let recorder = exporter(&registry);
    let mut publisher = Publisher::new(registry.clone());
    let start = Instant::now();
    // The pools come to rest.
    let ours = loop {
        let before = Format::Prometheus.encode(&registry);
        with_local_recorder(&recorder, || publisher.publish());
        if before == Format::Prometheus.encode(&registry) {
            break before;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{before}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let theirs = recorder.handle().render();
    assert_eq!(output(Command::new("promtool").args(["check", "metrics"]), &theirs), "");

    // The facade has no counter of fractions.
    let ours = samples(&ours.replace("buffer_pool_wait_seconds_total", "buffer_pool_wait_seconds"));
    let theirs = samples(&theirs);
    assert_eq!(Vec::from_iter(theirs.keys()), Vec::from_iter(ours.keys()));
    for (name, ours) in ours {
        let theirs = theirs[&name];
        assert!((theirs - ours).abs() <= 1e-9 * ours.abs(), "{name}: {theirs}, not {ours}");
    }
}

/// A number in each kind of metric.
struct Stone(u64);

impl Metrics for Stone {
    fn each(&self, visit: &mut Visit<'_>) {
        static TURNS: Metric = Metric::new(Kind::Counter, "stone_turns_total", "Turns.", &[]);
        static SPEED: Metric = Metric::new(Kind::Gauge, "stone_speed", "Its speed.", &[]);
        static TURN: Metric = Metric::new(Kind::Histogram, "stone_turn_seconds", "Times of turns.", &[]);
        visit(&TURNS, &[], Value::Integer(self.0));
        visit(&SPEED, &[], Value::Integer(self.0));
        // Nothing else has its name and labels.
        visit(&SPEED, &[], Value::Integer(99));
        let buckets = [(1.0, self.0), (f64::INFINITY, 2 * self.0)].map(|(le, count)| Bucket { le, count });
        visit(&TURN, &[], Value::Histogram { buckets: &buckets, sum: 7.5 * self.0 as f64 });
    }
}

/// What the exporter shows after each of these, each a snapshot of a new publisher's source, or none.
fn published(snapshots: &[Option<u64>]) -> BTreeMap<String, f64> {
    let recorder = exporter(&Stone(0));
    let registry = Registry::new();
    let mut publisher = Publisher::new(registry.clone());
    for &snapshot in snapshots {
        registry.add_by("a", move || snapshot.map(Stone));
        with_local_recorder(&recorder, || publisher.publish());
    }
    samples(&recorder.handle().render())
}

#[test]
fn what_has_grown_is_added_to_what_was_published() {
    let samples = published(&[Some(3), Some(3), Some(10)]);
    assert_eq!(samples["stone_turns_total{name=\"a\"}"], 10.0);
    assert_eq!(samples["stone_speed{name=\"a\"}"], 10.0);
    assert_eq!(samples["stone_turn_seconds_bucket{name=\"a\",le=\"1\"}"], 10.0);
    assert_eq!(samples["stone_turn_seconds_count{name=\"a\"}"], 20.0);
    assert_eq!(samples["stone_turn_seconds_sum{name=\"a\"}"], 75.0);
}

#[test]
fn counts_that_fall_begin_anew() {
    let samples = published(&[Some(10), Some(4)]);
    assert_eq!(samples["stone_turns_total{name=\"a\"}"], 14.0);
    assert_eq!(samples["stone_turn_seconds_count{name=\"a\"}"], 28.0);
    assert_eq!(samples["stone_turn_seconds_sum{name=\"a\"}"], 105.0);
}

#[test]
fn gauges_of_what_is_gone_are_zero() {
    let gone = published(&[Some(10), None]);
    assert_eq!(gone["stone_speed{name=\"a\"}"], 0.0);
    assert_eq!(gone["stone_turns_total{name=\"a\"}"], 10.0);
    let again = published(&[Some(10), None, Some(12)]);
    assert_eq!(again["stone_speed{name=\"a\"}"], 12.0);
    assert_eq!(again["stone_turns_total{name=\"a\"}"], 22.0);
}
