//! How a pool is set up.

use std::fmt;
use std::marker::PhantomData;
use std::pin::pin;
use std::time::Duration;

use bb8::{CustomizeConnection, ErrorSink, ManageConnection, QueueStrategy};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Pool;
use super::ranking::{Rank, Ranking};
use super::regions::RegionPool;
use super::shared::{Customizer, OutcomeOf, Shared};
use crate::policy::{Backoff, BreakerPolicy, Outcome, RegionPolicy, SizePolicy};
use crate::sync::Arc;

const MAX_SIZE: u32 = 100;
const MIN_IDLE: u32 = 10;
const MAX_CONNECTING: usize = 16;
const MAX_LIFETIME: Duration = Duration::from_secs(300);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
const REAPER_RATE: Duration = Duration::from_secs(10);
pub(super) const BYPASS_WINDOW: Duration = Duration::from_millis(500);

/// How a pool is set up. The setters that bb8 has too have its names and meanings.
///
/// The pool logs through [`tracing`](https://docs.rs/tracing): connect errors and failed tests, once per change. Without a
/// subscriber nothing is shown.
///
/// | setting | default | reason |
/// |---|---|---|
/// | [`max_size`](Self::max_size) | 100 | a server's usual limit; memory is used for open connections only |
/// | [`min_idle`](Self::min_idle) | 10, or `max_size` if that is less | a burst after a pause finds connections |
/// | [`max_lifetime`](Self::max_lifetime) | 300 s, less up to a tenth at random | a change of DNS is seen after 5 minutes, and not by all connections at once |
/// | [`idle_timeout`](Self::idle_timeout) | 90 s | less than firewalls and load balancers wait before they forget a connection |
/// | [`connection_timeout`](Self::connection_timeout) | 10 s | a lost SYN packet is sent again after 1, 3 and 7 s |
/// | [`max_connecting`](Self::max_connecting) | 16 | a restarted server is not overrun |
/// | [`backoff`](Self::backoff) | 100 ms, 200 ms and so on up to 5 s, or half of `connection_timeout` if that is less | a server that restarts is found within a get's time |
/// | [`breaker`](Self::breaker) | no | gets wait for a server that is down; it is tried once per delay |
/// | [`max_waiting`](Self::max_waiting) | no limit | each waiter is a task; limit those in your server |
/// | [`bypass_window`](Self::bypass_window) | 500 ms | no round trip before each use of a busy connection |
/// | [`reaper_rate`](Self::reaper_rate) | 10 s | an expired connection is never handed out, so this only bounds how long it takes memory, and how long idle connections are missing after a restart of the server |
/// | [`queue_strategy`](Self::queue_strategy) | `Lifo` | few connections carry the load, and the others can age and close |
/// | [`adaptive_size`](Self::adaptive_size) | no | the size stays as it is set |
/// | [`barging`](Self::barging) | no | first come, first served bounds the longest waits |
#[must_use]
pub struct Builder<M: ManageConnection> {
    pub(super) config: Config,
    error_sink: Option<Arc<dyn ErrorSink<M::Error>>>,
    customizer: Option<Arc<Customizer<M>>>,
    min_idle_is_set: bool,
    outcome_of: OutcomeOf<M>,
    manager: PhantomData<fn(M)>,
}

/// The settings of a pool, as plain data.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The most connections.
    pub max_size: u32,
    /// The idle connections that the pool keeps ready.
    pub min_idle: Option<u32>,
    /// Whether connections are ever tested by [`ManageConnection::is_valid`].
    pub test_on_check_out: bool,
    /// A connection that was used within this time is handed out untested.
    pub bypass_window: Duration,
    /// The longest that a connection is used.
    pub max_lifetime: Option<Duration>,
    /// The longest that a connection is idle.
    pub idle_timeout: Option<Duration>,
    /// The longest that a get waits, and that one connect takes.
    pub connection_timeout: Duration,
    /// Whether a connect that failed is tried again.
    pub retry_connection: bool,
    /// The delays between connects that fail.
    pub backoff: Option<Backoff>,
    /// When no connect begins.
    pub breaker: Option<BreakerPolicy>,
    /// How often idle connections are looked at.
    pub reaper_rate: Duration,
    /// Which idle connection is taken first.
    pub queue_strategy: QueueStrategy,
    /// The most connects at once.
    pub max_connecting: usize,
    /// The most gets that wait.
    pub max_waiting: Option<usize>,
    /// How the size follows the load.
    pub adaptive_size: Option<SizePolicy>,
    /// Whether a get may take a connection while others wait.
    pub barging: bool,
}

impl<M: ManageConnection> Default for Builder<M> {
    fn default() -> Self {
        let config = Config {
            max_size: MAX_SIZE,
            min_idle: Some(MIN_IDLE),
            test_on_check_out: true,
            bypass_window: BYPASS_WINDOW,
            max_lifetime: Some(MAX_LIFETIME),
            idle_timeout: Some(IDLE_TIMEOUT),
            connection_timeout: CONNECTION_TIMEOUT,
            retry_connection: true,
            backoff: None,
            breaker: None,
            reaper_rate: REAPER_RATE,
            queue_strategy: QueueStrategy::Lifo,
            max_connecting: MAX_CONNECTING,
            max_waiting: None,
            adaptive_size: None,
            barging: false,
        };
        Self {
            config,
            error_sink: None,
            customizer: None,
            min_idle_is_set: false,
            outcome_of: |_| Outcome::Failure,
            manager: PhantomData,
        }
    }
}

impl<M: ManageConnection> Builder<M> {
    /// The defaults: see the table above.
    pub fn new() -> Self {
        Self::default()
    }

    #[cfg(feature = "https")]
    pub(in crate::connection) fn max_waiting_or_unlimited(&self) -> usize {
        self.config.max_waiting.unwrap_or(usize::MAX)
    }

    /// What a connect that fails with an error says about the server.
    #[cfg(feature = "https")]
    pub(in crate::connection) fn outcome_of(self, outcome_of: OutcomeOf<M>) -> Self {
        Self { outcome_of, ..self }
    }

    /// The most connections, idle and in use together. More than 65 536 count as 65 536, and on 32-bit targets
    /// more than 32 768 as 32 768.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn max_size(mut self, max_size: u32) -> Self {
        assert!(max_size > 0, "max_size must be greater than zero");
        self.config.max_size = max_size;
        self
    }

    /// The idle connections that the pool keeps ready, within `max_size`. When one is taken or closed, another is opened: with
    /// 2, there are three after the first get.
    pub fn min_idle(mut self, min_idle: impl Into<Option<u32>>) -> Self {
        self.config.min_idle = min_idle.into();
        self.min_idle_is_set = true;
        self
    }

    /// `true`: each connection is tested by [`ManageConnection::is_valid`] before it is handed out, as bb8 does by default.
    /// `false`: none is ever tested. Without this setting, those are tested that were idle for longer than the
    /// [`bypass_window`](Self::bypass_window).
    ///
    /// A manager whose [`has_broken`](ManageConnection::has_broken) always says no, such as that of bb8-redis, needs `true`:
    /// otherwise a connection that was used within the `bypass_window` is handed out even if it is dead. A use that fails counts
    /// as a use, so under steady load a dead connection stays until its [`max_lifetime`](Self::max_lifetime). The test costs one
    /// round trip to the server per checkout.
    pub fn test_on_check_out(mut self, test_on_check_out: bool) -> Self {
        self.config.test_on_check_out = test_on_check_out;
        self.config.bypass_window = Duration::ZERO;
        self
    }

    /// A connection that was used or opened within this time is handed out without a test.
    pub fn bypass_window(mut self, bypass_window: Duration) -> Self {
        self.config.test_on_check_out = true;
        self.config.bypass_window = bypass_window;
        self
    }

    /// The longest that a connection is used. Each connection's own time is shorter by up to a tenth, at random, so that
    /// connections that were opened together are not closed together. A connection in use is closed when it returns.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn max_lifetime(mut self, max_lifetime: impl Into<Option<Duration>>) -> Self {
        let max_lifetime = max_lifetime.into();
        assert_ne!(max_lifetime, Some(Duration::ZERO), "max_lifetime must be greater than zero");
        self.config.max_lifetime = max_lifetime;
        self
    }

    /// The longest that a connection is idle. It is closed then. If fewer than [`min_idle`](Self::min_idle) would be left,
    /// another is opened before, up to a [`reaper_rate`](Self::reaper_rate); in a full pool half of them are closed before.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn idle_timeout(mut self, idle_timeout: impl Into<Option<Duration>>) -> Self {
        let idle_timeout = idle_timeout.into();
        assert_ne!(idle_timeout, Some(Duration::ZERO), "idle_timeout must be greater than zero");
        self.config.idle_timeout = idle_timeout;
        self
    }

    /// The longest that a get waits. A single connect is given up after the same time, whether or not a get waits for it.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn connection_timeout(mut self, connection_timeout: Duration) -> Self {
        assert!(connection_timeout > Duration::ZERO, "connection_timeout must be greater than zero");
        self.config.connection_timeout = connection_timeout;
        self
    }

    /// Whether a connect that failed is tried again while somebody needs the connection, after the delays of
    /// [`backoff`](Self::backoff). After three failures in a row the server counts as down: only one connect is tried at a
    /// time until one succeeds, so that a server that starts is not overrun. A [`breaker`](Self::breaker) takes the place of
    /// this rule.
    ///
    /// Without retries, a get fails as soon as the connect does that was begun for it, also while other connections are in
    /// use. A get for which none was begun waits: the maximum was reached, or a connect for an older get was under way.
    /// [`build`](Self::build) fails at the first error, so that a program whose server is down ends at once.
    pub fn retry_connection(mut self, retry: bool) -> Self {
        self.config.retry_connection = retry;
        self
    }

    /// The delays between connects that fail, each longer by up to a tenth at random. By default they are those of
    /// [`Backoff`], but at most half of the [`connection_timeout`](Self::connection_timeout). They begin anew when another
    /// connect is begun.
    pub fn backoff(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.config.backoff = backoff.into();
        self
    }

    /// A [`Breaker`](crate::policy::Breaker) for connects: those that fail or time out open it, and while it is open none is
    /// begun. Then it is half-open, and lets a few through as probes.
    ///
    /// While it is open, gets take idle connections, and wait for those in use. If none is open, they fail at once with
    /// [`RunError::BreakerOpen`](super::super::RunError::BreakerOpen), also those that wait already. [`build`](Self::build)
    /// fails when it opens, if a connect has failed with an error: not if all of them have panicked or timed out.
    ///
    /// Without a breaker, a server that is down is tried by one connect at a time, at least every few seconds, and gets wait
    /// for it: see [`retry_connection`](Self::retry_connection). That rule finds a server sooner that is back. A breaker takes
    /// its place. Gets fail early then, for callers that have another answer, and the server is spared.
    ///
    /// Failed tests of connections do not count: after a restart of the server all old connections fail theirs. A server
    /// that accepts connections and does not serve them is seen if the manager's `connect`, or the
    /// [`connection_customizer`](Self::connection_customizer), asks it something.
    ///
    /// [`State::breaker`](super::super::State::breaker) has its state. Each change is logged, an opening one as a warning.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millpond::connection::{ManageConnection, Pool, RunError};
    /// use millpond::policy::BreakerPolicy;
    ///
    /// async fn ask<M: ManageConnection>(manager: M) -> Result<(), RunError<M::Error>> {
    ///     let policy = BreakerPolicy::default().first_open_for(Some(Duration::from_secs(5)));
    ///     let pool = Pool::builder().breaker(policy).build_unchecked(manager);
    ///     match pool.get().await {
    ///         Err(RunError::BreakerOpen { retry_in }) => println!("try again in {retry_in:?}"),
    ///         connection => drop(connection?),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn breaker(mut self, policy: impl Into<Option<BreakerPolicy>>) -> Self {
        self.config.breaker = policy.into();
        self
    }

    /// Where errors of the manager go. With or without a sink, connect errors are logged, once per change.
    pub fn error_sink(mut self, error_sink: Box<dyn ErrorSink<M::Error>>) -> Self {
        self.error_sink = Some(Arc::from(error_sink));
        self
    }

    /// How often idle connections are looked at, and expired ones closed.
    pub fn reaper_rate(mut self, reaper_rate: Duration) -> Self {
        self.config.reaper_rate = reaper_rate;
        self
    }

    /// Which idle connection is taken first. With `Lifo`, the one in the lowest slot, so that few connections carry the load
    /// and the others age. With `Fifo`, each in turn.
    pub fn queue_strategy(mut self, queue_strategy: QueueStrategy) -> Self {
        self.config.queue_strategy = queue_strategy;
        self
    }

    /// What is called with each new connection.
    pub fn connection_customizer(
        mut self,
        customizer: Box<dyn CustomizeConnection<M::Connection, M::Error>>,
    ) -> Self {
        self.customizer = Some(Arc::from(customizer));
        self
    }

    /// The most connects at once.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn max_connecting(mut self, max_connecting: usize) -> Self {
        assert!(max_connecting > 0, "max_connecting must be greater than zero");
        self.config.max_connecting = max_connecting;
        self
    }

    /// The most gets that wait for a connection in use. Those for which one is opened do not count. Further ones fail with [`RunError::PoolFull`](super::super::RunError::PoolFull).
    pub fn max_waiting(mut self, max_waiting: impl Into<Option<usize>>) -> Self {
        self.config.max_waiting = max_waiting.into();
        self
    }

    /// Lets the size follow the load: [`max_size`](Self::max_size) is the size at first. The pool grows while gets wait and
    /// connecting succeeds, and shrinks when few connections are in use. It keeps to the bounds of the policy, also after a
    /// [`Pool::resize`]; one that is paused by size 0 stays so. Each change is logged.
    pub fn adaptive_size(mut self, policy: impl Into<Option<SizePolicy>>) -> Self {
        self.config.adaptive_size = policy.into();
        self
    }

    /// Whether a get may take an idle connection while others wait. That is more throughput for short holds, and longer
    /// waits for the unlucky.
    pub fn barging(mut self, barging: bool) -> Self {
        self.config.barging = barging;
        self
    }

    /// Builds the pool, and waits until it has [`min_idle`](Self::min_idle) connections. A connect that fails is tried again
    /// until the [`connection_timeout`](Self::connection_timeout), or until the [`breaker`](Self::breaker) opens. To fail at once, set
    /// [`retry_connection(false)`](Self::retry_connection).
    ///
    /// If no connect fails with an error, but they do not end, or panic, for a whole
    /// [`connection_timeout`](Self::connection_timeout), it returns the pool without them: there is no error of the manager
    /// to return. It logs this.
    ///
    /// # Errors
    ///
    /// The last error of the manager, if the connections are not there by then; without
    /// [`retry_connection`](Self::retry_connection), the first.
    ///
    /// # Panics
    ///
    /// If `min_idle` is larger than `max_size`, or outside of a tokio runtime.
    pub async fn build(self, manager: M) -> Result<Pool<M>, M::Error> {
        let shared = self.shared(manager, None);
        shared.begin_start();
        let limit = self.config.connection_timeout;
        shared.started(limit, self.config.retry_connection).await?;
        Ok(Pool { shared })
    }

    /// Builds a pool for each of several regions that serve the same, the preferred one first. Each has all of these settings
    /// for itself, such as its [`max_size`](Self::max_size) and its [`breaker`](Self::breaker). They share the error sink and
    /// the customizer.
    ///
    /// It waits until each region has its [`min_idle`](Self::min_idle) connections, or one of its connects has failed, for the
    /// [`connection_timeout`](Self::connection_timeout) at most. One region suffices.
    ///
    /// # Errors
    ///
    /// The error of the first region, if connects fail in all of them.
    ///
    /// # Panics
    ///
    /// If there is no region, if `min_idle` is larger than `max_size`, or outside of a tokio runtime.
    pub async fn build_regions<N: Into<String>>(
        self,
        policy: RegionPolicy,
        regions: impl IntoIterator<Item = (N, M)>,
    ) -> Result<RegionPool<M>, M::Error> {
        let (names, managers): (Vec<_>, Vec<_>) =
            regions.into_iter().map(|(name, manager)| (name.into(), manager)).unzip();
        assert!(!managers.is_empty(), "a pool needs at least one region");
        let ranking = Arc::new(Ranking::new(policy, names));
        let pools = managers.into_iter().enumerate().map(|(region, manager)| {
            let shared = self.shared(manager, Some(Rank { ranking: Arc::clone(&ranking), region }));
            shared.begin_start();
            Pool { shared }
        });
        let pools: Vec<_> = pools.collect();
        let (limit, begun) = (self.config.connection_timeout, Instant::now());
        let (mut first, mut serve) = (None, false);
        for Pool { shared } in &pools {
            match shared.started(limit.saturating_sub(begun.elapsed()), false).await {
                Ok(()) => serve = true,
                Err(error) if first.is_none() => first = Some((shared, error)),
                Err(error) => shared.sink(error),
            }
        }
        match first {
            Some((_, error)) if !serve => return Err(error),
            Some((shared, error)) => shared.sink(error),
            None => {}
        }
        Ok(RegionPool::new(pools, ranking, limit))
    }

    /// Builds the pool, and opens its connections in the background.
    ///
    /// # Panics
    ///
    /// If `min_idle` is larger than `max_size`.
    pub fn build_unchecked(self, manager: M) -> Pool<M> {
        let shared = self.shared(manager, None);
        shared.settle();
        shared.drive();
        Pool { shared }
    }

    fn shared(&self, manager: M, rank: Option<Rank>) -> Arc<Shared<M>> {
        let mut config = self.config.clone();
        if self.min_idle_is_set {
            assert!(config.min_idle <= Some(config.max_size), "min_idle must be no larger than max_size");
        } else {
            config.min_idle = config.min_idle.map(|min_idle| min_idle.min(config.max_size));
        }
        let (error_sink, customizer) = (self.error_sink.clone(), self.customizer.clone());
        Shared::new(config, manager, error_sink, customizer, self.outcome_of, rank)
    }
}

impl<M: ManageConnection> Shared<M> {
    /// Waits for the idle connections after `begin_start`, or for an error, unless it `retries`.
    async fn started(self: &Arc<Self>, limit: Duration, retries: bool) -> Result<(), M::Error> {
        let started = async {
            loop {
                let mut progress = pin!(self.progress.notified());
                progress.as_mut().enable();
                if self.has_min_idle() || (self.has_start_error() && (!retries || self.holds_connects())) {
                    break;
                }
                progress.await;
            }
        };
        let is_late = timeout(limit, started).await.is_err();
        match self.end_start() {
            Some(error) if !self.has_min_idle() => return Err(error),
            Some(error) => self.sink(error),
            None if is_late => {
                warn!(
                    "the pool starts without its idle connections: they were not there within connection_timeout"
                );
            }
            None => {}
        }
        Ok(())
    }
}

impl<M: ManageConnection> fmt::Debug for Builder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}
