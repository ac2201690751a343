//! Regions that are down, slow or full, in virtual time.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::connection::Builder;
use crate::metric::{Metrics, Report, Source};
use crate::policy::{BreakerPolicy, RegionPolicy};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// The failures that eject a region.
const FAILURES: usize = 5;

/// Of a server that may be down, or takes a while to accept.
#[derive(Clone, Default)]
struct Manager {
    is_down: Arc<AtomicBool>,
    accepts_after: Arc<AtomicU64>,
}

impl Manager {
    // Ordering: Relaxed, one thread, as everywhere here.
    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Relaxed);
    }

    fn accept_after(&self, time: Duration) {
        self.accepts_after.store(time.as_millis() as u64, Relaxed);
    }
}

impl ManageConnection for Manager {
    type Connection = ();
    type Error = io::Error;

    async fn connect(&self) -> io::Result<()> {
        sleep(Duration::from_millis(self.accepts_after.load(Relaxed))).await;
        if self.is_down.load(Relaxed) { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
    }

    async fn is_valid(&self, (): &mut ()) -> io::Result<()> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        self.is_down.load(Relaxed)
    }
}

struct Mill {
    pool: RegionPool<Manager>,
    north: Manager,
    south: Manager,
}

/// Two regions without connections. None is probed, so that it is known where each get goes.
async fn mill(builder: Builder<Manager>, policy: RegionPolicy) -> Mill {
    let (north, south) = (Manager::default(), Manager::default());
    let regions = [("north", north.clone()), ("south", south.clone())];
    let policy = policy.probe_interval(1_000_000 * SECOND);
    let pool = builder.build_regions(policy, regions).await.unwrap();
    // The one probe of the beginning.
    drop(pool.get().await);
    pool.pool("south").unwrap().retain(|()| false);
    Mill { pool, north, south }
}

fn builder() -> Builder<Manager> {
    Builder::new().max_size(10).min_idle(0)
}

async fn plain() -> Mill {
    mill(builder(), RegionPolicy::default()).await
}

impl Mill {
    async fn region_of_get(&self) -> String {
        RegionConnection::region(&self.pool.get().await.unwrap()).to_owned()
    }

    fn region(&self, index: usize) -> RegionState {
        self.pool.state().regions.swap_remove(index)
    }

    /// Says that requests failed.
    async fn eject_north(&self) {
        let connection = self.pool.get_in("north").await.unwrap();
        for _ in 0..FAILURES {
            RegionConnection::record(&connection, MILLISECOND, Outcome::Failure);
        }
        assert!(self.region(0).is_ejected);
    }

    fn spawn_get(&self) -> JoinHandle<Result<RegionConnection<'static, Manager>, RunError<io::Error>>> {
        let pool = self.pool.clone();
        tokio::spawn(async move { Ok(RegionConnection::into_owned(pool.get().await?)) })
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_region_serves_as_long_as_nothing_is_known() {
    let mill = plain().await;
    for _ in 0..3 {
        assert_eq!(mill.region_of_get().await, "north");
    }
    assert_eq!(mill.region(0).best, 3);
}

#[tokio::test(start_paused = true)]
async fn a_get_that_waits_goes_elsewhere_when_its_region_is_ejected() {
    let mill = plain().await;
    mill.north.set_down(true);
    let get = mill.spawn_get();
    sleep(SECOND).await;
    assert!(!get.is_finished());
    let begun = Instant::now();
    assert_eq!(RegionConnection::region(&get.await.unwrap().unwrap()), "south");
    // The fifth connect comes after 1.5 s, and the jitter of its delays.
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert!(mill.region(0).is_ejected);
    assert_eq!(mill.region(1).fallback, 1);
}

#[tokio::test(start_paused = true)]
async fn a_region_whose_breaker_opens_is_ejected_for_as_long() {
    let policy = RegionPolicy::default().eject_after(1000);
    let mill = mill(builder().breaker(BreakerPolicy::default()), policy).await;
    mill.north.set_down(true);
    assert_eq!(mill.region_of_get().await, "south");
    sleep(59 * SECOND).await;
    assert!(mill.region(0).is_ejected);
    sleep(SECOND).await;
    assert!(!mill.region(0).is_ejected);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_is_ejected_gets_no_gets_and_later_some_again() {
    let mill = plain().await;
    mill.eject_north().await;
    assert_eq!(mill.region_of_get().await, "south");
    sleep(30 * SECOND).await;
    assert!(!mill.region(0).is_ejected);
    let stays = mill.pool.get_in("north").await.unwrap();
    assert_eq!(RegionConnection::region(&stays), "north");
}

#[tokio::test(start_paused = true)]
async fn gets_that_fail_count_against_their_region() {
    let builder = builder().max_size(1).connection_timeout(2 * SECOND);
    let mill = mill(builder, RegionPolicy::default()).await;
    let _held = mill.pool.get_in("north").await.unwrap();
    for _ in 0..FAILURES {
        assert!(!mill.region(0).is_ejected);
        assert_eq!(mill.region_of_get().await, "south");
    }
    assert!(mill.region(0).is_ejected);
}

#[tokio::test(start_paused = true)]
async fn a_region_whose_pool_is_full_is_worse_and_not_ejected() {
    let mill = mill(builder().max_size(1).max_waiting(0), RegionPolicy::default()).await;
    let _held = mill.pool.get_in("north").await.unwrap();
    for _ in 0..2 * FAILURES {
        assert_eq!(mill.region_of_get().await, "south");
    }
    assert!(!mill.region(0).is_ejected);
    assert!(mill.region(0).score.unwrap() > SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_last_region_is_returned_if_all_fail() {
    let mill = mill(builder().max_size(1).max_waiting(0), RegionPolicy::default()).await;
    let held = (mill.pool.get_in("north").await.unwrap(), mill.pool.get_in("south").await.unwrap());
    assert!(matches!(mill.pool.get().await, Err(RunError::PoolFull)));
    assert_eq!(mill.region(1).fallback, 1);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_get_waits_no_longer_than_the_connection_timeout_in_all_regions_together() {
    let policy = RegionPolicy::default().eject_after(1);
    let mill = mill(builder().retry_connection(false).connection_timeout(10 * SECOND), policy).await;
    mill.north.set_down(true);
    mill.north.accept_after(7 * SECOND);
    mill.south.accept_after(60 * SECOND);
    let begun = Instant::now();
    assert!(mill.pool.get().await.is_err_and(|error| error.is_timeout()));
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_in_its_region_until_that_is_ejected() {
    let mill = plain().await;
    let region = async |name| RegionConnection::region(&mill.pool.get_in(name).await.unwrap()).to_owned();
    assert_eq!(region("south").await, "south");
    assert_eq!(region("north").await, "north");
    assert_eq!(region("no region").await, "north");
    mill.eject_north().await;
    assert_eq!(region("north").await, "south");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_connects_is_the_score() {
    let (north, south) = (Manager::default(), Manager::default());
    north.accept_after(40 * MILLISECOND);
    south.accept_after(10 * MILLISECOND);
    let regions = [("north", north), ("south", south)];
    let pool = builder().min_idle(8).build_regions(RegionPolicy::default(), regions).await.unwrap();
    let scores = pool.state().regions.into_iter().map(|region| region.score.unwrap().as_millis());
    assert_eq!(scores.collect::<Vec<_>>(), [40, 10]);
    let mut regions = Vec::new();
    for _ in 0..3 {
        regions.push(RegionConnection::region(&pool.get().await.unwrap()).to_owned());
    }
    // One is a probe.
    assert_eq!(regions.iter().filter(|&region| region == "south").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_program_says_takes_the_place_of_the_time_of_connects() {
    let mill = plain().await;
    let connection = mill.pool.get().await.unwrap();
    for _ in 0..100 {
        sleep(100 * MILLISECOND).await;
        RegionConnection::record(&connection, 3 * MILLISECOND, Outcome::Success);
    }
    mill.north.accept_after(SECOND);
    mill.pool.pool("north").unwrap().retain(|()| false);
    let second = mill.pool.get().await.unwrap();
    assert_eq!(RegionConnection::region(&second), "north");
    // The connects of the beginning, which took no time, are still a small part of it.
    assert_eq!(mill.region(0).score.unwrap().as_micros() / 100, 29);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_get_says_nothing() {
    let mill = mill(builder(), RegionPolicy::default().eject_after(1)).await;
    mill.pool.pool("north").unwrap().retain(|()| false);
    mill.north.accept_after(5 * SECOND);
    assert!(timeout(SECOND, mill.pool.get()).await.is_err());
    assert!(!mill.region(0).is_ejected);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_fails_a_connect_does_not_fail_the_build() {
    let (north, south) = (Manager::default(), Manager::default());
    north.set_down(true);
    let regions = [("north", north), ("south", south)];
    let begun = Instant::now();
    let pool = builder().min_idle(1).build_regions(RegionPolicy::default(), regions).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(pool.pool("south").unwrap().state().idle_connections, 1);
}

#[tokio::test(start_paused = true)]
async fn the_build_fails_if_all_regions_fail() {
    let north = Manager::default();
    north.set_down(true);
    let regions = [("north", north.clone()), ("south", north)];
    assert!(builder().min_idle(1).build_regions(RegionPolicy::default(), regions).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn while_all_are_ejected_a_get_waits_for_the_first_that_comes_back() {
    let mill = plain().await;
    let (north, south) = (mill.pool.get_in("north").await.unwrap(), mill.pool.get_in("south").await.unwrap());
    for connection in [&north, &south] {
        for _ in 0..FAILURES {
            RegionConnection::record(connection, MILLISECOND, Outcome::Failure);
        }
    }
    mill.north.set_down(true);
    mill.south.set_down(true);
    drop((north, south));
    let get = mill.spawn_get();
    sleep(5 * SECOND).await;
    assert!(!get.is_finished());
    mill.north.set_down(false);
    assert_eq!(RegionConnection::region(&get.await.unwrap().unwrap()), "north");
    assert!(!mill.region(0).is_ejected);
}

#[tokio::test(start_paused = true)]
async fn the_only_region_that_is_back_is_found_by_the_first_get() {
    let mill = plain().await;
    let (north, south) = (mill.pool.get_in("north").await.unwrap(), mill.pool.get_in("south").await.unwrap());
    for connection in [&north, &south] {
        for _ in 0..FAILURES {
            RegionConnection::record(connection, MILLISECOND, Outcome::Failure);
        }
    }
    mill.north.set_down(true);
    mill.south.set_down(true);
    drop((north, south));
    mill.south.set_down(false);
    let begun = Instant::now();
    assert_eq!(mill.region_of_get().await, "south");
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_get_that_waits_goes_to_another_region_that_comes_back() {
    let mill = plain().await;
    let (north, south) = (mill.pool.get_in("north").await.unwrap(), mill.pool.get_in("south").await.unwrap());
    for connection in [&north, &south] {
        for _ in 0..FAILURES {
            RegionConnection::record(connection, MILLISECOND, Outcome::Failure);
        }
    }
    mill.north.set_down(true);
    drop(north);
    let get = mill.spawn_get();
    sleep(SECOND / 2).await;
    assert!(!get.is_finished());
    RegionConnection::record(&south, MILLISECOND, Outcome::Success);
    drop(south);
    let begun = Instant::now();
    assert_eq!(RegionConnection::region(&get.await.unwrap().unwrap()), "south");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_does_not_answer_costs_a_get_half_of_its_time() {
    let mill = mill(builder().connection_timeout(10 * SECOND), RegionPolicy::default()).await;
    mill.pool.pool("north").unwrap().retain(|()| false);
    mill.north.accept_after(1_000 * SECOND);
    let begun = Instant::now();
    assert_eq!(mill.region_of_get().await, "south");
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert!(!mill.region(0).is_ejected);
}

#[tokio::test(start_paused = true)]
async fn the_last_region_has_the_rest_of_the_time() {
    let mill = mill(builder().connection_timeout(10 * SECOND), RegionPolicy::default()).await;
    mill.eject_north().await;
    mill.pool.pool("south").unwrap().retain(|()| false);
    mill.south.accept_after(9 * SECOND);
    assert_eq!(mill.region_of_get().await, "south");
}

#[tokio::test(start_paused = true)]
async fn all_pools_are_closed_together() {
    let mill = plain().await;
    let held = mill.pool.get_in("north").await.unwrap();
    assert!(timeout(SECOND, mill.pool.close()).await.is_err());
    assert!(mill.pool.pool("south").unwrap().is_closed());
    drop(held);
    mill.pool.close().await;
    assert!(matches!(mill.pool.get().await, Err(RunError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn the_samples_of_its_pools_have_the_label_region() {
    let mill = plain().await;
    let watch = mill.pool.watch();
    let mut seen = Vec::new();
    watch().unwrap().each(&mut |metric, labels, _| {
        if metric.name == "millpond_connection_pool_connecting" {
            seen.push(
                labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect::<String>(),
            );
        }
    });
    assert_eq!(seen, ["region=north", "region=south"]);
    drop(mill);
    assert!(watch().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_leak_report_has_the_connections_of_all_regions() {
    let mill = plain().await;
    let _held = (mill.pool.get_in("north").await.unwrap(), mill.pool.get_in("south").await.unwrap());
    let mut rows = 0;
    assert!(mill.pool.reports()(Report::Holders, &mut |_| rows += 1));
    assert_eq!(rows, 2);
}
