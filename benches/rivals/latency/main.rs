//! Publish to subscribe over TCP, with pooled buffers and without: what the pool adds to a message's latency, and what
//! it saves.
//!
//! `cargo bench -p rivals --bench latency [-- [--write] [--record]]`
//!
//! Server and client are two transports of this process, on a runtime of two workers. Latency is open-loop: messages
//! are due at fixed times, and what a late one waited counts. Throughput is closed-loop: no subscriber is further
//! behind than a window, so that none misses a message.
//!
//! | file | idea |
//! |---|---|
//! | `bus` | a server, a client, and the message between them |
//! | `pace` | messages at a fixed rate, and how long each took |
//! | `flood` | as many as go through, and what the heap had to do |
//! | `report`, `../bars`, `../../results/mod.rs` | Markdown and SVG |

#[path = "../bars.rs"]
mod bars;
mod bus;
mod flood;
#[expect(dead_code, reason = "nothing here is a limit")]
#[path = "../outcome.rs"]
mod outcome;
mod pace;
mod report;
#[path = "../../results/mod.rs"]
mod results;

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const USAGE: &str = "\
usage: cargo bench -p rivals --bench latency [-- [--write] [--record]]

Takes three minutes.

  --write   draw benches/charts/latency.svg and replace the section of benches/results/bus.md
  --record  add the figures to benches/results/runs.tsv";

fn main() -> ExitCode {
    let (mut write, mut record) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // Cargo's own, for harnesses that also have tests.
            "--bench" => {}
            "--write" => write = true,
            "--record" => record = true,
            _ => {
                println!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("two threads and an epoll are there");
    let paced = [pace::run::<312>(&runtime, "312 B"), pace::run::<4096>(&runtime, "4 KiB")];
    println!("{}", report::latency(&paced));
    let floods = [
        flood::run::<312>(&runtime, "312 B, 1 subscriber", 1),
        flood::run::<312>(&runtime, "312 B, 8 subscribers", 8),
        flood::run::<4096>(&runtime, "4 KiB, 1 subscriber", 1),
        flood::run::<4096>(&runtime, "4 KiB, 8 subscribers", 8),
    ];
    println!("{}", report::throughput(&floods));
    let written = if write { report::write(&paced, &floods) } else { Ok(()) };
    let recorded = if record { report::record(&paced, &floods) } else { Ok(()) };
    if let Err(error) = written.and(recorded) {
        eprintln!("latency: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
