//! Models of every kind of return. See `README.md` for how to run them and what they cover.
//!
//! At the end of each model no buffer is in use, and all live bytes are idle. Loom fails an execution in which the `Arc`
//! of a pool is leaked.
#![cfg(millpond_loom)]

use std::sync::Arc;

use loom::sync::mpsc;
use loom::thread;
use loom_tests::{SIZE, assert_books, model, pool, written};
use millpond::model::Cache;
use millpond::{PooledBuffer, PooledBytes};

#[test]
fn dropped_on_the_thread_that_acquired() {
    model("owner", None, || {
        let pool = pool(1);
        let theirs = pool.clone();
        let other = thread::spawn(move || {
            let mut cache = Cache::new(&theirs);
            for byte in 0..2 {
                let buffer = written(cache.acquire(SIZE), byte);
                cache.return_buffer(buffer);
            }
            drop(cache);
        });
        let mut cache = Cache::new(&pool);
        let buffer = written(cache.acquire(SIZE), 7);
        cache.return_buffer(buffer);
        drop(cache);
        other.join().unwrap();
        assert_eq!(pool.stats().acquires, 3);
        assert_books(&pool);
    });
}

#[test]
fn dropped_on_another_thread_while_the_first_acquires() {
    model("other", None, || {
        let pool = pool(2);
        let (send, receive) = mpsc::channel::<PooledBuffer>();
        let theirs = pool.clone();
        let other = thread::spawn(move || {
            let mut cache = Cache::new(&theirs);
            let buffer = receive.recv().unwrap();
            assert_eq!(&buffer[..], [1; SIZE]);
            cache.return_buffer(buffer);
            drop(cache);
        });
        let mut cache = Cache::new(&pool);
        let sent = written(cache.acquire(SIZE), 1);
        send.send(sent).unwrap();
        let second = written(cache.acquire(SIZE), 2);
        assert_eq!(&second[..], [2; SIZE]);
        cache.return_buffer(second);
        drop(cache);
        other.join().unwrap();
        assert_books(&pool);
    });
}

#[test]
fn returned_at_thread_exit_while_another_acquires() {
    model("exit", Some(4), || {
        let pool = pool(2);
        drop(pool.acquire(SIZE));
        pool.flush_thread_cache();
        let theirs = pool.clone();
        let exiting = thread::spawn(move || {
            let mut cache = Cache::new(&theirs);
            let buffer = written(cache.acquire(SIZE), 2);
            cache.return_buffer(buffer);
            let leaves = cache.acquire(SIZE);
            drop(cache); // the last step of a thread
            leaves
        });
        let mut cache = Cache::new(&pool);
        let buffer = written(cache.acquire(SIZE), 3);
        cache.return_buffer(buffer);
        drop(cache);
        drop(exiting.join().unwrap());
        pool.flush_thread_cache();
        let stats = pool.stats();
        assert_eq!(stats.idle, stats.allocations, "returned, not freed: {stats}");
        assert_books(&pool);
    });
}

#[test]
fn dropped_while_the_last_pool_handle_goes() {
    model("close", Some(4), || {
        let pool = pool(2);
        let mut cache = Cache::new(&pool);
        let held = written(cache.acquire(SIZE), 4);
        let idle = cache.acquire(SIZE);
        cache.return_buffer(idle);
        let closing = thread::spawn(move || drop(pool));
        cache.return_buffer(held);
        drop(cache); // the flush races with the sweep: a slot left in a queue is a cycle, which loom reports
        closing.join().unwrap();
    });
}

#[test]
fn dropped_after_the_last_pool_handle_is_gone() {
    model("after", None, || {
        let pool = pool(1);
        let buffer = written(pool.acquire(SIZE), 5);
        let shared = written(pool.acquire(SIZE), 6).into_shared();
        let clone = shared.clone();
        drop(pool);
        let other = thread::spawn(move || {
            assert_eq!(&clone[..], [6; SIZE]);
            drop(clone);
        });
        assert_eq!(&buffer[..], [5; SIZE]);
        drop(buffer);
        drop(shared);
        other.join().unwrap();
    });
}

#[test]
fn the_last_two_shared_handles_drop_at_once() {
    model("shared", Some(4), || {
        let pool = pool(1);
        let shared = written(pool.acquire(SIZE), 7).into_shared();
        let clone = shared.clone();
        let other = thread::spawn(move || {
            assert_eq!(&clone[..], [7; SIZE]);
            drop(clone);
        });
        assert_eq!(&shared[..], [7; SIZE]);
        drop(shared);
        other.join().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.returns), (0, 1), "{stats}");
    });
}

#[test]
fn shared_by_two_threads_at_once() {
    model("clone", None, || {
        let pool = pool(1);
        // std's `Arc`, as loom's would be one more thing to explore. It only shares the reference.
        let shared = Arc::new(written(pool.acquire(SIZE), 8).into_shared());
        let theirs = Arc::clone(&shared);
        let other = thread::spawn(move || drop(PooledBytes::clone(&theirs)));
        drop(PooledBytes::clone(&shared));
        other.join().unwrap();
        drop(shared);
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.returns), (0, 1), "{stats}");
    });
}

#[test]
fn trimmed_while_another_thread_returns() {
    model("trim", Some(4), || {
        let pool = pool(2);
        drop(pool.acquire(SIZE));
        pool.flush_thread_cache();
        let theirs = pool.clone();
        let other = thread::spawn(move || {
            let mut cache = Cache::new(&theirs);
            let (first, second) = (cache.acquire(SIZE), cache.acquire(SIZE));
            cache.return_buffer(first);
            cache.return_buffer(second);
            drop(cache);
        });
        pool.trim();
        other.join().unwrap();
        assert_books(&pool);
    });
}
