//! Models of the shared queues, and of the stats of all threads.
#![cfg(millpond_loom)]

use loom::thread;
use loom_tests::{SIZE, assert_books, outcomes, pool, written};
use millpond::model::Cache;
use millpond::{BufferPool, BufferPoolConfig, BufferPoolStats};

/// Buffers move in twos, and a thread keeps one or two: the first to lease gets more.
fn pool_of_batches() -> BufferPool {
    let config = BufferPoolConfig::builder().class(SIZE, 16).thread_cache_bytes(8 * SIZE);
    BufferPool::new(config.memory_limit(16 * SIZE).decay_interval(None).build().unwrap())
}

/// Two buffers in the shared queue, none in a cache.
fn pool_with_two_idle() -> BufferPool {
    let pool = pool(2);
    drop([pool.acquire(SIZE), pool.acquire(SIZE)]);
    pool.flush_thread_cache();
    pool
}

#[test]
fn one_thread_refills_while_another_spills() {
    let hits = outcomes("refill and spill", Some(2), || {
        let pool = pool_of_batches();
        let mut theirs = Cache::new(&pool);
        let held = [1, 2, 3].map(|byte| written(theirs.acquire(SIZE), byte));
        drop(pool.acquire(SIZE));
        pool.flush_thread_cache();
        let other = thread::spawn(move || {
            for buffer in held {
                theirs.return_buffer(buffer); // it spills at the second or the third
            }
            drop(theirs);
        });
        let mut cache = Cache::new(&pool);
        let first = written(cache.acquire(SIZE), 4); // and one more, if there is one
        let second = written(cache.acquire(SIZE), 5);
        assert_eq!((&first[..], &second[..]), (&[4; SIZE][..], &[5; SIZE][..]));
        cache.return_buffer(first);
        cache.return_buffer(second);
        drop(cache);
        other.join().unwrap();
        let stats = pool.stats();
        assert_eq!(stats.idle, stats.allocations, "moved, not freed: {stats}");
        assert_books(&pool);
        (stats.cache_hits, stats.shared_hits)
    });
    // The second comes from the batch; from the queue, as it was spilled after the refill; or is new.
    assert!(hits.iter().copied().eq([(0, 1), (0, 2), (1, 1)]), "{hits:?}");
}

/// Without a limit, so that a batch is one chain.
#[test]
fn a_chain_is_spilled_while_another_thread_refills() {
    let hits = outcomes("chain", Some(4), || {
        let config = BufferPoolConfig::builder().class(SIZE, 16).thread_cache_bytes(8 * SIZE);
        let pool = BufferPool::new(config.decay_interval(None).build().unwrap());
        let mut theirs = Cache::new(&pool);
        let held = [1, 2, 3, 4, 5].map(|byte| written(theirs.acquire(SIZE), byte));
        let other = thread::spawn(move || {
            for buffer in held {
                theirs.return_buffer(buffer); // the fifth is one too many: two are spilled
            }
            drop(theirs);
        });
        let mut cache = Cache::new(&pool);
        let (first, second) = (written(cache.acquire(SIZE), 6), written(cache.acquire(SIZE), 7));
        cache.return_buffer(first);
        cache.return_buffer(second);
        drop(cache);
        other.join().unwrap();
        let stats = pool.stats();
        assert_eq!(stats.idle, stats.allocations, "moved, not freed: {stats}");
        assert_books(&pool);
        (stats.cache_hits, stats.shared_hits)
    });
    // Both are new; both come from the chain; the first is new, as the chain was spilled after it.
    assert!(hits.contains(&(0, 0)) && hits.contains(&(1, 1)) && hits.contains(&(0, 1)), "{hits:?}");
}

#[test]
fn trimmed_while_another_thread_acquires() {
    let freed = outcomes("trim and acquire", Some(4), || {
        let pool = pool_with_two_idle();
        let theirs = pool.clone();
        let other = thread::spawn(move || {
            let mut cache = Cache::new(&theirs);
            let buffer = written(cache.acquire(SIZE), 1);
            drop(cache);
            buffer
        });
        let freed = pool.trim();
        let held = other.join().unwrap();
        assert_eq!(&held[..], [1; SIZE]);
        let stats = pool.stats();
        assert_eq!(stats.live_bytes + freed as u64, stats.allocations * SIZE as u64, "{stats}");
        drop(held);
        assert_books(&pool);
        freed / SIZE
    });
    assert!(freed.iter().copied().eq([1, 2]), "{freed:?}");
}

#[test]
fn trimmed_while_another_thread_finds_what_was_frozen() {
    let freed = outcomes("trim and reclaim", Some(3), || {
        let pool = pool(2);
        let mut cache = Cache::new(&pool);
        let buffer = written(cache.acquire(SIZE), 1);
        let bytes = cache.freeze(buffer);
        drop(cache); // now it is in the shared queue, in use
        let theirs = pool.clone();
        let other = thread::spawn(move || {
            let mut cache = Cache::new(&theirs);
            let second = written(cache.acquire(SIZE), 2);
            cache.return_buffer(second);
            drop(cache);
        });
        drop(bytes);
        let freed = pool.trim();
        other.join().unwrap();
        let rest = pool.trim(); // the other thread may have held it, or a view showed it, at the first trim
        let stats = pool.stats();
        assert_eq!((freed + rest) as u64, stats.allocations * SIZE as u64, "{stats}");
        assert_books(&pool);
        (freed / SIZE, stats.reclaimed_hits)
    });
    // Reclaimed by the other thread and kept; reclaimed, returned and trimmed; trimmed instead.
    assert!(freed.is_superset(&[(0, 1), (1, 1), (1, 0)].into()), "{freed:?}");
}

/// Asserts that no counter went down.
#[track_caller]
fn assert_no_decrease(before: &BufferPoolStats, after: &BufferPoolStats) {
    let sums = |stats: &BufferPoolStats| {
        let hits = [stats.cache_hits, stats.shared_hits, stats.reclaimed_hits];
        [hits[0], hits[1], hits[2], stats.acquires, stats.allocations, stats.returns]
    };
    assert!(
        sums(before).iter().zip(sums(after)).all(|(before, after)| *before <= after),
        "{before}; {after}"
    );
}

#[test]
fn stats_while_caches_come_and_go() {
    let seen = outcomes("snapshot and update", Some(5), || {
        let pool = pool(1);
        let mut mine = Cache::new(&pool);
        let held = mine.acquire(SIZE);
        let theirs = pool.clone();
        let other = thread::spawn(move || {
            let mut cache = Cache::new(&theirs);
            let buffer = written(cache.acquire(SIZE), 1);
            cache.return_buffer(buffer);
            drop(cache); // its counters are added to the sums of dropped caches
        });
        let first = pool.stats();
        let second = pool.stats();
        assert!(first.acquires >= 1 && first.in_use >= 1, "its own count is included: {first}");
        assert_no_decrease(&first, &second);
        mine.return_buffer(held);
        drop(mine);
        let third = pool.stats();
        assert_no_decrease(&second, &third);
        assert!(third.returns >= 1, "its own count is included: {third}");
        other.join().unwrap();
        let last = pool.stats();
        assert_no_decrease(&third, &last);
        assert_eq!((last.acquires, last.returns), (2, 2), "{last}");
        assert_books(&pool);
        (first.acquires, second.acquires)
    });
    assert!(seen.iter().copied().eq([(1, 1), (1, 2), (2, 2)]), "{seen:?}");
}
