//! Sections of BENCHMARKS.md that a program writes, between `<!-- NAME -->` and `<!-- /NAME -->`.

use std::path::Path;
use std::{fs, io};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../BENCHMARKS.md");

/// Puts `text` between the markers of the section.
pub(crate) fn replace(name: &str, text: &str) -> io::Result<()> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let path = Path::new(FILE);
    let file = fs::read_to_string(path)?;
    let around = file.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let Some((before, after)) = around else {
        return Err(io::Error::other(format!("no {open} ... {close} in BENCHMARKS.md")));
    };
    fs::write(path, format!("{before}{open}\n{text}{close}{after}"))?;
    eprintln!("wrote BENCHMARKS.md");
    Ok(())
}
