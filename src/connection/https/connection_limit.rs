//! The most connections to all servers together.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::{HttpsError, HttpsErrorKind};
use crate::sync::Arc;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// The permission to have a connection: from before its connect until it is closed.
pub(super) type ConnectionPermit = OwnedSemaphorePermit;

/// Who closes an idle connection to make room for another, and tells whether there was one.
type MakeRoom = dyn Fn() -> bool + Send + Sync;

pub(super) struct ConnectionLimit {
    permits: Arc<Semaphore>,
    max: usize,
    make_room: Box<MakeRoom>,
    evicted: AtomicUsize,
    refused: AtomicUsize,
}

/// How many connections there are to all servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimitState {
    /// Connections that are open or being made.
    pub connections: usize,
    /// The most of them, if there is a limit.
    pub max: Option<usize>,
    /// Idle connections that were closed to make room for another.
    pub evicted: u64,
    /// Connects that were refused, because no connection was idle.
    pub refused: u64,
}

impl ConnectionLimit {
    pub(super) fn new(max: Option<usize>, make_room: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let max = max.unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(max));
        let (evicted, refused) = Default::default();
        Self { permits, max, make_room: Box::new(make_room), evicted, refused }
    }

    /// A permit, at once, or as soon as an idle connection is closed for it.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it leaves the permit to the next.
    pub(super) async fn acquire(&self, patience: Duration) -> Result<ConnectionPermit, HttpsError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        // Ordering: Relaxed, counts.
        if (self.make_room)() {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            // One of HTTP/2 says goodbye first.
            if let Ok(Ok(permit)) = timeout(patience, Arc::clone(&self.permits).acquire_owned()).await {
                return Ok(permit);
            }
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(HttpsError::new(HttpsErrorKind::TooManyConnections))
    }

    pub(super) fn state(&self) -> ConnectionLimitState {
        // Ordering: Relaxed, counts.
        let get = |count: &AtomicUsize| count.load(Ordering::Relaxed) as u64;
        ConnectionLimitState {
            connections: self.max - self.permits.available_permits(),
            max: (self.max < Semaphore::MAX_PERMITS).then_some(self.max),
            evicted: get(&self.evicted),
            refused: get(&self.refused),
        }
    }
}
