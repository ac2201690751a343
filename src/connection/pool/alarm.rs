//! The timeouts of gets that wait in the queue.
//!
//! A timer for each of them would be set and removed under the lock of tokio's timers, which takes as long as all the rest of
//! a wait. All gets of a pool wait equally long, so the first in the queue is the first to time out, and one timer suffices:
//! a task that sleeps until the first deadline, wakes those that are overdue, and sleeps until the next. It ends when it finds
//! that nobody waits. A runtime of one thread runs only while somebody blocks on it, so each of those on which gets wait needs
//! an alarm of its own; one on a runtime of several threads serves all.

use std::pin::pin;

use bb8::ManageConnection;
use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::sync::statistic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, Weak};

/// The runtimes that have an alarm.
#[derive(Default)]
pub(super) struct Alarms {
    runtimes: Mutex<Vec<(Id, RuntimeFlavor)>>,
    /// Whether one of them has several threads. It runs as long as it exists, so its alarm serves the waiters of all.
    serves_all: AtomicBool,
}

impl<M: ManageConnection> Shared<M> {
    /// Sees to it that a waiter that has joined the queue is woken at its deadline.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, or without its timers.
    #[inline]
    pub(super) fn set_alarm(self: &Arc<Self>, deadline: Instant) {
        // Ordering: Relaxed. The engine's lock orders it: an alarm that ends says so before it looks at the queue.
        if !self.alarms.serves_all.load(Ordering::Relaxed) {
            self.set_alarm_here(deadline);
        }
    }

    #[cold]
    fn set_alarm_here(self: &Arc<Self>, deadline: Instant) {
        self.settle();
        let runtime = Handle::current();
        let (id, flavor) = (runtime.id(), runtime.runtime_flavor());
        if !self.alarms.change(|runtimes| {
            let is_new = runtimes.iter().all(|(other, _)| *other != id);
            if is_new {
                runtimes.push((id, flavor));
            }
            is_new
        }) {
            return;
        }
        let alarm = Alarm { shared: Arc::downgrade(self), runtime: id };
        // Here and not in the task, so that a runtime without timers is the caller's panic.
        let sleep = sleep_until(deadline);
        drop(runtime.spawn(wake_overdue(alarm, sleep, self.closing.clone())));
    }
}

impl Alarms {
    fn change<R>(&self, change: impl FnOnce(&mut Vec<(Id, RuntimeFlavor)>) -> R) -> R {
        let mut runtimes = self.runtimes.lock();
        let changed = change(&mut runtimes);
        let serves_all = runtimes.iter().any(|(_, flavor)| *flavor != RuntimeFlavor::CurrentThread);
        // Ordering: Relaxed, see `set_alarm`.
        self.serves_all.store(serves_all, Ordering::Relaxed);
        changed
    }
}

/// Lives as long as the task.
struct Alarm<M: ManageConnection> {
    shared: Weak<Shared<M>>,
    runtime: Id,
}

impl<M: ManageConnection> Drop for Alarm<M> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.alarms.change(|runtimes| runtimes.retain(|(id, _)| *id != self.runtime));
        // The runtime may be shutting down: each that waits on another one sets an alarm there.
        shared.core.wake_waiters();
    }
}

async fn wake_overdue<M: ManageConnection>(alarm: Alarm<M>, sleep: Sleep, closing: CancellationToken) {
    let mut sleep = pin!(sleep);
    loop {
        tokio::select! {
            () = sleep.as_mut() => {}
            () = closing.cancelled() => return,
        }
        let Some(shared) = alarm.shared.upgrade() else { return };
        if let Some(next) = shared.core.wake_overdue(Instant::now().into_std()) {
            sleep.as_mut().reset(Instant::from_std(next));
            continue;
        }
        // Wakes those that joined in the meantime, and so set none.
        return;
    }
}
