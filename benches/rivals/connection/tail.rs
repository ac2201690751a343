//! How long a get takes: with twenty times as many tasks as connections, and with a connection at hand.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::contestants::{self, Contestant};
use crate::outcome::{Outcome, Row, in_turn, progress};

pub(crate) const TASKS: usize = 1000;
pub(crate) const CONNECTIONS: u32 = 50;
/// None of them has to wait.
pub(crate) const FEW_TASKS: usize = 40;
/// What a task does with its connection: it sleeps.
pub(crate) const WORK: Duration = Duration::from_millis(1);
pub(crate) const ROUNDS: usize = 11;
/// No wait can be longer, except by what it takes to serve all that wait at its end.
pub(crate) const ROUND: Duration = Duration::from_secs(1);

const NANOS_PER_MILLI: f64 = 1e6;
const NANOS_PER_MICRO: f64 = 1e3;

struct Pace {
    title: &'static str,
    tasks: usize,
    /// Nanoseconds.
    unit: f64,
    /// Whether a task lets others run before its next get, as one does that reads its next request from a socket.
    yields: bool,
    quantiles: [(&'static str, f64); 4],
}

const SCARCE: [Pace; 2] = [
    Pace {
        title: "tail",
        tasks: TASKS,
        unit: NANOS_PER_MILLI,
        yields: false,
        quantiles: [
            ("p50, the next get at once", 0.5),
            ("p99, the next get at once", 0.99),
            ("p99.9, the next get at once", 0.999),
            ("max, the next get at once", 1.0),
        ],
    },
    Pace {
        title: "tail, with yields",
        tasks: TASKS,
        unit: NANOS_PER_MILLI,
        yields: true,
        quantiles: [
            ("p50, after a yield", 0.5),
            ("p99, after a yield", 0.99),
            ("p99.9, after a yield", 0.999),
            ("max, after a yield", 1.0),
        ],
    },
];

const AT_HAND: Pace = Pace {
    title: "at hand",
    tasks: FEW_TASKS,
    unit: NANOS_PER_MICRO,
    yields: true,
    quantiles: [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)],
};

/// Milliseconds per get that waits, a row per quantile.
pub(crate) fn rows() -> Vec<Row> {
    SCARCE.iter().flat_map(rows_of).collect()
}

/// Microseconds per get that finds a connection, a row per quantile.
pub(crate) fn rows_at_hand() -> Vec<Row> {
    rows_of(&AT_HAND)
}

fn rows_of(pace: &Pace) -> Vec<Row> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("two threads and an epoll are there");
    let contestants = runtime.block_on(contestants::all(CONNECTIONS));
    let mut rounds: Vec<Vec<Histogram<u64>>> = contestants.iter().map(|_| Vec::new()).collect();
    let progress = progress(pace.title, ROUNDS);
    for round in 0..ROUNDS {
        for turn in in_turn(round, contestants.len()) {
            rounds[turn].push(runtime.block_on(waits(&contestants[turn], pace)));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let row = |(label, quantile)| {
        let of_round = |waits: &Histogram<u64>| waits.value_at_quantile(quantile) as f64 / pace.unit;
        let outcomes = contestants.iter().zip(&rounds).map(|(&(role, name, _), rounds)| Outcome {
            name,
            role,
            rounds: rounds.iter().map(of_round).collect(),
        });
        Row { label, outcomes: outcomes.collect() }
    };
    pace.quantiles.map(row).into()
}

async fn waits((.., pool): &Contestant, pace: &Pace) -> Histogram<u64> {
    let end = Instant::now() + ROUND;
    let mut tasks = JoinSet::new();
    for _ in 0..pace.tasks {
        let (pool, yields) = (pool.clone(), pace.yields);
        tasks.spawn(async move { pool.waits(end, WORK, yields).await });
    }
    let mut all = Histogram::new(3).expect("three digits are allowed");
    while let Some(waits) = tasks.join_next().await {
        all.add(waits.expect("no panic")).expect("the histogram resizes itself");
    }
    all
}
