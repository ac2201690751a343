//! Many threads that hold a connection for a moment.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::contestants::{self, Contestant};
use crate::outcome::{Outcome, Row, in_turn, progress};

pub(crate) const THREADS: usize = 16;
pub(crate) const CONNECTIONS: u32 = 64;
pub(crate) const TASKS: usize = 256;
pub(crate) const ROUNDS: usize = 21;
/// Of each thread, before the clock starts.
const WARM_UP: u64 = 100;
/// Gets of a round, over all threads or tasks.
const GETS: u64 = 160_000;
const GETS_OF_TASKS: u64 = 64_000;

/// One connection per thread, so that nobody has to wait for one.
pub(crate) const ENOUGH: &str = "16 threads";
/// Four tasks per connection, which is held while another task runs.
pub(crate) const SCARCE: &str = "256 tasks on 16 threads";

type Measure = fn(&Runtime, &Contestant) -> f64;

/// Nanoseconds per get and put: wall time over the gets of all.
pub(crate) fn rows() -> Vec<Row> {
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.expect("threads and an epoll are there");
    let contestants = runtime.block_on(contestants::all(CONNECTIONS));
    let measures: [(&str, Measure); 2] = [(ENOUGH, of_threads), (SCARCE, of_tasks)];
    measures.map(|(label, measure)| row(label, measure, &runtime, &contestants)).into()
}

fn row(label: &'static str, measure: Measure, runtime: &Runtime, contestants: &[Contestant]) -> Row {
    let mut outcomes: Vec<Outcome> =
        contestants.iter().map(|&(role, name, _)| Outcome { name, role, rounds: Vec::new() }).collect();
    let progress = progress(label, ROUNDS);
    for round in 0..ROUNDS {
        for turn in in_turn(round, contestants.len()) {
            outcomes[turn].rounds.push(measure(runtime, &contestants[turn]));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Row { label, outcomes }
}

/// From the first thread's start to the last one's end. Each thread reads the clock itself: with more threads than
/// processors, one that only watches would be woken late.
fn of_threads(runtime: &Runtime, (.., pool): &Contestant) -> f64 {
    let ready = Barrier::new(THREADS);
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let span = || {
            runtime.block_on(pool.checkouts(WARM_UP));
            ready.wait();
            let start = Instant::now();
            runtime.block_on(pool.checkouts(GETS / THREADS as u64));
            (start, Instant::now())
        };
        let handles: Vec<_> = (0..THREADS).map(|_| scope.spawn(span)).collect();
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
    });
    let start = spans.iter().map(|&(start, _)| start).min().expect("a thread");
    let end = spans.iter().map(|&(_, end)| end).max().expect("a thread");
    (end - start).as_secs_f64() * 1e9 / GETS as f64
}

fn of_tasks(runtime: &Runtime, (.., pool): &Contestant) -> f64 {
    let start = Instant::now();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let pool = pool.clone();
            tasks.spawn(async move { pool.yielding_checkouts(GETS_OF_TASKS / TASKS as u64).await });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no panic");
        }
    });
    start.elapsed().as_secs_f64() * 1e9 / GETS_OF_TASKS as f64
}
