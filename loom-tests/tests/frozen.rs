//! Models of frozen storage and its reclaim. The copy of `bytes` has a race probe per storage: loom fails an execution in
//! which a read of an earlier owner does not happen before a write.
#![cfg(millpond_loom)]

use bytes::Bytes;
use loom::thread;
use loom_tests::{SIZE, assert_books, model, outcomes, pool, written};
use millpond::BufferPool;
use millpond::model::Cache;

/// The number of allocations: one, if the frozen storage was reclaimed.
fn made(pool: &BufferPool) -> u64 {
    pool.stats().allocations
}

fn read(bytes: Bytes, byte: u8) {
    assert_eq!(&bytes[..], [byte; SIZE]);
}

#[test]
fn last_bytes_dropped_while_the_owner_acquires() {
    let made = outcomes("frozen", None, || {
        let pool = pool(1);
        let mut cache = Cache::new(&pool);
        let buffer = written(cache.acquire(SIZE), 1);
        let bytes = cache.freeze(buffer);
        let reader = thread::spawn(move || read(bytes, 1));
        let second = written(cache.acquire(SIZE), 2); // in the same storage if the reader has dropped it
        assert_eq!(&second[..], [2; SIZE]);
        cache.return_buffer(second);
        reader.join().unwrap();
        drop(cache);
        let made = made(&pool);
        assert_books(&pool);
        made
    });
    assert!(made.iter().copied().eq(1..=2), "{made:?}");
}

#[test]
fn two_clones_dropped_while_the_owner_acquires() {
    let made = outcomes("clones", None, || {
        let pool = pool(1);
        let mut cache = Cache::new(&pool);
        let buffer = written(cache.acquire(SIZE), 1);
        let bytes = cache.freeze(buffer);
        let readers = [bytes.clone(), bytes].map(|bytes| thread::spawn(move || read(bytes, 1)));
        let second = written(cache.acquire(SIZE), 2);
        cache.return_buffer(second);
        for reader in readers {
            reader.join().unwrap();
        }
        drop(cache);
        let made = made(&pool);
        assert_books(&pool);
        made
    });
    assert!(made.iter().copied().eq(1..=2), "{made:?}");
}

#[test]
fn cloned_elsewhere_while_the_owner_acquires() {
    let made = outcomes("cloning", None, || {
        let pool = pool(1);
        let mut cache = Cache::new(&pool);
        let buffer = written(cache.acquire(SIZE), 1);
        let bytes = cache.freeze(buffer);
        let reader = thread::spawn(move || {
            let part = bytes.slice(1..);
            drop(bytes);
            assert_eq!(&part[..], [1; SIZE - 1]);
        });
        let second = written(cache.acquire(SIZE), 2);
        cache.return_buffer(second);
        reader.join().unwrap();
        drop(cache);
        let made = made(&pool);
        assert_books(&pool);
        made
    });
    assert!(made.iter().copied().eq(1..=2), "{made:?}");
}

#[test]
fn dropped_while_another_thread_finds_it_in_the_shared_queue() {
    let made = outcomes("shared queue", None, || {
        let pool = pool(1);
        let mut cache = Cache::new(&pool);
        let buffer = written(cache.acquire(SIZE), 1);
        let bytes = cache.freeze(buffer);
        let theirs = pool.clone();
        let finder = thread::spawn(move || {
            let mut cache = Cache::new(&theirs);
            let second = written(cache.acquire(SIZE), 2);
            cache.return_buffer(second);
            drop(cache);
        });
        drop(cache); // the thread exits, and its frozen slots move to the shared queue
        read(bytes, 1);
        finder.join().unwrap();
        pool.trim(); // storage that a reader still showed when the finder looked
        let made = made(&pool);
        assert_books(&pool);
        made
    });
    assert!(made.iter().copied().eq(1..=2), "{made:?}");
}

#[test]
fn found_while_another_thread_flushes_more_than_the_queue_holds() {
    model("flush and find", Some(3), || {
        let pool = pool(1);
        let (mut leaves, mut gone) = (Cache::new(&pool), Cache::new(&pool));
        let [kept, free] = [&mut leaves, &mut gone].map(|cache| written(cache.acquire(SIZE), 1));
        let (bytes, seen) = (leaves.freeze(kept), gone.freeze(free));
        drop(gone);
        drop(seen); // now the queue is full, of one that is free
        let exits = thread::spawn(move || drop(leaves)); // to the place of that one, or to the overflow
        let mut cache = Cache::new(&pool);
        let third = written(cache.acquire(SIZE), 3);
        cache.return_buffer(third);
        drop(cache);
        exits.join().unwrap();
        assert_eq!((made(&pool), pool.stats().frozen), (2, 1));
        read(bytes, 1);
        pool.trim();
        assert_books(&pool);
    });
}

#[test]
fn the_last_two_shared_handles_drop_and_acquire() {
    let made = outcomes("last two", Some(4), || {
        let pool = pool(1);
        let shared = written(pool.acquire(SIZE), 3).into_shared();
        let clone = shared.clone();
        let theirs = pool.clone();
        let other = thread::spawn(move || {
            assert_eq!(&clone[..], [3; SIZE]);
            drop(clone);
            drop(written(theirs.acquire(SIZE), 4)); // the same storage, if this was the last handle
        });
        assert_eq!(&shared[..], [3; SIZE]);
        drop(shared);
        drop(written(pool.acquire(SIZE), 5));
        other.join().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.returns), (0, 3), "{stats}");
        made(&pool)
    });
    assert!(made.iter().copied().eq([2]), "it is returned once, to one of the two: {made:?}");
}

#[test]
fn shared_made_plain_and_dropped_elsewhere() {
    let made = outcomes("plain", None, || {
        let pool = pool(1);
        let shared = written(pool.acquire(SIZE), 6).into_shared();
        let bytes = Bytes::from(shared.clone());
        let theirs = pool.clone();
        let reader = thread::spawn(move || {
            read(bytes, 6);
            theirs.flush_thread_cache();
        });
        drop(shared); // returned at once if the reader has dropped its handle
        drop(written(pool.acquire(SIZE), 7));
        reader.join().unwrap();
        pool.trim();
        let made = made(&pool);
        assert_books(&pool);
        made
    });
    assert!(made.iter().copied().eq(1..=2), "{made:?}");
}

#[test]
fn two_clones_of_tracked_bytes_dropped_while_another_is_acquired() {
    let made = outcomes("tracked", Some(4), || {
        let pool = pool(1);
        let bytes = written(pool.acquire(SIZE), 1).freeze_tracked();
        let clone = bytes.clone();
        let theirs = pool.clone();
        let reader = thread::spawn(move || {
            read(clone, 1);
            theirs.flush_thread_cache(); // if its drop was the last
        });
        read(bytes, 1);
        let mut cache = Cache::new(&pool);
        pool.flush_thread_cache();
        let second = written(cache.acquire(SIZE), 2);
        cache.return_buffer(second);
        drop(cache);
        reader.join().unwrap();
        let made = made(&pool);
        assert_books(&pool);
        made
    });
    assert!(made.iter().copied().eq(1..=2), "{made:?}");
}

#[test]
fn read_while_the_pool_closes() {
    model("frozen close", Some(3), || {
        let pool = pool(1);
        let mut cache = Cache::new(&pool);
        let buffer = written(cache.acquire(SIZE), 8);
        let bytes = cache.freeze(buffer);
        let closing = thread::spawn(move || drop(pool));
        drop(cache); // its frozen slots move to the queue that the close sweeps
        read(bytes, 8);
        closing.join().unwrap();
    });
}
