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
    /// Waits until the memory limit allows an empty buffer with room for `min_capacity` bytes from one of the classes.
    /// Waiters are served first in, first out.
    ///
    /// Idle memory of other classes is evicted for a waiter, and a buffer returned by any thread reaches it. Two things
    /// are out of its reach: the caches of other threads, and frozen buffers that are followed. Together they get at
    /// most half of the limit, so a request of any class is served once the buffers in use are returned, whatever those
    /// threads do. If you hold more than the other half for long, see
    /// [`memory_limit`](crate::BufferPoolConfigBuilder::memory_limit).
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
        // The waiters may have the buffers of this thread's cache, too.
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
            // Polled after completion, which callers must not do.
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
                drop(old_waker); // after unlocking: it may be the last handle of a task
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
