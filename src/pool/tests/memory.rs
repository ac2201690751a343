//! The memory limit, and its waiters.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::*;

fn limited(classes: &[(usize, usize)], limit: usize, cache: usize) -> BufferPool {
    let builder = BufferPoolConfig::builder().classes(classes.iter().copied());
    BufferPool::new(builder.thread_cache_bytes(cache).memory_limit(limit).build().unwrap())
}

/// Unparks a thread, and counts.
struct Unpark(thread::Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current(), AtomicUsize::new(0))));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn poll_once(future: &mut Acquire) -> Poll<Result<PooledBuffer, AcquireError>> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn at_the_limit_each_acquire_does_as_documented() {
    let pool = limited(&[(1024, 8)], 2048, 4096);
    let (first, second) = (pool.acquire(1000), pool.try_acquire(1000).unwrap());
    assert_eq!(pool.try_acquire(1000).unwrap_err(), AcquireError::Exhausted { requested: 1000, limit: 2048 });
    let large = block_on(pool.acquire_async(1025)).unwrap_err();
    assert_eq!(large, AcquireError::TooLarge { requested: 1025, largest: 1024 });
    let over = pool.acquire(1000);
    assert!(over.capacity() >= 1000 && !pool.owns(&over) && pool.owns(&first));
    let stats = pool.stats();
    assert_eq!((stats.overruns, stats.heap_fallbacks, stats.live_bytes), (1, 0, 2048), "{stats}");

    let mut waiting = pool.acquire_async(1000);
    assert!(poll_once(&mut waiting).is_pending());
    assert_eq!(pool.stats().waiting, 1);
    drop(over); // from the heap, so it frees no pooled memory
    assert!(poll_once(&mut waiting).is_pending());
    drop(first);
    assert!(matches!(poll_once(&mut waiting), Poll::Ready(Ok(_))));
    drop(second);
    let stats = pool.stats();
    assert_eq!((stats.waiting, stats.waits, stats.in_use), (0, 1, 0), "{stats}");
    assert!(stats.longest_wait > Duration::ZERO && stats.high_water_bytes == 2048, "{stats}");
}

#[test]
fn idle_memory_of_other_classes_is_evicted() {
    for cache in [0, 1 << 20] {
        let pool = limited(&[(64, 64), (1024, 4)], 4096, cache);
        drop((0..48).map(|_| pool.acquire(64)).collect::<Vec<_>>());
        let mut frozen = pool.acquire(1024);
        frozen.extend_from_slice(b"x");
        drop(frozen.freeze());
        assert_eq!(pool.stats().live_bytes, 4096);
        let held = [pool.try_acquire(1024).unwrap(), pool.try_acquire(1024).unwrap()];
        assert_eq!(pool.stats().live_bytes, 4096, "{cache}: {}", pool.stats());
        drop(held);
        let mut waiting = pool.acquire_async(64);
        assert!(poll_once(&mut waiting).is_ready(), "{cache}: {}", pool.stats());
    }
}

#[test]
fn the_place_and_the_buffer_of_a_cancelled_waiter_go_to_the_next() {
    for granted in [false, true] {
        let pool = limited(&[(1024, 4)], 1024, 0);
        let held = pool.acquire(1024);
        let (mut first, mut second) = (pool.acquire_async(1), pool.acquire_async(1));
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        if granted {
            drop(held);
            drop(first);
        } else {
            drop(first);
            assert_eq!(pool.stats().waiting, 1);
            drop(held);
        }
        assert!(poll_once(&mut second).is_ready(), "{granted}");
        drop(second);
        let stats = pool.stats();
        assert_eq!((stats.waiting, stats.in_use, stats.live_bytes), (0, 0, 1024), "{stats}");
    }
}

#[test]
fn no_waiter_waits_for_the_cache_of_another_thread() {
    // The other thread lives on, and does not use the pool again.
    let pool = limited(&[(1024, 16)], 8 * 1024, 1 << 20);
    let (done, release) = (mpsc::channel::<()>(), mpsc::channel::<()>());
    let theirs = pool.clone();
    let other = thread::spawn(move || {
        drop((0..8).map(|_| theirs.acquire(1024)).collect::<Vec<_>>());
        let frozen: Vec<Bytes> = (0..8)
            .map(|_| {
                let mut buffer = theirs.acquire(1024);
                buffer.extend_from_slice(b"x");
                buffer.freeze()
            })
            .collect();
        drop(frozen);
        done.0.send(()).unwrap();
        release.1.recv().unwrap();
    });
    done.1.recv().unwrap();
    // The half of the limit that is never leased is within reach: four buffers.
    let held: Vec<_> = (0..4).map(|_| block_on(pool.acquire_async(1024)).unwrap()).collect();
    assert!(pool.stats().live_bytes <= 8 * 1024);
    drop(held);
    release.0.send(()).unwrap();
    other.join().unwrap();

    let single = limited(&[(1024, 16)], 1024, 1 << 20);
    let theirs = single.clone();
    thread::scope(|scope| {
        let (done, release) = (mpsc::channel::<()>(), mpsc::channel::<()>());
        scope.spawn(move || {
            let mut buffer = theirs.acquire(1024);
            buffer.extend_from_slice(b"x");
            drop(buffer.freeze());
            done.0.send(()).unwrap();
            release.1.recv().unwrap();
        });
        done.1.recv().unwrap();
        assert!(block_on(single.acquire_async(1024)).is_ok());
        release.0.send(()).unwrap();
    });
}

#[test]
fn a_waiter_keeps_its_pool_open() {
    let pool = limited(&[(1024, 4)], 1024, 4096);
    let held = pool.acquire(1024);
    let mut waiting = pool.acquire_async(1024);
    assert!(poll_once(&mut waiting).is_pending());
    let core = Arc::downgrade(&pool.core);
    drop(pool);
    drop(held);
    assert!(matches!(poll_once(&mut waiting), Poll::Ready(Ok(_))));
    drop(waiting);
    for _ in 0..2 {
        drop(BufferPool::new(BufferPoolConfig::proxy()).acquire(1));
    }
    assert_eq!(core.strong_count(), 0);
}

#[test]
fn an_idle_buffer_of_the_next_class_serves_if_configured() {
    for (wanted, cache) in [(false, 0), (true, 0), (true, 4096)] {
        let config = BufferPoolConfig::builder().classes([(64, 4), (256, 4)]).memory_limit(512);
        let pool =
            BufferPool::new(config.thread_cache_bytes(cache).serve_from_next_class(wanted).build().unwrap());
        drop(pool.acquire(256));
        let held = [64; 4].map(|size| pool.try_acquire(size).unwrap());
        let buffer = pool.try_acquire(64).unwrap();
        assert_eq!(buffer.capacity(), if wanted { 256 } else { 64 }, "{wanted} {cache}");
        drop(held);
    }
}

#[test]
fn the_limit_holds_at_every_instant_and_all_waiters_are_served() {
    const LIMIT: usize = 24 * 1024;
    for cache in [0, 2048, 1 << 20] {
        let pool = limited(&[(256, 16), (1024, 8), (4096, 4)], LIMIT, cache);
        let stop = AtomicBool::new(false);
        let started = Instant::now();
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(pool.stats().live_bytes <= LIMIT as u64);
                    thread::yield_now();
                }
            });
            let workers: Vec<_> = (0..6_usize)
                .map(|worker| {
                    let pool = pool.clone();
                    scope.spawn(move || {
                        let mut kept: VecDeque<Held> = VecDeque::new();
                        for round in 0..3000 {
                            let size = [200, 1000, 4000, 900][(worker + round) % 4];
                            if worker == 5 && round % 3 == 0 {
                                // Waits for a short time, then cancels.
                                let mut waiting = pool.acquire_async(size);
                                let _ = poll_once(&mut waiting);
                                thread::yield_now();
                                drop(waiting);
                                continue;
                            }
                            kept.clear(); // no thread holds buffers while it waits
                            let mut buffer = block_on(pool.acquire_async(size)).unwrap();
                            buffer.resize(size, worker as u8);
                            kept.push_back(match round % 3 {
                                0 => Held::Buffer(buffer),
                                1 => Held::Plain(buffer.freeze()),
                                _ => Held::Shared(buffer.into_shared()),
                            });
                            assert!(kept[0].bytes().iter().all(|&byte| byte == worker as u8));
                        }
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            stop.store(true, Ordering::Relaxed);
            watcher.join().unwrap();
        });
        assert!(started.elapsed() < Duration::from_secs(60));
        pool.trim();
        let stats = pool.stats();
        assert!(stats.high_water_bytes <= LIMIT as u64, "{stats}");
        assert_eq!((stats.in_use, stats.frozen, stats.waiting), (0, 0, 0), "{stats}");
        assert_eq!((stats.live_bytes, stats.overruns), (0, 0), "{stats}");
        assert_eq!(stats.acquires, stats.returns, "{stats}");
    }
}

/// Limits that hold exactly `FITTING` buffers of `SIZE`, and their neighbours, with the number that fits.
const SIZE: usize = 1024;
const FITTING: usize = 4;
const AROUND_THE_LIMIT: [(usize, usize); 3] =
    [(SIZE * FITTING - 1, FITTING - 1), (SIZE * FITTING, FITTING), (SIZE * FITTING + 1, FITTING)];

#[test]
fn no_acquire_exceeds_the_limit_by_one_byte() {
    for (limit, fitting) in AROUND_THE_LIMIT {
        let pool = limited(&[(SIZE, 8)], limit, 1 << 20);
        let mut held: Vec<_> = (0..FITTING + 1).map_while(|_| pool.try_acquire(SIZE).ok()).collect();
        assert_eq!(held.len(), fitting, "try_acquire, {limit}");
        let over = pool.acquire(SIZE);
        assert_eq!(pool.stats().overruns, 1, "acquire, {limit}");
        drop(over);

        let mut waiting = pool.acquire_async(SIZE);
        assert!(poll_once(&mut waiting).is_pending(), "acquire_async, {limit}");
        held.pop();
        let Poll::Ready(Ok(last)) = poll_once(&mut waiting) else { panic!("acquire_async, {limit}") };
        assert!(poll_once(&mut pool.acquire_async(SIZE)).is_pending(), "acquire_async, {limit}");
        assert_eq!(pool.stats().high_water_bytes, (fitting * SIZE) as u64, "{limit}");
        drop((held, last));
    }
}

#[test]
fn waiters_get_what_fits_the_limit_to_the_byte() {
    for (limit, fitting) in AROUND_THE_LIMIT {
        let pool = limited(&[(SIZE, 8)], limit, 1 << 20);
        let mut waiting: Vec<_> = (0..FITTING + 1).map(|_| pool.acquire_async(SIZE)).collect();
        let served: Vec<_> = waiting.iter_mut().map(poll_once).filter(Poll::is_ready).collect();
        assert_eq!(served.len(), fitting, "{limit}");
    }
}

#[test]
fn idle_and_frozen_buffers_count_against_the_limit_to_the_byte() {
    for (limit, fitting) in AROUND_THE_LIMIT {
        for cache in [0, 1 << 20] {
            let pool = limited(&[(SIZE, 8)], limit, cache);
            // Idle first, and then acquired again.
            drop((0..FITTING + 1).map(|_| pool.acquire(SIZE)).collect::<Vec<_>>());
            assert_eq!(pool.stats().live_bytes, (fitting * SIZE) as u64, "idle, {limit}");
            let frozen: Vec<Bytes> = (0..FITTING + 1)
                .map_while(|_| {
                    let mut buffer = pool.try_acquire(SIZE).ok()?;
                    buffer.extend_from_slice(b"x");
                    Some(buffer.freeze())
                })
                .collect();
            assert_eq!(frozen.len(), fitting, "frozen, {limit} {cache}");
            assert!(pool.stats().high_water_bytes <= limit as u64, "{limit}");
        }
    }
}

#[test]
fn leases_of_frozen_buffers_are_at_most_half_of_the_limit_to_the_byte() {
    for (limit, fitting) in AROUND_THE_LIMIT {
        let pool = limited(&[(SIZE, 8)], limit, 0);
        let frozen: Vec<Bytes> = (0..fitting)
            .map(|_| {
                let mut buffer = pool.try_acquire(SIZE).unwrap();
                buffer.extend_from_slice(b"x");
                buffer.freeze()
            })
            .collect();
        assert_eq!(pool.stats().frozen, (limit / 2 / SIZE) as u64, "{limit}");
        drop(frozen);
    }
    // One buffer of the largest class must always fit beside them.
    for (limit, followed) in [(2 * SIZE - 1, 0), (2 * SIZE, 1)] {
        let pool = limited(&[(SIZE, 8)], limit, 0);
        let mut buffer = pool.try_acquire(SIZE).unwrap();
        buffer.extend_from_slice(b"x");
        let frozen = buffer.freeze();
        assert_eq!(pool.stats().frozen, followed, "{limit}");
        drop(frozen);
    }
}

#[test]
fn idle_memory_is_evicted_to_the_byte() {
    const SMALL: usize = 64;
    for (limit, evicted) in [(2 * SIZE - 1, 1), (2 * SIZE, 0)] {
        let pool = limited(&[(SMALL, 64), (SIZE, 4)], limit, 0);
        let idle = SIZE / SMALL;
        drop((0..idle).map(|_| pool.acquire(SMALL)).collect::<Vec<_>>());
        let held = pool.try_acquire(SIZE).unwrap();
        assert_eq!(pool.stats().live_bytes, (SIZE + (idle - evicted) * SMALL) as u64, "{limit}");
        drop(held);
    }
    // All idle memory together is one byte short, or just enough.
    for (limit, served) in [(SIZE + SMALL - 1, false), (SIZE + SMALL, true)] {
        let pool = limited(&[(SMALL, 64), (SIZE, 4)], limit, 0);
        let held = pool.try_acquire(SMALL).unwrap();
        drop(pool.acquire(SMALL));
        assert_eq!(pool.try_acquire(SIZE).is_ok(), served, "{limit}");
        assert_eq!(pool.stats().classes[0].idle, u64::from(!served), "{limit}");
        drop(held);
    }
}
