//! Markdown: on the terminal, and in `benches/results/fairness.md`.

use std::fmt::Write as _;

use crate::backlog::Rush;
use crate::{Burst, MIB, Outcome, results};

const HEADING: &str = "| bad peers | | median, ms | with them | p99, ms | with them | p99 with / without | longest, ms | \
                       failed | memory, MiB | of at most | cores in use | lines in the log |\n\
                       |---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

pub(crate) fn section(relay: &[Outcome], bus: &[Outcome], bursts: &[Burst]) -> String {
    let mut text = format!("\n{}; glibc's malloc; {}.\n", results::machine(), haproxy_version());
    for (title, outcomes) in [("The relay", relay), ("The bus", bus)] {
        if outcomes.is_empty() {
            continue;
        }
        let _ = write!(text, "\n### {title}\n\n{HEADING}");
        text.extend(outcomes.iter().map(row));
    }
    if !bursts.is_empty() {
        text += "\n### Many clients at once\n\n| | 3000 at once: connected after more than 0.9 s | the slowest, s | its \
                 answer, s | 5000 with a place for 1000: not served | the last, s |\n|---|---|---|---|---|---|\n";
    }
    for Burst { subject, at_once, in_turn } in bursts {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {} | {:.2} |",
            subject.name(),
            at_once.late(),
            Rush::slowest(&at_once.connected),
            Rush::slowest(&at_once.answered),
            in_turn.failures,
            Rush::slowest(&in_turn.answered),
        );
    }
    text + "\n"
}

fn row(outcome: &Outcome) -> String {
    let Outcome { case, subject, without, with, grown, bound, cpu, log } = outcome;
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    let bound = bound.map_or_else(String::new, |bound| format!("{:.1}", mib(bound)));
    format!(
        "| {case} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} | {} | {:.1} | {bound} | {cpu:.2} | {} |\n",
        subject.name(),
        without.worse(0.5),
        with.worse(0.5),
        without.worse(0.99),
        with.worse(0.99),
        ratio(outcome),
        with.worse(1.0),
        with.failures,
        mib(*grown),
        log.len(),
    )
}

fn ratio(outcome: &Outcome) -> f64 {
    outcome.with.worse(0.99) / outcome.without.worse(0.99)
}

/// Milliseconds, ratios, seconds.
pub(crate) fn figures(relay: &[Outcome], bus: &[Outcome], bursts: &[Burst]) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    for outcome in relay.iter().chain(bus) {
        let key = format!("fairness/{}/{}", outcome.case, outcome.subject.name());
        figures.push((format!("{key}/p99"), outcome.with.worse(0.99)));
        figures.push((format!("{key}/ratio"), ratio(outcome)));
        if let Some(bound) = outcome.bound {
            figures.push((format!("{key}/memory"), outcome.grown as f64 / bound as f64));
        }
    }
    for Burst { subject, at_once, in_turn } in bursts {
        let name = subject.name();
        figures.push((format!("fairness/3000 at once/{name}/late"), at_once.late() as f64));
        figures.push((format!("fairness/3000 at once/{name}/slowest"), Rush::slowest(&at_once.connected)));
        figures.push((format!("fairness/5000 in turn/{name}/failed"), in_turn.failures as f64));
        figures.push((format!("fairness/5000 in turn/{name}/last"), Rush::slowest(&in_turn.answered)));
    }
    figures
}

fn haproxy_version() -> String {
    let output = std::process::Command::new("haproxy").arg("-v").output().map(|output| output.stdout);
    let output = String::from_utf8(output.unwrap_or_default()).unwrap_or_default();
    let version = output.split_whitespace().nth(2).and_then(|version| version.split('-').next());
    format!("haproxy {}", version.unwrap_or("of an unknown version"))
}
