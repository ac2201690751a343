//! Waiting for memory, first come, first served.

use core::fmt;
use core::future::Future;
use core::mem;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::buffer::PooledBuffer;
use super::error::{AcquireError, refusal};
use super::pool::BufferPool;
use crate::pool::hooks::Request;
use crate::pool::shared::{Core, WAITING, WaitState, Waiter};
use crate::pool::thread;
use crate::sync::{Arc, Stopwatch};

impl BufferPool {
    /// An empty buffer with room for `min_capacity` bytes from one of the classes, as soon as the memory limit
    /// allows it. Whoever came first is served first.
    ///
    /// Idle memory of other classes gives way to it, and what comes back in any thread reaches it. Out of its
    /// reach is what another thread keeps for itself, and what is frozen and followed; they get at most half of
    /// the limit, so that a request of any class is served once what is handed out has come back, whatever
    /// those threads do. If much of the limit is handed out for good, that half counts: see
    /// [`memory_limit`](crate::pool::BufferPoolConfigBuilder::memory_limit) for what to do.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class fits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; see [`Acquire`].
    #[track_caller]
    pub fn acquire_async(&self, min_capacity: usize) -> Acquire {
        Acquire::new(self, min_capacity, Location::caller())
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
    request: Request,
    state: State,
    since: Stopwatch,
}

enum State {
    New,
    Queued(Arc<Waiter>),
    Done,
}

impl Acquire {
    pub(in crate::pool) fn new(pool: &BufferPool, bytes: usize, caller: &'static Location<'static>) -> Self {
        let request = Request { class: pool.core.sizes.index_for(bytes), bytes, caller };
        Self { pool: pool.clone(), request, state: State::New, since: Stopwatch::start() }
    }

    fn start(&mut self) -> Poll<Result<PooledBuffer, AcquireError>> {
        let core = &self.pool.core;
        if self.request.class == core.heap() {
            self.state = State::Done;
            return Poll::Ready(Err(refusal(core, self.request)));
        }
        if core.state() & WAITING == 0
            && let Some(slot) = thread::acquire(core, self.request)
        {
            self.state = State::Done;
            return Poll::Ready(Ok(PooledBuffer::of(slot)));
        }
        // What this thread keeps for itself is for those who wait, too.
        thread::flush(core);
        self.since = Stopwatch::start();
        self.state = State::Queued(core.join_queue(self.request.class));
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
        let State::Queued(waiter) = &self.state else {
            // Polled again after its end, which no caller may do; there is nothing that it could mean.
            return Poll::Pending;
        };
        let new_waker = context.waker().clone();
        let mut wait_state = waiter.wait_state.lock();
        match mem::replace(&mut *wait_state, WaitState::Left) {
            WaitState::Served(grant) => {
                drop(wait_state);
                let core = &self.pool.core;
                let mut slot = Core::redeem(core, self.request.class, grant);
                slot.note_acquire(self.request);
                core.waiters.count(self.since.elapsed());
                self.state = State::Done;
                Poll::Ready(Ok(PooledBuffer::of(slot)))
            }
            WaitState::Waiting(old_waker) => {
                *wait_state = WaitState::Waiting(Some(new_waker));
                drop(wait_state);
                drop(old_waker); // not under the lock: it may be the last handle of a task
                Poll::Pending
            }
            WaitState::Left => Poll::Pending,
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let State::Queued(waiter) = mem::replace(&mut self.state, State::Done) {
            self.pool.core.leave_queue(&waiter);
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("bytes", &self.request.bytes).finish_non_exhaustive()
    }
}
