//! A pool in a program that runs on tokio: acquires with a deadline, and decay while the pool is idle.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::buffer::PooledBuffer;
use super::error::AcquireError;
use super::pool::BufferPool;
use crate::pool::thread;
use crate::sync::Arc;

/// After this time an acquire with a deadline looks again. The intervals double up to the last one, so that the looks of
/// thousands of waiters, each of which serves all of them, take little of a processor.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_INTERVAL: Duration = Duration::from_millis(160);

impl BufferPool {
    /// Like [`acquire_async`](Self::acquire_async), but fails at `deadline`. (Feature `tokio`.)
    ///
    /// While it waits, it looks for frozen buffers whose last `Bytes` was dropped, of which the pool gets no notice: after
    /// 10 ms, and then at intervals that double up to 160 ms.
    ///
    /// A new request after a timeout joins the queue at the end, so one long deadline is better than many short ones: see
    /// [`fairness`](crate::fairness).
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class fits, [`AcquireError::TimedOut`] at the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; see [`Acquire`](crate::Acquire).
    ///
    /// # Panics
    ///
    /// When it has to wait outside of a tokio runtime, or in one whose time driver is not enabled.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use millpond::{AcquireError, BufferPool, BufferPoolConfig};
    /// use tokio::time::Instant;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = BufferPoolConfig::builder().class(1024, 4).memory_limit(1024).build()?;
    /// let pool = BufferPool::new(config);
    /// let held = pool.acquire(1000);
    /// let deadline = Instant::now() + Duration::from_millis(5);
    /// let late = pool.acquire_until(1000, deadline).await.unwrap_err();
    /// assert_eq!(late, AcquireError::TimedOut { requested: 1000, limit: 1024 });
    /// # drop(held);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn acquire_until(
        &self,
        min_capacity: usize,
        deadline: Instant,
    ) -> impl Future<Output = Result<PooledBuffer, AcquireError>> + Send + 'static {
        let acquire = self.acquire_async(min_capacity);
        let limit = self.core.memory.limit();
        async move {
            let mut acquire = pin!(acquire);
            // Without a look at the clock.
            if let Poll::Ready(outcome) = poll_fn(|context| Poll::Ready(acquire.as_mut().poll(context))).await
            {
                return outcome;
            }
            let mut interval = FIRST_LOOK;
            loop {
                let next = deadline.min(Instant::now() + interval);
                interval = LAST_INTERVAL.min(2 * interval);
                match timeout_at(next, acquire.as_mut()).await {
                    Ok(outcome) => return outcome,
                    Err(_) if next < deadline => {}
                    Err(_) => return Err(AcquireError::TimedOut { requested: min_capacity, limit }),
                }
            }
        }
    }

    /// Spawns a task that makes a step of [decay](Self::decay) once per
    /// [decay interval](crate::BufferPoolConfigBuilder::decay_interval), so that memory is freed while nobody uses
    /// the pool. A step that the pool's own operations made counts. The task does not keep the pool open, and ends within
    /// an interval after it. (Feature `tokio`.)
    ///
    /// In a pool without a decay interval the task ends at once: such a pool never decays by itself.
    ///
    /// It cannot reach the buffers in the caches of the runtime's worker threads: see
    /// [`flush_on_park`](Self::flush_on_park). What it frees goes to the allocator:
    /// [`decay`](Self::decay) says how it leaves the process.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, or in one whose time driver is not enabled.
    pub fn spawn_decay(&self) -> JoinHandle<()> {
        let core = Arc::downgrade(&self.core);
        let decays = self.core.clock.runs();
        tokio::spawn(async move {
            while decays && let Some(core) = core.upgrade().filter(|core| !core.is_closed()) {
                core.report(core.step_if_due());
                let left = core.clock.left();
                drop(core);
                sleep(left).await;
            }
        })
    }

    /// Returns a function that flushes the cache of the calling thread, for a runtime's
    /// [`on_thread_park`](tokio::runtime::Builder::on_thread_park): decay then finds the buffers of workers that
    /// sleep. The function does not keep the pool open. (Feature `tokio`.)
    ///
    /// It costs a few pushes, or one per cached buffer under a memory limit, before a sleep that costs a system call.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let pool = BufferPool::new(BufferPoolConfig::proxy());
    /// let runtime = tokio::runtime::Builder::new_multi_thread()
    ///     .enable_all()
    ///     .on_thread_park(pool.flush_on_park())
    ///     .build()?;
    /// runtime.block_on(async {
    ///     pool.spawn_decay();
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush_on_park(&self) -> impl Fn() + Send + Sync + 'static {
        let core = Arc::downgrade(&self.core);
        move || {
            if let Some(core) = core.upgrade() {
                thread::flush(&core);
            }
        }
    }
}
