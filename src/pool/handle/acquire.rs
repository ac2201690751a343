//! Waiting for memory.

use core::fmt;
use core::future::Future;
use core::mem;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::buffer::PooledBuffer;
use super::coop::poll_proceed;
use super::error::{AcquireError, refusal};
use super::pool::BufferPool;
use crate::pool::hooks::Request;
use crate::pool::shared::{Core, WaitState, Waiter};
use crate::pool::thread;
use crate::sync::{Arc, Stopwatch, contain};

impl BufferPool {
    /// Waits until the memory limit allows an empty buffer with room for `min_capacity` bytes from one of the classes.
    ///
    /// Waiters for one class are served first in, first out. Smaller requests may pass a larger one, within bounds: the page
    /// [`fairness`](crate::fairness) says what is guaranteed.
    ///
    /// Idle memory of other classes is evicted for a waiter, and a buffer returned by any thread reaches it. Two things
    /// are out of its reach: the caches of other threads, and frozen buffers that are followed. Polling the future again
    /// finds frozen buffers whose last `Bytes` was dropped, of which the pool gets no notice. No timer polls it for that:
    /// with the feature `tokio`, use `acquire_until`, which has one, or `spawn_decay`.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class fits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; see [`Acquire`].
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = BufferPoolConfig::builder().class(1024, 4).memory_limit(1024).build()?;
    /// let pool = BufferPool::new(config);
    /// let held = pool.acquire(1000);
    /// let waiting = tokio::spawn(pool.acquire_async(1000));
    /// tokio::task::yield_now().await;
    /// assert_eq!(pool.stats().waiting, 1);
    /// drop(held); // returned, so the waiter is served
    /// assert_eq!(waiting.await??.capacity(), 1024);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn acquire_async(&self, min_capacity: usize) -> Acquire {
        Acquire::new(self, min_capacity, Location::caller())
    }
}

/// The future of [`BufferPool::acquire_async`].
///
/// It keeps the pool open. It is `'static` and works with any runtime.
///
/// # Cancel safety
///
/// Dropping it loses nothing: it leaves the queue, and a buffer that was already granted to it goes to the next
/// waiter. A new future joins the queue at the end.
#[must_use = "a future does nothing until it is polled"]
pub struct Acquire {
    pool: BufferPool,
    request: Request,
    state: State,
}

enum State {
    New,
    Queued(Arc<Waiter>, Stopwatch),
    Done,
}

impl Acquire {
    pub(in crate::pool) fn new(pool: &BufferPool, bytes: usize, caller: &'static Location<'static>) -> Self {
        let request = Request { class: pool.core.sizes.index_for(bytes), bytes, caller };
        Self { pool: pool.clone(), request, state: State::New }
    }

    /// Acquires a buffer at once, or joins the queue.
    #[inline]
    fn start(&mut self) -> Option<Result<PooledBuffer, AcquireError>> {
        let (core, request) = (&self.pool.core, self.request);
        // A hit in this thread's cache passes the waiters. It need not look: what is returned while there are waiters goes to
        // them, so the cache soon is empty.
        let slot = thread::pop(core, request.class).or_else(|| thread::acquire(core, request));
        if slot.is_some() || request.class == core.heap() {
            self.state = State::Done;
            return Some(slot.map(PooledBuffer::of).ok_or_else(|| refusal(core, request)));
        }
        // The waiters may have the buffers of this thread's cache, too.
        thread::flush(core);
        self.state = State::Queued(core.join_queue(request.class), Stopwatch::start());
        None
    }

    fn poll_queued(&mut self, context: &mut Context<'_>) -> Poll<Result<PooledBuffer, AcquireError>> {
        let State::Queued(waiter, since) = &self.state else {
            // Polled after completion, which callers must not do.
            return Poll::Pending;
        };
        // A waker is foreign code, so it is cloned and dropped without the lock.
        let waker = context.waker().clone();
        let mut wait_state = waiter.wait_state.lock();
        match mem::replace(&mut *wait_state, WaitState::Left) {
            WaitState::Served(grant) => {
                drop(wait_state);
                contain(|| drop(waker)); // a panic would lose the grant
                let core = &self.pool.core;
                let mut slot = Core::redeem(core, self.request.class, grant);
                core.waiters.count(since.elapsed());
                self.state = State::Done;
                slot.note_acquire(self.request);
                Poll::Ready(Ok(PooledBuffer::of(slot)))
            }
            WaitState::Waiting(old_waker) => {
                *wait_state = WaitState::Waiting(Some(waker));
                drop(wait_state);
                contain(|| drop(old_waker));
                Poll::Pending
            }
            WaitState::Left => Poll::Pending,
        }
    }

    /// If it still waits, looks at the memory that became idle without a notice: in this thread's cache, and frozen.
    fn look_again(&self) {
        let core = &self.pool.core;
        if let State::Queued(waiter, _) = &self.state
            && waiter.is_waiting()
        {
            thread::flush(core);
            core.find_free_and_serve();
        }
    }
}

impl Future for Acquire {
    type Output = Result<PooledBuffer, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let progress = ready!(poll_proceed(context));
        let result = if matches!(self.state, State::New) {
            self.start()
        } else {
            self.look_again();
            None
        };
        let result = result.map_or_else(|| self.poll_queued(context), Poll::Ready);
        if result.is_ready() {
            progress.made_progress();
        }
        result
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let State::Queued(waiter, _) = mem::replace(&mut self.state, State::Done) {
            self.pool.core.leave_queue(&waiter);
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("bytes", &self.request.bytes).finish_non_exhaustive()
    }
}
