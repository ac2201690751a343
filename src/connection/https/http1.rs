//! The connections for HTTP/1.1 of one of many servers: a pool that is made when it is first needed.

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
    pool: OnceLock<HttpsPool>,
}

impl Http1 {
    pub(super) fn new(manager: HttpsConnectionManager, settings: Http1Settings) -> Self {
        Self { manager, settings, pool: OnceLock::new() }
    }

    pub(super) fn pool(&self) -> &HttpsPool {
        self.pool.get_or_init(|| (self.settings)().build_unchecked(self.manager.clone()))
    }

    pub(super) fn pool_if_made(&self) -> Option<&HttpsPool> {
        self.pool.get()
    }

    /// Takes over a connection for which the server has chosen HTTP/1.1.
    pub(super) fn take_over(&self, dialed: Dialed) {
        // A full pool does without it.
        drop(self.pool().add(self.manager.http1(dialed)));
    }
}
