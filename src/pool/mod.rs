//! Size-classed buffers that return to their pool when they are dropped.
//!
//! ```text
//!  BufferPool ── acquire ─▶ PooledBuffer ── drop ───────────────────────────▶ returned
//!      │                        ├── into_shared ─▶ PooledBytes ── last drop ─▶ returned
//!      │                        └── freeze ─▶ bytes::Bytes ─ ─ last drop ─ ─ ▶ found free later
//!      ▼
//!  Core ── Memory: live bytes, shares of the limit, leases ── Waiters: a queue per class
//!      ├── one Class per size: a ready queue and a frozen queue
//!      │       ▲ batches
//!      └── LocalCache, one per thread and pool: a stack and a frozen queue per class, counters
//! ```
//!
//! Invariants, per class:
//!
//! * created = idle + handed out + frozen + freed
//! * handed out = 0 ⇒ every live buffer is idle or frozen
//! * a buffer is in one place, and never in a queue of another pool or class
//! * live bytes ≤ memory limit, at every instant
//! * no safe call shows bytes that an earlier owner wrote
//!
//! # Fairness
//!
//! Guaranteed under a memory limit, whatever the holders of buffers, other threads and other waiters do:
//!
//! * *Shares.* Part of the limit is reserved for smaller requests. A class and all larger ones cannot use it. There is no
//!   reserve below the smallest class, half of the limit below the largest, and in between it is in proportion to the index
//!   of the class. If the largest class would not fit into its share, all reserves shrink until it does: with a limit of at
//!   least twice the largest class, large requests never take all. No class is refused for ever. Nothing is reserved for
//!   large requests: small ones may use the whole limit.
//! * *Bounded bypass.* Requests of one class are served in the order in which they came. The oldest waiter of all is served
//!   first. While there is no memory for the first waiter of a class, smaller requests pass it, but together take no more
//!   than four times its size. After that they may only use the reserve for smaller requests. All other memory that is
//!   returned collects for the waiter. Larger requests never pass smaller ones. A request that does not wait follows the
//!   same rules.
//! * *Progress.* Once the buffers in use are returned, each waiter is served. Thread caches and frozen buffers may hold
//!   some memory that waiters cannot reach. It is bounded, so that there is always room for one buffer of any class.
//! * *Wakers.* A waiter that is served is woken. Wakers run after the pool has updated its state. At most eight wakers run
//!   nested. With std, the panic of a waker is reported by the panic hook, and ends there: the other waiters are served, no drop panics.
//! * Leaving the queue takes logarithmic time.
//!
//! Not guaranteed:
//!
//! * *That buffers are returned.* A request waits for as long as others hold the memory that it needs, and many small
//!   buffers may be all of it. A task that waits for memory should hold little of it, hold it briefly, or wait with a
//!   deadline. The pool does not enforce this. [`BufferPool::has_waiters`] tells whether others wait.
//! * *Order with cache hits.* A thread that finds a buffer in its cache does not look at the queue. What it returns goes
//!   to the waiters from then on, so its cache runs empty.
//! * *Immediate reuse of frozen buffers.* The pool does not notice when the last `Bytes` is dropped. Any slow acquire, a poll of a waiter, and
//!   a step of decay look at them; `acquire_until` polls at intervals of 10 to 160 ms.
//!
//! Each folder is a room. It imports only the rooms below it.
//!
//! | room | contents |
//! |---|---|
//! | `handle` | the pool that users hold, its buffers and bytes, the future of an acquire |
//! | `thread` | the cache of one thread, and how it is found |
//! | `shared` | what all threads share: slots, class queues, the memory limit, its waiters, decay |
//! | `hooks` | optional work on every buffer: wiping, sampling, recording, debug switches |
//! | `stats` | counters, the snapshot that users read, and the classes that it suggests |
//! | `config` | classes and limits, checked when they are built; presets |
//!
//! One word per meaning:
//!
//! | word | meaning |
//! |---|---|
//! | acquire, return | a handle gets a buffer; the drop of the last handle gives it to the pool |
//! | push, pop | a buffer enters or leaves a thread's stack or a shared queue |
//! | flush, spill | a thread's whole cache, or the cold half of a stack, moves to the shared queues |
//! | freeze, follow, reclaim | storage becomes `Bytes`; the pool keeps a tail of it; it finds the storage free and uses it again |
//! | evict | idle memory is freed to make room for another class |
//! | lease | bytes of the memory limit that a cache, or a queue of frozen buffers, may keep out of the waiters' reach |
//! | permit | an acquire that the hooks need not see, so that it may take the fast path |
//! | share, reserve | bytes of the memory limit for a class and all larger ones; the rest, for smaller ones |
//! | grant | what a waiter, or an acquire at the limit, gets: a buffer, or room to allocate one |
//! | trim, step | all idle memory is freed; one step of decay frees the memory unused since the last step |
//!
//! Absent on purpose: I/O, threads of its own, and unsafe code but for one trait, in `handle/buf_mut.rs`.

mod config;
mod handle;
mod hooks;
mod shared;
mod stats;
mod thread;

#[cfg(test)]
mod tests;

#[cfg(millpond_loom)]
pub mod model;

pub use self::config::{BufferPoolConfig, BufferPoolConfigBuilder, ClassConfig, ConfigError};
#[cfg(feature = "net")]
pub(crate) use self::handle::Lent;
pub use self::handle::{Acquire, AcquireError, BufferPool, BytesQueue, PooledBuffer, PooledBytes};
pub use self::hooks::{Holder, HolderReport};
pub use self::stats::{BufferPoolStats, ClassStats, RequestedSize, Suggestion};
