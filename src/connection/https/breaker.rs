//! A breaker that all requests to a server share, and that logs its changes.

use tokio::time::Instant;

use super::outcome::outcome_of_drop;
use crate::connection::breaker::log_change;
use crate::policy::{Breaker, BreakerPolicy, BreakerStats, Outcome, Permit, Refused};
use crate::sync::{Arc, Mutex};

/// A [`Breaker`] with a name for the log.
pub(crate) struct SharedBreaker {
    name: Box<str>,
    breaker: Mutex<Breaker>,
}

/// A request that was sent. Dropped without an outcome, it counts neither as a success nor as a failure, unless a deadline drops
/// it.
pub(crate) struct Asked {
    shared: Arc<SharedBreaker>,
    permit: Option<Permit>,
}

impl SharedBreaker {
    pub(crate) fn new(name: &str, policy: BreakerPolicy) -> Arc<Self> {
        Arc::new(Self { name: name.into(), breaker: Mutex::new(Breaker::new(policy)) })
    }

    pub(crate) fn ask(self: &Arc<Self>) -> Result<Asked, Refused> {
        let (permit, change) = self.breaker.lock().ask(now());
        log_change(Some(&self.name), change);
        Ok(Asked { shared: Arc::clone(self), permit: Some(permit?) })
    }

    #[cfg_attr(
        not(feature = "resilience"),
        expect(dead_code, reason = "servers have no other name than their URI")
    )]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn stats(&self) -> BreakerStats {
        self.breaker.lock().stats()
    }
}

impl Asked {
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            let change = self.shared.breaker.lock().record(now(), permit, outcome);
            log_change(Some(&self.shared.name), change);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.record(outcome_of_drop());
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
