//! A breaker that all requests to a server share, and that logs its changes.

use tokio::time::Instant;

use super::outcome::outcome_of_drop;
use crate::policy::{
    Breaker, BreakerChange, BreakerPolicy, BreakerState, BreakerStats, Outcome, Permit, Refused,
};
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
        self.log(change);
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

    fn log(&self, change: Option<BreakerChange>) {
        let Some(BreakerChange { from, to, reason, .. }) = change else { return };
        let breaker = &*self.name;
        if to == BreakerState::Open {
            tracing::warn!(breaker, ?from, ?reason, "the breaker is open: no requests are sent");
        } else {
            tracing::info!(breaker, ?from, ?to, ?reason, "the breaker has changed its state");
        }
    }
}

impl Asked {
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            let change = self.shared.breaker.lock().record(now(), permit, outcome);
            self.shared.log(change);
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
