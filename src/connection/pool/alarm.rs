//! The timeouts of gets that wait in the queue.
//!
//! A timer for each of them would be set and removed under the lock of tokio's timers, which takes as long as all the rest of
//! a wait. All gets of a pool wait equally long, so the first in the queue is the first to time out, and one timer suffices:
//! a task that sleeps until the first deadline, wakes those that are overdue, and sleeps until the next. It ends when it finds
//! that nobody waits. Each runtime on which gets wait has an alarm of its own: that of another may stand still, because its
//! threads are busy, or because nobody blocks on it.

use std::pin::pin;

use bb8::ManageConnection;
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::home::is_refused;
use super::shared::Shared;
use crate::sync::{Arc, Mutex, Weak};

/// The runtimes that have an alarm.
#[derive(Default)]
pub(super) struct Alarms(Mutex<Vec<Id>>);

impl<M: ManageConnection> Shared<M> {
    /// Sees to it that a waiter that has joined the queue is woken at its deadline.
    ///
    /// False: this runtime is being shut down, and nothing would wake it.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, or without its timers.
    pub(super) fn set_alarm(self: &Arc<Self>, deadline: Instant) -> bool {
        let runtime = Handle::current();
        let id = runtime.id();
        {
            let mut runtimes = self.alarms.0.lock();
            if runtimes.contains(&id) {
                return true;
            }
            runtimes.push(id);
        }
        let alarm = Alarm { shared: Arc::downgrade(self), runtime: id };
        self.settle();
        // Here and not in the task, so that a runtime without timers is the caller's panic.
        let sleep = sleep_until(deadline);
        let mut task = runtime.spawn(wake_overdue(alarm, sleep, self.closing.clone()));
        !is_refused(&mut task)
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
        shared.alarms.0.lock().retain(|id| *id != self.runtime);
        // The runtime may be shutting down: each that waits on another one sets an alarm there.
        shared.core.wake_waiters();
    }
}

async fn wake_overdue<M: ManageConnection>(alarm: Alarm<M>, sleep: Sleep, closing: CancellationToken) {
    let mut sleep = pin!(sleep);
    loop {
        // Before the first sleep, too: the waiter that set it need not be the first in the queue, if the alarm of another
        // runtime has just ended.
        let Some(shared) = alarm.shared.upgrade() else { return };
        // Wakes those that joined in the meantime, and so set none.
        let Some(next) = shared.core.wake_overdue(Instant::now().into_std()) else { return };
        drop(shared);
        sleep.as_mut().reset(Instant::from_std(next));
        tokio::select! {
            () = sleep.as_mut() => {}
            () = closing.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Future, poll_fn};
    use std::sync::mpsc::channel;
    use std::task::Poll;
    use std::thread;
    use std::time::Duration;

    use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

    use super::*;
    use crate::connection::{Builder, Pool};

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Manager;

    impl ManageConnection for Manager {
        type Connection = ();
        type Error = Infallible;

        async fn connect(&self) -> Result<(), Infallible> {
            Ok(())
        }

        async fn is_valid(&self, (): &mut ()) -> Result<(), Infallible> {
            Ok(())
        }

        fn has_broken(&self, (): &mut ()) -> bool {
            false
        }
    }

    /// A pool with one connection.
    fn pool(connection_timeout: Duration) -> Pool<Manager> {
        let pool = Builder::new().max_size(1).min_idle(0).connection_timeout(connection_timeout);
        let pool = pool.build_unchecked(Manager);
        pool.add(()).unwrap();
        pool
    }

    fn runtime() -> Runtime {
        RuntimeBuilder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[test]
    fn a_runtime_whose_threads_are_busy_delays_no_timeout_on_another() {
        let pool = pool(Duration::from_millis(300));
        let held = pool.try_get().unwrap();
        let busy = runtime();
        let (free, is_free) = channel::<()>();
        let (begin, has_begun) = channel();
        let waits = pool.clone();
        busy.spawn(async move {
            let mut get = pin!(waits.get());
            poll_fn(|cx| {
                assert!(get.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            begin.send(()).unwrap();
            let _ = is_free.recv_timeout(PATIENCE);
        });
        has_begun.recv().unwrap();
        assert!(runtime().block_on(pool.get()).is_err());
        assert!(free.send(()).is_ok(), "it waited until the other runtime was free");
        drop(held);
    }

    #[test]
    fn a_get_on_a_runtime_that_is_shut_down_does_not_spin() {
        let pool = pool(Duration::from_secs(1));
        let held = pool.try_get().unwrap();
        let ends = runtime();
        let handle = ends.handle().clone();
        ends.shutdown_background();
        let waits = pool.clone();
        let polls = thread::spawn(move || {
            let mut polls = 0;
            handle.block_on(async {
                let mut get = pin!(waits.get());
                poll_fn(|cx| {
                    polls += 1;
                    get.as_mut().poll(cx).map(|outcome| outcome.is_err())
                })
                .await
            });
            polls
        });
        // It may end with tokio's panic for timers that are gone.
        assert!(polls.join().unwrap_or(0) < 100);
        drop(held);
    }
}
