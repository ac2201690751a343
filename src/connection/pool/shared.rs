//! What all handles of a pool share: checkout and return, and how connections end.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::Location;
use std::time::Duration;

use bb8::{CustomizeConnection, ErrorSink, ManageConnection, QueueStrategy};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::alarm::Alarms;
use super::breaker::ConnectBreaker;
use super::builder::{BYPASS_WINDOW, Config};
use super::failures::Failures;
use super::guard::PooledConnection;
use super::home::Home;
use super::ranking::Rank;
use crate::connection::clock::{NEVER, millis, now};
use crate::connection::core::{Checkout, Core, Held, Limits, Order};
use crate::connection::statistics::{Closed, Counters, Holder, State};
use crate::policy::{BreakerStats, Outcome};
use crate::sync::{Arc, Mutex, contain};

/// A connection, and what the pool knows of it. Times are in milliseconds on the pool's clock.
pub(super) struct Conn<C> {
    pub(super) connection: C,
    pub(super) expires: u64,
    /// Since when it is idle, or was when it was last.
    pub(super) idle_since: u64,
    pub(super) was_used: bool,
    /// Whether a test of it has begun and not ended. A guard that is dropped then closes it.
    pub(super) is_in_doubt: bool,
}

impl<C> Conn<C> {
    /// Whether it was opened just now, and never used.
    pub(super) fn is_new(&self, now: u64) -> bool {
        !self.was_used && now.saturating_sub(self.idle_since) < millis(BYPASS_WINDOW)
    }
}

/// The failed connects in a row after which the server counts as down. Where one in twenty fails, that is one time in 8000.
const MANY_FAILURES: usize = 3;

pub(super) type Customizer<M> =
    dyn CustomizeConnection<<M as ManageConnection>::Connection, <M as ManageConnection>::Error>;

/// What an error of a connect says about the server.
pub(in crate::connection) type OutcomeOf<M> = fn(&<M as ManageConnection>::Error) -> Outcome;

pub(crate) struct Shared<M: ManageConnection> {
    pub(super) core: Core<Conn<M::Connection>>,
    /// Counted on its own, so that a connect under way does not keep the pool open. So is the customizer.
    pub(super) manager: Arc<M>,
    pub(super) customizer: Option<Arc<Customizer<M>>>,
    pub(super) outcome_of: OutcomeOf<M>,
    pub(super) config: Config,
    pub(super) counters: Counters,
    pub(super) breaker: Option<Box<ConnectBreaker>>,
    /// If it is the pool of one of several regions.
    pub(super) rank: Option<Rank>,
    pub(super) home: Home,
    pub(super) alarms: Alarms,
    /// Cancelled when the pool is closed, or its last handle is dropped.
    pub(super) closing: CancellationToken,
    /// Notified when connections were closed, for `close`.
    pub(super) emptied: Notify,
    /// Notified when a connect ended, for `build`.
    pub(super) progress: Notify,
    pub(super) error_sink: Option<Arc<dyn ErrorSink<M::Error>>>,
    pub(super) failures: Mutex<Failures<M::Error>>,
    limits: CheckoutLimits,
}

/// The settings that the hit path looks at, in milliseconds.
struct CheckoutLimits {
    /// A connection that is idle for less needs no test and no look at the idle timeout.
    fresh: u64,
    bypass_window: u64,
    /// After this time also a connection that was never used is asked whether it is broken.
    trusted: u64,
    idle_timeout: u64,
    /// A connection that expires within this time is replaced before: by then it is looked at again.
    foresight: u64,
}

impl<M: ManageConnection> Shared<M> {
    pub(super) fn new(
        config: Config,
        manager: M,
        error_sink: Option<Arc<dyn ErrorSink<M::Error>>>,
        customizer: Option<Arc<Customizer<M>>>,
        outcome_of: OutcomeOf<M>,
        rank: Option<Rank>,
    ) -> Arc<Self> {
        let core = Core::new(Limits {
            max: config.max_size as usize,
            min_idle: config.min_idle.unwrap_or(0) as usize,
            max_connecting: config.max_connecting,
            max_waiting: config.max_waiting.unwrap_or(usize::MAX),
            // A breaker is another rule for the same.
            down_after: if config.breaker.is_some() { usize::MAX } else { MANY_FAILURES },
            barging: config.barging,
            order: match config.queue_strategy {
                QueueStrategy::Lifo => Order::Lowest,
                QueueStrategy::Fifo => Order::RoundRobin,
            },
        });
        let bypass_window = if config.test_on_check_out { millis(config.bypass_window) } else { NEVER };
        let trusted = bypass_window.min(millis(BYPASS_WINDOW));
        let idle_timeout = config.idle_timeout.map_or(NEVER, millis);
        let shortest = idle_timeout.min(config.max_lifetime.map_or(NEVER, millis));
        // Not more, so that with rare looks not all connections count as old.
        let foresight = millis(config.reaper_rate).min(shortest / 4);
        Arc::new(Self {
            core,
            manager: Arc::new(manager),
            customizer,
            outcome_of,
            rank,
            breaker: config.breaker.map(|policy| Box::new(ConnectBreaker::new(policy))),
            config,
            counters: Counters::default(),
            home: Home::default(),
            alarms: Alarms::default(),
            closing: CancellationToken::new(),
            emptied: Notify::new(),
            progress: Notify::new(),
            error_sink,
            failures: Mutex::default(),
            limits: CheckoutLimits {
                fresh: bypass_window.min(idle_timeout),
                bypass_window,
                trusted,
                idle_timeout,
                foresight,
            },
        })
    }

    /// A connection that needs no test, or else one that `examine` must look at, or none. All is done here that the hit path
    /// does: no lock, no allocation.
    #[inline]
    pub(super) fn try_get(
        self: &Arc<Self>,
        caller: &'static Location<'static>,
    ) -> Result<PooledConnection<'_, M>, Option<PooledConnection<'_, M>>> {
        loop {
            let Some((held, facts)) = self.core.try_get() else { return Err(None) };
            let mut guard = PooledConnection::new(self, held);
            let now = now();
            let conn = guard.conn();
            if now >= conn.expires || now - conn.idle_since.min(now) >= self.limits.fresh || !conn.was_used {
                return Err(Some(guard));
            }
            // Asked once: the manager may find out by a read, which it cannot repeat.
            if self.is_broken(&mut conn.connection) {
                self.close_held(guard.into_held(), Closed::Broken);
                continue;
            }
            facts.count_checkout();
            facts.on_checkout(caller, now);
            if self.core.may_want_connect() {
                self.drive();
            }
            return Ok(guard);
        }
    }

    /// Why an idle connection must be closed, if it must.
    pub(super) fn reason_to_close(&self, conn: &mut Conn<M::Connection>, now: u64) -> Option<Closed> {
        self.expiry(conn, now).or_else(|| {
            // A new connection comes from the manager itself, so it is asked only when time has passed.
            let is_asked = conn.was_used || now.saturating_sub(conn.idle_since) >= self.limits.trusted;
            (is_asked && self.is_broken(&mut conn.connection)).then_some(Closed::Broken)
        })
    }

    /// Whether a connection that is idle until then has reached its end.
    fn expiry(&self, conn: &Conn<M::Connection>, then: u64) -> Option<Closed> {
        if then >= conn.expires {
            Some(Closed::MaxLifetime)
        } else if then.saturating_sub(conn.idle_since) >= self.limits.idle_timeout {
            Some(Closed::IdleTimeout)
        } else {
            None
        }
    }

    /// Whether a connection must be tested that was idle for this long.
    pub(super) fn needs_test(&self, idle: u64) -> bool {
        idle >= self.limits.bypass_window
    }

    /// Makes a connection that the pool takes over now.
    pub(super) fn conn(&self, connection: M::Connection) -> Conn<M::Connection> {
        let created = now();
        let expires = self.config.max_lifetime.map_or(NEVER, |lifetime| {
            // std's hasher has a random seed, which saves a dependency.
            let share = RandomState::new().hash_one(created) % 1_000;
            let lifetime = millis(lifetime);
            let less = lifetime / 10_000 * share + lifetime % 10_000 * share / 10_000;
            created.saturating_add(lifetime - less)
        });
        Conn { connection, expires, idle_since: created, was_used: false, is_in_doubt: false }
    }

    /// Takes a connection back that was checked out.
    #[inline]
    pub(super) fn put_back(self: &Arc<Self>, mut held: Held<Conn<M::Connection>>) {
        let now = now();
        let conn = held.item_mut();
        if conn.is_in_doubt {
            self.close_held(held, Closed::Invalid);
        } else if self.is_broken(&mut conn.connection) {
            self.close_held(held, Closed::Broken);
        } else if now >= conn.expires {
            self.close_held(held, Closed::MaxLifetime);
        } else {
            conn.idle_since = now;
            self.put(held);
        }
    }

    #[inline]
    pub(super) fn put(&self, held: Held<Conn<M::Connection>>) {
        if let Some(conn) = self.core.put(held) {
            self.close_surplus(conn);
        }
    }

    /// Closes a connection, and opens another if one is wanted.
    #[cold]
    pub(super) fn close_held(self: &Arc<Self>, held: Held<Conn<M::Connection>>, reason: Closed) {
        let (vacant, conn) = held.empty();
        self.counters.on_closed(reason);
        if matches!(reason, Closed::MaxLifetime | Closed::IdleTimeout) {
            self.core.expected_close();
        }
        // Before its slot is free, so that the server never sees more connections than the maximum.
        contain(|| drop(conn));
        self.core.release(vacant);
        self.emptied.notify_waiters();
        self.refuse_waiters();
        self.drive();
    }

    /// Closes a connection whose slot is free already.
    #[cold]
    pub(super) fn close_surplus(&self, conn: Conn<M::Connection>) {
        self.counters.on_closed(Closed::Surplus);
        contain(|| drop(conn));
        self.core.closed();
        self.emptied.notify_waiters();
    }

    /// Closes the idle connections that are too many.
    pub(super) fn close_all_surplus(&self) {
        while let Some(conn) = self.core.take_surplus() {
            self.close_surplus(conn);
        }
        self.emptied.notify_waiters();
    }

    pub(super) fn resize(self: &Arc<Self>, max_size: u32) {
        self.core.resize(max_size as usize);
        self.close_all_surplus();
        self.drive();
    }

    pub(super) fn detach(self: &Arc<Self>, held: Held<Conn<M::Connection>>) -> M::Connection {
        let (vacant, conn) = held.empty();
        self.counters.on_detached();
        self.core.release(vacant);
        self.emptied.notify_waiters();
        self.refuse_waiters();
        self.drive();
        conn.connection
    }

    /// Asks the manager. One that panics knows no better.
    #[inline]
    pub(super) fn is_broken(&self, connection: &mut M::Connection) -> bool {
        let mut is_broken = true;
        contain(|| is_broken = self.manager.has_broken(connection));
        is_broken
    }

    /// Closes what has expired, and opens what is missing or will be missing soon.
    pub(super) fn maintain(self: &Arc<Self>) {
        let now = now();
        let soon = now.saturating_add(self.limits.foresight);
        let counts = self.core.counts();
        let room = counts.max.saturating_sub(counts.open + counts.connecting);
        let mut reasons = Vec::new();
        let (mut last, mut expiring) = (0, 0);
        let (expired, surplus) = self.core.take_idle_unless(|conn| {
            let reason = self.reason_to_close(conn, now).or_else(|| {
                let reason = self.expiry(conn, soon)?;
                last += 1;
                // Without room to replace them before, every second one is closed now: never all at once.
                let is_early = last > room && (last - room).is_multiple_of(2);
                expiring += usize::from(!is_early);
                is_early.then_some(reason)
            });
            reasons.extend(reason);
            reason.is_none()
        });
        for (held, reason) in expired.into_iter().zip(reasons) {
            self.close_held(held, reason);
        }
        self.core.expect_closes(expiring);
        surplus.into_iter().for_each(|conn| self.close_surplus(conn));
        self.drive();
    }

    pub(super) fn retain(self: &Arc<Self>, mut keep: impl FnMut(&mut M::Connection) -> bool) {
        let (rejected, surplus) = self.core.take_idle_unless(|conn| {
            let mut keeps = false;
            contain(|| keeps = keep(&mut conn.connection));
            keeps
        });
        rejected.into_iter().for_each(|held| self.close_held(held, Closed::Surplus));
        surplus.into_iter().for_each(|conn| self.close_surplus(conn));
    }

    /// Closes the connection that has been idle for longest. Not one that was used in the meantime.
    #[cfg(feature = "https")]
    pub(super) fn close_longest_idle(self: &Arc<Self>) -> bool {
        let mut oldest = u64::MAX;
        let (_, surplus) = self.core.take_idle_unless(|conn| {
            oldest = oldest.min(conn.idle_since);
            true
        });
        surplus.into_iter().for_each(|conn| self.close_surplus(conn));
        let mut is_taken = false;
        let (taken, surplus) = self.core.take_idle_unless(|conn| {
            let is_kept = is_taken || conn.idle_since > oldest;
            is_taken |= !is_kept;
            is_kept
        });
        taken.into_iter().for_each(|held| self.close_held(held, Closed::Surplus));
        surplus.into_iter().for_each(|conn| self.close_surplus(conn));
        is_taken
    }

    pub(super) fn begin_close(&self) {
        self.closing.cancel();
        self.core.close();
        self.close_all_surplus();
    }

    pub(super) fn has_min_idle(&self) -> bool {
        self.core.counts().idle >= self.config.min_idle.unwrap_or(0) as usize
    }

    pub(super) fn state(&self) -> State {
        let mut statistics = self.counters.snapshot(self.core.direct_checkouts(), self.core.waited());
        // The ends before the starts, so that no more gets end than began.
        let counts = self.core.counts();
        statistics.get_started += counts.new_waiters;
        State {
            connections: counts.open as u32,
            idle_connections: counts.idle as u32,
            connecting: counts.connecting as u32,
            waiting: counts.waiting as u32,
            max_size: counts.max as u32,
            breaker: self.breaker.as_ref().map(|breaker| {
                // Gets, and not the connects that ask it.
                BreakerStats { refused: statistics.get_breaker_open, ..breaker.stats() }
            }),
            statistics,
        }
    }

    pub(in crate::connection) fn holders(&self) -> Vec<Holder> {
        let now = now();
        let checkouts = self.core.checkouts().into_iter();
        let mut holders: Vec<_> = checkouts
            .map(|Checkout { caller, since, label }| Holder {
                caller,
                label,
                age: Duration::from_millis(now.saturating_sub(since)),
            })
            .collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.age));
        holders
    }
}

impl<M: ManageConnection> Drop for Shared<M> {
    fn drop(&mut self) {
        // One by one, so that of several connections whose drops panic no second one aborts the process.
        self.begin_close();
        self.forget_failures();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::connection::{Builder, Pool};

    struct Manager;

    impl ManageConnection for Manager {
        type Connection = ();
        type Error = Infallible;

        async fn connect(&self) -> Result<(), Infallible> {
            Ok(())
        }

        async fn is_valid(&self, (): &mut ()) -> Result<(), Infallible> {
            Ok(())
        }

        fn has_broken(&self, (): &mut ()) -> bool {
            false
        }
    }

    /// A pool whose idle connections will have been idle for as many seconds of 1000 that they may be.
    async fn idle_for(seconds: u64, max_size: u32) -> Pool<Manager> {
        let pool = Builder::new().max_size(max_size).min_idle(4).max_lifetime(None);
        let pool = pool.idle_timeout(Duration::from_secs(1_000)).reaper_rate(Duration::from_secs(3_600));
        let pool = pool.build(Manager).await.unwrap();
        age(&pool, seconds);
        pool
    }

    fn age(pool: &Pool<Manager>, seconds: u64) {
        pool.shared.core.take_idle_unless(|conn| {
            conn.idle_since = conn.idle_since.saturating_sub(seconds * 1_000);
            true
        });
    }

    async fn until_idle(pool: &Pool<Manager>, count: u32) {
        let reached = async {
            while pool.state().idle_connections != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
    }

    #[tokio::test]
    async fn idle_connections_are_replaced_before_they_expire() {
        let pool = idle_for(900, 100).await;
        pool.shared.maintain();
        until_idle(&pool, 8).await;
        age(&pool, 101);
        pool.shared.maintain();
        assert_eq!(pool.state().idle_connections, 4);
    }

    #[tokio::test]
    async fn without_room_for_others_idle_connections_are_not_closed_all_at_once() {
        let pool = idle_for(900, 4).await;
        pool.shared.maintain();
        assert_eq!(pool.state().idle_connections, 2);
    }

    #[tokio::test]
    async fn with_little_room_idle_connections_are_not_closed_all_at_once() {
        let pool = idle_for(900, 5).await;
        pool.shared.maintain();
        until_idle(&pool, 5).await;
        age(&pool, 101);
        pool.shared.maintain();
        assert!(pool.state().idle_connections >= 2, "{}", pool.state());
    }

    #[cfg(feature = "https")]
    #[tokio::test]
    async fn the_connection_that_has_been_idle_for_longest_makes_room() {
        let pool = idle_for(0, 4).await;
        let mut place = 0;
        pool.shared.core.take_idle_unless(|conn| {
            place += 1;
            conn.idle_since = if place == 3 { 0 } else { conn.idle_since + place };
            true
        });
        assert!(pool.shared.close_longest_idle());
        let mut is_oldest_there = false;
        pool.shared.core.take_idle_unless(|conn| {
            is_oldest_there |= conn.idle_since == 0;
            true
        });
        assert!(!is_oldest_there);
        assert_eq!(pool.state().statistics.connections_closed_surplus, 1);
    }

    #[tokio::test]
    async fn connections_that_do_not_expire_soon_are_not_replaced() {
        let pool = idle_for(700, 100).await;
        pool.shared.maintain();
        assert_eq!(pool.state().connecting, 0);
    }

    /// How long each of many connections may live, in thousandths of the most.
    fn lifetimes(max: Duration) -> Vec<u64> {
        let pool = Builder::<Manager>::new().max_lifetime(max).build_unchecked(Manager);
        let max = millis(max);
        (0..100).map(|_| ((pool.shared.conn(()).expires - now()) * 1_000).div_ceil(max)).collect()
    }

    #[test]
    fn lifetimes_differ() {
        let lifetimes = lifetimes(Duration::from_secs(1_000));
        assert!(lifetimes.iter().max() > lifetimes.iter().min(), "{lifetimes:?}");
    }

    #[test]
    fn short_lifetimes_differ_as_much() {
        let lifetimes = lifetimes(Duration::from_secs(5));
        assert!(
            lifetimes.iter().max() > lifetimes.iter().min().map(|least| least + 50).as_ref(),
            "{lifetimes:?}"
        );
    }

    #[test]
    fn lifetimes_are_shorter_by_a_tenth_at_most() {
        let lifetimes = lifetimes(Duration::from_secs(1_000));
        assert!(lifetimes.iter().all(|lifetime| (899..=1_000).contains(lifetime)), "{lifetimes:?}");
    }
}
