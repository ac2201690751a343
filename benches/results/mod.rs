//! What a run of a bench leaves here: a section of a page, and figures for the claims of all pages.
//!
//! A figure has a key, parts joined by `/`: bench, row, ours, rival. `runs.tsv` has the figures of all recorded runs, one
//! line per key, one column per run. `tests/figures.rs` computes the pages' claims from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

const RUNS: &str = "benches/results/runs.tsv";

/// Those whose versions are recorded with the figures.
const RIVALS: [&str; 18] = [
    "bb8",
    "bincode",
    "byte-pool",
    "bytes",
    "crossbeam-queue",
    "deadpool",
    "libmimalloc-sys",
    "lockfree-object-pool",
    "object-pool",
    "opool",
    "postcard",
    "rkyv",
    "sharded-slab",
    "tikv-jemalloc-sys",
    "tokio",
    "tokio-util",
    "zerocopy",
    "zeropool",
];

/// Where this runs: processors, system, C library. It heads every section.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model);
    let ldd = Command::new("ldd").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let ldd = String::from_utf8_lossy(&ldd);
    let glibc = ldd.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or("unknown");
    format!("{cores} cores, {model}, {}, glibc {glibc}", std::env::consts::OS)
}

/// Puts `text` between `<!-- NAME -->` and `<!-- /NAME -->` of `benches/results/PAGE.md`.
pub(crate) fn replace(page: &str, name: &str, text: &str) -> io::Result<()> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let page = format!("{page}.md");
    let path = root()?.join("benches/results").join(&page);
    let file = fs::read_to_string(&path)?;
    let around = file.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let Some((before, after)) = around else {
        return Err(io::Error::other(format!("no {open} ... {close} in benches/results/{page}")));
    };
    fs::write(path, format!("{before}{open}\n{text}{close}{after}"))?;
    eprintln!("wrote benches/results/{page}");
    Ok(())
}

/// Adds the figures of this run, and says where and against which versions they were measured.
pub(crate) fn record(figures: &[(String, f64)]) -> io::Result<()> {
    let path = root()?.join(RUNS);
    let file = fs::read_to_string(&path).unwrap_or_default();
    let lines = file.lines().filter_map(|line| line.split_once('\t'));
    let mut lines: BTreeMap<String, String> =
        lines.map(|(key, values)| (key.to_owned(), values.to_owned())).collect();
    // Of most benches; and of this one, if it is another.
    let here = machine();
    let of_most = lines.entry("machine".to_owned()).or_insert_with(|| here.clone()).clone();
    for (key, _) in figures {
        let key = format!("machine {}", key.split('/').next().unwrap_or_default());
        if here == of_most {
            lines.remove(&key);
        } else {
            lines.insert(key, here.clone());
        }
    }
    let lock = fs::read_to_string(root()?.join("Cargo.lock"))?;
    for rival in RIVALS {
        let version = lock.split_once(&format!("name = \"{rival}\"\nversion = \"")).map(|(_, rest)| rest);
        let version = version.and_then(|rest| rest.split('"').next()).unwrap_or("unknown");
        lines.insert(format!("version {rival}"), version.to_owned());
    }
    for (key, value) in figures {
        let values = lines.entry(key.clone()).or_default();
        let separator = if values.is_empty() { "" } else { "\t" };
        let _ = write!(values, "{separator}{value:.4}");
    }
    let text: String = lines.iter().map(|(key, values)| format!("{key}\t{values}\n")).collect();
    fs::write(path, text)
}

/// Of the repository, whichever of its packages is asked.
fn root() -> io::Result<PathBuf> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|folder| folder.join("benches/results").is_dir());
    root.map(Path::to_owned).ok_or_else(|| io::Error::other("no benches/results"))
}
