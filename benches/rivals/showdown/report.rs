//! Markdown: on the terminal, and in `benches/results/pool.md`.

use std::fmt::Write as _;
use std::io;

use crate::Group;
use crate::chart;
use crate::contest::ROUNDS;
use crate::contestants::heap;
use crate::options::PLAIN;
use crate::outcome::{Outcome, Row};
use crate::results;
use crate::threads::THREADS;
use crate::verdict::{self, Results};

/// What a group measures, in words.
pub(crate) fn title(group: Group) -> &'static str {
    match group {
        Group::Drop => "Acquire and drop, on one thread, the bytes untouched",
        Group::Freeze => "Acquire, write 64 bytes, freeze, drop, on one thread",
        Group::Across => "Acquire, write 64 bytes, freeze; drop on another thread",
        Group::Options => "Acquire and drop of 1 KiB, with options",
        Group::Threads => "Acquire and drop of 1 KiB, split over threads: wall time",
        Group::Tiers => "Candidates for the shared tier, per buffer, in bursts of 64",
    }
}

/// The tables of one group.
pub(crate) fn tables(group: Group, rows: &[Row]) -> String {
    let mut text = format!("### {}\n", title(group));
    for row in rows {
        text += &if group == Group::Options { options(row) } else { table(row) };
    }
    if matches!(group, Group::Threads | Group::Tiers) {
        text += &scaling(rows);
    }
    text
}

/// One row of the contest, a line for each contestant.
fn table(row: &Row) -> String {
    let ours: Vec<_> = row.ours().collect();
    let heads: String = ours.iter().map(|ours| format!(" {} / it |", ours.name)).collect();
    let rule = "---|".repeat(ours.len());
    let mut text =
        format!("\n| {} | ns | middle half | all rounds |{heads}\n|---|---|---|---|{rule}\n", row.label);
    for outcome in &row.outcomes {
        let ratios: String = ours.iter().map(|ours| format!(" {:.2} |", ours.over(outcome))).collect();
        let _ = writeln!(text, "{}{ratios}", times(outcome));
    }
    text
}

/// What each option takes, and its ratio to none.
fn options(row: &Row) -> String {
    let mut text =
        format!("\n| option | ns | middle half | all rounds | it / {PLAIN} |\n|---|---|---|---|---|\n");
    let plain = row.outcomes.iter().find(|outcome| outcome.name == PLAIN);
    for (outcome, plain) in row.outcomes.iter().zip(plain.into_iter().cycle()) {
        let _ = writeln!(text, "{} {:.2} |", times(outcome), outcome.over(plain));
    }
    text
}

/// The first cells of a line: name, median, middle half, extremes.
fn times(outcome: &Outcome) -> String {
    let ((low, high), (least, most)) = (outcome.quartiles(), outcome.extremes());
    format!(
        "| {} | {:.1} | {low:.1} to {high:.1} | {least:.1} to {most:.1} |",
        outcome.name,
        outcome.median(),
    )
}

/// How each contestant's own time shrinks with more threads.
fn scaling(rows: &[Row]) -> String {
    let heads: String = THREADS[1..].iter().map(|(_, label)| format!(" {label} / 1 thread |")).collect();
    let rule = "---|".repeat(THREADS.len() - 1);
    let mut text = format!("\n| scaling |{heads}\n|---|{rule}\n");
    for outcome in rows.first().map_or(&[][..], |row| &row.outcomes) {
        let ratios: String = THREADS[1..]
            .iter()
            .filter_map(|(_, label)| verdict::scaling(rows, label, outcome.name))
            .map(|ratio| format!(" {ratio:.2} |"))
            .collect();
        text += &format!("| {} |{ratios}\n", outcome.name);
    }
    text
}

pub(crate) fn verdicts(results: &Results) -> String {
    let mut text = String::from(
        "### Verdicts\n\n| row | | against | target | measured | |\n|---|---|---|---|---|---|\n",
    );
    for (bar, measured) in verdict::measured(results) {
        let met = if measured <= bar.at_most { "met" } else { "**missed**" };
        let group = bar.group.name();
        let _ = writeln!(
            text,
            "| {group}, {} | {} | {} | {:.1} | {measured:.2} | {met} |",
            bar.label, bar.ours, bar.against, bar.at_most,
        );
    }
    text
}

/// The rivals that are ahead of us, row by row.
pub(crate) fn wins(results: &Results) -> String {
    let mut text = String::from("### Where each rival wins\n\n");
    let wins = verdict::wins(results);
    for (group, rows) in results {
        for row in rows {
            for ours in row.ours() {
                let ahead: Vec<String> = wins
                    .iter()
                    .filter(|win| (win.group, win.label, win.ours) == (*group, row.label, ours.name))
                    .map(|win| format!("{} ({:.2})", win.rival, win.share))
                    .collect();
                if !ahead.is_empty() {
                    let _ = writeln!(
                        text,
                        "* {}, {}: ahead of {}: {}.",
                        group.name(),
                        row.label,
                        ours.name,
                        ahead.join(", ")
                    );
                }
            }
        }
    }
    if wins.is_empty() {
        text += "Nowhere in this run.\n";
    } else {
        text += "\nThe figure is the rival's median over ours.\n";
    }
    text
}

/// Puts all of it into `benches/results/pool.md`, between the markers.
pub(crate) fn write(results: &Results) -> io::Result<()> {
    results::replace("pool", name(), &section_text(results))
}

/// Of the section and of the recorded figures: those of another global allocator stand beside each other.
fn name() -> &'static str {
    if cfg!(feature = "jemalloc") { "showdown-jemalloc" } else { "showdown" }
}

/// Adds the figures to `benches/results/runs.tsv`.
pub(crate) fn record(results: &Results) -> io::Result<()> {
    let mut figures = Vec::new();
    for (group, rows) in results {
        let bench = format!("{}/{}", name(), group.name());
        figures.extend(rows.iter().flat_map(|row| row.figures(&bench)));
        let scaling = rows.iter().filter(|_| *group == Group::Threads);
        figures.extend(scaling.filter_map(|row| {
            let ratio = verdict::scaling(rows, row.label, "millpond")?;
            Some((format!("{bench}/{}/millpond/1 thread", row.label), ratio))
        }));
    }
    results::record(&figures)
}

fn section_text(results: &Results) -> String {
    let machine = results::machine();
    let mut text = format!(
        "\n{machine}; the global allocator is {}. {ROUNDS} interleaved rounds. A figure is the median of the rounds, \
         a ratio\nthe median of the rounds' own ratios.\n\n",
        heap::NAME,
    );
    text += &verdicts(results);
    text += "\n";
    text += &wins(results);
    for (group, rows) in results {
        let _ = write!(text, "\n{}", tables(*group, rows));
        let _ = writeln!(text, "\n![{}](../charts/{})", title(*group), chart::file_name(*group));
    }
    text + "\n"
}
