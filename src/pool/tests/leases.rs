//! What the caches of threads keep of a pool with a memory limit, and what is left for others.

use std::sync::Barrier;

use super::*;

fn limited(config: BufferPoolConfig, limit: usize) -> BufferPool {
    let config = config.to_builder().memory_limit(limit).decay_interval(None);
    BufferPool::new(config.build().unwrap())
}

/// Calls `then` in a new thread, while `count` others that have called `first` live on and do nothing.
fn beside_idle_threads<T: Send>(count: usize, first: impl Fn() + Sync, then: impl FnOnce() -> T + Send) -> T {
    let (used, end) = (Barrier::new(count + 1), Barrier::new(count + 1));
    thread::scope(|scope| {
        for _ in 0..count {
            let idle = || {
                first();
                used.wait();
                end.wait();
            };
            thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, idle).unwrap();
        }
        used.wait();
        let result = scope.spawn(then).join().unwrap();
        end.wait();
        result
    })
}

fn freeze(pool: &BufferPool, size: usize) -> Bytes {
    let mut buffer = pool.acquire(size);
    buffer.extend_from_slice(b"x");
    buffer.freeze()
}

const ROUNDS: usize = 2000;

#[test]
fn threads_that_used_the_pool_once_leave_a_busy_one_its_cache_hits() {
    for (limit, idle) in [4, 16, 64].into_iter().flat_map(|limit| [(limit, 64), (limit, 512)]) {
        for (first, size) in [(100, 1000), (1000, 1000), (8000, 8000)] {
            let pool = limited(BufferPoolConfig::messages(), limit << 20);
            let rounds = || (0..ROUNDS).for_each(|_| drop([pool.acquire(size), pool.acquire(size)]));
            let busy = || {
                rounds();
                let before = pool.stats().cache_hits;
                rounds();
                pool.stats().cache_hits - before
            };
            let hits = beside_idle_threads(idle, || drop(pool.acquire(first)), busy);
            assert_eq!(hits, 2 * ROUNDS as u64, "{limit} MiB, {idle} threads, {first} B, {size} B");
        }
    }
}

#[test]
fn threads_that_used_the_pool_once_leave_a_busy_one_its_frozen_buffers() {
    for (limit, idle) in [4, 16, 64].into_iter().flat_map(|limit| [(limit, 64), (limit, 512)]) {
        let pool = limited(BufferPoolConfig::messages(), limit << 20);
        let rounds = || (0..ROUNDS).for_each(|_| drop(freeze(&pool, 1000)));
        let busy = || {
            rounds();
            let before = pool.stats();
            rounds();
            let after = pool.stats();
            (after.reclaimed_hits - before.reclaimed_hits, after.allocations - before.allocations)
        };
        let idle_first = || drop((pool.acquire(100), freeze(&pool, 1000)));
        let hits = beside_idle_threads(idle, idle_first, busy);
        assert_eq!(hits, (ROUNDS as u64, 0), "{limit} MiB, {idle} threads");
    }
}

#[test]
fn a_waiter_gets_seven_eighths_of_the_limit_whatever_idle_threads_keep() {
    let config = BufferPoolConfig::builder().class(16_384, 64).build().unwrap();
    for idle in [1, 2, 8, 32] {
        let pool = limited(config.clone(), 64 * 16_384);
        let burst = || {
            for _ in 0..50 {
                let ready: Vec<_> = (0..8).map_while(|_| pool.try_acquire(16_384).ok()).collect();
                let frozen: Vec<_> = (0..8).map(|_| freeze(&pool, 16_384)).collect();
                drop((ready, frozen));
            }
        };
        let hold = || (0..64).map_while(|_| pool.try_acquire(16_384).ok()).collect::<Vec<_>>();
        let held = beside_idle_threads(idle, burst, hold);
        assert!(held.len() >= 56, "{idle} threads: {}", held.len());
    }
}

/// What another cache could lease now: half of what is left.
fn left_for_another(pool: &BufferPool) -> usize {
    let bytes = pool.core.memory.lease_for_cache(0, 1, usize::MAX, true);
    pool.core.memory.end_cache_lease(bytes);
    bytes
}

#[test]
fn a_thread_leases_no_more_than_it_uses() {
    let pool = limited(BufferPoolConfig::messages(), 16 << 20);
    drop((pool.acquire(1000), freeze(&pool, 1000)));
    assert_eq!(left_for_another(&pool), (2 << 20) / 2 - 1024);
}

#[test]
fn what_a_thread_leased_and_does_not_use_any_more_goes_to_others_after_steps_of_decay() {
    let pool = limited(BufferPoolConfig::messages(), 1 << 20);
    for _ in 0..50 {
        drop((0..40).map(|_| pool.acquire(1000)).collect::<Vec<_>>());
        drop((0..20).map(|_| freeze(&pool, 1000)).collect::<Vec<_>>());
    }
    assert!(left_for_another(&pool) <= (128 - 40) * 1024 / 2, "{}", left_for_another(&pool));
    for _ in 0..10 {
        pool.decay();
        drop(pool.acquire(1000));
    }
    assert_eq!(left_for_another(&pool), (128 - 1) * 1024 / 2);
}

/// A thread noticed a step only in a return.
#[test]
fn a_thread_that_only_acquires_gives_its_lease_back_at_a_step() {
    let pool = limited(BufferPoolConfig::messages(), 1 << 20);
    let acquire = || (0..20).map(|_| pool.acquire(1000)).collect::<Vec<_>>();
    let return_elsewhere = |buffers: Vec<PooledBuffer>| {
        let other = || {
            drop(buffers);
            pool.flush_thread_cache();
        };
        thread::scope(|scope| scope.spawn(other).join().unwrap());
    };
    (0..50).for_each(|_| return_elsewhere(acquire()));
    let before = left_for_another(&pool);
    pool.decay();
    let mut held = Vec::new();
    let gave_back = (0..20).any(|_| {
        held.push(pool.acquire(1000));
        left_for_another(&pool) > before
    });
    assert!(gave_back, "{before}");
}

#[test]
fn all_leases_end_with_the_caches_and_the_frozen_buffers() {
    let pool = limited(BufferPoolConfig::messages(), 1 << 20);
    let core = Arc::clone(&pool.core);
    let theirs = pool.clone();
    let kept = thread::spawn(move || {
        let mut kept = Vec::new();
        for round in 0..100 {
            let held: Vec<_> = [100, 1000, 4000, 8000].iter().map(|&size| theirs.acquire(size)).collect();
            kept.push(freeze(&theirs, 1000));
            drop(freeze(&theirs, 4000));
            drop(held);
            if round % 10 == 0 {
                theirs.decay();
            }
            if round % 25 == 0 {
                theirs.flush_thread_cache();
            }
        }
        kept
    });
    drop(kept.join().unwrap());
    pool.trim();
    assert_eq!(pool.stats().live_bytes, 0, "{}", pool.stats());
    // One cache gets at most half of an eighth of the limit. Frozen buffers get the rest of the half but for what is the
    // caches', and one buffer of the largest class.
    let largest = 1 << 16;
    assert_eq!(core.memory.lease_for_cache(0, 1, usize::MAX, true), 1 << 16);
    assert!(core.memory.lease_all((1 << 19) - (1 << 17) - largest));
    assert!(!core.memory.lease_all(1));
}
