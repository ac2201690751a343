//! The FIFO of waiters for memory.

use alloc::collections::VecDeque;
use core::mem;
use core::task::Waker;
use core::time::Duration;

use super::pool_core::{Core, Grant};
use crate::sync::{Arc, Count, Mutex};

/// The FIFO of waiters, and counters of their waits.
pub(in crate::pool) struct Waiters {
    /// Locked before any `Waiter::wait_state`, never after.
    queue: Mutex<VecDeque<Arc<Waiter>>>,
    waits: Count,
    nanos: Count,
    longest_nanos: Count,
}

pub(in crate::pool) struct Waiter {
    class: usize,
    pub(in crate::pool) wait_state: Mutex<WaitState>,
}

pub(in crate::pool) enum WaitState {
    /// In the queue. The waker is missing only before the first poll has left it.
    Waiting(Option<Waker>),
    /// Out of the queue, with the grant it waited for.
    Served(Grant),
    Left,
}

impl Waiters {
    pub(in crate::pool) fn new() -> Self {
        Self {
            queue: Mutex::new(VecDeque::new()),
            waits: Count::default(),
            nanos: Count::default(),
            longest_nanos: Count::default(),
        }
    }

    /// Waits that ended with a buffer, their total time, and the longest.
    pub(in crate::pool) fn waits(&self) -> (u64, Duration, Duration) {
        (
            self.waits.get(),
            Duration::from_nanos(self.nanos.get()),
            Duration::from_nanos(self.longest_nanos.get()),
        )
    }

    pub(in crate::pool) fn waiting(&self) -> usize {
        self.queue.lock().len()
    }

    pub(in crate::pool) fn count(&self, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.waits.add(1);
        self.nanos.add(nanos);
        self.longest_nanos.raise_to(nanos);
    }
}

impl Core {
    /// Serves the queue from its head, as long as there is memory for the head. No waiter is served before those ahead of
    /// it, so small requests do not starve a large one.
    #[cold]
    pub(in crate::pool) fn serve_waiters(&self) {
        loop {
            let mut queue = self.waiters.queue.lock();
            let Some(head) = queue.front() else { return };
            let Some(grant) = self.obtain(head.class) else { return };
            let waker = match mem::replace(&mut *head.wait_state.lock(), WaitState::Served(grant)) {
                WaitState::Waiting(waker) => waker,
                WaitState::Served(_) | WaitState::Left => None,
            };
            queue.pop_front();
            if queue.is_empty() {
                self.lower_waiting();
            }
            drop(queue);
            // After unlocking: a waker may run any code of its runtime.
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub(in crate::pool) fn join_queue(&self, class: usize) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter { class, wait_state: Mutex::new(WaitState::Waiting(None)) });
        let mut queue = self.waiters.queue.lock();
        queue.push_back(Arc::clone(&waiter));
        self.raise_waiting();
        drop(queue);
        // Finds what other threads pushed before they could see the bit; see `Core::serve_or_sweep`.
        self.serve_waiters();
        waiter
    }

    pub(in crate::pool) fn leave_queue(&self, waiter: &Arc<Waiter>) {
        let mut queue = self.waiters.queue.lock();
        let wait_state = mem::replace(&mut *waiter.wait_state.lock(), WaitState::Left);
        if let Some(position) = queue.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            queue.remove(position);
            if queue.is_empty() {
                self.lower_waiting();
            }
        }
        drop(queue);
        match wait_state {
            WaitState::Served(grant) => self.return_grant(waiter.class, grant),
            // The next waiter may want less.
            WaitState::Waiting(_) | WaitState::Left => self.serve_or_sweep(),
        }
    }
}
