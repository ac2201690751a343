//! The runtime that a pool's tasks run on, and the one task that looks after the pool.

use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bb8::ManageConnection;
use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::adaptive::Adaptive;
use super::shared::Shared;
use crate::policy::SizePolicy;
use crate::sync::{Arc, Mutex, Weak};

/// The runtime on which the pool was first used, until it is shut down; then the next one on which it is used. Connections
/// are opened there if it has several threads, since a connection ends with the runtime that opened it.
#[derive(Default)]
pub(super) struct Home(Mutex<Runtime>);

#[derive(Default)]
struct Runtime {
    handle: Option<Handle>,
    /// So that the end of one runtime does not remove the next.
    number: u64,
}

/// As good as never.
const LONGEST_RATE: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

impl<M: ManageConnection> Shared<M> {
    /// Opens the connections that are wanted now.
    pub(super) fn drive(self: &Arc<Self>) {
        if self.holds_connects() {
            return; // it drives again when the time is over
        }
        while let Some(attempt) = self.core.connect_permit() {
            let connect = self.connect(attempt);
            // Without a runtime, the next waiter that is polled on one drives again.
            let Some(home) = self.home_for_connects() else { return drop(connect) };
            let mut task = home.spawn(connect);
            if is_refused(&mut task) {
                // The task gives the permit back: asking again would never end.
                self.leave(home.id());
                return;
            }
            if task.is_finished() {
                return; // a connect that has ended by now has driven the pool itself
            }
        }
    }

    /// Gives up a home that takes no more tasks, though the one that looks after the pool may still run there. The waiters,
    /// which the task has woken that was dropped, find another.
    fn leave(&self, runtime: Id) {
        let mut home = self.home.0.lock();
        home.handle.take_if(|handle| handle.id() == runtime);
    }

    /// Where to connect. A runtime of one thread runs only while somebody blocks on it, so another one that is running now is
    /// better.
    pub(super) fn home_for_connects(self: &Arc<Self>) -> Option<Handle> {
        let home = self.home()?;
        if home.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Handle::try_current().ok().or(Some(home));
        }
        Some(home)
    }

    fn home(self: &Arc<Self>) -> Option<Handle> {
        let mut home = self.home.0.lock();
        if let Some(handle) = &home.handle {
            return Some(handle.clone());
        }
        let handle = Handle::try_current().ok()?;
        home.handle = Some(handle.clone());
        home.number += 1;
        let tenant = Tenant { shared: Arc::downgrade(self), number: home.number };
        drop(home);
        let closing = self.closing.clone();
        let mut task =
            handle.spawn(look_after(tenant, self.config.reaper_rate, self.config.adaptive_size, closing));
        (!is_refused(&mut task)).then_some(handle)
    }

    /// Starts the task that looks after the pool, if there is a runtime for it. False: there is none, or it is being shut
    /// down.
    pub(super) fn settle(self: &Arc<Self>) -> bool {
        self.home().is_some()
    }
}

/// Whether its runtime has dropped the task at once, because it is being shut down.
pub(super) fn is_refused(task: &mut JoinHandle<()>) -> bool {
    task.is_finished()
        && matches!(
            pin!(task).poll(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(Err(error)) if error.is_cancelled()
        )
}

/// Lives as long as the task that looks after the pool.
struct Tenant<M: ManageConnection> {
    shared: Weak<Shared<M>>,
    number: u64,
}

impl<M: ManageConnection> Drop for Tenant<M> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut home = shared.home.0.lock();
        if home.number == self.number {
            home.handle = None;
        }
        drop(home);
        // One of them drives the pool on its own runtime.
        shared.core.wake_waiters();
    }
}

async fn look_after<M: ManageConnection>(
    tenant: Tenant<M>,
    rate: Duration,
    adaptive: Option<SizePolicy>,
    closing: CancellationToken,
) {
    let mut ticks = interval(rate);
    let mut adaptive = adaptive
        .zip(tenant.shared.upgrade())
        .map(|(policy, shared)| Box::new(Adaptive::new(policy, shared.state().statistics)));
    loop {
        let due = async {
            match &mut adaptive {
                Some(adaptive) => adaptive.due().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = ticks.tick() => {
                let Some(shared) = tenant.shared.upgrade() else { return };
                shared.maintain();
            }
            adaptive = due => {
                let Some(shared) = tenant.shared.upgrade() else { return };
                adaptive.apply(&shared);
            }
            () = closing.cancelled() => return,
        }
    }
}

/// The first tick comes after a whole `rate`.
pub(super) fn interval(rate: Duration) -> Interval {
    // 0 would be no interval, and what is longer than the clock's range would panic.
    let rate = rate.clamp(Duration::from_millis(1), LONGEST_RATE);
    let mut ticks = interval_at(Instant::now() + rate, rate);
    // A late tick shifts none of those after it, as in bb8: its users count on the second tick after two rates.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
