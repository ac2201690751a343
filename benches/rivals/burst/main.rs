//! Resident memory before, at and after a burst of 1 GiB, for each allocator, with and without the pool.
//!
//! `cargo bench -p rivals --bench burst [-- [--write] [--record]]`
//!
//! Each variant is a process of its own: this binary again. Allocators run side by side, the variants of one
//! in turn, so that at most 3 GiB are live.
//!
//! | file | idea |
//! |---|---|
//! | `allocator` | a global allocator chosen by the environment |
//! | `variant` | what is compared |
//! | `subject` | the process that is measured |
//! | `report`, `chart`, `../../results/mod.rs` | Markdown and SVG |

mod allocator;
mod chart;
mod report;
#[path = "../../results/mod.rs"]
mod results;
mod subject;
mod variant;

use std::env;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use variant::{VARIANTS, Variant};

const USAGE: &str = "\
usage: cargo bench -p rivals --bench burst [-- [--write] [--record]]

Takes five minutes and 3 GiB of memory.

  --write   draw benches/charts/burst.svg and replace the section of benches/results/burst.md
  --record  add the figures to benches/results/runs.tsv";

/// What the process of a variant said of itself.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// KiB resident.
    before: u64,
    burst: u64,
    /// At each second after the burst, from 0 on.
    after: Vec<u64>,
    /// Milliseconds of each return of free pages.
    trims: Vec<u64>,
    /// KiB that the pool has in the end.
    pool: u64,
}

pub(crate) type Results = [(&'static Variant, Measured)];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--variant", index] => match index.parse().ok().and_then(|index: usize| VARIANTS.get(index)) {
            Some(variant) => subject::run(variant),
            None => Err(io::Error::other("no such variant")),
        },
        _ if arguments.iter().all(|flag| ["--write", "--record"].contains(flag)) => {
            compare(arguments.contains(&"--write"), arguments.contains(&"--record"))
        }
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("burst: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(write: bool, record: bool) -> io::Result<()> {
    let results = thread::scope(|scope| {
        let runs = allocator::ALL.map(|allocator| {
            let variants =
                VARIANTS.iter().enumerate().filter(move |(_, variant)| variant.allocator == allocator);
            scope.spawn(|| variants.map(|(index, variant)| Ok((variant, measure(index, variant)?))).collect())
        });
        let joined =
            runs.map(|run| run.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
        joined.into_iter().collect::<io::Result<Vec<Vec<_>>>>()
    })?;
    let results: Vec<_> = results.into_iter().flatten().collect();
    println!("{}", report::table(&results));
    if write {
        chart::draw(&results)?;
        results::replace("burst", "burst", &report::section_text(&results))?;
    }
    if record {
        results::record(&report::figures(&results))?;
    }
    Ok(())
}

fn measure(index: usize, variant: &Variant) -> io::Result<Measured> {
    let name = format!("{}: {}", variant.allocator.name(), variant.name());
    let mut child = Command::new(env::current_exe()?)
        .args(["--variant", &index.to_string()])
        .env(allocator::VARIABLE.to_str().map_err(io::Error::other)?, variant.allocator.name())
        .envs(variant.setting)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut measured = Measured::default();
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines()) {
        let line = line?;
        let (moment, value) = line.split_once(' ').ok_or_else(|| io::Error::other(line.clone()))?;
        let value: u64 = value.parse().map_err(io::Error::other)?;
        match moment {
            "before" => measured.before = value,
            "burst" => measured.burst = value,
            "pool" => measured.pool = value,
            "trim" => measured.trims.push(value),
            second => {
                measured.after.push(value);
                if second.parse().is_ok_and(|second: usize| report::SECONDS.contains(&second)) {
                    eprintln!("{name}, {second} s after the burst: {} MiB", value / 1024);
                }
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("{name}: {status}")));
    }
    Ok(measured)
}
