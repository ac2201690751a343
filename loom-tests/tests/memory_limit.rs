//! Models of the memory limit and its waiters. A missed wake-up is a deadlock, which loom reports.
#![cfg(millpond_loom)]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::thread;
use loom_tests::model;
use millpond::model::Cache;
use millpond::{Acquire, BufferPool, BufferPoolConfig, PooledBuffer};

const SMALL: usize = 8;
const LARGE: usize = 16;

/// Two classes, no thread caches, `limit` bytes.
fn pool(limit: usize) -> BufferPool {
    let config = BufferPoolConfig::builder().classes([(SMALL, 2), (LARGE, 2)]).thread_cache_bytes(0);
    BufferPool::new(config.memory_limit(limit).decay_interval(None).build().unwrap())
}

fn poll_once(future: &mut Acquire) -> Poll<PooledBuffer> {
    let mut future = pin!(future);
    future.as_mut().poll(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
}

/// Asserts that no buffer is in use, that no task waits, and that live bytes never exceeded the limit.
#[track_caller]
fn assert_books(pool: &BufferPool, limit: usize) {
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.waiting), (0, 0), "{stats}");
    assert_eq!(stats.acquires, stats.returns, "{stats}");
    assert!(stats.high_water_bytes <= limit as u64, "{stats}");
    pool.trim();
    assert_eq!(pool.stats().live_bytes, 0, "{stats}");
    assert!(pool.try_acquire(limit).is_ok(), "all bytes were released");
}

#[test]
fn a_return_reaches_a_new_waiter() {
    model("return and wait", Some(3), || {
        let pool = pool(LARGE);
        let held = pool.acquire(LARGE);
        let theirs = pool.clone();
        let waiter = thread::spawn(move || drop(block_on(theirs.acquire_async(LARGE)).unwrap()));
        drop(held);
        waiter.join().unwrap();
        assert_books(&pool, LARGE);
    });
}

#[test]
fn freed_memory_reaches_a_new_waiter() {
    model("trim and wait", Some(2), || {
        let pool = pool(LARGE);
        drop([pool.acquire(SMALL), pool.acquire(SMALL)]); // idle, of the other class
        let theirs = pool.clone();
        let waiter = thread::spawn(move || drop(block_on(theirs.acquire_async(LARGE)).unwrap()));
        pool.trim();
        waiter.join().unwrap();
        assert_books(&pool, LARGE);
    });
}

#[test]
fn a_buffer_granted_to_a_cancelled_waiter_goes_to_the_next() {
    model("cancel and wait", Some(2), || {
        let pool = pool(LARGE);
        let held = pool.acquire(LARGE);
        let mut leaves = pool.acquire_async(LARGE);
        assert!(poll_once(&mut leaves).is_pending());
        let theirs = pool.clone();
        let waiter = thread::spawn(move || drop(block_on(theirs.acquire_async(LARGE)).unwrap()));
        let returns = thread::spawn(move || drop(held));
        drop(leaves);
        waiter.join().unwrap();
        returns.join().unwrap();
        assert_books(&pool, LARGE);
    });
}

#[test]
fn room_granted_to_a_cancelled_waiter_reaches_a_new_one() {
    // No queue is accessed between the release and the load of the state: only the fences order the two.
    model("room and wait", Some(4), || {
        let pool = pool(LARGE);
        let held = [pool.acquire(SMALL), pool.acquire(SMALL)];
        let mut leaves = pool.acquire_async(LARGE);
        assert!(poll_once(&mut leaves).is_pending());
        drop(held); // both are freed for it
        assert_eq!((pool.stats().waiting, pool.stats().idle), (0, 0));
        let theirs = pool.clone();
        let waiter = thread::spawn(move || drop(block_on(theirs.acquire_async(LARGE)).unwrap()));
        drop(leaves);
        waiter.join().unwrap();
        assert_books(&pool, LARGE);
    });
}

#[test]
fn two_waiters_are_both_served() {
    model("two waiters", Some(2), || {
        let pool = pool(LARGE);
        let held = pool.acquire(LARGE);
        let theirs = pool.clone();
        let waiter = thread::spawn(move || drop(block_on(theirs.acquire_async(SMALL)).unwrap()));
        let mut mine = pool.acquire_async(LARGE);
        let at_once = poll_once(&mut mine);
        drop(held);
        if at_once.is_pending() {
            drop(block_on(mine).unwrap());
        }
        drop(at_once);
        waiter.join().unwrap();
        assert_books(&pool, LARGE);
    });
}

#[test]
fn two_threads_never_share_the_last_bytes() {
    model("limit", None, || {
        let pool = pool(LARGE);
        let theirs = pool.clone();
        let other = thread::spawn(move || theirs.try_acquire(SMALL + 1));
        let mine = pool.try_acquire(SMALL + 1);
        let both = [mine, other.join().unwrap()];
        assert!(both.iter().filter(|got| got.is_ok()).count() == 1, "exactly one of them");
        drop(both);
        assert_books(&pool, LARGE);
    });
}

#[test]
fn a_step_of_decay_during_an_acquire_and_a_return() {
    model("decay", Some(3), || {
        let pool = pool(LARGE);
        drop(pool.acquire(SMALL));
        pool.decay();
        let theirs = pool.clone();
        let other = thread::spawn(move || drop(theirs.acquire(SMALL)));
        pool.decay();
        assert!(pool.stats().live_bytes <= LARGE as u64);
        other.join().unwrap();
        assert_books(&pool, LARGE);
    });
}

#[test]
fn a_waiter_keeps_the_pool_open() {
    model("close and wait", Some(3), || {
        let pool = pool(LARGE);
        let held = pool.acquire(LARGE);
        let waiting = pool.acquire_async(LARGE);
        let returns = thread::spawn(move || {
            drop(pool);
            drop(held);
        });
        drop(block_on(waiting).unwrap());
        returns.join().unwrap();
    });
}

#[test]
fn what_a_noticed_step_pushes_reaches_a_new_waiter() {
    model("step and wait", Some(1), || {
        // A cache keeps a sixteenth of the limit.
        let config = BufferPoolConfig::builder().class(SMALL, 16).memory_limit(16 * SMALL);
        let pool = BufferPool::new(config.decay_interval(None).build().unwrap());
        let mut cache = Cache::new(&pool);
        let (first, second) = (cache.acquire(SMALL), cache.acquire(SMALL));
        cache.return_buffer(first); // it keeps one
        let held: Vec<_> = (0..14).map(|_| pool.try_acquire(SMALL).unwrap()).collect();
        pool.decay();
        let theirs = pool.clone();
        let waiter = thread::spawn(move || drop(block_on(theirs.acquire_async(SMALL)).unwrap()));
        cache.return_buffer(second); // notices the step, pushes the first and keeps this one
        waiter.join().unwrap();
        drop((held, cache));
    });
}
