//! As many messages as go through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::ALLOCATOR;
use crate::bus::{Bus, Stamp, VARIANTS};
use crate::outcome::{Outcome, Row, in_turn, progress};

pub(crate) const ROUNDS: usize = 15;
const SLICE: Duration = Duration::from_millis(100);
/// Messages a subscriber may be behind: less than its channel and the peer's queue hold, and than a class of the
/// pool keeps idle, which is 255 of those for 4 KiB.
pub(crate) const WINDOW: usize = 128;
/// Messages after which the publisher is told.
const STEP: usize = 32;

/// Of one size and number of subscribers.
pub(crate) struct Flood {
    /// Nanoseconds per message.
    pub(crate) row: Row,
    /// Heap allocations per message, in the order of the variants.
    pub(crate) allocations: Vec<f64>,
}

pub(crate) fn run<const SIZE: usize>(runtime: &Runtime, label: &'static str, subscribers: usize) -> Flood {
    let lanes: Vec<Lane<SIZE>> =
        VARIANTS.iter().map(|&(.., pooled)| Lane::start(runtime, pooled, subscribers)).collect();
    let steps = lanes.iter().map(|lane| lane.steps_a_slice(runtime)).max().unwrap_or(1);
    let mut rounds = vec![Vec::new(); lanes.len()];
    let mut allocations = vec![0; lanes.len()];
    let progress = progress(label, ROUNDS);
    let messages = steps * STEP;
    for round in 0..ROUNDS {
        for turn in in_turn(round, lanes.len()) {
            let heap = ALLOCATOR.stats();
            let taken = lanes[turn].time(runtime, steps);
            let heap = ALLOCATOR.stats() - heap;
            rounds[turn].push(taken.as_secs_f64() * 1e9 / messages as f64);
            allocations[turn] += heap.allocations + heap.reallocations;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let outcomes = VARIANTS.iter().zip(rounds);
    let outcomes = outcomes.map(|(&(name, role, _), rounds)| Outcome { name, role, rounds }).collect();
    let allocations = allocations.into_iter().map(|count| count as f64 / (messages * ROUNDS) as f64);
    Flood { row: Row { label, outcomes }, allocations: allocations.collect() }
}

struct Lane<const SIZE: usize> {
    bus: Bus<SIZE>,
    /// A permit for each message that a subscriber may get.
    windows: Vec<Arc<Semaphore>>,
}

impl<const SIZE: usize> Lane<SIZE> {
    fn start(runtime: &Runtime, pooled: bool, subscribers: usize) -> Self {
        let bus = Bus::<SIZE>::start(runtime, pooled);
        let windows: Vec<_> = (0..subscribers).map(|_| Arc::new(Semaphore::new(WINDOW))).collect();
        for window in &windows {
            let (window, mut subscriber) = (Arc::clone(window), bus.server.subscriber::<Stamp<SIZE>>());
            runtime.spawn(async move {
                let mut received = 0;
                loop {
                    match subscriber.recv().await {
                        Ok(message) => drop(message),
                        Err(millpond::bus::RecvError::Closed) => return,
                        Err(error) => panic!("the window is smaller than the channel: {error}"),
                    }
                    received += 1;
                    if received % STEP == 0 {
                        window.add_permits(STEP);
                    }
                }
            });
        }
        Self { bus, windows }
    }

    /// Waits until this many steps are published and received.
    fn time(&self, runtime: &Runtime, steps: usize) -> Duration {
        let (publisher, windows) = (self.bus.publisher.clone(), self.windows.clone());
        let start = Instant::now();
        let publishing = runtime.spawn(async move {
            for _ in 0..steps {
                take(&windows, STEP).await;
                for _ in 0..STEP {
                    publisher.publish(&Stamp(0)).await.expect("the server lives");
                }
            }
            // All of them received all.
            take(&windows, WINDOW).await;
            windows.iter().for_each(|window| window.add_permits(WINDOW));
        });
        runtime.block_on(publishing).expect("it published");
        start.elapsed()
    }

    fn steps_a_slice(&self, runtime: &Runtime) -> usize {
        let mut steps = 16;
        loop {
            let taken = self.time(runtime, steps);
            if taken * 4 >= SLICE {
                return (steps as f64 * SLICE.as_secs_f64() / taken.as_secs_f64()) as usize + 1;
            }
            steps *= 2;
        }
    }
}

async fn take(windows: &[Arc<Semaphore>], count: usize) {
    for window in windows {
        window.acquire_many(count as u32).await.expect("nobody closes it").forget();
    }
}
