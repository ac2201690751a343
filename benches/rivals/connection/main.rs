//! Pools of connections that cost nothing, interleaved: what is measured is the pool.
//!
//! `cargo bench -p rivals --bench connection [-- GROUP... [--write] [--record]]`
//!
//! | file | idea |
//! |---|---|
//! | `../contest`, `../outcome` | rounds, turns, medians |
//! | `contestants` | the pools and their settings |
//! | `checkout`, `tail`, `contention` | the groups |
//! | `heap` | an allocator that counts when asked |
//! | `report`, `../bars`, `../../results/mod.rs` | Markdown and SVG |

#[path = "../bars.rs"]
mod bars;
mod checkout;
mod contention;
#[expect(dead_code, reason = "all work here is in batches")]
#[path = "../contest.rs"]
mod contest;
mod contestants;
mod heap;
#[expect(dead_code, reason = "nothing here is a limit")]
#[path = "../outcome.rs"]
mod outcome;
mod report;
#[path = "../../results/mod.rs"]
mod results;
mod tail;

use std::collections::BTreeSet;
use std::process::ExitCode;

use report::Measured;

const USAGE: &str = "\
usage: cargo bench -p rivals --bench connection [-- [GROUP...] [--write] [--record]]

  checkout     get and put on one thread, while nobody else wants a connection; and its heap allocations
  tail         how long a get takes: 40 and 1000 tasks on 50 connections, 1 ms of work each
  contention   get and put on 16 threads, with 64 connections

Without a group, all of them, in five minutes.

  --write    draw benches/charts/connection-*.svg and replace the section of benches/results/connection.md; wants all groups
  --record   add the figures to benches/results/runs.tsv";

const GROUPS: [&str; 3] = ["checkout", "tail", "contention"];

fn main() -> ExitCode {
    let mut chosen = BTreeSet::new();
    let (mut write, mut record) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // Cargo's own, for harnesses that also have tests.
            "--bench" => {}
            "--write" => write = true,
            "--record" => record = true,
            name if GROUPS.contains(&name) => _ = chosen.insert(argument),
            _ => return refuse(&format!("{argument:?} is no group")),
        }
    }
    if write && !chosen.is_empty() && chosen.len() < GROUPS.len() {
        return refuse("--write wants all groups: a section of two runs would compare two machines");
    }
    let runs = |group: &str| chosen.is_empty() || chosen.contains(group);

    let mut measured = Measured::default();
    if runs("checkout") {
        measured.checkouts = Some(checkout::run());
    }
    if runs("tail") {
        measured.at_hand = tail::rows_at_hand();
        measured.tail = tail::rows();
    }
    if runs("contention") {
        measured.contention = contention::rows();
    }
    println!("{}", measured.tables());
    let written = if write { measured.write() } else { Ok(()) };
    let recorded = if record { measured.record() } else { Ok(()) };
    if let Err(error) = written.and(recorded) {
        return refuse(&error.to_string());
    }
    ExitCode::SUCCESS
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("connection: {reason}\n\n{USAGE}");
    ExitCode::from(2)
}
