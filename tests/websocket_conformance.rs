//! Autobahn's cases against this client, by `kosoku`, which plays the server: all but those of compression (12 and 13), which
//! this client does not offer. Once over TCP, and once in streams of HTTP/2, which haproxy turns into upgrades.
//!
//! `MILLPOND_CASES` names others, for example `9.*`. The reports of the last run are in `target/websocket-conformance` and
//! `target/websocket-conformance-http2`.

#[path = "websocket_servers/http2.rs"]
mod http2_servers;
mod upstream;
mod websocket_servers;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http2_servers::Haproxy;
use millpond::connection::https::Http2PoolConfig;
use millpond::connection::websocket::{WebSocketConfig, WebSocketConnection};
use millpond::net::Stream;
use upstream::free_port;
use websocket_servers::{PATIENCE, python, soon};

const CASES: &[&str] = &["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"];

const AGENT: &str = "millpond";

struct Fuzzer(Child);

impl Drop for Fuzzer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(port: u16, report: &Path, cases: &[String]) -> Fuzzer {
    // Installed beside the interpreter.
    let mut command = Command::new(Path::new(&python()).with_file_name("kosoku"));
    command.args(["-m", "fuzzingserver", "-o"]).arg(report);
    cases.iter().for_each(|case| {
        command.args(["-i", case]);
    });
    command.arg(format!("127.0.0.1:{port}")).stdout(Stdio::null());
    Fuzzer(command.spawn().expect("kosoku is missing: run tests/run"))
}

fn widened(config: WebSocketConfig) -> WebSocketConfig {
    config.max_message_size(64 << 20).max_frame_size(64 << 20).queue_bytes(64 << 20)
}

/// Sends back all that comes, until the server ends the connection.
async fn echo(config: &WebSocketConfig) {
    let connection = WebSocketConnection::open(config).await.unwrap();
    while let Ok(message) = connection.recv().await {
        let _ = connection.send(message).await;
    }
}

#[tokio::test]
async fn every_case_of_the_conformance_suite_passes() {
    let port = free_port();
    let at = |path: &str| WebSocketConfig::new(&format!("ws://127.0.0.1:{port}{path}")).unwrap();
    all_pass(port, at, "websocket-conformance").await;
}

#[tokio::test]
async fn every_case_of_the_conformance_suite_passes_over_http2() {
    let port = free_port();
    let haproxy = Haproxy::start(port, "h2");
    let pool = haproxy.pool(Http2PoolConfig::default());
    all_pass(port, |path| haproxy.config(path).http2(Some(pool.clone())), "websocket-conformance-http2")
        .await;
    assert_eq!(pool.state().statistics.connections_created, 1);
}

/// With kosoku on this port, and these URLs for its paths.
async fn all_pass(port: u16, at: impl Fn(&str) -> WebSocketConfig, report: &str) {
    let at = |path: &str| widened(at(path));
    let chosen = env::var("MILLPOND_CASES");
    let cases: Vec<String> = match &chosen {
        Ok(cases) => cases.split_whitespace().map(str::to_owned).collect(),
        Err(_) => CASES.iter().map(|&case| case.to_owned()).collect(),
    };
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(report);
    let _ = fs::remove_dir_all(&report);
    let _fuzzer = start(port, &report, &cases);
    let started = std::time::Instant::now();
    while Stream::connect(("127.0.0.1", port), PATIENCE).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "kosoku does not start");
        tokio::time::sleep(PATIENCE / 1000).await;
    }
    let connection = WebSocketConnection::open(&at("/getCaseCount")).await.unwrap();
    let count = connection.recv().await.unwrap();
    let count: usize = count.as_text().unwrap().parse().unwrap();
    for case in 1..=count {
        echo(&at(&format!("/runCase?case={case}&agent={AGENT}"))).await;
    }
    echo(&at(&format!("/updateReports?agent={AGENT}"))).await;

    let index = soon(async {
        loop {
            // It is written after the connection has ended.
            let index = fs::read_to_string(report.join("index.json")).unwrap_or_default();
            if let Ok(index) = serde_json::from_str::<serde_json::Value>(&index) {
                return index;
            }
            tokio::time::sleep(PATIENCE / 1000).await;
        }
    })
    .await;
    let results = index[AGENT].as_object().unwrap();
    assert_eq!(results.len(), count);
    // NON-STRICT is a pass, too. Two reasons: a message that came with a broken frame after it is not sent back, because the
    // connection ends before the program has seen it (3.*, 4.*, 5.15), and text is checked when its frame is whole, not
    // before (6.4.3, 6.4.4).
    let is_good =
        |part: &serde_json::Value| matches!(part.as_str(), Some("OK" | "NON-STRICT" | "INFORMATIONAL"));
    let is_failed =
        |result: &serde_json::Value| !is_good(&result["behavior"]) || !is_good(&result["behaviorClose"]);
    let failed: Vec<_> = results.iter().filter(|(_, result)| is_failed(result)).collect();
    let strict = results.values().filter(|result| result["behavior"] != "NON-STRICT").count();
    println!(
        "{count} cases of {cases:?}: {strict} pass, {} pass in a way that is not strict",
        count - strict
    );
    assert!(failed.is_empty(), "{failed:#?}");
}
