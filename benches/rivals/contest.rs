use std::time::{Duration, Instant};

use crate::outcome::{Outcome, Role, Row, in_turn, progress};

/// Enough for a median that a few disturbed rounds do not move, and odd, so that one round is the median.
pub(crate) const ROUNDS: usize = 41;
/// Long enough that a look at the clock is nothing, short enough to fit between two disturbances.
pub(crate) const SLICE: Duration = Duration::from_millis(3);

/// One who does the work of a row.
pub(crate) struct Contestant {
    name: &'static str,
    role: Role,
    /// Does the work this many times.
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

    pub(crate) fn time(&mut self, times: u64) -> Duration {
        let start = Instant::now();
        (self.run)(times);
        start.elapsed()
    }
}

/// Measures one row. How often each contestant works in a slice is found once and then pinned.
pub(crate) fn contest(label: &'static str, slice: Duration, mut contestants: Vec<Contestant>) -> Row {
    let times: Vec<u64> = contestants.iter_mut().map(|contestant| contestant.times_a_slice(slice)).collect();
    let mut rounds = vec![Vec::new(); contestants.len()];
    let progress = progress(label, ROUNDS);
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
