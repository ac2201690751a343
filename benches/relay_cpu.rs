//! Proxy CPU time and system calls per request, against tokio's own copies and a fresh `Vec` per read.
//!
//! `cargo bench --features proxy --bench relay_cpu [-- [ROUNDS] [--one-thread] [--write] [--record]]`
//!
//! `redis-benchmark` sends GET requests over 50 connections through each proxy to a real `redis-server`. In each round
//! every proxy takes the same load in turn, and each round starts with another proxy. CPU time is the proxy's own, as
//! the scheduler counts it. `strace` counts the system calls in separate runs. `--write`
//! replaces two sections of `benches/results/relay.md`, and `--record` keeps the figures for the claims.
//!
//! In a second part, which `--one-thread` runs alone, each proxy has one thread: the relay and tokio's copies a current-thread
//! runtime, beside haproxy. It is for small requests, where the differences are small, so it has more rounds.

mod proxies;
mod results;

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use proxies::{Arguments, Kind, Proxy, become_rival_if_asked};

/// Value size in bytes, pipeline depth, requests per round.
const ROWS: [(usize, usize, usize); 5] =
    [(64, 1, 40_000), (64, 16, 320_000), (4096, 1, 40_000), (4096, 16, 160_000), (65_536, 1, 16_000)];
const ROUNDS: usize = 3;
const ONE_THREAD_ROWS: [(usize, usize, usize); 2] = [(64, 1, 40_000), (64, 16, 320_000)];
const ONE_THREAD_ROUNDS: usize = 15;
const KEY: &str = "key:__rand_int__";

fn main() {
    become_rival_if_asked();
    let arguments = Arguments::parse();
    let redis = Redis::start();
    if !arguments.one_thread {
        measure("relay_cpu", &Kind::ALL, &ROWS, ROUNDS, &redis, &arguments);
    }
    measure(
        "relay_cpu_one_thread",
        &Kind::ONE_THREAD,
        &ONE_THREAD_ROWS,
        ONE_THREAD_ROUNDS,
        &redis,
        &arguments,
    );
}

fn measure(
    name: &str,
    kinds: &[Kind],
    loads: &[(usize, usize, usize)],
    rounds: usize,
    redis: &Redis,
    arguments: &Arguments,
) {
    let rounds = arguments.number.unwrap_or(rounds);
    // They hardly vary, and the figures for the claims do not need them.
    let count = arguments.write || !arguments.record;
    let proxies: Vec<(Kind, Proxy)> =
        kinds.iter().map(|kind| (*kind, Proxy::start(*kind, redis.port))).collect();
    let rows: Vec<Row> =
        loads.iter().map(|load| Row::measured(redis, &proxies, *load, rounds, count)).collect();
    let text = section(&proxies, &rows, rounds);
    println!("{text}");
    if arguments.write {
        results::replace("relay", name, &text).unwrap();
    }
    if arguments.record {
        results::record(&figures(name, &proxies, &rows)).unwrap();
    }
}

/// One load, through all proxies.
struct Row {
    label: String,
    /// Microseconds of CPU per request, by proxy and round.
    cpu: Vec<Vec<f64>>,
    /// Per request, by proxy, if they were counted.
    system_calls: Vec<Option<f64>>,
}

impl Row {
    fn measured(
        redis: &Redis,
        proxies: &[(Kind, Proxy)],
        (size, pipeline, requests): (usize, usize, usize),
        rounds: usize,
        count: bool,
    ) -> Self {
        redis.set(size);
        let label = format!("{}, {pipeline} in flight", size_name(size));
        eprintln!("{label}: {rounds} rounds");
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
        let counted = requests / 10;
        let calls = |(_, proxy): &(Kind, Proxy)| {
            count.then(|| system_calls(proxy, size, pipeline, counted) / counted as f64)
        };
        Self { label, cpu, system_calls: proxies.iter().map(calls).collect() }
    }

    /// Ours over the proxy with this index: the median of the rounds' own ratios, so that a slow moment of the machine
    /// affects both sides.
    fn ratio(&self, rival: usize) -> f64 {
        let ratios: Vec<f64> =
            self.cpu[0].iter().zip(&self.cpu[rival]).map(|(ours, its)| ours / its).collect();
        median(&ratios)
    }
}

fn size_name(size: usize) -> String {
    if size < 1024 { format!("{size} B") } else { format!("{} KiB", size / 1024) }
}

fn section(proxies: &[(Kind, Proxy)], rows: &[Row], rounds: usize) -> String {
    let mut text = format!(
        "\n{}; glibc's malloc; {rounds} interleaved rounds. The ratio is the median of the rounds' own ratios.\n\n\
         | value | proxy | CPU us per request | rounds | millpond / it | system calls per request |\n\
         |---|---|---|---|---|---|\n",
        results::machine()
    );
    for row in rows {
        for (index, (kind, _)) in proxies.iter().enumerate() {
            let rounds: Vec<String> = row.cpu[index].iter().map(|us| format!("{us:.2}")).collect();
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {} | {:.2} | {} |",
                row.label,
                kind.name(),
                median(&row.cpu[index]),
                rounds.join(" "),
                row.ratio(index),
                row.system_calls[index].map_or_else(String::new, |calls| format!("{calls:.2}")),
            );
        }
    }
    text + "\n"
}

fn figures(name: &str, proxies: &[(Kind, Proxy)], rows: &[Row]) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    for row in rows {
        figures.push((format!("{name}/{}/millpond", row.label), median(&row.cpu[0])));
        for (index, (kind, _)) in proxies.iter().enumerate().skip(1) {
            let key = format!("{name}/{}/millpond/{}", row.label, kind.name());
            figures.push((key, row.ratio(index)));
        }
    }
    figures
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
