//! Waiting for memory, first come, first served.

use alloc::collections::VecDeque;
use core::fmt;
use core::future::Future;
use core::mem;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::core::{Ask, Core, Grant, WAITING};
use super::{AcquireError, BufferPool, PooledBuffer, thread};
use crate::sync::{Arc, Count, Mutex, Stopwatch};

/// The line of those who wait, and what it was like.
pub(super) struct Waiters {
    /// Locked before any `Waiter::place`, never after.
    line: Mutex<VecDeque<Arc<Waiter>>>,
    waits: Count,
    nanos: Count,
    longest_nanos: Count,
}

struct Waiter {
    class: usize,
    place: Mutex<Place>,
}

enum Place {
    /// In the line. The waker is missing only before the first poll has left it.
    Waiting(Option<Waker>),
    /// Out of the line, with what it waited for.
    Served(Grant),
    Left,
}

impl Waiters {
    pub(super) fn new() -> Self {
        Self {
            line: Mutex::new(VecDeque::new()),
            waits: Count::default(),
            nanos: Count::default(),
            longest_nanos: Count::default(),
        }
    }

    /// Waits that ended with a buffer, their time in all, and the longest.
    pub(super) fn waits(&self) -> (u64, Duration, Duration) {
        (
            self.waits.get(),
            Duration::from_nanos(self.nanos.get()),
            Duration::from_nanos(self.longest_nanos.get()),
        )
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.lock().len()
    }

    fn count(&self, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.waits.add(1);
        self.nanos.add(nanos);
        self.longest_nanos.raise_to(nanos);
    }
}

impl Core {
    /// Serves the line from its head, as long as there is something for the head. Nobody behind it is served
    /// before it, so a large request is not starved by small ones.
    #[cold]
    pub(super) fn serve_waiters(&self) {
        loop {
            let mut line = self.waiters.line.lock();
            let Some(head) = line.front() else { return };
            let Some(grant) = self.obtain(head.class) else { return };
            let waker = match mem::replace(&mut *head.place.lock(), Place::Served(grant)) {
                Place::Waiting(waker) => waker,
                Place::Served(_) | Place::Left => None,
            };
            line.pop_front();
            if line.is_empty() {
                self.lower_waiting();
            }
            drop(line);
            // Not under a lock: a waker may run whatever its runtime likes.
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn join_line(&self, class: usize) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter { class, place: Mutex::new(Place::Waiting(None)) });
        let mut line = self.waiters.line.lock();
        line.push_back(Arc::clone(&waiter));
        self.raise_waiting();
        drop(line);
        // What was laid down before others could see the bit is found here; see `Core::settle`.
        self.serve_waiters();
        waiter
    }

    fn leave_line(&self, waiter: &Arc<Waiter>) {
        let mut line = self.waiters.line.lock();
        let place = mem::replace(&mut *waiter.place.lock(), Place::Left);
        if let Some(position) = line.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            line.remove(position);
            if line.is_empty() {
                self.lower_waiting();
            }
        }
        drop(line);
        match place {
            Place::Served(grant) => self.refuse(waiter.class, grant),
            // Who was behind may want less.
            Place::Waiting(_) | Place::Left => self.settle(),
        }
    }
}

/// A buffer to come: the future of [`BufferPool::acquire_async`].
///
/// It keeps the pool open. It is `'static`, and belongs to no runtime.
///
/// # Cancel safety
///
/// Dropping it loses nothing: its place in the line goes to the next, and so does a buffer that
/// was already granted to it.
#[must_use = "a future does nothing until it is polled"]
pub struct Acquire {
    pool: BufferPool,
    ask: Ask,
    state: State,
    since: Stopwatch,
}

enum State {
    New,
    InLine(Arc<Waiter>),
    Done,
}

impl Acquire {
    pub(super) fn new(pool: &BufferPool, bytes: usize, caller: &'static Location<'static>) -> Self {
        let ask = Ask { class: pool.core.sizes.index_for(bytes), bytes, caller };
        Self { pool: pool.clone(), ask, state: State::New, since: Stopwatch::start() }
    }

    fn start(&mut self) -> Poll<Result<PooledBuffer, AcquireError>> {
        let core = &self.pool.core;
        if self.ask.class == core.heap() {
            self.state = State::Done;
            return Poll::Ready(Err(core.refusal(self.ask)));
        }
        if core.state() & WAITING == 0
            && let Some(slot) = thread::acquire(core, self.ask)
        {
            self.state = State::Done;
            return Poll::Ready(Ok(PooledBuffer::of(slot)));
        }
        // What this thread keeps for itself is for those who wait, too.
        thread::flush(core);
        self.since = Stopwatch::start();
        self.state = State::InLine(core.join_line(self.ask.class));
        Poll::Pending
    }
}

impl Future for Acquire {
    type Output = Result<PooledBuffer, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if matches!(self.state, State::New)
            && let Poll::Ready(result) = self.start()
        {
            return Poll::Ready(result);
        }
        let State::InLine(waiter) = &self.state else {
            // Polled again after its end, which no caller may do; there is nothing that it could mean.
            return Poll::Pending;
        };
        let new_waker = context.waker().clone();
        let mut place = waiter.place.lock();
        match mem::replace(&mut *place, Place::Left) {
            Place::Served(grant) => {
                drop(place);
                let core = &self.pool.core;
                let mut slot = Core::redeem(core, self.ask.class, grant);
                slot.lent(self.ask);
                core.waiters.count(self.since.elapsed());
                self.state = State::Done;
                Poll::Ready(Ok(PooledBuffer::of(slot)))
            }
            Place::Waiting(old_waker) => {
                *place = Place::Waiting(Some(new_waker));
                drop(place);
                drop(old_waker); // not under the lock: it may be the last handle of a task
                Poll::Pending
            }
            Place::Left => Poll::Pending,
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let State::InLine(waiter) = mem::replace(&mut self.state, State::Done) {
            self.pool.core.leave_line(&waiter);
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("bytes", &self.ask.bytes).finish_non_exhaustive()
    }
}
