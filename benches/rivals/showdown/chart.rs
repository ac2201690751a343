//! One chart per group.

use std::io;

use crate::Group;
use crate::bars;
use crate::report;
use crate::verdict::Results;

pub(crate) fn file_name(group: Group) -> String {
    let heap = if cfg!(feature = "jemalloc") { "-jemalloc" } else { "" };
    format!("{}{heap}.svg", group.name())
}

pub(crate) fn draw(results: &Results) -> io::Result<()> {
    for (group, rows) in results {
        let rows: Vec<_> = rows.iter().collect();
        bars::draw(&file_name(*group), report::title(*group), "ns per operation", &rows)?;
    }
    Ok(())
}
