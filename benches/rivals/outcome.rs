//! What was measured: rounds in which each contestant had its turn, and what they say.

use indicatif::{ProgressBar, ProgressStyle};

/// Whose number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Ours,
    Rival,
    /// What no pool can do better: shown and barred, but nobody to win against.
    Limit,
}

/// What a contestant took.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// What an operation took, one number a round.
    pub(crate) rounds: Vec<f64>,
}

impl Outcome {
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.rounds, 0.5)
    }

    /// The shortest round and the longest.
    pub(crate) fn extremes(&self) -> (f64, f64) {
        (quantile(&self.rounds, 0.0), quantile(&self.rounds, 1.0))
    }

    /// Between these lies the middle half of the rounds.
    pub(crate) fn quartiles(&self) -> (f64, f64) {
        (quantile(&self.rounds, 0.25), quantile(&self.rounds, 0.75))
    }

    /// The median of the rounds' own ratios: a slow moment of the machine is in both numbers of one.
    pub(crate) fn over(&self, other: &Self) -> f64 {
        let ratios: Vec<f64> = self.rounds.iter().zip(&other.rounds).map(|(mine, its)| mine / its).collect();
        quantile(&ratios, 0.5)
    }
}

/// The contestants of one row.
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Row {
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.role == Role::Ours)
    }

    /// What each of ours took, and its ratio to each of the others.
    pub(crate) fn figures(&self, bench: &str) -> Vec<(String, f64)> {
        let mut figures = Vec::new();
        for ours in self.ours() {
            let key = format!("{bench}/{}/{}", self.label, ours.name);
            let others = self.outcomes.iter().filter(|other| other.name != ours.name);
            figures.extend(others.map(|other| (format!("{key}/{}", other.name), ours.over(other))));
            figures.push((key, ours.median()));
        }
        figures
    }
}

/// The order of a round: everyone once, the next one first in the next round.
pub(crate) fn in_turn(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (round + turn) % count)
}

/// A bar that moves between slices, never during one; a line where nobody looks at a bar.
pub(crate) fn progress(label: &'static str, rounds: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:12} [{bar:41}] round {pos} of {len}, {eta} left");
    let bar = ProgressBar::new(rounds as u64).with_message(label);
    if bar.is_hidden() {
        eprintln!("{label}: {rounds} rounds");
    }
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * at).round() as usize]
}
