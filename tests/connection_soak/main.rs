//! A pool of connections to a real Redis, and between them a proxy that drops, resets, half-closes and silences them, or does
//! not accept them, for `MILLPOND_SOAK_SECONDS` (default 10). `tests/deep` runs it for ten minutes.
//!
//! Meanwhile clients on two runtimes get connections, are cancelled, panic, resize the pool, take connections out of it and
//! put them back. No get may hang, no answer may be someone else's, no connection may be handed out again after it failed,
//! and there may never be more than the maximum. At the end no connection, no permit and no waiter may be lost.
//!
//! | file | idea |
//! |---|---|
//! | `chaos` | the proxy |
//! | `client` | what clients do |
//! | `dice` | random numbers |
//! | `../numbered/mod.rs` | connections with numbers |
//! | `../servers/mod.rs` | the server |

mod chaos;
mod client;
mod dice;
#[path = "../numbered/mod.rs"]
mod numbered;
#[path = "../servers/mod.rs"]
mod servers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bb8_redis::RedisConnectionManager;
use bb8_redis::redis::aio::MultiplexedConnection;
use chaos::Chaos;
use dice::Dice;
use millpond::connection::{Pool, PooledConnection, RunError};
use numbered::{Census, Connection, Graveyard, Numbered};
use servers::PATIENCE;
use servers::redis::{Client, Redis};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type Manager = Numbered<RedisConnectionManager>;
type Redises = Connection<MultiplexedConnection>;
type Pooled<'a> = PooledConnection<'a, Manager>;

const MAX: u32 = 16;
const CLIENTS: u64 = 48;
const LOOK: Duration = Duration::from_millis(20);

/// What all clients share.
struct Run {
    pool: Pool<Manager>,
    census: Arc<Census>,
    graveyard: Graveyard,
    /// Who may have a connection that was the pool's.
    strangers: Semaphore,
    gets: AtomicU64,
    refused: AtomicU64,
    answers: AtomicU64,
    late: AtomicU64,
    failures: AtomicU64,
}

fn main() {
    let seconds = std::env::var("MILLPOND_SOAK_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    let server = Redis::start();
    let [network, clients, others] = [(); 3].map(|()| runtime());
    let listener = network.block_on(async { chaos::listen(([127, 0, 0, 1], 0).into()) }).unwrap();
    let manager = format!("redis://{}", listener.local_addr().unwrap());
    let manager = Numbered::new(RedisConnectionManager::new(manager).unwrap());
    let chaos = Arc::new(Chaos::default());
    network.spawn(Arc::clone(&chaos).serve(listener, server.address.clone()));

    let census = manager.census();
    let run = Arc::new(Run {
        pool: clients.block_on(async {
            Pool::builder()
                .max_size(MAX)
                .min_idle(2)
                .max_lifetime(Duration::from_secs(1))
                .idle_timeout(Duration::from_millis(400))
                .reaper_rate(Duration::from_millis(50))
                .connection_timeout(Duration::from_secs(1))
                .max_waiting(32)
                // This manager does not know when a connection is broken.
                .test_on_check_out(true)
                .build_unchecked(manager)
        }),
        census,
        graveyard: Graveyard::default(),
        strangers: Semaphore::new(1),
        gets: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        answers: AtomicU64::new(0),
        late: AtomicU64::new(0),
        failures: AtomicU64::new(0),
    });

    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks = [&clients, &others].map(|runtime| runtime.spawn(play(Arc::clone(&run), end)));
    for task in tasks {
        clients.block_on(task).unwrap();
    }
    chaos.calm_down();
    clients.block_on(judge(&run, &server));
    clients.block_on(eventually("connections of a closed pool stay", || chaos.open() == 0));

    println!("| fact | |\n|---|---|");
    println!("| connections that came through the proxy | {} |", chaos.connections());
    for (fact, count) in [
        ("gets", &run.gets),
        ("gets that timed out or were refused", &run.refused),
        ("answers", &run.answers),
        ("answers that came too late", &run.late),
        ("connections that failed in use", &run.failures),
    ] {
        println!("| {fact} | {} |", count.load(Ordering::Relaxed));
    }
    println!("| the pool | {} |", run.pool.state());
    println!("test result: ok. {seconds} s");
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn play(run: Arc<Run>, end: Instant) {
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS / 2 {
        let run = Arc::clone(&run);
        clients.spawn(async move {
            let mut dice = Dice(seed);
            while Instant::now() < end {
                client::life(&run, &mut dice).await;
            }
        });
    }
    // A client that found a fault panics, and ends the run.
    while let Some(outcome) = clients.join_next().await {
        outcome.unwrap();
    }
}

/// Nobody uses the pool any more, and the network is calm.
async fn judge(run: &Run, server: &Redis) {
    let pool = &run.pool;
    assert_eq!(run.graveyard.returned(), BTreeSet::new(), "handed out again after they had failed");
    assert!(run.census.most() <= MAX as usize + 1, "{} connections at once", run.census.most());

    let state = pool.state();
    assert_eq!(state.waiting, 0, "{state}");
    assert_eq!(state.statistics.pending_gets(), 0, "{state}");
    assert_eq!(pool.holders().len(), 0, "{:?}", pool.holders());

    // No permit is lost: as many connections as ever can be had at once, and each works.
    pool.resize(MAX);
    let mut guards = Vec::new();
    let start = Instant::now();
    while guards.len() < MAX as usize {
        assert!(start.elapsed() < PATIENCE, "only {} connections can be had: {}", guards.len(), pool.state());
        // The last connections and connects of the wild days may end only now.
        if let Ok(mut redis) = pool.get().await
            && client::echo(&mut redis, 1).await.is_ok()
        {
            guards.push(redis);
        }
    }
    assert!(timeout(LOOK, pool.get()).await.is_err(), "a connection too many");
    // No waiter is lost, either.
    let (got, ()) = tokio::join!(pool.get(), async { drop(guards.pop()) });
    drop(got.unwrap());
    drop(guards);

    // The server has the connections that the pool has.
    let mut admin = Client::connect(&server.address).unwrap();
    let mut at_the_server = || admin.ask("CLIENT LIST TYPE normal").unwrap().lines().count() - 1;
    eventually("the server has other connections than the pool", || {
        at_the_server() == pool.state().connections as usize
    })
    .await;
    timeout(PATIENCE, pool.close()).await.expect("the pool is closed");
    assert!(matches!(pool.get().await, Err(RunError::Closed)));
    assert_eq!(run.census.now(), 0);
    eventually("the server has connections of a closed pool", || at_the_server() == 0).await;

    let state = pool.state();
    let statistics = &state.statistics;
    let gone = statistics.connections_closed_broken
        + statistics.connections_closed_invalid
        + statistics.connections_closed_max_lifetime
        + statistics.connections_closed_idle_timeout
        + statistics.connections_closed_surplus
        + statistics.connections_detached;
    assert_eq!(statistics.connections_created, gone, "{statistics:?}");
}

async fn eventually(fault: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{fault}");
        sleep(LOOK).await;
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
