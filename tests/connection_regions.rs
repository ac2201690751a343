//! Three real Redis as three regions of one pool, of which one is killed under load and comes back. And one of them behind a
//! breaker.

mod servers;

use std::array;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bb8_redis::RedisConnectionManager as Manager;
use bb8_redis::redis::{AsyncCommands, RedisResult};
use millpond::connection::{Builder, Pool, RegionConnection, RegionPool, RunError};
use millpond::policy::{BreakerPolicy, BreakerState, Outcome, RegionPolicy};
use servers::PATIENCE;
use servers::redis::Redis;
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, sleep, timeout};

const WORKERS: usize = 8;
const NAMES: [&str; 3] = ["north", "west", "south"];
/// How far away the servers are, in milliseconds.
const DISTANCES: [u64; 3] = [1, 20, 40];

fn builder() -> Builder<Manager> {
    Pool::builder().connection_timeout(PATIENCE).test_on_check_out(true).max_size(20).min_idle(2)
}

fn manager(server: &Redis) -> Manager {
    Manager::new(server.url()).unwrap()
}

#[derive(Default)]
struct Counts {
    served: AtomicUsize,
    /// Gets without a connection.
    unserved: AtomicUsize,
    /// Requests whose server was killed.
    failed: AtomicUsize,
}

/// Sends requests, one after the other, to whatever region the pool chooses.
async fn work(pool: RegionPool<Manager>, counts: Arc<Counts>, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let Ok(mut redis) = pool.get().await else {
            counts.unserved.fetch_add(1, Relaxed);
            continue;
        };
        let region = NAMES.iter().position(|name| *name == RegionConnection::region(&redis)).unwrap();
        let sent = Instant::now();
        sleep(Duration::from_millis(DISTANCES[region])).await;
        let reply: RedisResult<u64> = redis.incr("queries", 1).await;
        let (outcome, count) = match reply {
            Ok(_) => (Outcome::Success, &counts.served),
            Err(_) => (Outcome::Failure, &counts.failed),
        };
        RegionConnection::record(&redis, sent.elapsed(), outcome);
        count.fetch_add(1, Relaxed);
    }
}

/// Waits until the first region has served as many requests again as the best one.
async fn until_north_serves(pool: &RegionPool<Manager>) {
    let served = || pool.state().regions.swap_remove(0).best;
    let begin = served();
    let serves = async {
        while served() < begin + 100 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, serves).await.expect("the first region serves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_killed_under_load_costs_the_requests_under_way_and_serves_again() {
    let mut servers: [Redis; 3] = array::from_fn(|_| Redis::start());
    let policy = RegionPolicy::default()
        .probe_interval(Duration::from_millis(100))
        .eject_for(Duration::from_millis(500))
        .return_over(Duration::from_secs(1));
    let regions = NAMES.into_iter().zip(servers.iter().map(manager));
    let pool = builder().build_regions(policy, regions).await.unwrap();

    let counts = Arc::new(Counts::default());
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(pool.clone(), Arc::clone(&counts), stopped.clone()));
    }
    until_north_serves(&pool).await;

    block_in_place(|| servers[0].kill());
    let served = counts.served.load(Relaxed);
    let elsewhere = async {
        while counts.served.load(Relaxed) < served + 200 || pool.state().regions[0].ejections < 2 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, elsewhere).await.expect("other regions serve, and the first is tried again");

    block_in_place(|| servers[0].start_again());
    until_north_serves(&pool).await;
    stop.send_replace(true);
    workers.join_all().await;

    let [served, unserved, failed] =
        [&counts.served, &counts.unserved, &counts.failed].map(|count| count.load(Relaxed));
    println!("{served} served, {failed} failed, {unserved} without a connection");
    assert_eq!(unserved, 0);
    // Each worker learns once that the server was killed.
    assert!(failed <= WORKERS, "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_costs_a_get_no_time_until_it_is_tried_again() {
    let mut server = Redis::start();
    let breaker = BreakerPolicy::default().open_for(Duration::from_secs(1));
    let pool = builder().breaker(breaker).build(manager(&server)).await.unwrap();
    block_in_place(|| server.kill());

    // The connects that open it, then at once.
    let begun = Instant::now();
    assert!(matches!(pool.get().await, Err(RunError::BreakerOpen { .. })));
    assert!(matches!(pool.get().await, Err(RunError::BreakerOpen { .. })));
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());

    block_in_place(|| server.start_again());
    let is_back = async {
        loop {
            match pool.get().await {
                Ok(mut redis) => break redis.incr("queries", 1).await,
                Err(RunError::BreakerOpen { retry_in }) => sleep(retry_in).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let reply: RedisResult<u64> = timeout(PATIENCE, is_back).await.unwrap();
    assert_eq!(reply.unwrap(), 1);
    // The idle connections are the other probes.
    let is_closed = async {
        while pool.state().breaker.unwrap().state != BreakerState::Closed {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, is_closed).await.expect("the breaker closes");
}
