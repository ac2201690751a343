//! Memory that a pool does not need any more is freed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::*;

#[test]
fn a_step_of_decay_frees_what_was_unused_since_the_last_one_and_keeps_the_rest() {
    let pool = pool(&[(1024, 64), (64, 64)], 0);
    let burst: Vec<_> = (0..64).map(|_| pool.acquire(1024)).collect();
    drop(burst);
    assert_eq!(pool.decay(), 0, "all of them were needed since the pool was made");
    for _ in 0..10 {
        drop([pool.acquire(1024), pool.acquire(1024)]);
    }
    assert_eq!(pool.decay(), 62 * 1024);
    assert_eq!(pool.stats().idle, 2);
    assert_eq!(pool.decay(), 2 * 1024);
    assert_eq!(pool.stats().live_bytes, 0);
}

#[test]
fn a_thread_spills_half_of_its_cache_at_each_step() {
    let pool = pool(&[(1024, 64)], 64 * 1024);
    drop((0..64).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    for _ in 0..20 {
        pool.decay();
        drop(pool.acquire(1024)); // this thread continues to use the pool
    }
    assert!(pool.stats().live_bytes <= 2 * 1024, "{}", pool.stats());
    assert!(pool.stats().live_bytes >= 1024, "{}", pool.stats());
}

#[test]
fn slow_operations_of_a_pool_make_the_steps() {
    let config = BufferPoolConfig::builder().classes([(1024, 64), (64, 4)]).thread_cache_bytes(0);
    let pool = BufferPool::new(config.decay_interval(Some(Duration::from_millis(2))).build().unwrap());
    drop((0..64).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(3));
        (0..64).for_each(|_| drop(pool.acquire(64)));
    }
    assert!(pool.stats().live_bytes <= 64, "{}", pool.stats());

    let never = BufferPoolConfig::builder().class(1024, 64).thread_cache_bytes(0).decay_interval(None);
    let pool = BufferPool::new(never.build().unwrap());
    drop((0..64).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    (0..1000).for_each(|_| drop(pool.acquire(1024)));
    assert_eq!(pool.stats().live_bytes, 64 * 1024);
}

#[test]
fn frozen_buffers_of_an_exited_thread_are_found_free() {
    let pool = pool(&[(64, 2)], 4096);
    let theirs = pool.clone();
    let frozen: Vec<Bytes> = thread::spawn(move || {
        let filled = |byte| {
            let mut buffer = theirs.acquire(64);
            buffer.resize(64, byte);
            buffer
        };
        let buffers: Vec<_> = (0..10).map(filled).collect();
        buffers.into_iter().map(PooledBuffer::freeze).collect()
    })
    .join()
    .unwrap();
    assert_eq!(pool.stats().frozen, 10, "more than the queue has places for");
    assert!(frozen.iter().enumerate().all(|(byte, bytes)| bytes.iter().all(|&seen| seen == byte as u8)));
    drop(frozen);
    pool.decay();
    assert_eq!((pool.stats().frozen, pool.stats().idle), (0, 2));
}

#[test]
fn a_thousand_pools_leak_nothing() {
    let cores: Vec<_> = (0..1000)
        .map(|round| {
            let builder = BufferPoolConfig::messages().to_builder();
            let builder = if round % 2 == 0 { builder } else { builder.sample_one_in(NonZeroU32::MIN) };
            let pool = BufferPool::new(builder.build().unwrap());
            let mut buffer = pool.acquire(100);
            buffer.extend_from_slice(b"hello");
            let shared = buffer.into_shared();
            let bytes = Bytes::from(shared.clone());
            drop((pool.acquire(1000), shared));
            let core = Arc::downgrade(&pool.core);
            drop(pool);
            drop(bytes);
            core
        })
        .collect();
    drop([
        BufferPool::new(BufferPoolConfig::proxy()).acquire(1),
        BufferPool::new(BufferPoolConfig::proxy()).acquire(1),
    ]);
    let left = cores.iter().filter(|core| core.strong_count() > 0).count();
    assert_eq!(left, 0);
}

#[test]
fn the_hook_hears_of_every_byte_that_decay_and_trim_freed() {
    let (pool, freed) = listening(|builder| builder);
    drop((0..64).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    assert_eq!((pool.decay(), freed.load(Relaxed)), (0, 0));
    drop(pool.acquire(1024));
    assert_eq!((pool.decay(), freed.load(Relaxed)), (63 * 1024, 63 * 1024));
    assert_eq!((pool.trim(), freed.load(Relaxed)), (1024, 64 * 1024));
    assert_eq!((pool.trim(), freed.load(Relaxed)), (0, 64 * 1024));
}

#[test]
fn a_step_within_an_acquire_is_reported_by_the_next_call_of_decay() {
    let (pool, freed) = listening(|builder| builder.decay_interval(Some(Duration::from_millis(2))));
    drop((0..64).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(3));
        (0..64).for_each(|_| drop(pool.acquire(64)));
    }
    assert_eq!(freed.load(Relaxed), 0, "no function runs within an acquire");
    pool.decay();
    assert_eq!(freed.load(Relaxed), 64 * 1024);
}

#[test]
fn the_hook_may_use_the_pool() {
    thread_local!(static POOL: RefCell<Option<BufferPool>> = const { RefCell::new(None) });
    let hook = |_| drop(POOL.with_borrow(|pool| pool.as_ref().map(|pool| pool.acquire(1024))));
    let config = BufferPoolConfig::builder().class(1024, 64).on_decay(hook).build().unwrap();
    let pool = BufferPool::new(config);
    POOL.set(Some(pool.clone()));
    drop((0..64).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    assert_eq!(pool.trim(), 64 * 1024);
    assert_eq!(pool.stats().idle, 1);
    POOL.take();
}

#[test]
fn configurations_with_a_hook_are_equal_to_their_clones_only() {
    let with_hook = || BufferPoolConfig::messages().to_builder().on_decay(|_| {}).build().unwrap();
    let one = with_hook();
    assert_eq!(one, one.clone());
    assert_ne!(one, with_hook());
    assert_ne!(one, BufferPoolConfig::messages());
}

/// A pool without thread caches, and the bytes of which its hook heard.
fn listening(
    more: impl FnOnce(BufferPoolConfigBuilder) -> BufferPoolConfigBuilder,
) -> (BufferPool, Arc<AtomicUsize>) {
    let freed = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&freed);
    let builder = BufferPoolConfig::builder().classes([(1024, 64), (64, 4)]).thread_cache_bytes(0);
    let builder = builder.on_decay(move |bytes| {
        heard.fetch_add(bytes, Relaxed);
    });
    (BufferPool::new(more(builder).build().unwrap()), freed)
}

/// Each cache that is dropped leaves its place in the registry to another one.
#[test]
fn the_stats_stay_whole_in_whatever_order_threads_exit() {
    let pool = pool(&[(64, 64)], 4096);
    let start = |count: usize| {
        let (theirs, (end, ends), (used, is_used)) = (pool.clone(), mpsc::channel::<()>(), mpsc::channel());
        let thread = thread::spawn(move || {
            (0..count).for_each(|_| drop(theirs.acquire(64)));
            used.send(()).unwrap();
            let _ = ends.recv();
            drop(theirs.acquire(64));
        });
        is_used.recv().unwrap();
        (thread, end)
    };
    let mut threads: Vec<_> = (1..=20).map(start).collect();
    let mut acquires = (1..=20).sum::<usize>() as u64;
    for at in [19, 0, 7, 7, 3, 14, 0, 5, 11, 2, 9, 0, 7, 3, 1, 4, 2, 0, 1, 0] {
        assert_eq!(pool.stats().acquires, acquires);
        let (thread, end) = threads.swap_remove(at);
        drop(end);
        thread.join().unwrap();
        acquires += 1;
    }
    assert_eq!((pool.stats().acquires, pool.stats().in_use), (acquires, 0));
}
