//! Markdown: on the terminal, and in `benches/results/bus.md`.

use std::fmt::Write as _;

use crate::{Moment, results};

pub(crate) fn section_text(connections: usize, moments: &[Moment]) -> String {
    let machine = results::machine();
    let Some(empty) = moments.first() else { return String::new() };
    let each = |now: u64, before: u64| (now as f64 - before as f64) / connections as f64;
    let task = moments.get(1).map_or(0, |connected| task(connections, empty, connected));
    let mut text = format!(
        "{machine}; {connections} connections. Bytes per connection, less what the process without one \
         has.\n\n| | heap | of it the task | of it idle in the pool | the rest | resident |\n|---|---|---|---|---|---|\n"
    );
    for moment in moments.iter().skip(1) {
        let heap = each(moment.census.bytes, empty.census.bytes);
        let tasks = task as f64 * each(moment.census.of_size(task), empty.census.of_size(task));
        let pooled = each(moment.pooled, empty.pooled);
        let rest = heap - tasks - pooled;
        let resident = each(moment.resident, empty.resident);
        let _ = writeln!(
            text,
            "| {} | {heap:.0} | {tasks:.0} | {pooled:.0} | {rest:.0} | {resident:.0} |",
            moment.name,
        );
    }
    text += "\nBlocks that at least every second connection has, by size in bytes, rounded up to 8:\n\n";
    for moment in moments.iter().skip(1) {
        let blocks: Vec<String> = moment
            .census
            .blocks
            .iter()
            .map(|&(size, count)| (size, each(count, empty.census.of_size(size))))
            .filter(|&(_, count)| count >= 0.5)
            .map(|(size, count)| format!("{count:.1} of {size}"))
            .collect();
        let blocks = if blocks.is_empty() { "none".to_owned() } else { blocks.join(", ") };
        let _ = writeln!(text, "* {}: {blocks}", moment.name);
    }
    text
}

/// KiB of heap per connection.
pub(crate) fn figures(connections: usize, moments: &[Moment]) -> Vec<(String, f64)> {
    let Some((empty, later)) = moments.split_first() else { return Vec::new() };
    let kib = |moment: &Moment| {
        (moment.census.bytes as f64 - empty.census.bytes as f64) / connections as f64 / 1024.0
    };
    later.iter().map(|moment| (format!("idle_bus/{}", moment.name), kib(moment))).collect()
}

/// Size of the largest block that every connection has one of: its task.
fn task(connections: usize, empty: &Moment, connected: &Moment) -> usize {
    let many = |&&(size, count): &&(usize, u64)| {
        count.saturating_sub(empty.census.of_size(size)) as usize >= connections * 9 / 10
    };
    connected.census.blocks.iter().filter(many).map(|&(size, _)| size).max().unwrap_or(0)
}
