//! `millpond proxy --otlp`: a real collector receives the proxy's traces and metrics, and a dead one disturbs nobody.

mod collector;
mod proxy;
mod upstream;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use self::collector::{Collector, text_of};
use self::proxy::Proxy;

const ANY_PORT: &str = "tcp://127.0.0.1:0";
const PROTOCOLS: [&str; 2] = ["grpc", "http"];
const CONNECTIONS: usize = 3;
const SENT: usize = 1234;

/// A proxy that exports often.
fn proxy(to: &str, more: &[&str]) -> Proxy {
    Proxy::start_with(ANY_PORT, to, more, |command| {
        command.env("OTEL_BSP_SCHEDULE_DELAY", "20").env("OTEL_METRIC_EXPORT_INTERVAL", "50");
        command.stderr(Stdio::piped())
    })
}

fn endpoint<'a>(collector: &'a Collector, protocol: &str) -> &'a str {
    if protocol == "grpc" { &collector.grpc } else { &collector.http }
}

/// A server that takes all bytes of each connection, and its endpoint.
fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().read_to_end(&mut Vec::new()).unwrap();
        }
    });
    endpoint
}

/// Sends bytes, and waits until the proxy has closed the connection.
fn send(proxy: &Proxy) {
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(&[0; SENT]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // A reset says as well that it has ended.
    let _ = client.read_to_end(&mut Vec::new());
}

/// The relay's integers, as `/stats` has them.
fn stats(proxy: &Proxy) -> Vec<(String, u64)> {
    let admin = proxy.admin.trim_end().strip_prefix("admin endpoint on tcp://").unwrap();
    let output = Command::new("curl").args(["--silent", &format!("http://{admin}/stats")]).output().unwrap();
    let stats: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap();
    let relay = stats.iter().filter(|(name, _)| name.starts_with("millpond_relay_"));
    let mut samples: Vec<_> = relay
        .flat_map(|(name, samples)| {
            samples.iter().filter_map(move |sample| {
                let labels: BTreeMap<_, _> = sample["labels"].as_object().unwrap().iter().collect();
                let labels: Vec<_> =
                    labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap())).collect();
                Some((format!("{name}{{{}}}", labels.join(",")), sample["value"].as_u64()?))
            })
        })
        .collect();
    samples.sort();
    samples
}

#[test]
fn metrics_in_the_collector_have_the_values_of_stats() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        let more =
            ["--admin", "127.0.0.1:0", "--otlp", endpoint(&collector, protocol), "--otlp-protocol", protocol];
        let proxy = proxy(&upstream(), &more);
        (0..CONNECTIONS).for_each(|_| send(&proxy));
        let sent = (
            "millpond_relay_written_bytes_total{name=proxy,to=upstream}".to_owned(),
            (CONNECTIONS * SENT) as u64,
        );
        // The proxy counts a connection just after its client has seen the end.
        let received = collector.received(|received| {
            let of_relay = |(name, _): &(String, u64)| name.starts_with("millpond_relay_");
            received.samples().into_iter().filter(of_relay).eq(stats(&proxy))
        });
        assert!(received.samples().contains(&sent), "{:?}", received.samples());
    }
}

#[test]
fn a_connection_is_a_trace() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        let more = ["--otlp", endpoint(&collector, protocol), "--otlp-protocol", protocol];
        let proxy = proxy(&upstream(), &more);
        send(&proxy);
        proxy.interrupt();
        proxy.wait();
        let received = collector.received(|received| received.spans.len() == 4);
        for (name, parent) in [("relay", "accept"), ("connect", "relay"), ("tcp", "connect")] {
            assert_eq!(received.span(name).parent_span_id, received.span(parent).span_id, "{name}");
        }
        assert_eq!(
            text_of(&received.span("relay").attributes, "bytes_to_upstream").unwrap(),
            SENT.to_string()
        );
    }
}

/// A server that refuses connections.
fn refusing() -> String {
    format!("tcp://127.0.0.1:{}", upstream::free_port())
}

/// The line about a failed connection, and the id of its trace in the collector.
fn failed_connection(format: &str) -> (String, String) {
    let collector = Collector::start();
    let proxy = proxy(&refusing(), &["--otlp", &collector.grpc, "--log-format", format]);
    send(&proxy);
    proxy.interrupt();
    let log = proxy.wait();
    let first = log.lines().next().unwrap();
    assert!(first.contains("listening") && first.contains(&collector.grpc), "{first}");
    let line = log.lines().find(|line| line.contains("connection failed")).unwrap().to_owned();
    let received = collector.received(|received| received.spans.iter().any(|span| span.name == "relay"));
    let relay = received.span("relay");
    assert_eq!(text_of(&relay.attributes, "error.type").unwrap(), "connect_error");
    let status = relay.status.as_ref().unwrap();
    assert!(status.message.contains("Connection refused"), "{status:?}");
    assert_eq!(text_of(&relay.attributes, "ended_by").unwrap(), "upstream");
    (line, relay.trace_id.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn a_line_about_a_failed_connection_has_the_id_of_its_trace() {
    let (line, trace_id) = failed_connection("text");
    assert!(line.ends_with(&format!(" trace_id={trace_id}")), "{line}");
}

#[test]
fn so_has_an_object_of_json() {
    let (line, trace_id) = failed_connection("json");
    let object: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["trace_id"], trace_id, "{line}");
    assert_eq!(object["cause"], "connect_error", "{line}");
}

#[test]
fn a_dead_collector_disturbs_nobody() {
    let dead = format!("http://127.0.0.1:{}", upstream::free_port());
    let proxy = Proxy::start(ANY_PORT, &upstream(), &["--otlp", &dead]);
    (0..CONNECTIONS).for_each(|_| send(&proxy));
    proxy.interrupt();
    let log = proxy.wait();
    let lines = |text| log.lines().filter(|line| line.contains(text)).count();
    // One line for traces, one for metrics.
    assert_eq!(lines("the collector fails: spans wait"), 1, "{log}");
    assert_eq!(lines("the collector does not take the metrics"), 1, "{log}");
    assert_eq!(lines("spans were lost lost=12"), 1, "{log}");
}

#[test]
fn without_a_url_it_is_that_of_the_environment() {
    let collector = Collector::start();
    let proxy = Proxy::start_with(ANY_PORT, &upstream(), &["--otlp"], |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.http);
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").env("OTEL_SERVICE_NAME", "mill")
    });
    send(&proxy);
    proxy.interrupt();
    proxy.wait();
    assert_eq!(collector.received(|received| received.spans.len() == 4).services[0], "mill");
}

#[test]
fn nothing_is_exported_without_the_option() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let proxy = Proxy::start_with(ANY_PORT, &upstream(), &[], |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
    });
    send(&proxy);
    proxy.interrupt();
    proxy.wait();
    collector.set_nonblocking(true).unwrap();
    assert!(collector.accept().is_err());
}

/// What the command says about wrong options, and its exit code.
fn refused(arguments: &[&str], variable: (&str, &str)) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.args(["proxy", "--listen", ANY_PORT, "--to", "tcp://127.0.0.1:9", "--otlp"]);
    let output = command.args(arguments).env(variable.0, variable.1).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[test]
fn a_url_that_is_none_is_wrong_usage() {
    let (said, code) = refused(&["mill"], ("_", "_"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("millpond: --otlp: cannot export to mill: "), "{said}");
}

#[test]
fn a_wrong_variable_is_wrong_usage() {
    let (said, code) = refused(&[], ("OTEL_BSP_SCHEDULE_DELAY", "soon"));
    assert_eq!((&*said, code), ("millpond: --otlp: OTEL_BSP_SCHEDULE_DELAY=soon is wrong\n", Some(2)));
}
