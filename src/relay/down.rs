//! Which upstreams are down: the log says it once, and once that one is up again.

use std::error::Error;
use std::fmt;

use tracing::{info, warn};

use crate::net::{self, Endpoint};
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex};

/// The target of both events.
const TARGET: &str = "millpond::relay";

/// The upstreams whose last connect has failed.
#[derive(Default)]
pub(super) struct Down {
    upstreams: Mutex<Vec<Arc<Endpoint>>>,
    /// Their number, for connects that succeed while all are up: these take no lock.
    count: AtomicUsize,
}

impl Down {
    pub(super) fn on_failed(&self, upstream: &Arc<Endpoint>, error: &net::Error) {
        let mut upstreams = self.upstreams.lock();
        if upstreams.contains(upstream) {
            return;
        }
        upstreams.push(Arc::clone(upstream));
        self.note_count(upstreams.len());
        drop(upstreams);
        warn!(target: TARGET, %upstream, error = error as &dyn Error, "the upstream is down");
    }

    pub(super) fn on_connected(&self, upstream: &Endpoint) {
        // Ordering: Relaxed, a hint. A connect that misses a failure leaves the word to the next one.
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut upstreams = self.upstreams.lock();
        let before = upstreams.len();
        upstreams.retain(|down| **down != *upstream);
        let is_up_again = upstreams.len() < before;
        self.note_count(upstreams.len());
        drop(upstreams);
        if is_up_again {
            info!(target: TARGET, %upstream, "the upstream is up again");
        }
    }

    /// Under the lock.
    fn note_count(&self, count: usize) {
        // Ordering: Relaxed, a hint, as above.
        self.count.store(count, Ordering::Relaxed);
    }
}

impl fmt::Debug for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Down").field("upstreams", &*self.upstreams.lock()).finish_non_exhaustive()
    }
}
