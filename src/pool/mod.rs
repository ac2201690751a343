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
//! The page [`fairness`](crate::fairness) says what is guaranteed to those who ask for memory under a limit.
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
