//! What a pool can do in a program that runs on tokio: wait no longer than it should, and give memory back
//! while nobody uses it.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::buffer::PooledBuffer;
use super::error::AcquireError;
use super::pool::BufferPool;
use crate::pool::thread;
use crate::sync::Arc;

impl BufferPool {
    /// Like [`acquire_async`](Self::acquire_async), but gives up at `deadline`. (Feature `tokio`.)
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooLarge`] if no class fits, [`AcquireError::TimedOut`] at the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; see [`Acquire`](crate::pool::Acquire).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its time driver enabled.
    #[track_caller]
    pub fn acquire_until(
        &self,
        min_capacity: usize,
        deadline: Instant,
    ) -> impl Future<Output = Result<PooledBuffer, AcquireError>> + Send + 'static {
        let acquire = self.acquire_async(min_capacity);
        let limit = self.core.memory.limit();
        async move {
            let in_time = timeout_at(deadline, acquire).await;
            in_time.unwrap_or(Err(AcquireError::TimedOut { requested: min_capacity, limit }))
        }
    }

    /// Spawns a task that makes a step of [decay](Self::decay) at each
    /// [interval](crate::pool::BufferPoolConfigBuilder::decay_interval), 5 s if the pool has none, so that memory
    /// goes back while nobody uses the pool. It does not keep the pool open, and ends with it. (Feature `tokio`.)
    ///
    /// It does not reach the buffers that a worker thread of the runtime keeps for itself: see
    /// [`flush_on_park`](Self::flush_on_park). What it frees goes to the allocator:
    /// [`decay`](Self::decay#returning-memory-to-the-system) says how it leaves the process.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its time driver enabled.
    pub fn spawn_decay(&self) -> JoinHandle<()> {
        let core = Arc::clone(&self.core);
        let every = Duration::from_millis(core.clock.interval_millis().unwrap_or(5000));
        tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !core.is_closed() {
                ticks.tick().await;
                core.report(core.decay());
            }
        })
    }

    /// What a worker thread of a runtime should do before it sleeps: lay what it keeps into the shared queues,
    /// where decay finds it. Give it to
    /// [`on_thread_park`](tokio::runtime::Builder::on_thread_park). It does not keep the pool open. (Feature
    /// `tokio`.)
    ///
    /// It costs a few pushes, under a memory limit one for each buffer that the thread keeps, before a sleep that
    /// costs a system call.
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
        let core = Arc::clone(&self.core);
        move || {
            thread::flush(&core);
        }
    }
}
