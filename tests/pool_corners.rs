//! Many pools in one thread, pools that are closed while buffers are out, and many threads: what they allocate and keep.
//!
//! Without the test harness, whose own thread allocates at any time.

use std::hint::black_box;

use bytes::Bytes;
use dhat::HeapStats;
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(4)).build();
    a_thread_uses_any_number_of_pools_without_a_malloc();
    what_is_followed_is_bounded_whatever_other_pools_the_thread_uses();
    a_late_return_makes_no_cache();
    a_late_freeze_and_growth_make_no_cache();
    a_thread_that_uses_other_pools_drops_all_its_caches_of_closed_ones();
    a_closed_pool_with_a_buffer_out_keeps_no_queues_that_it_did_not_use();
    println!("test result: ok. 6 passed");
}

fn blocks(operation: impl FnOnce()) -> u64 {
    let before = HeapStats::get().total_blocks;
    operation();
    HeapStats::get().total_blocks - before
}

fn filled(pool: &BufferPool, len: usize) -> PooledBuffer {
    let mut buffer = pool.acquire(len);
    buffer.resize(len, 7);
    buffer
}

/// A thread kept the caches of 16 pools. With one more, each acquire dropped one cache and made another.
fn a_thread_uses_any_number_of_pools_without_a_malloc() {
    for count in [16, 17, 64, 300] {
        for limit in [usize::MAX, 64 << 20] {
            let config = BufferPoolConfig::messages().to_builder().memory_limit(limit);
            let pools: Vec<_> =
                (0..count).map(|_| BufferPool::new(config.clone().build().unwrap())).collect();
            let round = || pools.iter().for_each(|pool| drop(black_box(pool.acquire(1000))));
            (0..3).for_each(|_| round());
            assert_eq!(blocks(round), 0, "{count} pools, limit {limit}");
            let hits: u64 = pools.iter().map(|pool| pool.stats().cache_hits).sum();
            assert_eq!(hits, 3 * count, "{count} pools, limit {limit}");
        }
    }
}

/// At each change of the pool the thread dropped a cache, whose frozen buffers went to the overflow, without bound.
fn what_is_followed_is_bounded_whatever_other_pools_the_thread_uses() {
    for others in [0, 15, 16, 40] {
        let config = BufferPoolConfig::builder().class(1024, 4).thread_cache_bytes(8192);
        let pool = BufferPool::new(config.decay_interval(None).build().unwrap());
        let other = || BufferPool::new(BufferPoolConfig::builder().class(64, 4).build().unwrap());
        let others: Vec<_> = (0..others).map(|_| other()).collect();
        let mut kept: Vec<Bytes> = Vec::new();
        for _ in 0..50 {
            kept.extend((0..8).map(|_| filled(&pool, 1024).freeze()));
            others.iter().for_each(|other| drop(other.acquire(64)));
        }
        // Eight in the thread's cache, and four in the queue of the class.
        assert_eq!(pool.stats().frozen, 12, "{} other pools", others.len());
    }
}

/// The thread made a cache for a pool that it could not use any more, and dropped it when it used another one.
fn a_late_return_makes_no_cache() {
    let (live, closed) =
        (BufferPool::new(BufferPoolConfig::messages()), BufferPool::new(BufferPoolConfig::messages()));
    let late: Vec<_> = (0..1000).map(|_| closed.acquire(100)).collect();
    drop(live.acquire(100));
    drop(closed);
    let alternate = || {
        for buffer in late {
            drop(buffer);
            drop(black_box(live.acquire(100)));
        }
    };
    assert_eq!(blocks(alternate), 0);
}

fn a_late_freeze_and_growth_make_no_cache() {
    let (live, closed) =
        (BufferPool::new(BufferPoolConfig::messages()), BufferPool::new(BufferPoolConfig::messages()));
    let late: Vec<_> = (0..100).map(|_| filled(&closed, 100)).collect();
    drop(live.acquire(100));
    drop(closed);
    let freeze = || {
        for buffer in late {
            drop(black_box(buffer.freeze()));
            drop(black_box(live.acquire(100)));
        }
    };
    assert_eq!(blocks(freeze), 100, "one owner for each `Bytes` that the pool cannot follow");
}

fn a_thread_that_uses_other_pools_drops_all_its_caches_of_closed_ones() {
    let before = HeapStats::get().curr_bytes;
    let live: Vec<_> = (0..2).map(|_| BufferPool::new(BufferPoolConfig::messages())).collect();
    live.iter().for_each(|pool| drop(pool.acquire(100)));
    let after = HeapStats::get().curr_bytes;
    for _ in 0..3 {
        let pools: Vec<_> = (0..20).map(|_| BufferPool::new(BufferPoolConfig::messages())).collect();
        pools.iter().for_each(|pool| drop(pool.acquire(60_000)));
        std::thread::spawn(move || drop(pools)).join().unwrap();
        live.iter().for_each(|pool| drop(pool.acquire(100)));
    }
    let left = HeapStats::get().curr_bytes - after;
    assert!(left < 16 * 1024, "{left} bytes of closed pools are left; two live ones have {}", after - before);
}

/// A late buffer kept 128 MiB of empty queues.
fn a_closed_pool_with_a_buffer_out_keeps_no_queues_that_it_did_not_use() {
    let before = HeapStats::get().curr_bytes;
    let pool = BufferPool::new(BufferPoolConfig::builder().class(64, 1 << 22).build().unwrap());
    let (late, frozen) = (pool.acquire(64), filled(&pool, 64).freeze());
    (0..100).for_each(|_| drop([pool.acquire(64), pool.acquire(64)]));
    drop(pool);
    let left = HeapStats::get().curr_bytes - before;
    drop((late, frozen));
    assert!(left < 8 * 1024, "{left} bytes");
}
