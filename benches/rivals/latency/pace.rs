//! Messages at a fixed rate.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::bus::{Bus, Stamp, VARIANTS};
use crate::outcome::{Outcome, Row, in_turn, progress};

pub(crate) const RATE: u32 = 5000;
/// Of a round of one variant: short, so that most rounds fit between what disturbs a shared machine.
pub(crate) const MESSAGES: u64 = 1000;
pub(crate) const ROUNDS: usize = 81;
pub(crate) const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")];

/// Of one size.
pub(crate) struct Paced {
    pub(crate) label: &'static str,
    /// A row for each of [`QUANTILES`], in microseconds.
    pub(crate) rows: Vec<Row>,
}

pub(crate) fn run<const SIZE: usize>(runtime: &Runtime, label: &'static str) -> Paced {
    let clock = Instant::now();
    let mut lanes: Vec<Lane<SIZE>> =
        VARIANTS.iter().map(|&(.., pooled)| Lane::start(runtime, clock, pooled)).collect();
    lanes.iter_mut().for_each(|lane| drop(lane.round(clock)));
    let mut rounds = vec![vec![Vec::new(); lanes.len()]; QUANTILES.len()];
    let progress = progress(label, ROUNDS);
    for round in 0..ROUNDS {
        for turn in in_turn(round, lanes.len()) {
            let latencies = lanes[turn].round(clock);
            for (rounds, (quantile, _)) in rounds.iter_mut().zip(QUANTILES) {
                rounds[turn].push(latencies.value_at_quantile(quantile) as f64 / 1000.0);
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let rows = rounds.into_iter().zip(QUANTILES).map(|(rounds, (_, label))| {
        let outcomes = VARIANTS.iter().zip(rounds);
        let outcomes = outcomes.map(|(&(name, role, _), rounds)| Outcome { name, role, rounds }).collect();
        Row { label, outcomes }
    });
    Paced { label, rows: rows.collect() }
}

/// A bus, and a subscriber that knows when each message was due.
struct Lane<const SIZE: usize> {
    bus: Bus<SIZE>,
    latencies: mpsc::Receiver<Histogram<u64>>,
}

impl<const SIZE: usize> Lane<SIZE> {
    fn start(runtime: &Runtime, clock: Instant, pooled: bool) -> Self {
        let bus = Bus::<SIZE>::start(runtime, pooled);
        let mut subscriber = bus.server.subscriber::<Stamp<SIZE>>();
        let (done, latencies) = mpsc::channel(1);
        runtime.spawn(async move {
            loop {
                let mut histogram = Histogram::new(3).expect("3 digits are allowed");
                for _ in 0..MESSAGES {
                    // It ends with the server.
                    let Ok(message) = subscriber.recv().await else { return };
                    let now = clock.elapsed().as_nanos() as u64;
                    histogram
                        .record(now.saturating_sub(message.view().expect("it was published so")).max(1))
                        .expect("it grows");
                }
                if done.send(histogram).await.is_err() {
                    return;
                }
            }
        });
        Self { bus, latencies }
    }

    /// Publishes from this thread, whose sleep is finer than the runtime's milliseconds.
    fn round(&mut self, clock: Instant) -> Histogram<u64> {
        let start = clock.elapsed() + Duration::from_millis(5);
        for nth in 0..MESSAGES {
            let due = start + Duration::from_secs(1) * nth as u32 / RATE;
            if let Some(early) = due.checked_sub(clock.elapsed()) {
                thread::sleep(early);
            }
            let reached = self.bus.publisher.try_publish(&Stamp(due.as_nanos() as u64));
            assert_eq!(reached, Ok(1), "the queue holds what a fifth of a second brings");
        }
        self.latencies.blocking_recv().expect("the subscriber lives")
    }
}
