//! The queue of waiters for memory: a FIFO per class. A smaller request may pass a larger one, within bounds.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::mem;
use core::task::Waker;
use core::time::Duration;

use super::grant::Grant;
use super::pool_core::{Core, WAITING};
use crate::sync::{Arc, Count, Mutex, contain};

/// The queue of waiters, and counters of their waits.
pub(in crate::pool) struct Waiters {
    /// Locked before any `Waiter::wait_state`, never after.
    queue: Mutex<Queue>,
    waits: Count,
    nanos: Count,
    longest_nanos: Count,
}

/// Who waits, and who must be woken.
struct Queue {
    /// The waiters of each class, by their number. So a waiter leaves in logarithmic time.
    classes: Box<[BTreeMap<u64, Arc<Waiter>>]>,
    /// The number of the next waiter.
    next: u64,
    /// For each class the number of its first waiter, and the bytes of smaller requests that passed it since it became the
    /// first.
    passed: Box<[(u64, usize)]>,
    /// The wakers of waiters that were served. If there are any, a service is about to wake them.
    wakers: VecDeque<Waker>,
    /// Services that are waking.
    waking: usize,
}

/// The most services that wake at once. A waker may run its task, which may return a buffer, which serves the queue: so
/// this bounds how deep wakers nest. More than one, so that a thread that is descheduled while it wakes delays no other.
/// In a model one, so that few threads show what more than that many do.
const MAX_WAKING: usize = if cfg!(millpond_loom) { 1 } else { 8 };

pub(in crate::pool) struct Waiter {
    class: usize,
    number: u64,
    pub(in crate::pool) wait_state: Mutex<WaitState>,
}

pub(in crate::pool) enum WaitState {
    /// In the queue. The waker is missing only before the first poll has left it.
    Waiting(Option<Waker>),
    /// Out of the queue, with the grant it waited for.
    Served(Grant),
    Left,
}

impl Waiter {
    pub(in crate::pool) fn is_waiting(&self) -> bool {
        matches!(*self.wait_state.lock(), WaitState::Waiting(_))
    }
}

impl Queue {
    /// The first waiter of those for classes below `bound`, by age.
    fn oldest_below(&self, bound: usize) -> Option<&Arc<Waiter>> {
        let firsts = self.classes.iter().take(bound).filter_map(BTreeMap::first_key_value);
        firsts.min_by_key(|&(number, _)| number).map(|(_, waiter)| waiter)
    }

    fn is_empty(&self) -> bool {
        self.classes.iter().all(BTreeMap::is_empty)
    }

    /// The first waiter of the class.
    fn first(&self, class: usize) -> Option<&Arc<Waiter>> {
        self.classes.get(class)?.first_key_value().map(|(_, waiter)| waiter)
    }

    /// Bytes that passed the waiter, the first of its class.
    fn passed(&self, first: &Waiter) -> usize {
        let passed = self.passed.get(first.class).filter(|passed| passed.0 == first.number);
        passed.map_or(0, |passed| passed.1)
    }

    /// Records that `bytes` were granted for the class: they passed the waiters for larger ones.
    fn count_passed(&mut self, class: usize, bytes: usize) {
        for larger in class.saturating_add(1)..self.classes.len() {
            if let Some(first) = self.first(larger) {
                let passed = (first.number, self.passed(first).saturating_add(bytes));
                self.passed.iter_mut().skip(larger).take(1).for_each(|entry| *entry = passed);
            }
        }
    }

    fn remove(&mut self, waiter: &Waiter) -> Option<Arc<Waiter>> {
        self.classes.get_mut(waiter.class)?.remove(&waiter.number)
    }
}

impl Waiters {
    pub(in crate::pool) fn new(classes: usize) -> Self {
        let queue = Queue {
            classes: (0..classes).map(|_| BTreeMap::new()).collect(),
            next: 0,
            passed: (0..classes).map(|_| (0, 0)).collect(),
            wakers: VecDeque::new(),
            waking: 0,
        };
        Self {
            queue: Mutex::new(queue),
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
        self.queue.lock().classes.iter().map(BTreeMap::len).sum()
    }

    pub(in crate::pool) fn count(&self, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.waits.add(1);
        self.nanos.add(nanos);
        self.longest_nanos.raise_to(nanos);
    }

    /// Wakes the waiters that were served. All else is finished before: a waker may run any code of its runtime.
    ///
    /// No wake-up is lost: a service that leaves its wakers to the others does so under the lock, and each of them looks
    /// at the list again, under the lock, before it ends.
    fn wake(&self) {
        let mut queue = self.queue.lock();
        if queue.waking == MAX_WAKING {
            return;
        }
        queue.waking += 1;
        let waking = Waking(self);
        while let Some(waker) = queue.wakers.pop_front() {
            drop(queue);
            contain(|| waker.wake());
            queue = self.queue.lock();
        }
        queue.waking -= 1;
        drop(queue);
        mem::forget(waking);
    }
}

/// Ends a service whose waker unwinds, which it can only where panics cannot be contained.
struct Waking<'a>(&'a Waiters);

impl Drop for Waking<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().waking -= 1;
    }
}

impl Core {
    /// Serves all waiters for whom there is memory, in this order:
    ///
    /// 1. The oldest of all.
    /// 2. If there is no memory for it, the oldest of those for smaller classes, as far as [it may pass](Self::may_pass);
    ///    and so forth, down to the smallest. What is too little for one class is too little for all larger ones, as they
    ///    must keep the same bounds and more.
    #[cold]
    pub(in crate::pool) fn serve_waiters(&self) {
        self.find_some_free();
        let mut queue = self.waiters.queue.lock();
        let mut below = usize::MAX;
        while let Some(waiter) = queue.oldest_below(below).cloned() {
            let granted =
                self.may_pass(&queue, waiter.class, waiter.number).then(|| self.obtain(waiter.class));
            let Some(grant) = granted.flatten() else {
                below = waiter.class;
                continue;
            };
            queue.count_passed(waiter.class, self.granted_bytes(waiter.class, &grant));
            queue.remove(&waiter);
            if queue.is_empty() {
                self.lower_waiting();
            }
            match mem::replace(&mut *waiter.wait_state.lock(), WaitState::Served(grant)) {
                WaitState::Waiting(waker) => queue.wakers.extend(waker),
                WaitState::Served(_) | WaitState::Left => {}
            }
        }
        let must_wake = !queue.wakers.is_empty();
        drop(queue);
        if must_wake {
            self.waiters.wake();
        }
    }

    /// A grant for a request of the class that does not wait: it may pass the waiters for larger classes, as a waiter may.
    pub(in crate::pool) fn obtain_now(&self, class: usize) -> Option<Grant> {
        let grant = self.try_obtain(class).or_else(|| {
            self.find_some_free();
            self.try_obtain(class)
        });
        self.serve_or_sweep();
        grant
    }

    fn try_obtain(&self, class: usize) -> Option<Grant> {
        if self.state() & WAITING == 0 {
            return self.obtain(class);
        }
        let mut queue = self.waiters.queue.lock();
        // A waiter for this class or a smaller one was refused by the last service, so this would be, too.
        let is_first = queue.oldest_below(class.saturating_add(1)).is_none();
        let grant =
            if is_first && self.may_pass(&queue, class, u64::MAX) { self.obtain(class) } else { None };
        if let Some(grant) = &grant {
            queue.count_passed(class, self.granted_bytes(class, grant));
        }
        grant
    }

    /// Whether a request of the class, with a number as a waiter's, may pass the waiters for larger classes that came before
    /// it. The first of each class decides for all of that class. The oldest of all is not enough: while it waits for peers
    /// that stall, smaller requests would pass a waiter for a class between for ever.
    fn may_pass(&self, queue: &Queue, class: usize, number: u64) -> bool {
        let larger = (class.saturating_add(1)..queue.classes.len()).filter_map(|larger| queue.first(larger));
        larger.filter(|first| first.number < number).all(|first| {
            let passed = queue.passed(first);
            self.memory.may_pass(class, first.class, passed, |other| self.idle_bytes(other))
        })
    }

    pub(in crate::pool) fn join_queue(&self, class: usize) -> Arc<Waiter> {
        let mut queue = self.waiters.queue.lock();
        let number = queue.next;
        let waiter = Arc::new(Waiter { class, number, wait_state: Mutex::new(WaitState::Waiting(None)) });
        if let Some(waiters) = queue.classes.get_mut(class) {
            waiters.insert(number, Arc::clone(&waiter));
            queue.next += 1;
            self.raise_waiting();
        }
        drop(queue);
        // Finds what other threads pushed before they could see the bit; see `Core::serve_or_sweep`.
        self.serve_waiters();
        waiter
    }

    pub(in crate::pool) fn leave_queue(&self, waiter: &Arc<Waiter>) {
        let mut queue = self.waiters.queue.lock();
        let wait_state = mem::replace(&mut *waiter.wait_state.lock(), WaitState::Left);
        if queue.remove(waiter).is_some() && queue.is_empty() {
            self.lower_waiting();
        }
        drop(queue);
        match wait_state {
            WaitState::Served(grant) => self.return_grant(waiter.class, grant),
            WaitState::Waiting(waker) => {
                // The next waiter may want less.
                self.serve_or_sweep();
                // At last: it may be the last handle of a task.
                contain(|| drop(waker));
            }
            WaitState::Left => self.serve_or_sweep(),
        }
    }
}
