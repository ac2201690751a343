//! Proxy CPU time and system calls per request, against tokio's own copies.
//!
//! `cargo bench --features proxy --bench relay_cpu [-- ROUNDS]`
//!
//! `redis-benchmark` sends GET requests over 50 connections through each proxy to a real `redis-server`. In each round
//! every proxy takes the same load in turn, and each round starts with another proxy. CPU time is the proxy's own, as
//! the scheduler counts it. `strace` counts the system calls in separate runs.

mod proxies;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use proxies::{Kind, Proxy, become_rival_if_asked};

/// Value size in bytes, pipeline depth, requests per round.
const ROWS: [(usize, usize, usize); 5] =
    [(64, 1, 40_000), (64, 16, 320_000), (4096, 1, 40_000), (4096, 16, 160_000), (65_536, 1, 16_000)];
const KEY: &str = "key:__rand_int__";

fn main() {
    become_rival_if_asked();
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(7);
    let redis = Redis::start();
    let proxies: Vec<(Kind, Proxy)> =
        Kind::ALL.into_iter().map(|kind| (kind, Proxy::start(kind, redis.port))).collect();

    println!("| value | pipeline | proxy | CPU us per request | rounds | system calls per request |");
    println!("|---|---|---|---|---|---|");
    let mut verdicts = Vec::new();
    for (size, pipeline, requests) in ROWS {
        redis.set(size);
        let mut cpu = vec![Vec::new(); proxies.len()];
        for round in 0..=rounds {
            for turn in 0..proxies.len() {
                let index = (round + turn) % proxies.len();
                let proxy = &proxies[index].1;
                let before = proxy.cpu_ns();
                load(proxy.port, size, pipeline, requests);
                // The first round warms up.
                if round > 0 {
                    cpu[index].push((proxy.cpu_ns() - before) as f64 / 1000.0 / requests as f64);
                }
            }
        }
        for ((kind, proxy), cpu) in proxies.iter().zip(&cpu) {
            let rounds: Vec<String> = cpu.iter().map(|us| format!("{us:.2}")).collect();
            let calls = system_calls(proxy, size, pipeline, requests / 10) / (requests / 10) as f64;
            println!(
                "| {size} B | {pipeline} | {} | {:.2} | {} | {calls:.2} |",
                kind.name(),
                median(cpu),
                rounds.join(" ")
            );
        }
        // Ratios per round, so that a slow moment of the machine affects both sides.
        let ratios: Vec<f64> =
            (0..rounds).map(|round| cpu[0][round] / cpu[1][round].min(cpu[2][round])).collect();
        let better = median(&cpu[1]).min(median(&cpu[2]));
        verdicts.push((size, pipeline, median(&cpu[0]) / better, median(&ratios)));
    }
    println!();
    println!("| value | pipeline | median / better rival's median | median of the rounds' ratios |");
    println!("|---|---|---|---|");
    for (size, pipeline, of_medians, of_rounds) in verdicts {
        println!("| {size} B | {pipeline} | {of_medians:.2} | {of_rounds:.2} |");
    }
}

fn load(port: u16, size: usize, pipeline: usize, requests: usize) {
    let output = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-t", "get", "-c", "50", "-q"])
        .args(["-P", &pipeline.to_string(), "-d", &size.to_string(), "-n", &requests.to_string()])
        .output()
        .expect("redis-benchmark is needed: apt-get install redis-tools");
    assert!(output.status.success(), "{output:?}");
}

/// System calls of the proxy during `requests` requests.
fn system_calls(proxy: &Proxy, size: usize, pipeline: usize, requests: usize) -> f64 {
    let file = std::env::temp_dir().join(format!("millpond-strace-{}", proxy.id()));
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-q", "-o"])
        .arg(&file)
        .args(["-p", &proxy.id().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is needed: apt-get install strace");
    sleep(Duration::from_millis(500));
    load(proxy.port, size, pipeline, requests);
    let interrupted = Command::new("kill").args(["-INT", &strace.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    strace.wait().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let _ = fs::remove_file(&file);
    let total = text.lines().find(|line| line.ends_with(" total")).unwrap_or_else(|| panic!("{text}"));
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// A server on a free port, without persistence; killed when dropped.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed: apt-get install redis-server");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            sleep(Duration::from_millis(20));
        }
        Self { child, port }
    }

    /// Stores the value that the load reads.
    fn set(&self, size: usize) {
        let status = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "set", KEY, &"x".repeat(size)])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
