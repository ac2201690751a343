//! The figures in README.md, BENCHMARKS.md and `benches/results` are those of the recorded runs, not copies by hand.
//!
//! `benches/results/runs.tsv` has the figures of all runs. A page names what it shows:
//! `<!-- fig2 KEY -->0.31 to 0.35<!-- / -->` is the lowest and the highest of all runs with 2 digits, and `max2` takes the
//! highest of the matching keys per run, which is the ratio to the better of several rivals. `*` in a key matches
//! anything. The first table of BENCHMARKS.md comes from [`CLAIMS`], and `ratios` makes a table of all keys that match.
//!
//! `UPDATE_FIGURES=1 cargo test --test figures` writes the pages; `benches/all` does so after its runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One row of BENCHMARKS.md.
struct Claim {
    title: &'static str,
    ours: &'static str,
    unit: &'static str,
    against: Against,
    /// The ratio that the row must not exceed, or reach if it is a rate.
    bar: Option<f64>,
    command: &'static str,
}

#[derive(Clone, Copy)]
enum Against {
    /// Keys of our time over a rival's, one rival per key.
    Ratios(&'static str),
    /// Keys of the rivals' own figures.
    Absolutes(&'static str),
    /// A key of our rate over the better rival's.
    Rate(&'static str, &'static str),
}

use Against::{Absolutes, Rate, Ratios};

const DROP: &str = "cargo bench -p rivals --bench showdown -- drop";
const FREEZE: &str = "cargo bench -p rivals [--features jemalloc] --bench showdown -- freeze";
const ACROSS: &str = "cargo bench -p rivals [--features jemalloc] --bench showdown -- across";
const OPTIONS: &str = "cargo bench -p rivals --bench showdown -- options";
const THREADS: &str = "cargo bench -p rivals --bench showdown -- threads";
const INSTRUCTIONS: &str = "cargo bench -p rivals [--features jemalloc] --bench instructions";
const IDLE: &str = "cargo bench --features proxy --bench idle_memory";
const RELAY: &str = "cargo bench --features proxy --bench relay_cpu";
const FRAMES: &str = "cargo bench -p rivals --bench frames";
const LATENCY: &str = "cargo bench -p rivals --bench latency";
const MESSAGES: &str = "cargo bench -p rivals --bench messages";
const CONNECTION: &str = "cargo bench -p rivals --bench connection";
const TOKIO_UTIL: &str = "tokio_util's LengthDelimitedCodec";

#[rustfmt::skip]
const CLAIMS: &[Claim] = &[
    claim("relay: memory of an idle connection, after a burst", "idle_memory/after a burst/millpond", "KiB", Absolutes("idle_memory/after a burst/*"), None, IDLE),
    claim("relay: CPU per request of 64 B", "relay_cpu/64 B, 1 in flight/millpond", "us", Ratios("relay_cpu/64 B, 1 in flight/millpond/*"), None, RELAY),
    claim("relay: CPU per request of 4 KiB", "relay_cpu/4 KiB, 1 in flight/millpond", "us", Ratios("relay_cpu/4 KiB, 1 in flight/millpond/*"), None, RELAY),
    claim("relay: CPU per request of 64 KiB", "relay_cpu/64 KiB, 1 in flight/millpond", "us", Ratios("relay_cpu/64 KiB, 1 in flight/millpond/*"), None, RELAY),
    claim("acquire + drop, 1 KiB", "showdown/drop/1 KiB/millpond", "ns", Ratios("showdown/drop/1 KiB/millpond/*"), Some(0.8), DROP),
    claim("acquire + drop, 64 KiB", "showdown/drop/64 KiB/millpond", "ns", Ratios("showdown/drop/64 KiB/millpond/*"), Some(0.5), DROP),
    claim("acquire + drop, 1 KiB: instructions", "instructions/acquire + drop, millpond", "", Absolutes("instructions/acquire + drop, *"), None, INSTRUCTIONS),
    claim("acquire + drop, 1 KiB, on 8 threads", "showdown/threads/8 threads/millpond", "ns", Ratios("showdown/threads/8 threads/millpond/*"), None, THREADS),
    claim("write + `freeze` + drop, 1 KiB", "showdown/freeze/1 KiB/freeze", "ns", Ratios("showdown*/freeze/1 KiB/freeze/*"), Some(1.0), FREEZE),
    claim("write + `freeze` + drop, 64 KiB", "showdown/freeze/64 KiB/freeze", "ns", Ratios("showdown*/freeze/64 KiB/freeze/*"), Some(0.8), FREEZE),
    claim("write + `into_shared` + drop, 1 KiB", "showdown/freeze/1 KiB/into_shared", "ns", Ratios("showdown*/freeze/1 KiB/into_shared/*"), Some(0.6), FREEZE),
    claim("`freeze`, dropped on another thread, 1 KiB", "showdown/across/1 KiB/freeze", "ns", Ratios("showdown*/across/1 KiB/freeze/*"), Some(0.4), ACROSS),
    claim("`freeze`, dropped on another thread, 16 KiB", "showdown/across/16 KiB/freeze", "ns", Ratios("showdown*/across/16 KiB/freeze/*"), Some(0.3), ACROSS),
    claim("`into_shared`, dropped on another thread, 1 KiB", "showdown/across/1 KiB/into_shared", "ns", Ratios("showdown*/across/1 KiB/into_shared/*"), Some(0.4), ACROSS),
    claim("option `memory_limit`, against none", "showdown/options/1 KiB/memory_limit", "ns", Ratios("showdown/options/1 KiB/memory_limit/no option"), None, OPTIONS),
    claim("option `sample_one_in(1000)`, against none", "showdown/options/1 KiB/sample_one_in(1000)", "ns", Ratios("showdown/options/1 KiB/sample_one_in(1000)/no option"), Some(1.1), OPTIONS),
    claim("option `record_sizes`, against none", "showdown/options/1 KiB/record_sizes", "ns", Ratios("showdown/options/1 KiB/record_sizes/no option"), Some(1.1), OPTIONS),
    claim("option `wipe_on_return`, against none", "showdown/options/1 KiB/wipe_on_return", "ns", Ratios("showdown/options/1 KiB/wipe_on_return/no option"), None, OPTIONS),
    claim("frames of 16 B over TCP: rate", "frames/tcp/16 B/per frame/ns", "ns", Rate("frames/tcp/16 B/per frame/rate", TOKIO_UTIL), Some(1.3), FRAMES),
    claim("frames of 1 KiB over TCP: rate", "frames/tcp/1 KiB/per frame/ns", "ns", Rate("frames/tcp/1 KiB/per frame/rate", TOKIO_UTIL), Some(1.3), FRAMES),
    claim("frames of 16 KiB over TCP: rate", "frames/tcp/16 KiB/per frame/ns", "ns", Rate("frames/tcp/16 KiB/per frame/rate", TOKIO_UTIL), Some(1.0), FRAMES),
    claim("frames of 256 KiB over TCP: rate", "frames/tcp/256 KiB/per frame/ns", "ns", Rate("frames/tcp/256 KiB/per frame/rate", TOKIO_UTIL), Some(1.0), FRAMES),
    claim("connections: get + put, against bb8", "connection/checkout/get + put/millpond", "ns", Ratios("connection/checkout/get + put/millpond/bb8*"), Some(0.25), CONNECTION),
    claim("connections: get + put, against deadpool", "connection/checkout/get + put/millpond", "ns", Ratios("connection/checkout/get + put/millpond/deadpool*"), Some(0.35), CONNECTION),
    claim("connections: get + put on 16 threads, against bb8", "connection/contention/16 threads/millpond", "ns", Ratios("connection/contention/16 threads/millpond/bb8*"), Some(0.5), CONNECTION),
    claim("connections: get + put on 16 threads, against deadpool", "connection/contention/16 threads/millpond", "ns", Ratios("connection/contention/16 threads/millpond/deadpool*"), None, CONNECTION),
    claim("connections: get + put, 256 tasks on 64 connections", "connection/contention/256 tasks on 16 threads/millpond", "ns", Ratios("connection/contention/256 tasks on 16 threads/millpond/*"), None, CONNECTION),
    claim("connections: p99 of the wait, 1000 tasks on 50", "connection/tail/p99, the next get at once/millpond", "ms", Ratios("connection/tail/p99, the next get at once/millpond/*"), Some(1.0), CONNECTION),
    claim("connections: p99.9 of the wait, 1000 tasks on 50", "connection/tail/p99.9, the next get at once/millpond", "ms", Ratios("connection/tail/p99.9, the next get at once/millpond/*"), Some(1.0), CONNECTION),
    claim("publish and subscribe, 312 B, 1 subscriber", "throughput/312 B, 1 subscriber/pool", "ns", Ratios("throughput/312 B, 1 subscriber/pool/no pool"), None, LATENCY),
    claim("message of numbers and bytes, decoded", "messages/decode/PoolStateUpdate/millpond", "ns", Ratios("messages/decode/PoolStateUpdate/millpond/*"), None, MESSAGES),
    claim("message with 18 B of text, decoded", "messages/decode/TextMessage, 18 B of text/millpond", "ns", Ratios("messages/decode/TextMessage, 18 B of text/millpond/*"), None, MESSAGES),
    claim("message with 18 B of text, into a pooled buffer", "messages/encode into a pooled buffer/TextMessage, 18 B of text/millpond", "ns", Ratios("messages/encode into a pooled buffer/TextMessage, 18 B of text/millpond/*"), None, MESSAGES),
];

/// Names that start so are no rivals: our own other routes and options, and what no pool can do better.
const NO_RIVALS: [&str; 6] =
    ["millpond", "freeze", "into_shared", "limit", "the hand-over alone", "from_owner(PooledBuffer)"];

/// The crate that a rival's name stands for.
const CRATES: [(&str, &str); 20] = [
    ("malloc, jemalloc", "tikv-jemalloc-sys"),
    ("malloc, mimalloc", "libmimalloc-sys"),
    ("malloc of jemalloc", "tikv-jemalloc-sys"),
    ("malloc of mimalloc", "libmimalloc-sys"),
    ("ArrayQueue", "crossbeam-queue"),
    ("BytesMut", "bytes"),
    ("split().freeze()", "bytes"),
    ("from_owner", "bytes"),
    ("bb8", "bb8"),
    ("bincode", "bincode"),
    ("byte-pool", "byte-pool"),
    ("copy", "tokio"),
    ("deadpool", "deadpool"),
    ("lockfree-object-pool", "lockfree-object-pool"),
    ("object-pool", "object-pool"),
    ("opool", "opool"),
    ("postcard", "postcard"),
    ("rkyv", "rkyv"),
    ("zerocopy", "zerocopy"),
    ("zeropool", "zeropool"),
];

const fn claim(
    title: &'static str,
    ours: &'static str,
    unit: &'static str,
    against: Against,
    bar: Option<f64>,
    command: &'static str,
) -> Claim {
    Claim { title, ours, unit, against, bar, command }
}

#[test]
fn the_pages_show_the_figures_of_the_recorded_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let runs = Runs::read(&root.join("benches/results/runs.tsv"));
    let update = std::env::var_os("UPDATE_FIGURES").is_some();
    for page in pages(root) {
        let text = fs::read_to_string(&page).unwrap();
        let current = runs.filled(&text);
        if update && text != current {
            fs::write(&page, &current).unwrap();
        } else {
            let differs = text.lines().zip(current.lines()).find(|(old, new)| old != new);
            assert!(
                text == current,
                "{}: run `UPDATE_FIGURES=1 cargo test --test figures`: {differs:?}",
                page.display()
            );
        }
    }
}

#[test]
fn a_star_matches_anything() {
    assert!(matches("a/*/c", "a/b, 1/c"));
    assert!(matches("a*", "a/b"));
    assert!(!matches("a/*/c", "a/b/d"));
}

fn pages(root: &Path) -> Vec<PathBuf> {
    let results = fs::read_dir(root.join("benches/results")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = results.filter(|page| page.extension().is_some_and(|end| end == "md")).collect();
    pages.extend([root.join("README.md"), root.join("BENCHMARKS.md")]);
    pages
}

/// The recorded figures, by key, and what is known of the runs.
struct Runs {
    figures: BTreeMap<String, Vec<f64>>,
    notes: BTreeMap<String, String>,
}

impl Runs {
    fn read(path: &Path) -> Self {
        let mut runs = Self { figures: BTreeMap::new(), notes: BTreeMap::new() };
        for line in fs::read_to_string(path).unwrap().lines() {
            let (key, values) = line.split_once('\t').unwrap();
            let (key, note) = (key.to_owned(), values.to_owned());
            match values.split('\t').map(str::parse).collect() {
                Ok(values) if !key.starts_with("version ") => _ = runs.figures.insert(key, values),
                _ => _ = runs.notes.insert(key, note),
            }
        }
        runs
    }

    /// The page with all its figures replaced. A figure of a bench that has no recorded run stays.
    fn filled(&self, page: &str) -> String {
        let mut text = String::new();
        let mut rest = page;
        while let Some((before, after)) = rest.split_once("<!-- ") {
            let (name, after) = after.split_once(" -->").unwrap();
            let _ = write!(text, "{before}<!-- {name} -->");
            rest = after;
            let (end, new) = match name.split_once(' ') {
                _ if name == "claims" => ("<!-- /claims -->", Some(self.claims())),
                Some(("ratios", keys)) => ("<!-- /ratios -->", self.ratios(keys)),
                Some((how, key)) if how.starts_with("fig") || how.starts_with("max") => {
                    ("<!-- / -->", self.figure(how, key))
                }
                _ => continue,
            };
            let (old, after) = after.split_once(end).unwrap();
            let _ = write!(text, "{}{end}", new.as_deref().unwrap_or(old));
            rest = after;
        }
        text + rest
    }

    fn figure(&self, how: &str, key: &str) -> Option<String> {
        let (how, digits) = how.split_at(3);
        let found: Vec<&[f64]> = self.matching(key).map(|(_, values)| values).collect();
        if found.is_empty() {
            let bench = key.split('/').next().unwrap();
            let recorded = self.figures.keys().any(|key| key.split('/').next() == Some(bench));
            assert!(!recorded, "{bench} has been recorded, but has no {key}");
            return None;
        }
        let values: Vec<f64> = match how {
            "max" => best(&found),
            _ => found.concat(),
        };
        Some(range(&values, digits.parse().unwrap()))
    }

    /// A table of these keys: the last part is the column, and what the star before it stands for is the row.
    fn ratios(&self, keys: &str) -> Option<String> {
        let (first, _) = keys.split_once('*')?;
        let mut rows: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for (key, values) in self.matching(keys) {
            let (row, column) = key[first.len()..].rsplit_once('/')?;
            let (row, _ours) = row.rsplit_once('/')?;
            rows.entry(row).or_default().insert(column, range(values, 2));
        }
        let columns: Vec<&str> = rows.values().next()?.keys().copied().collect();
        let mut text = format!("\n\n| | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
        for (row, cells) in rows {
            let cells: Vec<&str> =
                columns.iter().map(|column| cells.get(column).map_or("", |cell| cell)).collect();
            let _ = writeln!(text, "| {} | {} |", row.replace('/', ": "), cells.join(" | "));
        }
        Some(text + "\n")
    }

    fn matching(&self, pattern: &str) -> impl Iterator<Item = (&str, &[f64])> {
        let found = self.figures.iter().filter(move |(key, _)| matches(pattern, key));
        found.map(|(key, values)| (&**key, &**values))
    }

    fn claims(&self) -> String {
        let machine = self.notes.get("machine").map_or("none", |machine| machine);
        let others =
            self.notes.iter().filter_map(|(key, other)| Some((key.strip_prefix("machine ")?, other)));
        let others: String = others.map(|(bench, other)| format!("; of `{bench}`: {other}")).collect();
        let mut text = format!(
            "\nMachine: {machine}{others}. The allocator is glibc's where no other one is named. All figures are the lowest and the \
             highest of the runs.\n\n| what | ours | the best rival | ours / its | runs | bar | where we lose (ours / its) | \
             command |\n|---|---|---|---|---|---|---|---|\n"
        );
        text.extend(CLAIMS.iter().filter_map(|claim| self.row(claim)));
        text + "\n"
    }

    fn row(&self, claim: &Claim) -> Option<String> {
        let ours = self.figures.get(claim.ours)?;
        let digits = if claim.unit.is_empty() { 0 } else { 1 };
        let mut rivals: Vec<(String, Vec<f64>)> = match claim.against {
            Rate(key, name) => vec![(name.to_owned(), self.figures.get(key)?.clone())],
            Ratios(keys) => {
                self.matching(keys).map(|(key, values)| (last(key).to_owned(), values.to_vec())).collect()
            }
            Absolutes(keys) => {
                let names = self.matching(keys).map(|(key, values)| (&key[keys.len() - 1..], values));
                let ratios = |theirs: &[f64]| ours.iter().zip(theirs).map(|(ours, its)| ours / its).collect();
                names.map(|(name, values)| (name.to_owned(), ratios(values))).collect()
            }
        };
        rivals.retain(|(name, _)| !NO_RIVALS.iter().any(|other| name.starts_with(other)));
        // The best rival first.
        rivals.sort_by(|(_, a), (_, b)| median(b).total_cmp(&median(a)));
        let (best, ratios) = rivals.first()?;
        let rate = matches!(claim.against, Rate(..));
        let bar = claim.bar.map_or_else(String::new, |bar| {
            let (rival, all) = self.of_bar(claim).unwrap_or((best, ratios));
            let met = all.iter().filter(|&&ratio| if rate { ratio >= bar } else { ratio <= bar }).count();
            let digits = if (bar * 10.0).fract() == 0.0 { 1 } else { 2 };
            format!("{bar:.digits$} of {rival}: met in {met} of {}", all.len())
        });
        let behind =
            |values: &[f64]| values.iter().any(|&ratio| if rate { ratio < 0.995 } else { ratio > 1.005 });
        let lost: Vec<String> = rivals
            .iter()
            .filter(|(name, values)| behind(values) && name != "no option")
            .map(|(name, values)| format!("{} {}", self.versioned(name), range(values, 2)))
            .collect();
        Some(format!(
            "| {} | {} {} | {} | {}{} | {} | {bar} | {} | `{}` |\n",
            claim.title,
            range(ours, digits),
            claim.unit,
            self.versioned(best),
            range(ratios, 2),
            if rate { ", rate" } else { "" },
            ratios.len(),
            lost.join("; "),
            claim.command,
        ))
    }

    /// The bars of the pool's own operations were set against malloc, before better rivals were known.
    fn of_bar(&self, claim: &Claim) -> Option<(&str, &[f64])> {
        let Ratios(keys) = claim.against else { return None };
        let of_malloc = |key: &str| ["malloc, glibc", "BytesMut, glibc"].contains(&last(key));
        let (key, values) = self.matching(keys).find(|(key, _)| of_malloc(key))?;
        Some((last(key), values))
    }

    fn versioned(&self, name: &str) -> String {
        let package = CRATES.iter().find(|(start, _)| name.starts_with(start)).map(|(_, package)| package);
        let package = package.or_else(|| (name == TOKIO_UTIL).then_some(&"tokio-util"));
        let Some(package) = package else { return name.to_owned() };
        let version = self.notes.get(&format!("version {package}"));
        let version = version.and_then(|version| version.split('+').next()).unwrap_or("?");
        if name.starts_with(package) {
            name.replacen(package, &format!("{package} {version}"), 1)
        } else {
            format!("{name} ({package} {version})")
        }
    }
}

fn last(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn matches(pattern: &str, key: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == key };
    let Some(tail) = key.strip_prefix(start) else { return false };
    (0..=tail.len()).any(|at| tail.get(at..).is_some_and(|tail| matches(rest, tail)))
}

/// The highest per run.
fn best(found: &[&[f64]]) -> Vec<f64> {
    let runs = found.iter().map(|values| values.len()).min().unwrap_or(0);
    (0..runs).map(|run| found.iter().map(|values| values[run]).fold(f64::MIN, f64::max)).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn range(values: &[f64], digits: usize) -> String {
    let text = |value: f64| format!("{value:.digits$}");
    let low = text(values.iter().copied().fold(f64::MAX, f64::min));
    let high = text(values.iter().copied().fold(f64::MIN, f64::max));
    if low == high { low } else { format!("{low} to {high}") }
}
