//! Regressions: cases in which an earlier version lost, leaked or grew something. Each doc comment names the defect.

use std::future::Future;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::*;

fn limited(classes: &[(usize, usize)], limit: usize, cache: usize) -> BufferPool {
    let builder = BufferPoolConfig::builder().classes(classes.iter().copied());
    BufferPool::new(builder.thread_cache_bytes(cache).memory_limit(limit).build().unwrap())
}

fn poll_once(future: &mut Acquire) -> Poll<Result<PooledBuffer, AcquireError>> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn filled(pool: &BufferPool, len: usize) -> PooledBuffer {
    let mut buffer = pool.acquire(len);
    buffer.resize(len, 7);
    buffer
}

/// `BytesMut::chunk_mut` reserves 64 more bytes when it is full: storage of a class of 1 KiB grew to 256 KiB.
#[test]
fn a_chunk_of_a_full_buffer_never_grows_storage_of_a_class() {
    let pool = limited(&[(1024, 4)], 1024, 4096);
    let mut buffer = filled(&pool, 1024);
    let address = buffer.as_ptr();
    assert_eq!(buffer.chunk_mut().len(), 1024);
    assert!(!pool.owns(&buffer), "moved to the heap, as no class is larger");
    let again = pool.try_acquire(1024).unwrap();
    assert_eq!((again.as_ptr(), again.capacity()), (address, 1024), "{}", pool.stats());
}

/// The pool reclaimed a frozen buffer that a view still showed, as the tail alone was as large as the class. It was another
/// part of the same allocation, of 2 KiB that counted as 1 KiB.
#[test]
fn a_grown_storage_is_not_found_free_while_its_view_is_out() {
    let pool = pool(&[(1024, 4)], 1 << 20);
    let mut buffer = filled(&pool, 1024);
    let _ = buffer.chunk_mut().len();
    let bytes = buffer.freeze();
    let again = pool.acquire(1024);
    assert_eq!(pool.stats().allocations, 2, "{}", pool.stats());
    drop((bytes, again));
}

/// The queue of a class was full of frozen buffers, so a flush moved its own to the overflow, where no acquire looked.
#[test]
fn flushed_frozen_buffers_are_bounded_and_found_free() {
    let config = BufferPoolConfig::builder().class(1024, 4).thread_cache_bytes(64 * 1024);
    let pool = BufferPool::new(config.decay_interval(None).build().unwrap());
    for _ in 0..50 {
        let frozen: Vec<Bytes> = (0..32).map(|_| filled(&pool, 1024).freeze()).collect();
        pool.flush_thread_cache(); // what `flush_on_park` does at each sleep of a worker
        drop(frozen);
    }
    // Never more than 32 in use at once.
    assert!(pool.stats().live_bytes <= 3 * 32 * 1024, "{}", pool.stats());
}

#[test]
fn the_bound_on_frozen_buffers_of_a_thread_holds_across_flushes() {
    let pool = pool(&[(1024, 4)], 8 * 1024);
    let mut kept: Vec<Bytes> = Vec::new();
    for _ in 0..50 {
        kept.extend((0..8).map(|_| filled(&pool, 1024).freeze()));
        pool.flush_thread_cache();
    }
    // As documented: each thread follows `thread_cache_bytes`, and each class its capacity.
    assert!(pool.stats().frozen <= 8 + 4, "{}", pool.stats());
}

/// `notice_step` spilled half of the ready stack, and never looked at the frozen queue.
#[test]
fn decay_reaches_the_frozen_buffers_that_a_thread_keeps() {
    let pool = pool(&[(1024, 64)], 64 * 1024);
    drop((0..64).map(|_| filled(&pool, 1024).freeze()).collect::<Vec<_>>());
    for _ in 0..20 {
        pool.decay();
        drop(pool.acquire(1024)); // this thread continues to use the pool
    }
    assert!(pool.stats().live_bytes <= 4 * 1024, "{}", pool.stats());
}

/// Only slow operations looked at the clock. A thread that always hits its cache makes none.
#[test]
fn a_pool_that_is_used_by_the_fast_path_only_decays() {
    let config = BufferPoolConfig::builder().class(1024, 4096).thread_cache_bytes(64 * 1024);
    let pool = BufferPool::new(config.decay_interval(Some(Duration::from_millis(2))).build().unwrap());
    drop((0..4096).map(|_| pool.acquire(1024)).collect::<Vec<_>>());
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(300) {
        drop(pool.acquire(1024)); // 150 intervals
    }
    assert!(pool.stats().live_bytes <= 1024 * 1024, "{}", pool.stats());
}

/// The first thread leased twice `thread_cache_bytes`, all there was, and kept the lease while it slept.
#[test]
fn a_thread_that_sleeps_leaves_others_their_caches() {
    let pool =
        BufferPool::new(BufferPoolConfig::messages().to_builder().memory_limit(1 << 20).build().unwrap());
    drop(pool.acquire(100)); // 128 bytes, of a lease of 512 KiB
    let theirs = pool.clone();
    let kept = thread::spawn(move || {
        let before = theirs.stats();
        for _ in 0..1000 {
            drop(theirs.acquire(100));
        }
        theirs.stats().cache_hits - before.cache_hits
    });
    assert!(kept.join().unwrap() > 900, "the other thread has no cache: {}", pool.stats());
}

/// The next class fits, but is less than twice as large, so the heap served.
#[test]
fn a_buffer_grows_into_the_next_class_before_the_heap() {
    let pool = BufferPool::new(BufferPoolConfig::powers_of_two_and(16, 64..=1024).unwrap());
    let mut buffer = filled(&pool, 528);
    buffer.extend_from_slice(b"x");
    assert_eq!((buffer.capacity(), pool.stats().heap_fallbacks), (1040, 0), "{}", pool.stats());
}

/// The closed cache moved from `current` to `others`, which was searched only before that.
#[test]
fn a_thread_that_uses_another_pool_drops_its_cache_of_a_closed_one() {
    let closed = pool(&[(1024, 64)], 64 * 1024);
    let core = Arc::downgrade(&closed.core);
    let other = pool(&[(1024, 64)], 64 * 1024);
    let theirs = closed.clone();
    let (used, is_used) = channel::<()>();
    let (close, is_closed) = channel::<()>();
    let (turned, has_turned) = channel::<()>();
    let (end, ends) = channel::<()>();
    let worker = thread::spawn(move || {
        drop((0..32).map(|_| theirs.acquire(1024)).collect::<Vec<_>>());
        drop(theirs);
        used.send(()).unwrap();
        is_closed.recv().unwrap();
        for _ in 0..1000 {
            drop([other.acquire(1024), other.acquire(1024)]);
        }
        turned.send(()).unwrap();
        let _ = ends.recv();
    });
    is_used.recv().unwrap();
    drop(closed);
    close.send(()).unwrap();
    has_turned.recv().unwrap();
    let left = core.strong_count();
    drop(end);
    worker.join().unwrap();
    assert_eq!(left, 0, "32 KiB of a closed pool stay until the thread exits");
}

/// An `acquire` that panics as documented was counted before it panicked.
#[test]
fn an_acquire_that_panics_is_not_counted_as_in_use() {
    let pool = pool(&[(64, 4)], 4096);
    assert!(catch_unwind(AssertUnwindSafe(|| pool.acquire(usize::MAX))).is_err());
    assert_eq!(pool.stats().in_use, 0, "{}", pool.stats());
}

#[test]
fn trim_returns_all_the_bytes_that_it_freed() {
    let pool = pool(&[(64, 2)], 4096);
    drop((0..10).map(|_| filled(&pool, 64).freeze()).collect::<Vec<_>>());
    let before = pool.stats().live_bytes;
    let freed = pool.trim() as u64;
    assert_eq!((before - pool.stats().live_bytes, before), (freed, 640));
}

fn sampled() -> BufferPool {
    let config = BufferPoolConfig::messages().to_builder().sample_one_in(NonZeroU32::MIN);
    BufferPool::new(config.build().unwrap())
}

fn pinned(pool: &BufferPool) -> u64 {
    pool.holders().unwrap().holders.iter().map(|holder| holder.pinned_bytes).sum()
}

/// `part` counted the bytes that the only handle shows again at each clone.
#[test]
fn a_dropped_clone_does_not_hide_a_pin() {
    let pool = sampled();
    let whole = filled(&pool, 60_000).into_shared();
    drop(whole.clone());
    drop(whole.clone());
    let header = whole.slice(..30);
    drop(whole);
    assert_eq!(pinned(&pool), 65_536 - 30);
    drop(header);
}

/// `advance`, and so `split_to`, did not tell the detector that bytes are no longer shown.
#[test]
fn frames_split_off_a_read_do_not_hide_a_pin() {
    let pool = sampled();
    let mut read = filled(&pool, 60_000).into_shared();
    let mut last = read.split_to(30);
    while !read.is_empty() {
        last = read.split_to(30);
    }
    drop(read);
    assert_eq!(pinned(&pool), 65_536 - 30);
    drop(last);
}

/// Idle buffers of other classes were evicted even if they were not enough.
#[test]
fn an_acquire_that_needs_the_heap_evicts_nothing() {
    let pool = limited(&[(64, 64), (4096, 4)], 8192 + 2048, 0);
    let held = [pool.acquire(4096), pool.acquire(4096)];
    drop((0..32).map(|_| pool.acquire(64)).collect::<Vec<_>>());
    assert_eq!(pool.stats().idle_bytes, 2048);
    assert!(pool.try_acquire(4096).is_err());
    assert_eq!(pool.stats().idle_bytes, 2048, "{}", pool.stats());
    drop(held);
}

/// After the last handle was dropped, growth and copies still allocated pooled storage, beside frozen storage that was no
/// longer counted.
#[test]
fn what_is_frozen_stays_counted_when_the_pool_closes() {
    let pool = limited(&[(1024, 8)], 4096, 1 << 20);
    let core = Arc::clone(&pool.core);
    let frozen = [filled(&pool, 1024).freeze(), filled(&pool, 1024).freeze()];
    let shared = [filled(&pool, 1024).into_shared(), filled(&pool, 1024).into_shared()];
    drop(pool);
    let mut copies = shared.clone();
    copies.iter_mut().for_each(|copy| copy.make_mut()[0] = 1);
    let pooled = 2 + 2 + copies.iter().filter(|copy| copy.is_of(&core)).count();
    assert!(pooled * 1024 <= 4096, "{pooled} buffers of a limit of 4; counted: {:?}", core.memory.live());
    drop((frozen, shared));
}

/// A waker panicked in the middle of a flush. The frozen buffers not yet pushed were dropped, so their bytes left the limit
/// while views still showed them, and their lease ended twice.
#[test]
fn a_waker_that_panics_does_not_lose_what_is_frozen() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let pool = limited(&[(1024, 64)], 32 * 1024, 8 * 1024);
    let theirs = pool.clone();
    let other = thread::spawn(move || filled(&theirs, 1024).freeze()).join().unwrap();
    let frozen: Vec<Bytes> = (0..8).map(|_| filled(&pool, 1024).freeze()).collect();
    let theirs = pool.clone();
    let (held, waiting) = thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok(buffer) = theirs.try_acquire(1024) {
            held.push(buffer);
        }
        let mut waiting = theirs.acquire_async(1024);
        let waker = Waker::from(Arc::new(Panics));
        assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
        (held, waiting)
    })
    .join()
    .unwrap();
    drop(other); // the flush, the first to call `serve_or_sweep`, finds it free
    assert!(catch_unwind(AssertUnwindSafe(|| pool.flush_thread_cache())).is_ok());
    assert_eq!(pool.stats().live_bytes, 32 * 1024, "{}", pool.stats());
    drop((held, waiting, frozen));
}

/// `storage` summed up again for each pair of cuts: cubic in the sizes, 6 s in a debug build.
#[test]
fn a_suggestion_for_five_hundred_sizes_has_eight_classes() {
    let asked = |size: usize| RequestedSize { bytes: size * 13, acquires: 1 + (size as u64 * 7919) % 1000 };
    let requested = (1..=500).map(asked).collect();
    let stats = BufferPoolStats { requested, ..BufferPoolStats::default() };
    assert_eq!(stats.suggest().unwrap().classes.len(), 8);
}

#[test]
fn a_suggestion_for_huge_counts_does_not_overflow() {
    let requested = [(0, u64::MAX), (64, u64::MAX), (usize::MAX, 1)];
    let requested = requested.map(|(bytes, acquires)| RequestedSize { bytes, acquires }).to_vec();
    let stats = BufferPoolStats { requested, ..BufferPoolStats::default() };
    assert!(catch_unwind(AssertUnwindSafe(|| stats.suggest())).is_ok());
}

/// Everything at once, by short-lived threads. At the end every byte and every lease is accounted for.
#[test]
fn nothing_leaks_under_any_interleaving() {
    const LIMIT: usize = 40 * 1024;
    let pool = limited(&[(64, 16), (256, 16), (1024, 8), (4096, 4)], LIMIT, 2048);
    let core = Arc::clone(&pool.core);
    let deadline = Instant::now() + Duration::from_secs(3);
    let (send, receive) = channel::<Held>();
    let receive = std::sync::Mutex::new(receive);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for worker in 0..4_u64 {
            let (pool, send, receive) = (pool.clone(), send.clone(), &receive);
            workers.push(scope.spawn(move || {
                let mut seed = worker.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                while Instant::now() < deadline {
                    let (pool, send) = (pool.clone(), send.clone());
                    let start = seed;
                    seed = thread::scope(|inner| {
                        inner
                            .spawn(move || {
                                let mut seed = start;
                                let mut next = |n: u64| {
                                    seed ^= seed << 13;
                                    seed ^= seed >> 7;
                                    seed ^= seed << 17;
                                    seed % n
                                };
                                let mut waiting_futures: Vec<Acquire> = Vec::new();
                                for _ in 0..400 {
                                    let size = [60, 200, 1000, 4000][next(4) as usize];
                                    match next(12) {
                                        0 => drop(pool.trim()),
                                        1 => drop(pool.decay()),
                                        2 => pool.flush_thread_cache(),
                                        3 => {
                                            let mut waiting = pool.acquire_async(size);
                                            let _ = poll_once(&mut waiting);
                                            waiting_futures.push(waiting);
                                        }
                                        4 => {
                                            waiting_futures.pop();
                                        }
                                        5 | 6 => {
                                            let _ = receive.lock().unwrap().try_recv();
                                        }
                                        kind => {
                                            let mut buffer = pool.acquire(size);
                                            buffer.resize(size, 1);
                                            let held = match kind {
                                                7 => Held::Buffer(buffer),
                                                8 => Held::Plain(buffer.freeze()),
                                                9 => {
                                                    let mut shared = buffer.into_shared();
                                                    shared.advance(size / 2);
                                                    match shared.try_into_mut() {
                                                        Ok(buffer) if next(2) == 0 => {
                                                            Held::Plain(buffer.freeze())
                                                        }
                                                        Ok(buffer) => Held::Buffer(buffer),
                                                        Err(shared) => Held::Shared(shared),
                                                    }
                                                }
                                                _ => {
                                                    let shared = buffer.into_shared();
                                                    let _ = send.send(Held::Shared(shared.clone()));
                                                    Held::Shared(shared)
                                                }
                                            };
                                            let _ = send.send(held);
                                        }
                                    }
                                }
                                drop(waiting_futures);
                                next(u64::MAX) | 1
                            })
                            .join()
                            .unwrap()
                    });
                    if worker == 0 {
                        while receive.lock().unwrap().try_recv().is_ok() {}
                    }
                }
            }));
        }
        // The end of a scope does not wait until thread locals are dropped; a join does.
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    while receive.lock().unwrap().try_recv().is_ok() {}
    pool.trim();
    let stats = pool.stats();
    assert!(stats.high_water_bytes <= LIMIT as u64);
    assert_eq!((stats.live_bytes, stats.in_use, stats.frozen, stats.waiting), (0, 0, 0, 0), "{stats:#}");
    // One cache gets at most half of the rest, and all caches together an eighth of the limit.
    assert_eq!(core.memory.lease_for_cache(0, 1, usize::MAX, true), LIMIT / 16);
    // All leases together leave the largest class one buffer of its half, and the caches what is theirs.
    assert!(core.memory.lease_all(LIMIT / 2 - 4096 - LIMIT / 8) && !core.memory.lease_all(1));
}

/// `thread::acquire` looked at eight frozen buffers before it took the ready one on top of the stack, and took a cold one
/// that it found free.
#[test]
fn a_warm_ready_buffer_is_taken_before_a_frozen_one() {
    let pool = pool(&[(1024, 64)], 64 * 1024);
    let (warm, cold) = (pool.acquire(1024), filled(&pool, 1024).freeze());
    let address = warm.as_ptr();
    drop((cold, warm));
    assert_eq!(pool.try_acquire(1024).unwrap().as_ptr(), address, "{}", pool.stats());
}

/// The lease was twice as large as `thread_cache_bytes`, and more after each flush: the sum overflowed.
#[test]
fn a_thread_cache_without_bound_is_one() {
    for limit in [usize::MAX, usize::MAX - 1, 1 << 20] {
        let pool = limited(&[(64, 1024), (4096, 4)], limit, usize::MAX);
        for _ in 0..50 {
            drop((0..300).map(|_| pool.acquire(64)).collect::<Vec<_>>());
            drop((0..300).map(|_| filled(&pool, 64).freeze()).collect::<Vec<_>>());
            pool.decay();
            drop(pool.acquire(64));
            pool.flush_thread_cache();
        }
        pool.trim();
        assert_eq!((pool.stats().live_bytes, pool.stats().frozen), (0, 0), "{limit}: {}", pool.stats());
    }
}
