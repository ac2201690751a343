//! The pool: checkout, connects and maintenance on top of the engine.
//!
//! | file | idea |
//! |---|---|
//! | `builder` | the settings, their defaults and reasons |
//! | `guard` | a connection that is checked out |
//! | `shared` | checkout and return, and how connections end |
//! | `get` | a get that tests a connection or waits for one |
//! | `connect` | opening a connection: timeout, retries, panics |
//! | `breaker` | which connects begin, and which gets are refused meanwhile |
//! | `failures` | what is known of failed connects and tests |
//! | `adaptive` | a size that follows the load |
//! | `alarm` | the timeouts of gets that wait: one timer per runtime |
//! | `home` | the runtime of the pool's tasks, and the task that looks after the pool |
//! | `regions` | a pool per region under one name |
//! | `ranking` | what these pools share: which region serves |

mod adaptive;
mod alarm;
mod breaker;
mod builder;
mod connect;
mod failures;
mod get;
mod guard;
mod home;
mod ranking;
mod regions;
mod shared;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::pin;

use bb8::{AddError, ManageConnection};

pub use self::builder::{Builder, Config};
#[cfg(feature = "https")]
pub(super) use self::connect::caught;
#[cfg(feature = "https")]
pub(super) use self::get::UNFINISHED;
pub use self::guard::PooledConnection;
pub use self::regions::{RegionConnection, RegionPool, RegionPoolState};
use self::shared::Shared;
use super::error::RunError;
use super::statistics::{Holder, State};
use crate::sync::Arc;

/// A pool of connections. Cloning it is cheap, and gives another handle to the same pool.
///
/// When the last handle and the last owned connection are dropped, the idle connections are closed.
///
/// The pool's tasks, which connect and look after idle connections, run on the runtime on which it was first used, until
/// that is shut down; then on the next one. A runtime of one thread that is alive, but not in `block_on`, runs no task: a
/// connect that was begun there stands still, a get on another runtime that needs it times out, and [`close`](Self::close)
/// waits for it.
pub struct Pool<M: ManageConnection> {
    pub(super) shared: Arc<Shared<M>>,
}

impl<M: ManageConnection> Pool<M> {
    /// The settings of a new pool.
    pub fn builder() -> Builder<M> {
        Builder::new()
    }

    /// Checks a connection out. With an idle connection at hand it takes no lock, allocates nothing, and is ready at the first
    /// poll. Otherwise it waits its turn: first come, first served.
    ///
    /// As long as it finds one it does not yield, whatever tokio's budget says: a loop that only gets and returns keeps its
    /// thread, until it uses a connection.
    ///
    /// # Errors
    ///
    /// [`RunError::TimedOut`] or [`RunError::ConnectFailing`] after the
    /// [`connection_timeout`](Builder::connection_timeout); [`RunError::PoolFull`], [`RunError::BreakerOpen`] and
    /// [`RunError::Closed`] at once.
    ///
    /// # Cancel safety
    ///
    /// A cancelled get leaves the queue. A connection that it was granted goes to the next waiter, and a connect that it
    /// caused goes on. A connection whose test it interrupts is closed.
    #[track_caller]
    #[inline]
    pub fn get(
        &self,
    ) -> impl Future<Output = Result<PooledConnection<'_, M>, RunError<M::Error>>> + Send + '_ {
        let caller = Location::caller();
        async move {
            match self.shared.try_get(caller) {
                Ok(guard) => Ok(guard),
                Err(first) => self.shared.get_slowly(first, caller).await,
            }
        }
    }

    /// As [`get`](Self::get), for a connection that keeps the pool alive, and so may live anywhere.
    ///
    /// # Errors
    ///
    /// As for `get`.
    #[track_caller]
    pub fn get_owned(
        &self,
    ) -> impl Future<Output = Result<PooledConnection<'static, M>, RunError<M::Error>>> + Send + '_ {
        let get = self.get();
        async move { Ok(get.await?.into_owned()) }
    }

    /// Checks out the idle connection that a get would take, if it needs no test and nobody waits.
    #[track_caller]
    #[must_use]
    pub fn try_get(&self) -> Option<PooledConnection<'_, M>> {
        self.shared.try_get_untested(Location::caller())
    }

    /// Opens a connection that is not the pool's. It has no timeout but the manager's own.
    ///
    /// # Errors
    ///
    /// The manager's.
    pub async fn dedicated_connection(&self) -> Result<M::Connection, M::Error> {
        self.shared.connect_once(self.shared.manager.connect()).await
    }

    /// As [`dedicated_connection`](Self::dedicated_connection), made in another way.
    #[cfg(feature = "https")]
    pub(super) async fn dedicated_by(
        &self,
        connect: impl Future<Output = Result<M::Connection, M::Error>>,
    ) -> Result<M::Connection, M::Error> {
        self.shared.connect_once(connect).await
    }

    /// Adds a connection to the pool.
    ///
    /// # Errors
    ///
    /// [`AddError`] with the connection, if the manager calls it broken or the pool is full or closed.
    pub fn add(&self, mut connection: M::Connection) -> Result<(), AddError<M::Connection>> {
        if self.shared.is_broken(&mut connection) {
            return Err(AddError::Broken(connection));
        }
        let Some(vacant) = self.shared.core.reserve() else { return Err(AddError::NoCapacity(connection)) };
        self.shared.counters.on_created(None);
        self.shared.put(vacant.fill(self.shared.conn(connection)));
        Ok(())
    }

    /// Changes the most connections. A larger pool opens connections for those that wait; a smaller one closes idle
    /// connections at once, and those in use when they return. With 0 the pool pauses: gets wait until it is larger again.
    pub fn resize(&self, max_size: u32) {
        self.shared.resize(max_size);
    }

    /// Closes the idle connections for which `keep` is false.
    pub fn retain(&self, keep: impl FnMut(&mut M::Connection) -> bool) {
        self.shared.retain(keep);
    }

    /// Closes the pool, and waits until its last connection is closed. At once, gets that wait fail with
    /// [`RunError::Closed`], idle connections are closed, and connects are aborted. Connections in use are closed when they
    /// return.
    ///
    /// # Cancel safety
    ///
    /// The pool is closed at the first poll, and stays closed.
    pub async fn close(&self) {
        self.shared.begin_close();
        loop {
            let mut emptied = pin!(self.shared.emptied.notified());
            emptied.as_mut().enable();
            let counts = self.shared.core.counts();
            if counts.open + counts.connecting + counts.closing == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closing.is_cancelled()
    }

    /// How many connections there are, and what has happened.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Whether nobody has a connection or waits for one. It takes no snapshot of the statistics.
    #[cfg(feature = "https")]
    pub(super) fn is_unused(&self) -> bool {
        let counts = self.shared.core.counts();
        counts.open == counts.idle && counts.waiting == 0
    }

    /// Whether a connection is idle beyond the minimum.
    #[cfg(feature = "https")]
    pub(super) fn has_spare(&self) -> bool {
        self.shared.core.counts().idle > self.shared.config.min_idle.unwrap_or(0) as usize
    }

    /// Closes the one of them that was used least recently. Tells whether it was still there.
    #[cfg(feature = "https")]
    pub(super) fn close_spare(&self) -> bool {
        self.has_spare() && self.shared.close_longest_idle()
    }

    /// The settings that the pool was built with.
    #[must_use]
    pub fn config(&self) -> Config {
        self.shared.config.clone()
    }

    /// The leak report: each connection that is checked out, the oldest first, with the place of the get. It is exact, not
    /// sampled, because to note a checkout takes two stores.
    #[must_use]
    pub fn holders(&self) -> Vec<Holder> {
        self.shared.holders()
    }
}

impl<M: ManageConnection> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: ManageConnection> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("state", &self.state()).finish_non_exhaustive()
    }
}
