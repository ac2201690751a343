//! Rounds of frames.

use std::time::{Duration, Instant};

use nix::time::ClockId;
use tokio::runtime::Runtime;

use crate::contestants::{self, Contestant};
use crate::outcome::{Outcome, Role, Row, in_turn, progress};
use crate::{ALLOCATOR, Socket};

/// Odd, so that one round is the median.
pub(crate) const ROUNDS: usize = 31;
/// A turn's length: many wake-ups of either task, and short against what disturbs a shared machine.
const SLICE: Duration = Duration::from_millis(20);

/// What the contestants took for a payload, over a kind of socket.
pub(crate) struct Race {
    /// Nanoseconds per frame.
    pub(crate) wall: Row,
    /// Nanoseconds of this process's CPU time per frame.
    pub(crate) cpu: Row,
    /// Heap allocations per frame, in the order of the contestants.
    pub(crate) allocations: Vec<f64>,
}

pub(crate) fn run(runtime: &Runtime, socket: Socket, payload: usize, label: &'static str) -> Race {
    let mut contestants = contestants::all(runtime, socket, payload);
    // As many for all, however fast the limit is.
    let framing = contestants.iter_mut().filter(|contestant| contestant.role != Role::Limit);
    let frames = framing.map(frames_a_slice).max().unwrap_or(1);
    let mut wall = vec![Vec::new(); contestants.len()];
    let mut cpu = wall.clone();
    let mut allocations = vec![0; contestants.len()];
    let progress = progress(label, ROUNDS);
    for round in 0..ROUNDS {
        for turn in in_turn(round, contestants.len()) {
            let heap = ALLOCATOR.stats();
            let (start, used) = (Instant::now(), cpu_time());
            (contestants[turn].run)(frames);
            cpu[turn].push((cpu_time() - used).as_secs_f64() * 1e9 / frames as f64);
            wall[turn].push(start.elapsed().as_secs_f64() * 1e9 / frames as f64);
            let heap = ALLOCATOR.stats() - heap;
            allocations[turn] += heap.allocations + heap.reallocations;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let who: Vec<_> = contestants.iter().map(|who| (who.name, who.role)).collect();
    let allocations = allocations.into_iter().map(|count| count as f64 / (frames * ROUNDS as u64) as f64);
    Race { wall: row(label, &who, wall), cpu: row(label, &who, cpu), allocations: allocations.collect() }
}

fn row(label: &'static str, who: &[(&'static str, Role)], rounds: Vec<Vec<f64>>) -> Row {
    let outcomes = who.iter().zip(rounds);
    let outcomes = outcomes.map(|(&(name, role), rounds)| Outcome { name, role, rounds }).collect();
    Row { label, outcomes }
}

/// How many frames fit into a slice, after a warm-up.
fn frames_a_slice(contestant: &mut Contestant<'_>) -> u64 {
    let mut frames = 64;
    loop {
        let start = Instant::now();
        (contestant.run)(frames);
        let taken = start.elapsed();
        if taken * 4 >= SLICE {
            return ((frames as f64 * SLICE.as_secs_f64() / taken.as_secs_f64()) as u64).max(1);
        }
        frames *= 2;
    }
}

/// Of this process, of all its threads.
fn cpu_time() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().expect("every Linux has this clock").into()
}
