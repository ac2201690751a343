#![doc = include_str!("../README.md")]
#![cfg(millpond_loom)]

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use millpond::{BufferPool, BufferPoolConfig, PooledBuffer};

/// Bytes of every buffer, except in models with their own classes.
pub const SIZE: usize = 8;

/// Explores the interleavings of `body`, all of them or those with at most `preemptions`, and prints their number. The
/// variable LOOM_MAX_PREEMPTIONS overrides `preemptions`.
pub fn model(name: &str, preemptions: Option<usize>, body: impl Fn() + Sync + Send + 'static) {
    outcomes(name, preemptions, body);
}

/// The same, and returns the set of results of `body`, so that a model can assert that each outcome of a race occurred.
pub fn outcomes<T: Ord + Send + 'static>(
    name: &str,
    preemptions: Option<usize>,
    body: impl Fn() -> T + Sync + Send + 'static,
) -> BTreeSet<T> {
    let seen = Arc::new(Mutex::new((0, BTreeSet::new())));
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    let bound = builder.preemption_bound.map_or_else(|| "all".to_owned(), |most| format!("<= {most}"));
    let started = Instant::now();
    let see = Arc::clone(&seen);
    builder.check(move || {
        let outcome = body();
        let mut seen = see.lock().unwrap();
        seen.0 += 1;
        seen.1.insert(outcome);
    });
    let mut seen = seen.lock().unwrap();
    println!("{name}: {} executions, preemptions {bound}, {:.1?}", seen.0, started.elapsed());
    mem::take(&mut seen.1)
}

/// A pool of one class of `capacity` buffers; a thread keeps two of them.
pub fn pool(capacity: usize) -> BufferPool {
    let config = BufferPoolConfig::builder().class(SIZE, capacity).thread_cache_bytes(2 * SIZE);
    BufferPool::new(config.build().unwrap())
}

/// Fills the buffer, which must be empty, with `byte`.
#[track_caller]
pub fn written(mut buffer: PooledBuffer, byte: u8) -> PooledBuffer {
    assert!(buffer.is_empty());
    buffer.resize(SIZE, byte);
    buffer
}

/// Asserts that no buffer is in use or frozen, that no task waits, and that every allocated buffer is accounted for.
#[track_caller]
pub fn assert_books(pool: &BufferPool) {
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.frozen, stats.waiting), (0, 0, 0), "{stats}");
    assert_eq!(stats.acquires, stats.returns, "{stats}");
    assert_eq!(
        pool.trim() as u64,
        stats.idle_bytes,
        "as many bytes are freed as the stats call idle: {stats}"
    );
    assert_eq!(pool.stats().live_bytes, 0, "{stats}");
}
