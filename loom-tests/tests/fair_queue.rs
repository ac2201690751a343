//! Models of the queue's fairness: the reserve, the bound of passing, and wakers that return memory themselves.
#![cfg(millpond_loom)]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use loom::future::block_on;
use loom::thread;
use loom_tests::model;
use millpond::{Acquire, BufferPool, BufferPoolConfig, PooledBuffer};

const SMALL: usize = 11;
const LARGE: usize = 16;
/// Three small buffers, or a large one and a small one. A small one fits the reserve.
const LIMIT: usize = 3 * SMALL;
/// Small buffers that may pass one large waiter.
const MAY_PASS: usize = 4 * LARGE / SMALL;

fn pool() -> BufferPool {
    let config = BufferPoolConfig::builder().classes([(SMALL, LIMIT / SMALL), (LARGE, 2)]);
    BufferPool::new(config.thread_cache_bytes(0).memory_limit(LIMIT).decay_interval(None).build().unwrap())
}

fn poll_with(future: &mut Acquire, waker: &Waker) -> Poll<PooledBuffer> {
    pin!(future).poll(&mut Context::from_waker(waker)).map(Result::unwrap)
}

fn waiter(pool: &BufferPool, size: usize, waker: &Waker) -> Acquire {
    let mut future = pool.acquire_async(size);
    assert!(poll_with(&mut future, waker).is_pending());
    future
}

/// Small buffers that take all memory, and a large waiter that as many have passed as may.
fn passed(pool: &BufferPool) -> (Vec<PooledBuffer>, Acquire) {
    let mut held: Vec<_> = (0..LIMIT / SMALL).map(|_| pool.try_acquire(SMALL).unwrap()).collect();
    let large = waiter(pool, LARGE, Waker::noop());
    for _ in 0..MAY_PASS {
        held.pop();
        held.push(pool.try_acquire(SMALL).unwrap());
    }
    (held, large)
}

/// Asserts that nothing is in use, that no task waits, and that live bytes never exceeded the limit.
#[track_caller]
fn assert_books(pool: &BufferPool) {
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.waiting), (0, 0), "{stats}");
    assert!(stats.high_water_bytes <= LIMIT as u64, "{stats}");
    pool.trim();
    assert_eq!(pool.stats().live_bytes, 0, "{stats}");
    let all = [LARGE, SMALL].map(|size| pool.try_acquire(size));
    assert!(all.iter().all(Result::is_ok), "all bytes were released");
}

#[test]
fn large_requests_on_two_threads_leave_the_reserve() {
    model("reserve", None, || {
        let pool = pool();
        let theirs = pool.clone();
        let other = thread::spawn(move || theirs.try_acquire(LARGE));
        let both = [pool.try_acquire(LARGE), other.join().unwrap()];
        assert!(both.iter().filter(|got| got.is_ok()).count() == 1, "exactly one of them");
        let small = pool.try_acquire(SMALL);
        assert!(small.is_ok(), "the reserve is free");
        drop((both, small));
        assert_books(&pool);
    });
}

#[test]
fn a_small_request_does_not_wait_for_a_large_waiter() {
    model("small passes", Some(3), || {
        let pool = pool();
        let held = pool.try_acquire(LARGE).unwrap();
        let theirs = pool.clone();
        let large = thread::spawn(move || drop(block_on(theirs.acquire_async(LARGE)).unwrap()));
        let _ = pool.stats(); // locks the queue, so that this thread sees a waiter that joined before
        let small = poll_with(&mut pool.acquire_async(SMALL), Waker::noop());
        assert!(small.is_ready());
        drop((held, small));
        large.join().unwrap();
        assert_books(&pool);
    });
}

#[test]
fn a_large_waiter_that_was_passed_enough_is_served_before_small_ones() {
    model("large is next", Some(1), || {
        let pool = pool();
        let (mut held, large) = passed(&pool);
        let (first, second) = (held.pop(), held.pop());
        let theirs = pool.clone();
        let small = thread::spawn(move || {
            drop(first);
            block_on(theirs.acquire_async(SMALL)).unwrap() // holds it to the end
        });
        drop(second);
        drop(block_on(large).unwrap());
        drop(small.join().unwrap());
        drop(held);
        assert_books(&pool);
    });
}

#[test]
fn a_small_waiter_is_served_when_the_large_one_leaves() {
    model("large leaves", Some(3), || {
        let pool = pool();
        let (mut held, large) = passed(&pool);
        held.pop(); // beyond the reserve, so it waits for the large one
        let theirs = pool.clone();
        let small = thread::spawn(move || drop(block_on(theirs.acquire_async(SMALL)).unwrap()));
        drop(large);
        small.join().unwrap();
        drop(held);
        assert_books(&pool);
    });
}

#[test]
fn a_waiter_that_is_polled_again_misses_no_return() {
    model("poll again", Some(3), || {
        let pool = pool();
        let held = pool.try_acquire(LARGE).unwrap();
        let waits = waiter(&pool, LARGE, Waker::noop());
        let again = thread::spawn(move || drop(block_on(waits).unwrap()));
        drop(held);
        again.join().unwrap();
        assert_books(&pool);
    });
}

/// Counts its wakes.
#[derive(Default)]
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn two_services_at_once_wake_both_waiters() {
    model("two services", Some(3), || {
        let pool = pool();
        let held = [pool.try_acquire(SMALL).unwrap(), pool.try_acquire(SMALL).unwrap()];
        let last = pool.try_acquire(SMALL).unwrap();
        let counts = [(); 2].map(|()| Arc::new(Counts::default()));
        let waiters = counts.each_ref().map(|count| waiter(&pool, SMALL, &Waker::from(Arc::clone(count))));
        let [first, second] = held;
        let returns = thread::spawn(move || drop(first));
        drop(second);
        returns.join().unwrap();
        assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [1, 1]);
        drop((waiters, last));
        assert_books(&pool);
    });
}

/// Returns a buffer when it is woken.
struct Returns(Mutex<Option<PooledBuffer>>);

impl Wake for Returns {
    fn wake(self: Arc<Self>) {
        let held = self.0.lock().unwrap().take();
        drop(held);
    }
}

#[test]
fn a_return_within_a_waker_reaches_the_next_waiter() {
    model("wakers that return", Some(2), || {
        let pool = pool();
        let mut held: Vec<_> = (0..LIMIT / SMALL).map(|_| pool.try_acquire(SMALL).unwrap()).collect();
        let first = held.pop();
        let waker = Waker::from(Arc::new(Returns(Mutex::new(held.pop()))));
        let nested = waiter(&pool, SMALL, &waker);
        let theirs = pool.clone();
        let last = thread::spawn(move || drop(block_on(theirs.acquire_async(SMALL)).unwrap()));
        drop(first); // its service wakes the first waiter, which returns the second buffer
        last.join().unwrap();
        drop((held, nested));
        assert_books(&pool);
    });
}
