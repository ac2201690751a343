//! Markdown: on the terminal, and in `benches/results/connection.md`.

use std::fmt::Write as _;
use std::io;

use crate::checkout::Checkouts;
use crate::outcome::Row;
use crate::{bars, contention, results, tail};

/// What ran.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) checkouts: Option<Checkouts>,
    pub(crate) at_hand: Vec<Row>,
    pub(crate) tail: Vec<Row>,
    pub(crate) contention: Vec<Row>,
}

const CHECKOUT: &str = "Get and put a connection, on one thread";
const AT_HAND: &str = "How long a get takes: 40 tasks on 50 connections, 1 ms of work each";
const TAIL: &str = "How long a get waits: 1000 tasks on 50 connections, 1 ms of work each";
const CONTENTION: &str = "Get and put, 64 connections: wall time over the gets of all";

impl Measured {
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        if let Some(Checkouts { row, allocations }) = &self.checkouts {
            text += &format!("### {CHECKOUT}\n");
            text += &table(row, "ns");
            text += "\n| heap allocations per get + put | |\n|---|---|\n";
            for (name, count) in allocations {
                let _ = writeln!(text, "| {name} | {count:.3} |");
            }
        }
        if !self.at_hand.is_empty() {
            text += &format!("\n### {AT_HAND}\n");
            self.at_hand.iter().for_each(|row| text += &table(row, "us"));
        }
        if !self.tail.is_empty() {
            text += &format!("\n### {TAIL}\n");
            self.tail.iter().for_each(|row| text += &table(row, "ms"));
        }
        if !self.contention.is_empty() {
            text += &format!("\n### {CONTENTION}\n");
            self.contention.iter().for_each(|row| text += &table(row, "ns"));
        }
        text
    }

    pub(crate) fn write(&self) -> io::Result<()> {
        if let Some(checkouts) = &self.checkouts {
            bars::draw("connection-checkout.svg", CHECKOUT, "ns", &[&checkouts.row])?;
        }
        bars::draw("connection-tail.svg", TAIL, "ms", &self.tail.iter().collect::<Vec<_>>())?;
        bars::draw(
            "connection-contention.svg",
            CONTENTION,
            "ns",
            &self.contention.iter().collect::<Vec<_>>(),
        )?;
        let text = format!(
            "\n{}; glibc's malloc. Interleaved rounds: {} of 3 ms, {} of {} s and {} of 64 000 to 160 000 gets. A figure is \
             the\nmedian of the rounds, a ratio the median of the rounds' own ratios.\n\n{}\n\
             ![{CHECKOUT}](../charts/connection-checkout.svg)\n\n![{TAIL}](../charts/connection-tail.svg)\n\n\
             ![{CONTENTION}](../charts/connection-contention.svg)\n\n",
            results::machine(),
            crate::contest::ROUNDS,
            tail::ROUNDS,
            tail::ROUND.as_secs(),
            contention::ROUNDS,
            self.tables(),
        );
        results::replace("connection", "connection", &text)
    }

    /// Adds the figures to `benches/results/runs.tsv`.
    pub(crate) fn record(&self) -> io::Result<()> {
        let mut figures = Vec::new();
        if let Some(Checkouts { row, allocations }) = &self.checkouts {
            figures.extend(row.figures("connection/checkout"));
            let key = |name| format!("connection/allocations/{name}");
            figures.extend(allocations.iter().map(|&(name, count)| (key(name), count)));
        }
        for row in &self.at_hand {
            let key = |name| format!("connection/at hand/{}/{name}", row.label);
            figures.extend(row.outcomes.iter().map(|outcome| (key(outcome.name), outcome.median())));
        }
        for row in &self.tail {
            // Where nobody waits half of the time, a ratio of medians says nothing.
            if !row.label.starts_with("p50") {
                figures.extend(row.figures("connection/tail"));
            }
            // Those of the rivals, too: a tail is told in milliseconds.
            let key = |name| format!("connection/wait/{}/{name}", row.label);
            figures.extend(row.outcomes.iter().map(|outcome| (key(outcome.name), outcome.median())));
        }
        figures.extend(self.contention.iter().flat_map(|row| row.figures("connection/contention")));
        results::record(&figures)
    }
}

/// A line for each contestant.
fn table(row: &Row, unit: &str) -> String {
    let ours: Vec<_> = row.ours().collect();
    let heads: String = ours.iter().map(|ours| format!(" {} / it |", ours.name)).collect();
    let rule = "---|".repeat(ours.len());
    let mut text =
        format!("\n| {} | {unit} | middle half | all rounds |{heads}\n|---|---|---|---|{rule}\n", row.label);
    for outcome in &row.outcomes {
        let ((low, high), (least, most)) = (outcome.quartiles(), outcome.extremes());
        let ratios = ours.iter().map(|ours| ours.over(outcome));
        // Where someone does not wait at all, there is none.
        let ratio = |ratio: f64| if ratio.is_finite() { format!(" {ratio:.2} |") } else { " |".to_owned() };
        let ratios: String = ratios.map(ratio).collect();
        let _ = writeln!(
            text,
            "| {} | {:.1} | {low:.1} to {high:.1} | {least:.1} to {most:.1} |{ratios}",
            outcome.name,
            outcome.median(),
        );
    }
    text
}
