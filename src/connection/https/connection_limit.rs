//! The most connections to all servers together.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::error::{HttpsError, HttpsErrorKind};
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex};

/// Who waits for a permit looks for an idle connection again after such a time, then after twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// A connection is neither being made nor idle while the task that made it has no time to hand it over, and one that closes
/// says goodbye first.
const GRACE: Duration = Duration::from_millis(100);

/// Who closes an idle connection to make room for another, and tells whether there was one.
type MakeRoom = dyn Fn() -> bool + Send + Sync;

pub(super) struct ConnectionLimit {
    permits: Arc<Semaphore>,
    max: usize,
    make_room: Box<MakeRoom>,
    /// One waiter at a time looks for an idle connection, which asks all servers. This is when it was last in vain.
    looked: Mutex<Option<Instant>>,
    waiting: AtomicUsize,
    /// Connections that are being closed to make room. Raised by who looks.
    evicting: AtomicUsize,
    connecting: AtomicUsize,
    evicted: AtomicUsize,
    refused: AtomicUsize,
}

/// The permission to have a connection: from before its connect until it is closed.
pub(super) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    /// Given back after it was counted.
    _permit: OwnedSemaphorePermit,
}

/// A connection that is being made.
pub(super) struct Connecting(Arc<ConnectionLimit>);

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
        let (looked, waiting, evicting, connecting, evicted, refused) = Default::default();
        let make_room = Box::new(make_room);
        Self { permits, max, make_room, looked, waiting, evicting, connecting, evicted, refused }
    }

    /// A permit, at once, or in its turn as soon as an idle connection is closed for it. Refused if for a moment no connection
    /// was idle, being made, or closed to make room, or after `patience`.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it leaves the permit to the next.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<ConnectionPermit, HttpsError> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => timeout(patience, self.wait()).await.ok().flatten(),
        };
        match permit {
            Some(permit) => Ok(ConnectionPermit { limit: Arc::clone(self), _permit: permit }),
            None => {
                add(&self.refused);
                Err(HttpsError::new(HttpsErrorKind::TooManyConnections))
            }
        }
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        let mut permit = pin!(Arc::clone(&self.permits).acquire_owned());
        let _waiting = Counted::new(&self.waiting);
        // It has its place in the queue before room is made, or another would take that.
        let polled = poll_fn(|cx| Poll::Ready(permit.as_mut().poll(cx))).await;
        if let Poll::Ready(permit) = polled {
            return permit.ok();
        }
        let (mut pause, mut in_use_since) = (FIRST_PAUSE, None);
        loop {
            if self.look() {
                in_use_since = None;
            } else if in_use_since.get_or_insert_with(Instant::now).elapsed() >= GRACE {
                return None;
            }
            match timeout(pause, permit.as_mut()).await {
                Ok(permit) => return permit.ok(),
                Err(_) => pause = LONGEST_PAUSE.min(2 * pause),
            }
        }
    }

    /// Closes an idle connection, if fewer are being closed than are waited for. Tells whether there is one to wait for: one
    /// that is being closed, or made, and so may be idle soon.
    fn look(&self) -> bool {
        let mut looked = self.looked.lock();
        let is_due = looked.is_none_or(|at| at.elapsed() >= FIRST_PAUSE);
        // Ordering: Relaxed, here and for all counts. They guard nothing, and a stale one is right at the next look.
        if is_due && self.evicting.load(Ordering::Relaxed) < self.waiting.load(Ordering::Relaxed) {
            add(&self.evicting);
            if (self.make_room)() {
                add(&self.evicted);
                // It may be closed already.
                return true;
            }
            self.on_evicted();
            *looked = Some(Instant::now());
        }
        self.evicting.load(Ordering::Relaxed) > 0 || self.connecting.load(Ordering::Relaxed) > 0
    }

    /// A permit is given back, most likely by a connection that was to make room. If it is another one, that only makes room
    /// for one more.
    fn on_evicted(&self) {
        // Ordering: Relaxed, a count. At 0 it stays.
        let _ =
            self.evicting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
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

impl ConnectionPermit {
    /// To be kept until the connection is there.
    pub(super) fn connecting(&self) -> Connecting {
        add(&self.limit.connecting);
        Connecting(Arc::clone(&self.limit))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limit.on_evicted();
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        // Ordering: Relaxed, a count.
        self.0.connecting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        add(count);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed, a count.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn add(count: &AtomicUsize) {
    // Ordering: Relaxed, a count.
    count.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
