use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Enough for a median that a few disturbed rounds do not move, and odd, so that one round is the median.
pub(crate) const ROUNDS: usize = 41;
/// Long enough that a look at the clock is nothing, short enough to fit between two disturbances.
pub(crate) const SLICE: Duration = Duration::from_millis(3);

/// Whose number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Ours,
    Rival,
    /// What no pool can do better: shown and barred, but nobody to win against.
    Limit,
}

/// One who does the work of a row.
pub(crate) struct Contestant {
    name: &'static str,
    role: Role,
    /// Does the work so many times.
    run: Box<dyn FnMut(u64)>,
}

impl Contestant {
    /// `op` does the work once; it is inlined into a loop of its own.
    pub(crate) fn new(role: Role, name: &'static str, mut op: impl FnMut() + 'static) -> Self {
        Self::batched(role, name, move |times| (0..times).for_each(|_| op()))
    }

    /// For work that is started and ended once for many operations.
    pub(crate) fn batched(role: Role, name: &'static str, run: impl FnMut(u64) + 'static) -> Self {
        Self { name, role, run: Box::new(run) }
    }

    /// How often the work fits into a slice, after a warm-up.
    fn times_a_slice(&mut self, slice: Duration) -> u64 {
        let mut times = 64;
        loop {
            let taken = self.time(times);
            if taken * 4 >= slice {
                let fits = times as f64 * slice.as_secs_f64() / taken.as_secs_f64();
                return (fits as u64).max(1);
            }
            times *= 2;
        }
    }

    fn time(&mut self, times: u64) -> Duration {
        let start = Instant::now();
        (self.run)(times);
        start.elapsed()
    }
}

/// What a contestant took.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Nanoseconds an operation, one number a round.
    pub(crate) rounds: Vec<f64>,
}

impl Outcome {
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.rounds, 0.5)
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
    pub(crate) fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.name == name)
    }

    pub(crate) fn ours(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.role == Role::Ours)
    }
}

/// Measures one row. How often each contestant works in a slice is found once and then pinned.
pub(crate) fn contest(label: &'static str, slice: Duration, mut contestants: Vec<Contestant>) -> Row {
    let times: Vec<u64> = contestants.iter_mut().map(|contestant| contestant.times_a_slice(slice)).collect();
    let mut rounds = vec![Vec::new(); contestants.len()];
    let progress = progress(label);
    for round in 0..ROUNDS {
        for turn in in_turn(round, contestants.len()) {
            let taken = contestants[turn].time(times[turn]);
            rounds[turn].push(taken.as_secs_f64() * 1e9 / times[turn] as f64);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let outcomes = contestants.iter().zip(rounds);
    let outcomes = outcomes.map(|(who, rounds)| Outcome { name: who.name, role: who.role, rounds }).collect();
    Row { label, outcomes }
}

/// The order of a round: everyone once, the next one first in the next round.
pub(crate) fn in_turn(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (round + turn) % count)
}

/// A bar that moves between slices, never during one; a line where nobody looks at a bar.
pub(crate) fn progress(label: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:12} [{bar:41}] round {pos} of {len}, {eta} left");
    let bar = ProgressBar::new(ROUNDS as u64).with_message(label);
    if bar.is_hidden() {
        eprintln!("{label}: {ROUNDS} rounds");
    }
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * at).round() as usize]
}
