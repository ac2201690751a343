//! The breaker in front of a pool's connects: which of them begin, and which gets are refused meanwhile.

use std::time::Duration;

use bb8::ManageConnection;
use tokio::time::{Instant, sleep};

use super::shared::Shared;
use crate::connection::breaker::log_change;
use crate::policy::{Breaker, BreakerPolicy, BreakerStats, Outcome, Permit};
use crate::sync::statistic::AtomicCell;
use crate::sync::{Arc, Mutex};

pub(super) struct ConnectBreaker {
    breaker: Mutex<Breaker>,
    built: Instant,
    /// Until when no connect may begin, in microseconds after `built`: for gets of idle connections, which take no lock.
    /// Written under the lock.
    holds_until: AtomicCell<u64>,
}

impl ConnectBreaker {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        let breaker = Mutex::new(Breaker::new(policy));
        Self { breaker, built: Instant::now(), holds_until: AtomicCell::new(0) }
    }

    pub(super) fn stats(&self) -> BreakerStats {
        self.breaker.lock().stats()
    }

    /// Asks whether a connect may begin.
    pub(super) fn ask(&self) -> Option<Permit> {
        let mut breaker = self.breaker.lock();
        let now = Instant::now();
        let (asked, change) = breaker.ask(now.into_std());
        self.hold(now, asked.as_ref().err().map(|refused| refused.retry_in));
        drop(breaker);
        log_change(None, change);
        asked.ok()
    }

    /// Takes the outcome of a connect. Says for how long none may begin, if it has opened the breaker.
    fn record(&self, permit: Permit, outcome: Outcome) -> Option<Duration> {
        let mut breaker = self.breaker.lock();
        let now = Instant::now();
        let change = breaker.record(now.into_std(), permit, outcome);
        let open_for = breaker.open_for(now.into_std());
        self.hold(now, open_for);
        drop(breaker);
        log_change(None, change);
        open_for.filter(|_| change.is_some())
    }

    fn hold(&self, now: Instant, time: Option<Duration>) {
        self.holds_until.store(time.map_or(0, |time| self.micros(now).saturating_add(micros(time))));
    }

    fn micros(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.built))
    }
}

impl<M: ManageConnection> Shared<M> {
    /// Whether no connect may begin now.
    #[inline]
    pub(super) fn holds_connects(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| {
            let until = breaker.holds_until.load();
            until > 0 && breaker.micros(Instant::now()) < until
        })
    }

    /// Takes the outcome of a connect for which the breaker was asked.
    pub(super) fn tell_breaker(self: &Arc<Self>, asked: Option<Permit>, outcome: Outcome) {
        let (Some(breaker), Some(permit)) = (&self.breaker, asked) else { return };
        let Some(open_for) = breaker.record(permit, outcome) else { return };
        self.refuse_waiters();
        let Some(home) = self.home_for_connects() else { return };
        let (shared, closing) = (Arc::downgrade(self), self.closing.clone());
        // For those that wait for a connection in use, and for the idle ones.
        home.spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = sleep(open_for) => if let Some(shared) = shared.upgrade() {
                    shared.drive();
                }
            }
        });
    }

    /// If no connection is open, and none is opened: for how long. Waiters cannot be served.
    pub(super) fn refuses_waiters_for(&self) -> Option<Duration> {
        if !self.holds_connects() || self.core.counts().open > 0 {
            return None;
        }
        self.breaker.as_ref()?.breaker.lock().open_for(Instant::now().into_std())
    }

    /// Wakes waiters that cannot be served.
    pub(super) fn refuse_waiters(&self) {
        if self.refuses_waiters_for().is_some() {
            self.core.wake_waiters();
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
