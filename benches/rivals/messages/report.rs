//! Markdown: on the terminal, and in `benches/results/messages.md`.

use std::fmt::Write as _;
use std::io;

use crate::contest::ROUNDS;
use crate::outcome::{Role, Row};
use crate::race::{Cost, Race, WORK};
use crate::{bars, results};

/// Rows of [`WORK`] that are drawn: what a publisher and a subscriber do.
const DRAWN: [(usize, &str); 2] = [(1, "messages-encode.svg"), (2, "messages-decode.svg")];

/// The tables of one kind of work.
pub(crate) fn tables(work: usize, messages: &[[Race; 3]]) -> String {
    let mut text = format!("### Messages: {}\n", WORK[work]);
    for Race { row, costs } in messages.iter().map(|races| &races[work]) {
        let ours: Vec<_> = row.ours().collect();
        let heads: String = ours.iter().map(|ours| format!(" {} / it |", ours.name)).collect();
        let rule = "---|".repeat(ours.len());
        let _ = writeln!(text, "\n| {} | bytes | allocations | ns | middle half |{heads}", row.label);
        let _ = writeln!(text, "|---|---|---|---|---|{rule}");
        for (outcome, Cost { bytes, allocations }) in row.outcomes.iter().zip(costs) {
            let (median, (low, high)) = (outcome.median(), outcome.quartiles());
            let ratios: String = ours.iter().map(|ours| format!(" {:.2} |", ours.over(outcome))).collect();
            let _ = writeln!(
                text,
                "| {} | {bytes} | {allocations:.4} | {median:.1} | {low:.1} to {high:.1} |{ratios}",
                outcome.name
            );
        }
    }
    text
}

/// The rivals that are ahead of us, row by row.
pub(crate) fn wins(messages: &[[Race; 3]]) -> String {
    let mut text = String::from("### Where each rival wins\n\n");
    for (work, name) in WORK.iter().enumerate() {
        for Race { row, .. } in messages.iter().map(|races| &races[work]) {
            for ours in row.ours() {
                let rivals = row.outcomes.iter().filter(|outcome| outcome.role == Role::Rival);
                let shares = rivals.map(|rival| (rival.name, rival.over(ours)));
                let ahead: Vec<String> = shares
                    .filter(|(_, share)| *share < 1.0)
                    .map(|(name, share)| format!("{name} ({share:.2})"))
                    .collect();
                let ahead = if ahead.is_empty() { "nobody".to_owned() } else { ahead.join(", ") };
                let _ = writeln!(text, "* {name}, {}: ahead of {}: {ahead}.", row.label, ours.name);
            }
        }
    }
    text + "\nThe figure is the median of the rounds' own ratios, the rival's time over ours.\n"
}

/// Puts all of it into `benches/results/messages.md`, between the markers, and draws the charts.
pub(crate) fn write(messages: &[[Race; 3]]) -> io::Result<()> {
    let machine = results::machine();
    let mut text = format!(
        "\n{machine}; glibc's malloc. {ROUNDS} interleaved rounds. A figure is the median of the rounds, a ratio the median \
         of the\nrounds' own ratios.\n\n{}",
        wins(messages)
    );
    for work in 0..WORK.len() {
        let _ = write!(text, "\n{}", tables(work, messages));
    }
    for (work, file) in DRAWN {
        let title = format!("Messages: {}", WORK[work]);
        let rows: Vec<&Row> = messages.iter().map(|races| &races[work].row).collect();
        bars::draw(file, &title, "ns", &rows)?;
        let _ = writeln!(text, "\n![{title}](../charts/{file})");
    }
    results::replace("messages", "messages", &(text + "\n"))
}

/// Adds the figures to `benches/results/runs.tsv`.
pub(crate) fn record(messages: &[[Race; 3]]) -> io::Result<()> {
    let mut figures = Vec::new();
    for (work, name) in WORK.iter().enumerate() {
        let rows = messages.iter().map(|races| &races[work].row);
        figures.extend(rows.flat_map(|row| row.figures(&format!("messages/{name}"))));
    }
    results::record(&figures)
}
