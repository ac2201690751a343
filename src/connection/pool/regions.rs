//! Pools of several regions that serve the same, under one name.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::pin;
use std::time::Duration;

use bb8::ManageConnection;
use tokio::time::{Instant, sleep, timeout_at};

use super::Pool;
use super::guard::PooledConnection;
use super::ranking::Ranking;
use crate::connection::error::RunError;
use crate::connection::statistics::State;
use crate::policy::{Outcome, RegionState};
use crate::sync::Arc;

/// How long a get waits in a region while all are ejected, before it tries the next.
const TURN: Duration = Duration::from_secs(1);

/// A pool per region: each get goes to the region that serves best, as [`Regions`](crate::policy::Regions) decides. Clones
/// share the pools. [`Builder::build_regions`](super::Builder::build_regions) makes one.
///
/// What counts for a region:
///
/// * connects, also those for idle connections: the time of those that succeed, and each that fails;
/// * gets that fail. One that is refused because the pool is full makes the score worse, and does not eject;
/// * a [breaker](super::Builder::breaker) that is open: then the region is ejected for as long;
/// * what the program says of its requests by [`RegionConnection::record`]. From the first time on, the times of connects do
///   not count any more, as they are longer than those of answers. Failed connects still do.
///
/// A get that a region fails goes to the next best one that is not ejected. So does a get that waits in a region when that is
/// ejected, or after half of its time: the server may not answer at all. Thus a get fails only if all regions fail it. While
/// all are ejected, it waits for the first that comes back, in each for a second in turn.
///
/// To choose the region takes a lock, which a get of one [`Pool`] does not.
///
/// # Examples
///
/// ```no_run
/// use std::time::Instant;
///
/// use bb8_redis::RedisConnectionManager as Manager;
/// use bb8_redis::redis::{AsyncCommands, RedisResult};
/// use millpond::connection::{Pool, RegionConnection};
/// use millpond::policy::{Outcome, RegionPolicy};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let regions = [("north", Manager::new("redis://192.0.2.1")?), ("south", Manager::new("redis://198.51.100.1")?)];
/// let pool = Pool::builder().test_on_check_out(true).build_regions(RegionPolicy::default(), regions).await?;
///
/// let mut redis = pool.get().await?;
/// let sent = Instant::now();
/// let grist: RedisResult<Option<String>> = redis.get("grist").await;
/// let outcome = if grist.is_ok() { Outcome::Success } else { Outcome::Failure };
/// RegionConnection::record(&redis, sent.elapsed(), outcome);
/// # Ok(())
/// # }
/// ```
pub struct RegionPool<M: ManageConnection> {
    shared: Arc<Shared<M>>,
}

struct Shared<M: ManageConnection> {
    pools: Vec<Pool<M>>,
    ranking: Arc<Ranking>,
    connection_timeout: Duration,
}

/// A connection that is checked out of the pool of a region. Dropped, it returns there.
pub struct RegionConnection<'a, M: ManageConnection> {
    connection: PooledConnection<'a, M>,
    ranking: Arc<Ranking>,
    region: usize,
}

/// The state of a [`RegionPool`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegionPoolState {
    /// What is known of each region, and how many gets went there.
    pub regions: Vec<RegionState>,
    /// The states of their pools.
    pub pools: Vec<State>,
}

/// Why a region gave a get no connection.
enum Unserved<E> {
    Failed(RunError<E>),
    /// It was ejected while the get waited, and another one is not; or all are, and the turn of this one is over.
    Left,
}

impl<M: ManageConnection> RegionPool<M> {
    pub(super) fn new(pools: Vec<Pool<M>>, ranking: Arc<Ranking>, connection_timeout: Duration) -> Self {
        Self { shared: Arc::new(Shared { pools, ranking, connection_timeout }) }
    }

    /// Checks a connection out in the region that serves best.
    ///
    /// # Errors
    ///
    /// The error of the last region, if all fail that are not ejected, or when
    /// [`connection_timeout`](super::Builder::connection_timeout) is over.
    ///
    /// # Cancel safety
    ///
    /// As that of [`Pool::get`]. A cancelled get says nothing about its region.
    #[track_caller]
    pub fn get(
        &self,
    ) -> impl Future<Output = Result<RegionConnection<'_, M>, RunError<M::Error>>> + Send + '_ {
        self.find(None, Location::caller())
    }

    /// As [`get`](Self::get), for a client that should stay in the region of this name: it does so unless that is ejected or
    /// fails the get. If no region has this name, it is as `get`.
    ///
    /// # Errors
    ///
    /// As for `get`.
    ///
    /// # Cancel safety
    ///
    /// As for `get`.
    #[track_caller]
    pub fn get_in(
        &self,
        region: &str,
    ) -> impl Future<Output = Result<RegionConnection<'_, M>, RunError<M::Error>>> + Send + '_ {
        self.find(self.shared.ranking.find(region), Location::caller())
    }

    async fn find(
        &self,
        stay: Option<usize>,
        caller: &'static Location<'static>,
    ) -> Result<RegionConnection<'_, M>, RunError<M::Error>> {
        let ranking = &self.shared.ranking;
        let deadline = Instant::now().checked_add(self.shared.connection_timeout);
        let (mut region, mut failed, mut was_left) = (ranking.pick(stay), Vec::new(), false);
        loop {
            let begun = Instant::now();
            let failure = match self.get_from(region, &failed, deadline, caller).await {
                Ok(connection) => {
                    return Ok(RegionConnection { connection, ranking: Arc::clone(ranking), region });
                }
                Err(Unserved::Failed(error)) => {
                    ranking.on_get_failed(region, begun.elapsed(), &error);
                    Some(error)
                }
                Err(Unserved::Left) => None,
            };
            failed.push(region);
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            was_left |= failure.is_none();
            region = match (ranking.next(&failed).filter(|_| !is_over), failure) {
                (Some(next), _) => next,
                (None, Some(error)) if is_over || !was_left => return Err(error),
                (None, None) if is_over => return Err(RunError::TimedOut),
                // One that was left has not failed the get, and may come back.
                (None, _) => {
                    failed.clear();
                    was_left = false;
                    ranking.pick(None)
                }
            };
        }
    }

    /// Waits for a connection of one region, after these have failed.
    async fn get_from(
        &self,
        region: usize,
        failed: &[usize],
        deadline: Option<Instant>,
        caller: &'static Location<'static>,
    ) -> Result<PooledConnection<'_, M>, Unserved<M::Error>> {
        let Some(Pool { shared }) = self.shared.pools.get(region) else {
            return Err(Unserved::Failed(RunError::Closed));
        };
        let first = match shared.try_get(caller) {
            Ok(guard) => return Ok(guard),
            Err(first) => first,
        };
        let ranking = &self.shared.ranking;
        let until = deadline.map(|deadline| {
            let begun = Instant::now();
            let half = begun + deadline.saturating_duration_since(begun) / 2;
            if ranking.has_other(region, failed) { half } else { deadline }
        });
        let mut get = pin!(async {
            let get = shared.get_slowly(first, caller);
            match until {
                // Its own time ends later, if there is another region or was one.
                Some(until) => timeout_at(until, get).await.unwrap_or(Err(RunError::TimedOut)),
                None => get.await,
            }
        });
        let mut turn = pin!(sleep(TURN));
        let mut has_turn = ranking.is_one_of_the_last(region);
        loop {
            let changed = ranking.changed.notified();
            if ranking.is_left(region) {
                return Err(Unserved::Left);
            }
            tokio::select! {
                biased;
                got = get.as_mut() => return got.map_err(Unserved::Failed),
                () = changed => {}
                () = turn.as_mut(), if has_turn => {
                    if ranking.is_one_of_the_last(region) {
                        return Err(Unserved::Left);
                    }
                    has_turn = false;
                }
            }
        }
    }

    /// The pool of a region, to resize it, for example.
    #[must_use]
    pub fn pool(&self, region: &str) -> Option<&Pool<M>> {
        self.shared.pools.get(self.shared.ranking.find(region)?)
    }

    /// What is known of the regions, in the order in which they were given, and of their pools.
    #[must_use]
    pub fn state(&self) -> RegionPoolState {
        let pools = self.shared.pools.iter().map(Pool::state).collect();
        RegionPoolState { regions: self.shared.ranking.state(), pools }
    }

    /// What gives the pool as long as another handle has it.
    pub(in crate::connection) fn downgrade(
        &self,
    ) -> impl Fn() -> Option<Self> + Send + Sync + 'static + use<M> {
        let shared = Arc::downgrade(&self.shared);
        move || Some(Self { shared: shared.upgrade()? })
    }

    pub(in crate::connection) fn pools(&self) -> &[Pool<M>] {
        &self.shared.pools
    }

    /// Closes the pools, as [`Pool::close`] does.
    ///
    /// # Cancel safety
    ///
    /// All pools are closed at the first poll, and stay closed.
    pub async fn close(&self) {
        self.shared.pools.iter().for_each(|pool| pool.shared.begin_close());
        for pool in &self.shared.pools {
            pool.close().await;
        }
    }
}

impl<M: ManageConnection> Clone for RegionPool<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: ManageConnection> fmt::Debug for RegionPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionPool").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl<'a, M: ManageConnection> RegionConnection<'a, M> {
    /// The name of its region.
    #[must_use]
    pub fn region(this: &Self) -> &str {
        this.ranking.name(this.region)
    }

    /// Says how a request went, and how long it took until the first byte of the response, or until it failed. Once for each
    /// request, as far as the region is to be judged by it. It takes a lock.
    pub fn record(this: &Self, latency: Duration, outcome: Outcome) {
        this.ranking.record_answer(this.region, latency, outcome);
    }

    /// The connection without its region, to detach or label it.
    #[must_use]
    pub fn into_pooled(this: Self) -> PooledConnection<'a, M> {
        this.connection
    }

    /// A connection that keeps its pool alive, and so may live anywhere.
    #[must_use]
    pub fn into_owned(this: Self) -> RegionConnection<'static, M> {
        let Self { connection, ranking, region } = this;
        RegionConnection { connection: connection.into_owned(), ranking, region }
    }
}

impl<M: ManageConnection> Deref for RegionConnection<'_, M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.connection
    }
}

impl<M: ManageConnection> DerefMut for RegionConnection<'_, M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.connection
    }
}

impl<M: ManageConnection> fmt::Debug for RegionConnection<'_, M>
where
    M::Connection: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests;
