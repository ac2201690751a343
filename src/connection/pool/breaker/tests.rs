//! A server that is down, in virtual time: which connects begin, and what gets do meanwhile.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tokio::runtime::Builder as RuntimeBuilder;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::*;
use crate::connection::{Builder, Pool, PooledConnection, RunError};
use crate::policy::{BreakerState, SizePolicy};

const SECOND: Duration = Duration::from_secs(1);
/// The failures that open it.
const FAILURES: usize = 5;
const PROBES: usize = 3;

/// Of a server that may be down, or slow to accept.
#[derive(Clone)]
struct Manager {
    is_down: Arc<AtomicBool>,
    connects: Arc<AtomicUsize>,
    /// One for each connect that is accepted.
    accepts: Arc<Semaphore>,
}

impl Manager {
    fn new() -> Self {
        let accepts = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { is_down: Arc::default(), connects: Arc::default(), accepts }
    }

    fn set_down(&self, is_down: bool) {
        // Ordering: Relaxed, one thread, as everywhere here.
        self.is_down.store(is_down, Relaxed);
    }

    fn connects(&self) -> usize {
        self.connects.load(Relaxed)
    }
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Connection> {
        self.connects.fetch_add(1, Relaxed);
        self.accepts.acquire().await.map_err(io::Error::other)?.forget();
        if self.is_down.load(Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Connection { is_broken: false })
    }

    async fn is_valid(&self, _: &mut Connection) -> io::Result<()> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_broken
    }
}

#[derive(Debug)]
struct Connection {
    is_broken: bool,
}

/// Whose gets wait for longer than the breaker is open.
fn builder() -> Builder<Manager> {
    let policy = BreakerPolicy::default();
    Builder::new().max_size(10).min_idle(0).connection_timeout(100 * SECOND).breaker(policy)
}

/// A pool with this number of idle connections. Its server is down now, and its breaker is closed.
async fn pool_with(idle: u32) -> (Pool<Manager>, Manager) {
    let manager = Manager::new();
    let pool = builder().build(manager.clone()).await.unwrap();
    for _ in 0..idle {
        pool.add(Connection { is_broken: false }).unwrap();
    }
    manager.set_down(true);
    (pool, manager)
}

/// One whose breaker is open.
async fn open_pool() -> (Pool<Manager>, Manager) {
    let (pool, manager) = pool_with(0).await;
    pool.get().await.unwrap_err();
    (pool, manager)
}

fn stats(pool: &Pool<Manager>) -> BreakerStats {
    pool.state().breaker.unwrap()
}

type Got = Result<PooledConnection<'static, Manager>, RunError<io::Error>>;

/// A get of a task of its own, which nothing but the pool wakes.
fn spawn_get(pool: &Pool<Manager>) -> JoinHandle<Got> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.get_owned().await })
}

fn is_refused<T>(outcome: &Result<T, RunError<io::Error>>) -> bool {
    matches!(outcome, Err(RunError::BreakerOpen { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_get_that_waits_is_refused_when_the_breaker_opens() {
    let (pool, manager) = pool_with(0).await;
    let begun = Instant::now();
    let Err(RunError::BreakerOpen { retry_in }) = pool.get().await else { panic!() };
    assert_eq!(retry_in, 60 * SECOND);
    assert_eq!(manager.connects(), FAILURES);
    // The delays between five connects: 100, 200, 400 and 800 ms.
    assert!((1500..1651).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_get_is_refused_at_once_while_it_is_open_and_nothing_is_to_wait_for() {
    let (pool, manager) = open_pool().await;
    let begun = Instant::now();
    assert!(is_refused(&pool.get().await));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(manager.connects(), FAILURES);
    assert_eq!(pool.state().statistics.get_breaker_open, 2);
    assert_eq!(stats(&pool).refused, 2);
}

#[tokio::test(start_paused = true)]
async fn no_connect_begins_for_a_minute() {
    let (pool, manager) = open_pool().await;
    for _ in 0..59 {
        sleep(SECOND).await;
        assert!(is_refused(&pool.get().await));
    }
    assert_eq!(manager.connects(), FAILURES);
}

#[tokio::test(start_paused = true)]
async fn after_a_minute_a_get_is_served() {
    let (pool, manager) = open_pool().await;
    manager.set_down(false);
    sleep(60 * SECOND).await;
    assert!(pool.get().await.is_ok());
    assert_eq!(stats(&pool).state, BreakerState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn no_more_probes_are_under_way_than_allowed_and_then_all_are_served() {
    let (pool, manager) = open_pool().await;
    manager.set_down(false);
    manager.accepts.forget_permits(usize::MAX);
    sleep(60 * SECOND).await;
    let gets: Vec<_> = (0..8).map(|_| spawn_get(&pool)).collect();
    sleep(SECOND).await;
    assert_eq!(manager.connects() - FAILURES, PROBES);
    manager.accepts.add_permits(8);
    let mut held = Vec::new();
    for get in gets {
        held.push(get.await.unwrap().unwrap());
    }
    assert_eq!(stats(&pool).state, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_it_again_and_refuses_its_get() {
    let (pool, manager) = open_pool().await;
    sleep(60 * SECOND).await;
    let begun = Instant::now();
    assert!(is_refused(&pool.get().await));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(manager.connects() - FAILURES, 1);
    assert_eq!(stats(&pool).opened_by_probe, 1);
}

#[tokio::test(start_paused = true)]
async fn without_retries_a_get_is_refused_that_waits_for_its_turn_to_connect() {
    let manager = Manager::new();
    manager.set_down(true);
    let builder = builder().breaker(BreakerPolicy::default().failures(1));
    let pool = builder.retry_connection(false).max_connecting(1).build_unchecked(manager);
    let _first = spawn_get(&pool);
    let begun = Instant::now();
    assert!(is_refused(&spawn_get(&pool).await.unwrap()));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn timeouts_open_it() {
    let manager = Manager::new();
    manager.accepts.forget_permits(usize::MAX);
    let pool = builder().connection_timeout(SECOND).build(manager.clone()).await.unwrap();
    for get in (0..FAILURES).map(|_| spawn_get(&pool)).collect::<Vec<_>>() {
        assert!(get.await.unwrap().is_err());
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(stats(&pool).opened_by_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_taken_while_it_is_open() {
    let (pool, _) = pool_with(1).await;
    let held = pool.get().await.unwrap();
    assert!(timeout(10 * SECOND, pool.get()).await.is_err());
    assert_eq!(stats(&pool).state, BreakerState::Open);
    drop(held);
    assert!(pool.get().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_get_waits_for_a_connection_in_use() {
    let (pool, manager) = pool_with(1).await;
    let held = pool.get().await.unwrap();
    let mut get = pin!(pool.get());
    assert!(timeout(10 * SECOND, get.as_mut()).await.is_err());
    assert_eq!(stats(&pool).state, BreakerState::Open);
    drop(held);
    assert!(get.await.is_ok());
    assert_eq!(manager.connects(), FAILURES);
}

#[tokio::test(start_paused = true)]
async fn a_get_is_refused_when_the_last_connection_in_use_breaks() {
    let (pool, _) = pool_with(1).await;
    let mut held = pool.get().await.unwrap();
    let get = spawn_get(&pool);
    sleep(10 * SECOND).await;
    held.is_broken = true;
    drop(held);
    let begun = Instant::now();
    assert!(is_refused(&get.await.unwrap()));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_get_is_refused_when_the_last_connection_in_use_is_detached() {
    let (pool, _) = pool_with(1).await;
    let held = pool.get().await.unwrap();
    let get = spawn_get(&pool);
    sleep(10 * SECOND).await;
    held.detach();
    let begun = Instant::now();
    assert!(is_refused(&get.await.unwrap()));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_a_connection_in_use_gets_a_new_one_after_a_minute() {
    let (pool, manager) = pool_with(1).await;
    let _held = pool.get().await.unwrap();
    let mut get = pin!(pool.get());
    assert!(timeout(10 * SECOND, get.as_mut()).await.is_err());
    manager.set_down(false);
    let begun = Instant::now();
    assert!(get.await.is_ok());
    assert!(begun.elapsed() < 53 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_opened_after_a_minute_though_nobody_asks() {
    let manager = Manager::new();
    manager.set_down(true);
    let builder = builder().min_idle(4).reaper_rate(1000 * SECOND);
    let pool = builder.build_unchecked(manager.clone());
    sleep(10 * SECOND).await;
    assert_eq!(stats(&pool).state, BreakerState::Open);
    manager.set_down(false);
    sleep(52 * SECOND).await;
    assert_eq!(pool.state().idle_connections, 4);
    assert_eq!(stats(&pool).state, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_build_ends_when_it_opens() {
    let manager = Manager::new();
    manager.set_down(true);
    let begun = Instant::now();
    assert!(builder().min_idle(1).build(manager).await.is_err());
    assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
}

/// Without the breaker, the first three failures would leave one connect at a time.
#[tokio::test(start_paused = true)]
async fn it_takes_the_place_of_one_connect_at_a_time() {
    let manager = Manager::new();
    manager.set_down(true);
    let policy = BreakerPolicy::default().failures(100).error_percent(101);
    let pool = builder().breaker(policy).build_unchecked(manager.clone());
    for _ in 0..10 {
        drop(spawn_get(&pool));
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!(manager.connects(), 10);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(manager.connects(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_pool_does_not_grow_while_it_is_open() {
    let manager = Manager::new();
    let policy = BreakerPolicy::default().open_for(1000 * SECOND);
    let builder = builder().breaker(policy).adaptive_size(SizePolicy::default());
    let pool = builder.build(manager.clone()).await.unwrap();
    for _ in 0..40 {
        let pool = pool.clone();
        tokio::spawn(async move {
            loop {
                let connection = pool.get().await;
                sleep(SECOND).await;
                drop(connection);
            }
        });
    }
    sleep(5 * SECOND).await;
    manager.set_down(true);
    pool.resize(11);
    sleep(95 * SECOND).await;
    assert_eq!(stats(&pool).opened_by_failures, 1);
    assert_eq!(pool.state().max_size, 11);
}

#[tokio::test(start_paused = true)]
async fn the_delays_between_connects_are_those_of_the_backoff() {
    let manager = Manager::new();
    manager.set_down(true);
    let backoff = crate::policy::Backoff::persistent();
    let builder = builder().breaker(None).backoff(backoff).connection_timeout(3600 * SECOND);
    let pool = builder.build_unchecked(manager.clone());
    drop(spawn_get(&pool));
    // 5, 10, 20 and 40 s after each other, and each longer by a tenth at most.
    let begun = Instant::now();
    for (connects, earliest, latest) in [(2, 5, 5.5), (3, 15, 16.5), (4, 35, 38.5), (5, 75, 82.5)] {
        sleep_until(begun + earliest * SECOND - SECOND / 10).await;
        assert_eq!(manager.connects(), connects - 1);
        sleep_until(begun + SECOND.mul_f64(latest + 0.1)).await;
        assert_eq!(manager.connects(), connects);
    }
}

#[test]
fn a_probe_whose_runtime_ends_gives_its_place_back() {
    let runtime = || RuntimeBuilder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let first = runtime();
    let (pool, manager) = first.block_on(open_pool());
    manager.set_down(false);
    manager.accepts.forget_permits(usize::MAX);
    first.block_on(async {
        sleep(60 * SECOND).await;
        for _ in 0..PROBES {
            drop(spawn_get(&pool));
        }
        sleep(SECOND).await;
    });
    assert_eq!(manager.connects() - FAILURES, PROBES);
    drop(first);
    manager.accepts.add_permits(1);
    // Its clock is a minute behind: those that are lost would be lost for two.
    let got = runtime().block_on(async { timeout(50 * SECOND, pool.get()).await });
    assert!(got.is_ok_and(|got| got.is_ok()));
}
