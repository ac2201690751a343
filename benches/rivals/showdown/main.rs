//! The pool against its rivals, interleaved.
//!
//! `cargo bench -p rivals --bench showdown [-- GROUP... [--write] [--record]]`
//!
//! All contestants of a row run in this process, in many short rounds, each one in turn, so that a slow
//! moment of the machine meets all of them; a verdict is the median of the rounds' own ratios.
//! A harness of our own, because those at hand measure one contestant to its end before the next.
//!
//! | file | idea |
//! |---|---|
//! | `../contest`, `../outcome` | rounds, turns, medians: how anything here is measured |
//! | `../contestants` | what each contestant does, with its best documented settings |
//! | `drop`, `freeze`, `across`, `options`, `threads`, `tiers` | the groups of rows |
//! | `verdict` | the bars, and who beats us where |
//! | `report`, `chart`, `../bars`, `../../results/mod.rs` | Markdown and SVG |

mod across;
#[path = "../bars.rs"]
mod bars;
mod chart;
#[path = "../contest.rs"]
mod contest;
#[path = "../contestants/mod.rs"]
mod contestants;
mod drop;
mod freeze;
mod options;
#[path = "../outcome.rs"]
mod outcome;
mod report;
#[path = "../../results/mod.rs"]
mod results;
mod threads;
mod tiers;
mod verdict;

use std::collections::BTreeSet;
use std::process::ExitCode;

use outcome::Row;

const USAGE: &str = "\
usage: cargo bench -p rivals [--features jemalloc] --bench showdown [-- [GROUP...] [--write] [--record]]

  drop      acquire and drop, 1 KiB and 64 KiB
  freeze    acquire, write 64 bytes, freeze, drop; 1 KiB and 64 KiB
  across    made and frozen on one thread, dropped on another; 1 KiB and 16 KiB
  options   acquire and drop of 1 KiB in pools with options
  threads   acquire and drop of 1 KiB, split over 1, 2 and 8 threads
  tiers     what the shared tier might be made of, on 1, 2 and 8 threads

Without a group, all of them. With jemalloc as the global allocator, `freeze` and `across`: all others call their
allocator directly.

  --write    draw benches/charts/*.svg and replace a section of benches/results/pool.md; wants all groups
  --record   add the figures to benches/results/runs.tsv";

/// Rows that are measured and shown together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Drop,
    Freeze,
    Across,
    Options,
    Threads,
    Tiers,
}

impl Group {
    /// What the global allocator can change.
    const OF_HEAP: [Self; 2] = [Self::Freeze, Self::Across];
    const ALL: &[Self] = if cfg!(feature = "jemalloc") {
        &Self::OF_HEAP
    } else {
        &[Self::Drop, Self::Freeze, Self::Across, Self::Options, Self::Threads, Self::Tiers]
    };

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Freeze => "freeze",
            Self::Across => "across",
            Self::Options => "options",
            Self::Threads => "threads",
            Self::Tiers => "tiers",
        }
    }

    fn run(self) -> Vec<Row> {
        match self {
            Self::Drop => drop::rows(),
            Self::Freeze => freeze::rows(),
            Self::Across => across::rows(),
            Self::Options => options::rows(),
            Self::Threads => threads::rows(),
            Self::Tiers => tiers::rows(),
        }
    }
}

fn main() -> ExitCode {
    let mut chosen = BTreeSet::new();
    let (mut write, mut record) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // Cargo's own, for harnesses that also have tests.
            "--bench" => {}
            "--write" => write = true,
            "--record" => record = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            name => match Group::ALL.iter().find(|group| group.name() == name) {
                Some(&group) => {
                    chosen.insert(group);
                }
                None => return refuse(&format!("{name:?} is no group")),
            },
        }
    }
    if write && !chosen.is_empty() && chosen.len() < Group::ALL.len() {
        return refuse("--write wants all groups: a section of two runs would compare two machines");
    }
    let groups: Vec<Group> =
        Group::ALL.iter().copied().filter(|group| chosen.is_empty() || chosen.contains(group)).collect();

    let mut results = Vec::new();
    for group in groups {
        eprintln!("{}", report::title(group));
        let rows = group.run();
        println!("{}", report::tables(group, &rows));
        results.push((group, rows));
    }
    println!("{}", report::verdicts(&results));
    println!("{}", report::wins(&results));
    if write && let Err(error) = chart::draw(&results).and_then(|()| report::write(&results)) {
        return refuse(&error.to_string());
    }
    if record && let Err(error) = report::record(&results) {
        return refuse(&error.to_string());
    }
    ExitCode::SUCCESS
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("showdown: {reason}\n\n{USAGE}");
    ExitCode::from(2)
}
