//! A real collector of OpenTelemetry, rotel, and a receiver behind it that keeps what comes out.

#![allow(dead_code, clippy::allow_attributes, reason = "each test uses some of it")]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// What has come out of a collector.
#[derive(Clone, Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<Span>,
    /// Of the last message of each name.
    pub(crate) metrics: Vec<Metric>,
    pub(crate) services: Vec<String>,
}

/// A collector that takes gRPC and HTTP.
pub(crate) struct Collector {
    rotel: Child,
    received: Arc<Mutex<Received>>,
    pub(crate) grpc: String,
    pub(crate) http: String,
    _folder: TempDir,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let (folder, receiver) = (tempfile::tempdir().unwrap(), receive(Arc::clone(&received)));
        let [grpc, http] = [(); 2].map(|()| crate::upstream::free_port());
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python"));
        // The package has a module and the program itself.
        command.args([
            "-c",
            "import os, rotel, sys; os.execv(os.path.dirname(rotel.__file__) + '/rotel-agent', sys.argv)",
        ]);
        command.args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"]);
        command.args(["--batch-timeout", "20ms"]);
        command.arg("--otlp-exporter-endpoint").arg(format!("http://127.0.0.1:{receiver}"));
        command.arg("--otlp-grpc-endpoint").arg(format!("127.0.0.1:{grpc}"));
        command.arg("--otlp-http-endpoint").arg(format!("127.0.0.1:{http}"));
        command.arg("--pid-file").arg(folder.path().join("pid"));
        command.arg("--log-file").arg(folder.path().join("log"));
        let rotel = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let rotel = rotel.expect("Python is missing, and this test needs it: run tests/run");
        for port in [grpc, http] {
            crate::upstream::wait_for(&format!("127.0.0.1:{port}"));
        }
        let [grpc, http] = [grpc, http].map(|port| format!("http://127.0.0.1:{port}"));
        Self { rotel, received, grpc, http, _folder: folder }
    }

    /// What has been received, once `is_whole`.
    pub(crate) fn received(&self, is_whole: impl Fn(&Received) -> bool) -> Received {
        let begun = Instant::now();
        loop {
            let received = self.received.lock().unwrap().clone();
            if is_whole(&received) {
                return received;
            }
            let names: Vec<_> = received.spans.iter().map(|span| &span.name).collect();
            assert!(begun.elapsed() < PATIENCE, "{names:?}, and {} metrics", received.metrics.len());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.rotel.kill();
        let _ = self.rotel.wait();
    }
}

/// Receives OTLP over HTTP in a thread of its own, at this port.
fn receive(received: Arc<Mutex<Received>>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let received = Arc::clone(&received);
                let service = service_fn(move |request| answer(request, Arc::clone(&received)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    port
}

async fn answer(
    request: Request<Incoming>,
    received: Arc<Mutex<Received>>,
) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let is_compressed = request.headers().contains_key("content-encoding");
    let mut body = request.into_body().collect().await?.to_bytes();
    if is_compressed {
        body = decompressed(&body);
    }
    let mut received = received.lock().unwrap();
    match &*path {
        "/v1/traces" => {
            for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
                let attributes = resource.resource.unwrap().attributes;
                received.services.extend(text_of(&attributes, "service.name"));
                received.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        "/v1/metrics" => {
            for resource in ExportMetricsServiceRequest::decode(body).unwrap().resource_metrics {
                for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                    received.metrics.retain(|other| other.name != metric.name);
                    received.metrics.push(metric);
                }
            }
        }
        _ => panic!("{path}"),
    }
    Ok(Response::new(Empty::new()))
}

/// rotel compresses, whatever its options say.
fn decompressed(body: &[u8]) -> Bytes {
    let mut gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, body) = (gzip.stdin.take().unwrap(), body.to_vec());
    let writing = thread::spawn(move || stdin.write_all(&body).unwrap());
    let output = gzip.wait_with_output().unwrap();
    writing.join().unwrap();
    output.stdout.into()
}

/// The value of an attribute, as text.
pub(crate) fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::BoolValue(value) => value.to_string(),
        other => panic!("{key}: {other:?}"),
    })
}

impl Received {
    pub(crate) fn span(&self, name: &str) -> &Span {
        self.spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// All samples as `name{label=value,…}`, and their values. Of a histogram it is the count.
    pub(crate) fn samples(&self) -> Vec<(String, u64)> {
        let mut samples = Vec::new();
        for metric in &self.metrics {
            let mut add = |labels: &[KeyValue], value| {
                let mut labels: Vec<_> = labels
                    .iter()
                    .map(|label| {
                        format!("{}={}", label.key, text_of(std::slice::from_ref(label), &label.key).unwrap())
                    })
                    .collect();
                labels.sort();
                samples.push((format!("{}{{{}}}", metric.name, labels.join(",")), value));
            };
            let points = match metric.data.as_ref().unwrap() {
                Data::Sum(sum) => &sum.data_points,
                Data::Gauge(gauge) => &gauge.data_points,
                Data::Histogram(histogram) => {
                    histogram.data_points.iter().for_each(|point| add(&point.attributes, point.count));
                    continue;
                }
                other => panic!("{other:?}"),
            };
            for point in points {
                if let Some(number_data_point::Value::AsInt(value)) = point.value {
                    add(&point.attributes, value as u64);
                }
            }
        }
        samples.sort();
        samples
    }
}
