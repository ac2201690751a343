//! Size-classed buffers that return to their pool when they are dropped.
//!
//! ```text
//!  BufferPool ── acquire ─▶ PooledBuffer ── drop ──────────────────────────▶ returned
//!      │                        ├── into_shared ─▶ PooledBytes ── last drop ▶ returned
//!      │                        └── freeze ─▶ bytes::Bytes ─ ─ last drop ─ ▶ found free later
//!      ▼
//!  Core ── Memory: live bytes, leases ── Waiters: first come, first served
//!      ├── one Class per size: a ready queue and a frozen queue
//!      │       ▲ batches
//!      └── LocalCache, one per thread and pool: a stack and a frozen queue per class, counters
//! ```
//!
//! A new pool holds 0 bytes of buffers. Storage is allocated when an acquire finds none. A returned buffer is
//! kept in the thread's cache, up to [`thread_cache_bytes`](BufferPoolConfig::thread_cache_bytes), or in the
//! shared queue of its class, up to the class's capacity. Beyond that it is freed. Buffers that stay unused for
//! two steps of [decay](BufferPool::decay) are freed, too.
//!
//! Invariants, per class:
//!
//! * created = idle + handed out + frozen + freed
//! * handed out = 0 ⇒ every live buffer is idle or frozen
//! * a buffer is in one place, and never in another pool's or class's
//! * live bytes ≤ memory limit, at every instant
//! * no safe call shows bytes that an earlier owner wrote
//!
//! The three ways out of a [`PooledBuffer`]:
//!
//! | | mallocs | returned | locked instructions | for |
//! |---|---|---|---|---|
//! | [`into_shared`](PooledBuffer::into_shared) → [`PooledBytes`] | 0 | at the last drop | 0 while there is one handle | your own code; copy on write |
//! | [`freeze`](PooledBuffer::freeze) → `Bytes` | 0 while the pool can follow it | found free some time after the last drop | 2 | any library |
//! | [`freeze_tracked`](PooledBuffer::freeze_tracked) → `Bytes` | 1 small | at the last drop | 1 | any library under a tight memory limit |
//!
//! A folder is a room. A room imports only those below it.
//!
//! | room | what is in it |
//! |---|---|
//! | `handle` | the pool that users hold, its buffers and bytes, the future of an acquire |
//! | `thread` | what one thread keeps, and how it finds it |
//! | `shared` | what all threads share: slots, class queues, the memory limit, its waiters, decay |
//! | `hooks` | what a pool does to every buffer when asked to: wiping, sampling, recording, debugging |
//! | `stats` | counters, the snapshot that users read, and the classes that it suggests |
//! | `config` | classes and limits, checked when they are built; presets |
//!
//! After `fork` the child must not use a pool of its parent: it cannot reach other threads' caches, and a lock
//! that another thread held stays locked.
//!
//! Absent on purpose: unsafe code, I/O, a thread of its own.

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
pub use self::handle::{Acquire, AcquireError, BufferPool, PooledBuffer, PooledBytes};
pub use self::hooks::{Holder, HolderReport};
pub use self::stats::{BufferPoolStats, ClassStats, RequestedSize, Suggestion};
