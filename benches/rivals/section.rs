//! Sections of `benches/results/PAGE.md` that a program writes, between `<!-- NAME -->` and `<!-- /NAME -->`.

use std::path::Path;
use std::{fs, io};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../results");

/// Puts `text` between the markers of the page's section.
pub(crate) fn replace(page: &str, name: &str, text: &str) -> io::Result<()> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let page = format!("{page}.md");
    let path = Path::new(FOLDER).join(&page);
    let file = fs::read_to_string(&path)?;
    let around = file.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let Some((before, after)) = around else {
        return Err(io::Error::other(format!("no {open} ... {close} in benches/results/{page}")));
    };
    fs::write(path, format!("{before}{open}\n{text}{close}{after}"))?;
    eprintln!("wrote benches/results/{page}");
    Ok(())
}
