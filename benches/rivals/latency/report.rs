//! Markdown: on the terminal, and in `benches/results/bus.md`.

use std::fmt::Write as _;
use std::io;

use crate::flood::{self, Flood};
use crate::outcome::{Role, Row};
use crate::pace::{MESSAGES, Paced, RATE, ROUNDS};
use crate::{bars, results};

const TITLE: &str = "Publish to subscribe over TCP";

pub(crate) fn latency(paced: &[Paced]) -> String {
    let mut text = format!(
        "### Latency at {RATE} messages per second, us\n\n| message | | pool | middle half | no pool | middle half | \
         pool / no pool |\n|---|---|---|---|---|---|---|\n"
    );
    for Paced { label, rows } in paced {
        for row in rows {
            let _ = writeln!(text, "| {label} | {} |{}", row.label, cells(row, 1));
        }
    }
    text
}

pub(crate) fn throughput(floods: &[Flood]) -> String {
    let mut text = String::from(
        "### Throughput, ns per message\n\n| message | pool | middle half | no pool | middle half | pool / no pool | \
         messages/s | allocations per message: pool | no pool |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for Flood { row, allocations } in floods {
        let rate = row.ours().next().map_or(0.0, |ours| 1e9 / ours.median());
        let allocations: String = allocations.iter().map(|count| format!(" {count:.3} |")).collect();
        let _ = writeln!(text, "| {} |{} {rate:.0} |{allocations}", row.label, cells(row, 0));
    }
    text
}

/// Both variants' medians and middle halves, and their ratio.
fn cells(row: &Row, digits: usize) -> String {
    let mut text = String::new();
    for outcome in &row.outcomes {
        let (low, high) = outcome.quartiles();
        let median = outcome.median();
        let _ = write!(text, " {median:.digits$} | {low:.digits$} to {high:.digits$} |");
    }
    let rival = row.outcomes.iter().find(|outcome| outcome.role == Role::Rival);
    let ratio = row.ours().next().zip(rival).map_or(0.0, |(ours, rival)| ours.over(rival));
    text + &format!(" {ratio:.2} |")
}

pub(crate) fn write(paced: &[Paced], floods: &[Flood]) -> io::Result<()> {
    let machine = results::machine();
    let rows: Vec<&Row> = paced.first().map_or(&[][..], |paced| &paced.rows).iter().collect();
    let label = paced.first().map_or("", |paced| paced.label);
    let title = format!("{TITLE}, {label}, {RATE} per second");
    bars::draw("latency.svg", &title, "us", &rows)?;
    let text = format!(
        "\n{machine}; glibc's malloc. Latency: {ROUNDS} interleaved rounds of {MESSAGES} messages, throughput: {} rounds; a \
         figure\nis the median of the rounds, a ratio the median of the rounds' own ratios.\n\n{}\n{}\n\
         ![{title}](../charts/latency.svg)\n\n",
        flood::ROUNDS,
        latency(paced),
        throughput(floods),
    );
    results::replace("bus", "latency", &text)
}

/// Adds the figures to `benches/results/runs.tsv`.
pub(crate) fn record(paced: &[Paced], floods: &[Flood]) -> io::Result<()> {
    let mut figures = Vec::new();
    for Paced { label, rows } in paced {
        figures.extend(rows.iter().flat_map(|row| row.figures(&format!("latency/{label}"))));
    }
    for Flood { row, allocations } in floods {
        figures.extend(row.figures("throughput"));
        let counts = ["pool", "no pool"].iter().zip(allocations);
        figures.extend(
            counts.map(|(who, &count)| (format!("throughput/{}/allocations/{who}", row.label), count)),
        );
    }
    results::record(&figures)
}
