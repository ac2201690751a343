//! Steady flows: free buffers are found, no matter what else is held for long, and nothing is allocated.

use super::*;

fn filled(pool: &BufferPool, len: usize) -> PooledBuffer {
    let mut buffer = pool.acquire(len);
    buffer.resize(len, 7);
    buffer
}

fn quiet(size: usize, capacity: usize, cache: usize) -> BufferPoolConfigBuilder {
    BufferPoolConfig::builder().class(size, capacity).thread_cache_bytes(cache).decay_interval(None)
}

/// As many as one acquire looks at.
#[test]
fn eight_long_lived_frozen_buffers_do_not_hide_the_rest_of_their_chain() {
    let pool = BufferPool::new(quiet(1024, 64, 64 * 1024).build().unwrap());
    let buffers: Vec<_> = (0..32).map(|_| filled(&pool, 1024)).collect();
    let mut frozen: Vec<Bytes> = buffers.into_iter().map(PooledBuffer::freeze).collect();
    pool.flush_thread_cache(); // as `flush_on_park` does at each sleep, and thread exit
    frozen.truncate(8);
    let held: Vec<_> = (0..24).map(|_| pool.acquire(1024)).collect();
    assert!(pool.stats().allocations < 40, "32 exist, 8 in use: {}", pool.stats());
    drop((held, frozen));
}

/// In steady state: a few long-lived buffers, and a worker that sleeps after each batch.
#[test]
fn a_few_long_lived_frozen_buffers_do_not_make_each_batch_allocate() {
    let pool = BufferPool::new(quiet(1024, 512, 256 * 1024).build().unwrap());
    let mut residents = Vec::new();
    for round in 0..40 {
        let buffers: Vec<_> = (0..32).map(|_| filled(&pool, 1024)).collect();
        let mut batch: Vec<Bytes> = buffers.into_iter().map(PooledBuffer::freeze).collect();
        pool.flush_thread_cache();
        if round < 16 {
            residents.extend(batch.drain(..8));
        }
        drop(batch);
    }
    // 128 long-lived, and 32 in flight.
    let stats = pool.stats();
    assert!(stats.allocations <= 2 * 160, "{} allocations: {stats}", stats.allocations);
}

/// In the queue of a thread, as the shared queue has no place for them.
#[test]
fn nine_long_lived_frozen_buffers_do_not_hide_the_later_ones() {
    let pool = BufferPool::new(quiet(1024, 4, 64 * 1024).build().unwrap());
    let mut residents: Vec<Bytes> = Vec::new();
    for _ in 0..14 {
        residents.push(filled(&pool, 1024).freeze());
    }
    for _ in 0..1000 {
        drop(filled(&pool, 1024).freeze());
    }
    for _ in 0..1000 {
        let bytes = filled(&pool, 1024).freeze();
        assert_eq!(pool.stats().in_use, 0, "followed, without a malloc");
        drop(bytes);
    }
    assert!(pool.stats().live_bytes < 20 * 1024, "15 are needed: {}", pool.stats());
}

#[test]
fn a_flush_that_leaves_frozen_buffers_does_not_turn_the_cache_off() {
    let pool = BufferPool::new(quiet(1024, 4, 64 * 1024).build().unwrap());
    let buffers: Vec<_> = (0..6).map(|_| filled(&pool, 1024)).collect();
    let frozen: Vec<Bytes> = buffers.into_iter().map(PooledBuffer::freeze).collect();
    pool.flush_thread_cache(); // 4 go to the queue, 2 stay
    drop(frozen);
    drop([pool.acquire(1024), pool.acquire(1024), pool.acquire(1024)]);
    let before = pool.stats().cache_hits;
    (0..1000).for_each(|_| drop(pool.acquire(1024)));
    let hits = pool.stats().cache_hits - before;
    assert!(hits >= 990, "{hits} of 1000 from the thread's own cache: {}", pool.stats());
}

/// Its first lease was too small for one buffer, as other threads held the rest.
#[test]
fn a_thread_that_started_without_a_lease_gets_a_cache_after_others_exit() {
    let config = quiet(1024, 64, 1 << 20).memory_limit(64 * 1024);
    let pool = BufferPool::new(config.build().unwrap());
    let (go, wait): (Vec<_>, Vec<_>) = (0..6).map(|_| mpsc::channel::<()>()).unzip();
    let (ready, readies) = mpsc::channel::<()>();
    let others: Vec<_> = wait
        .into_iter()
        .map(|wait| {
            let theirs = pool.clone();
            let ready = ready.clone();
            let other = thread::spawn(move || {
                drop(theirs.acquire(1024));
                ready.send(()).unwrap();
                let _ = wait.recv();
            });
            readies.recv().unwrap();
            other
        })
        .collect();
    drop(pool.acquire(1024)); // a lease of 512 bytes, in halves
    drop(go);
    others.into_iter().for_each(|other| other.join().unwrap());
    let before = pool.stats().cache_hits;
    (0..10_000).for_each(|_| drop(pool.acquire(1024)));
    let hits = pool.stats().cache_hits - before;
    assert!(hits >= 9000, "{hits} of 10000 from the thread's own cache: {}", pool.stats());
}

#[test]
fn eight_long_lived_buffers_in_the_overflow_do_not_hide_the_others() {
    let pool = BufferPool::new(quiet(1024, 4, 64 * 1024).build().unwrap());
    let theirs = pool.clone();
    let mut frozen: VecDeque<Bytes> = thread::spawn(move || {
        let buffers: Vec<_> = (0..64).map(|_| filled(&theirs, 1024)).collect();
        buffers.into_iter().map(PooledBuffer::freeze).collect()
    })
    .join()
    .unwrap();
    assert_eq!(pool.stats().frozen, 64);
    // The first four fill the queue, the last eight are the newest in the overflow.
    let residents: Vec<Bytes> = frozen.drain(..4).collect();
    let last = frozen.split_off(frozen.len() - 8);
    drop(frozen); // 52 are free now
    for _ in 0..200 {
        drop((0..20).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    }
    let stats = pool.stats();
    assert!(stats.frozen < 20, "52 free, 12 in use; {stats}");
    drop((residents, last));
}

/// As with several consumers.
#[test]
fn bytes_dropped_in_no_order_cost_at_most_twice_the_storage_in_use() {
    for (window, capacity) in [(20, 64), (60, 64), (100, 512)] {
        let pool = BufferPool::new(quiet(1024, capacity, 256 * 1024).build().unwrap());
        let mut held: Vec<Bytes> = (0..window).map(|_| filled(&pool, 1024).freeze()).collect();
        let mut seed = 1_u64;
        for _ in 0..40_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            held[(seed >> 33) as usize % window] = filled(&pool, 1024).freeze();
        }
        let live = pool.stats().live_bytes as usize / 1024;
        assert!(live <= 2 * window + 32, "{live} for {window}: {}", pool.stats());
    }
}

#[test]
fn a_class_above_the_cache_leaves_the_others_their_cache() {
    let config = BufferPoolConfig::builder().classes([(1024, 512), (1 << 20, 4)]).decay_interval(None);
    let pool = BufferPool::new(config.build().unwrap());
    drop((0..100).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    let before = pool.stats().classes[0].clone();
    for _ in 0..1000 {
        drop(pool.acquire(1 << 20));
        drop(pool.acquire(1024));
    }
    let after = pool.stats().classes[0].clone();
    let hits = after.cache_hits - before.cache_hits;
    assert!(hits >= 990, "{hits} of 1000 from the thread's own cache\n{after:?}");
}

/// Four of 64 KiB use up what one thread may follow.
#[test]
fn long_lived_frozen_buffers_of_one_class_leave_other_classes_a_lease() {
    let config = BufferPoolConfig::builder().classes([(1024, 4), (65_536, 64)]).decay_interval(None);
    let pool = BufferPool::new(config.build().unwrap());
    let residents: Vec<_> = (0..4).map(|_| filled(&pool, 65_536).freeze()).collect();
    let mut flight = VecDeque::new();
    let mut tracked = 0;
    for _ in 0..1000 {
        let before = pool.stats().in_use;
        flight.push_back(filled(&pool, 1024).freeze());
        tracked += usize::from(pool.stats().in_use > before);
        if flight.len() == 16 {
            flight.pop_front();
        }
    }
    assert_eq!(tracked, 0, "freezes that took a malloc, though 60 places of the large class are free");
    drop(residents);
}

/// Under a memory limit they enter the shared queue one at a time.
#[test]
fn long_lived_buffers_of_a_limited_pool_cost_only_their_own_storage() {
    let live = |limit| {
        let pool = BufferPool::new(quiet(1024, 512, 256 * 1024).memory_limit(limit).build().unwrap());
        let residents: Vec<_> = (0..40).map(|_| filled(&pool, 1024).freeze()).collect();
        (0..10_000).for_each(|_| drop(filled(&pool, 1024).freeze()));
        drop(residents);
        pool.stats().live_bytes / 1024
    };
    let (free, limited) = (live(usize::MAX), live(8 << 20));
    assert!(free <= 80 && limited <= 80, "41 in use; {free} live without a limit, {limited} with one");
}

/// Three pairs of threads, at most 18 buffers in flight, a class that keeps 64. When consumers spill, they neither empty
/// nor overflow the shared queue.
#[test]
fn a_steady_flow_between_threads_allocates_nothing() {
    let pool =
        BufferPool::new(BufferPoolConfig::messages().to_builder().decay_interval(None).build().unwrap());
    let rounds = 40_000;
    let warm = std::sync::atomic::AtomicU64::new(0);
    let half = std::sync::Barrier::new(3);
    let (warm, half) = (Arc::new(warm), Arc::new(half));
    let pairs: Vec<_> = (0..3)
        .map(|_| {
            let (send, receive) = mpsc::sync_channel::<PooledBytes>(4);
            let (pool, warm, half) = (pool.clone(), Arc::clone(&warm), Arc::clone(&half));
            let producer = thread::spawn(move || {
                for round in 0..rounds {
                    if round == rounds / 2 && half.wait().is_leader() {
                        warm.store(pool.stats().allocations, std::sync::atomic::Ordering::SeqCst);
                    }
                    send.send(filled(&pool, 1024).into_shared()).unwrap();
                }
            });
            (producer, thread::spawn(move || receive.into_iter().for_each(drop)))
        })
        .collect();
    for (producer, consumer) in pairs {
        producer.join().unwrap();
        consumer.join().unwrap();
    }
    let new = pool.stats().allocations - warm.load(std::sync::atomic::Ordering::SeqCst);
    assert!(new < 30, "{new} new storages in the last {} operations", 3 * rounds / 2);
}

/// Memory that nobody uses, ready, or frozen and not yet found free, in the queues and in one thread's cache.
#[test]
fn memory_that_nobody_uses_is_bounded_as_documented() {
    let pool = BufferPool::new(quiet(1024, 64, 64 * 1024).build().unwrap());
    let mut buffers: Vec<_> = (0..300).map(|_| filled(&pool, 1024)).collect();
    let frozen: Vec<Bytes> = buffers.drain(..140).map(PooledBuffer::freeze).collect();
    drop((frozen, buffers));
    let live = pool.stats().live_bytes;
    assert!(live <= 2 * (64 + 64) * 1024, "{live} bytes, and nothing is handed out: {}", pool.stats());
    pool.trim();
    assert_eq!(pool.stats().live_bytes, 0);
}

/// Taken places of the shared queues: one per slot in them, so none after a trim.
fn places(pool: &BufferPool) -> usize {
    pool.core.classes().iter().map(|class| class.ready_len() + class.frozen.len()).sum()
}

#[test]
fn no_place_of_a_shared_queue_is_lost() {
    let pool = BufferPool::new(quiet(1024, 64, 8 * 1024).build().unwrap());
    let mut flight = VecDeque::new();
    for round in 0..2000 {
        flight.push_back(filled(&pool, 1024).freeze());
        if round % 7 == 0 {
            drop((0..20).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
        }
        if flight.len() > 50 {
            flight.pop_front();
        }
    }
    drop(flight);
    assert!(places(&pool) > 0);
    pool.trim();
    assert_eq!((places(&pool), pool.stats().live_bytes), (0, 0));
}

#[test]
fn no_lease_is_lost_to_a_step_of_decay() {
    let pool = BufferPool::new(quiet(64, 1, 256).build().unwrap());
    for _ in 0..100 {
        let held = pool.acquire(64);
        drop(filled(&pool, 64).freeze());
        pool.decay();
        drop(held); // notices the step, and finds the frozen ones free
    }
    let followed: Vec<_> = (0..4).map(|_| filled(&pool, 64).freeze()).collect();
    assert_eq!(pool.stats().in_use, 0, "{}", pool.stats());
    drop(followed);
}
