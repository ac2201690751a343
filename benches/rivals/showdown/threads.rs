//! The same number of acquires and drops, 1 KiB, split over 1, 2 and 8 threads: does it scale?

use std::alloc::System;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use mimalloc::MiMalloc;
use tikv_jemallocator::Jemalloc;

use crate::contest::ROUNDS;
use crate::contestants::{KIB, acquire as by};
use crate::outcome::{Outcome, Role, Row, in_turn, progress};

pub(crate) const THREADS: [(usize, &str); 3] = [(1, "1 thread"), (2, "2 threads"), (8, "8 threads")];
/// Operations of a slice, over all threads: the same for everyone, 10 ms or so.
const OPERATIONS: u64 = 1_000_000;
/// Of each thread, before the clock starts: its caches fill, its stack and its thread locals exist.
const WARM_UP: u64 = 100;

/// Does the work this many times.
pub(crate) type Work = Box<dyn Fn(u64) + Sync>;

pub(crate) fn rows() -> Vec<Row> {
    let contestants = vec![
        (Role::Ours, "millpond", repeated(by::millpond(KIB))),
        // Threads that share nothing: as much as the processors can give.
        (Role::Limit, "limit", repeated(by::thread_local_stack(KIB))),
        (Role::Rival, "malloc, glibc", repeated(by::allocator(System, KIB))),
        (Role::Rival, "malloc, jemalloc", repeated(by::allocator(Jemalloc, KIB))),
        (Role::Rival, "malloc, mimalloc", repeated(by::allocator(MiMalloc, KIB))),
        (Role::Rival, "zeropool", repeated(by::zeropool(KIB))),
        (Role::Rival, "ArrayQueue", repeated(by::array_queue(KIB))),
        (Role::Rival, "Mutex<Vec>", repeated(by::mutexed_stack(KIB))),
    ];
    split("threads", contestants)
}

/// One row for each number of threads.
pub(crate) fn split(name: &'static str, contestants: Vec<(Role, &'static str, Work)>) -> Vec<Row> {
    let row = |(_, label)| Row {
        label,
        outcomes: contestants
            .iter()
            .map(|&(role, name, _)| Outcome { name, role, rounds: Vec::new() })
            .collect(),
    };
    let mut rows = Vec::from(THREADS.map(row));
    let progress = progress(name, ROUNDS);
    for round in 0..ROUNDS {
        for who in in_turn(round, contestants.len()) {
            for (row, (threads, _)) in rows.iter_mut().zip(THREADS) {
                row.outcomes[who].rounds.push(nanoseconds(threads, &contestants[who].2));
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    rows
}

fn repeated(op: impl Fn() + Sync + 'static) -> Work {
    Box::new(move |times| (0..times).for_each(|_| op()))
}

/// Wall time an operation, from the first thread's start to the last one's end. Each thread reads the clock
/// itself: with more threads than processors, one that only watches would be woken late.
fn nanoseconds(threads: usize, work: &Work) -> f64 {
    let ready = Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let span = || {
            work(WARM_UP);
            ready.wait();
            let start = Instant::now();
            work(OPERATIONS / threads as u64);
            (start, Instant::now())
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(span)).collect();
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
    });
    let start = spans.iter().map(|&(start, _)| start).min().expect("a thread");
    let end = spans.iter().map(|&(_, end)| end).max().expect("a thread");
    (end - start).as_secs_f64() * 1e9 / OPERATIONS as f64
}
