//! Generated messages against bincode, postcard, rkyv and zerocopy: written and read.
//!
//! `cargo bench -p rivals --bench messages [-- [--write] [--record]]`
//!
//! All contestants of a row take turns in many short rounds, as in `showdown`, with warm caches. The allocator counts for
//! all of them alike; before anybody is timed, what it wrote has to come back as it was.
//!
//! | file | idea |
//! |---|---|
//! | `samples`, `subject` | the messages, and what the rivals have in their place |
//! | `forms` | who writes and reads them, and how |
//! | `race` | all forms of a message, in turn |
//! | `report`, `../contest`, `../outcome`, `../bars`, `../../results/mod.rs` | rounds, Markdown and SVG |

#[path = "../bars.rs"]
mod bars;
#[path = "../contest.rs"]
mod contest;
mod forms;
#[expect(dead_code, reason = "nothing here is a limit")]
#[path = "../outcome.rs"]
mod outcome;
mod race;
mod report;
#[path = "../../results/mod.rs"]
mod results;
mod samples;
mod subject;

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use samples::{text, update};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const USAGE: &str = "\
usage: cargo bench -p rivals --bench messages [-- [--write] [--record]]

  --write   draw benches/charts/messages-*.svg and replace the section of benches/results/messages.md
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
    let messages = [
        race::run("TextMessage, 18 B of text", text("alice", "Hello, World!")),
        race::run(
            "TextMessage, 288 B of text",
            text(&"alice in london ".repeat(2), &"Hello, World! 12".repeat(16)),
        ),
        race::run("PoolStateUpdate", update()),
    ];
    for work in 0..race::WORK.len() {
        println!("{}", report::tables(work, &messages));
    }
    println!("{}", report::wins(&messages));
    let written = if write { report::write(&messages) } else { Ok(()) };
    let recorded = if record { report::record(&messages) } else { Ok(()) };
    if let Err(error) = written.and(recorded) {
        eprintln!("messages: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
