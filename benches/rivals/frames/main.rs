//! Frames per second and CPU time per frame over sockets, against `tokio_util`'s length-delimited codec.
//!
//! `cargo bench -p rivals --bench frames [-- [tcp|unix]... [--write] [--record]]`
//!
//! Sender and receiver are two tasks of a runtime of two workers, in this process, so that its CPU time is both
//! sides'. All contestants of a row take turns in many short rounds, as in `showdown`. The allocator counts for all
//! of them alike; nobody here allocates often enough to feel it.
//!
//! | file | idea |
//! |---|---|
//! | `contestants` | who sends and receives, and how |
//! | `race` | rounds of frames, in wall time, CPU time and heap allocations |
//! | `report`, `../bars`, `../../results/mod.rs` | Markdown and SVG |

#[path = "../bars.rs"]
mod bars;
mod contestants;
#[expect(dead_code, reason = "its tables have no extremes")]
#[path = "../outcome.rs"]
mod outcome;
mod race;
mod report;
#[path = "../../results/mod.rs"]
mod results;

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use race::Race;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const USAGE: &str = "\
usage: cargo bench -p rivals --bench frames [-- [tcp|unix]... [--write] [--record]]

  tcp, unix   over these sockets only
  --write     draw benches/charts/frames-*.svg and replace the section of benches/results/frames.md; wants both
  --record    add the figures to benches/results/runs.tsv";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    Tcp,
    Unix,
}

impl Socket {
    const ALL: [Self; 2] = [Self::Tcp, Self::Unix];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        }
    }
}

/// Payload bytes, and how the row is called.
const PAYLOADS: [(usize, &str); 5] =
    [(16, "16 B"), (64, "64 B"), (1024, "1 KiB"), (16 * 1024, "16 KiB"), (256 * 1024, "256 KiB")];

fn main() -> ExitCode {
    let (mut chosen, mut write, mut record) = (Vec::new(), false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // Cargo's own, for harnesses that also have tests.
            "--bench" => {}
            "--write" => write = true,
            "--record" => record = true,
            name => match Socket::ALL.into_iter().find(|socket| socket.name() == name) {
                Some(socket) => chosen.push(socket),
                None => return refuse(&format!("{name:?} is no socket")),
            },
        }
    }
    if write && !chosen.is_empty() {
        return refuse("--write wants all of it: a section of two runs would compare two machines");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error.to_string()),
    };
    let mut results = Vec::new();
    for socket in Socket::ALL.into_iter().filter(|socket| chosen.is_empty() || chosen.contains(socket)) {
        let races: Vec<Race> =
            PAYLOADS.iter().map(|&(payload, label)| race::run(&runtime, socket, payload, label)).collect();
        println!("{}", report::tables(socket, &races));
        results.push((socket, races));
    }
    println!("{}", report::verdicts(&results));
    if write && let Err(error) = report::write(&results) {
        return refuse(&error.to_string());
    }
    if record && let Err(error) = report::record(&results) {
        return refuse(&error.to_string());
    }
    ExitCode::SUCCESS
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("frames: {reason}\n\n{USAGE}");
    ExitCode::from(2)
}
