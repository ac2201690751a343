//! How long 98 responses of 1 MiB take on one HTTP/2 connection, alone and beside two that nobody reads; and how long a small
//! one takes, right after another and after a rest of the connection.
//!
//! `cargo bench --features https --bench http2_stalled [-- [--write] [--record]]`
//!
//! The server is node, without TLS. Rounds are interleaved, in odd ones in the other order, and figures are medians. `--write` replaces the section of
//! `benches/results/http2.md`, and `--record` keeps the figures for the claims.

use std::env;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use millpond::connection::https::{Http2Pool, Http2PoolConfig, Http2Windows, HttpsConfig, StalledReader};
use millpond::{BufferPool, BufferPoolConfig};

mod results;
#[path = "../tests/http2_pool/server.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod server;
#[path = "../tests/upstream/mod.rs"]
mod upstream;

use server::{Node, eventually, fetch, get};

const LARGE: usize = 1024 * 1024;
const ROUNDS: usize = 15;
const AFTER: Duration = Duration::from_millis(50);

fn main() {
    let flag = |name: &str| env::args().any(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        let mut report = Report::default();
        let _ = writeln!(report.table, "\n{}; the server beside it.\n", results::machine());
        report.table +=
            "| stalled responses | alone (quartiles) | beside two stalled ones | beside / alone |\n|---|---|---|---|\n";
        let classes = BufferPoolConfig::builder().class(16 * 1024, 1_000).memory_limit(8 * LARGE);
        let spill = StalledReader::Spill { after: AFTER, buffers: BufferPool::new(classes.build().unwrap()) };
        let reset = StalledReader::Reset { after: AFTER };
        let large = Http2Windows::Fixed { stream: 65_536, connection: 100 * 65_536 };
        report.measure("by default", StalledReader::default(), Http2Windows::default()).await;
        report.measure("spilled after 50 ms", spill, Http2Windows::default()).await;
        report.measure("reset after 50 ms", reset, Http2Windows::default()).await;
        report.measure("by default, with a window of 100 streams", StalledReader::default(), large).await;
        report.after_a_rest().await;
        report
    });
    println!("{}", report.table);
    if flag("--write") {
        results::replace("http2", "http2_stalled", &report.table).unwrap();
    }
    if flag("--record") {
        results::record(&report.figures).unwrap();
    }
}

#[derive(Default)]
struct Report {
    table: String,
    figures: Vec<(String, f64)>,
}

impl Report {
    async fn measure(&mut self, name: &str, stalled_reader: StalledReader, windows: Http2Windows) {
        let node = Node::with("{ maxSessionMemory: 1000 }", "");
        let https = HttpsConfig::default().windows(windows);
        let config =
            Http2PoolConfig::default().max_connections(1).stalled_reader(stalled_reader).https(https);
        let pool = node.pool(config);
        others(&pool).await;
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            // Whatever the second one of a round gains or loses, neither gets it alone.
            for is_beside in if round % 2 == 0 { [false, true] } else { [true, false] } {
                if is_beside {
                    let stalled = tokio::join!(pool.send(get("/large")), pool.send(get("/large")));
                    beside.push(others(&pool).await);
                    drop(stalled);
                } else {
                    alone.push(others(&pool).await);
                }
            }
        }
        alone.sort();
        let [low, high] = [ROUNDS / 4, ROUNDS - 1 - ROUNDS / 4].map(|at| alone[at].as_millis());
        let [alone, beside] = [alone, beside].map(|times| median(times).as_secs_f64() * 1e3);
        let ratio = beside / alone;
        let _ = writeln!(
            self.table,
            "| {name} | {alone:.0} ms ({low} to {high}) | {beside:.0} ms | {ratio:.2} |"
        );
        for (what, value) in [("alone, ms", alone), ("beside, ms", beside), ("beside/alone", ratio)] {
            self.figures.push((format!("http2/{name}/{what}"), value));
        }
    }

    async fn after_a_rest(&mut self) {
        let node = Node::start();
        let pool = node.pool(Http2PoolConfig::default());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        fetch(&pool, "/").await.unwrap();
        for _ in 0..ROUNDS {
            eventually(&pool, |state| state.connections[0].is_at_rest).await;
            for times in [&mut first, &mut second] {
                let begun = Instant::now();
                fetch(&pool, "/").await.unwrap();
                times.push(begun.elapsed());
            }
        }
        self.table += "\n| a small response | median |\n|---|---|\n";
        for (name, times) in [("after a rest", first), ("right after another", second)] {
            let micros = median(times).as_secs_f64() * 1e6;
            let _ = writeln!(self.table, "| {name} | {micros:.0} us |");
            self.figures.push((format!("http2/small response/{name}, us"), micros));
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

async fn others(pool: &Http2Pool) -> Duration {
    let begun = Instant::now();
    let bodies = join_all((0..98).map(|_| fetch(pool, "/large"))).await;
    assert!(bodies.into_iter().all(|body| body.unwrap().len() == LARGE));
    begun.elapsed()
}
