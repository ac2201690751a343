//! The connections for HTTP/1.1 of one of many servers: a pool that is made when it is first needed.

use super::error::HttpsError;
use super::manager::{Dialed, HttpsConnectionManager};
use crate::connection::{Builder, Pool};
use crate::sync::{Arc, OnceLock};

/// A pool in which each connection has one user.
pub(super) type HttpsPool = Pool<HttpsConnectionManager>;

/// Makes the settings of a pool.
pub(super) type Http1Settings = Arc<dyn Fn() -> Builder<HttpsConnectionManager> + Send + Sync>;

/// A pool, or its settings.
pub(super) struct Http1 {
    manager: HttpsConnectionManager,
    settings: Http1Settings,
    /// `None` once all is closed and there was none.
    pool: OnceLock<Option<HttpsPool>>,
    /// The most requests that wait in the pool.
    pub(super) max_waiting: usize,
}

impl Http1 {
    pub(super) fn new(manager: HttpsConnectionManager, settings: Http1Settings) -> Self {
        let max_waiting = settings().max_waiting_or_unlimited();
        Self { manager, settings, max_waiting, pool: OnceLock::new() }
    }

    /// Nothing if all is closed.
    pub(super) fn pool(&self) -> Option<&HttpsPool> {
        // A limit over all servers says nothing about this one.
        let settings = || (self.settings)().outcome_of(HttpsError::outcome);
        let make = || Some(settings().build_unchecked(self.manager.clone()));
        self.pool.get_or_init(make).as_ref()
    }

    pub(super) fn pool_if_made(&self) -> Option<&HttpsPool> {
        self.pool.get()?.as_ref()
    }

    pub(super) async fn close(&self) {
        if let Some(pool) = self.pool.get_or_init(|| None) {
            pool.close().await;
        }
    }

    /// Takes over a connection for which the server has chosen HTTP/1.1.
    pub(super) fn take_over(&self, dialed: Dialed) {
        // A full pool does without it.
        if let Some(pool) = self.pool() {
            drop(pool.add(self.manager.http1(dialed)));
        }
    }
}
