//! The pool in a program that runs on tokio.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::time::Duration;

use millpond::{AcquireError, BufferPool, BufferPoolConfig, PooledBuffer};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

fn pool(limit: usize) -> BufferPool {
    let config = BufferPoolConfig::builder().classes([(64, 16), (1024, 64)]).memory_limit(limit);
    BufferPool::new(config.decay_interval(Some(Duration::from_millis(20))).build().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_removes_the_waiter() {
    let pool = pool(1024);
    let held = pool.acquire(1024);
    let started = Instant::now();
    let late = pool.acquire_until(64, started + Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(late, AcquireError::TimedOut { requested: 64, limit: 1024 });
    assert_eq!((started.elapsed().as_secs(), pool.stats().waiting), (3, 0));
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(3);
    assert!(pool.acquire_until(64, deadline).await.is_ok());
    let large = pool.acquire_until(2000, deadline).await.unwrap_err();
    assert_eq!(large, AcquireError::TooLarge { requested: 2000, largest: 1024 });
}

#[tokio::test(start_paused = true)]
async fn frozen_memory_that_becomes_free_without_a_notice_is_found_before_the_deadline() {
    const SIZE: usize = 1024;
    let config = BufferPoolConfig::builder().class(SIZE, 4).thread_cache_bytes(0).memory_limit(2 * SIZE);
    let pool = BufferPool::new(config.decay_interval(None).build().unwrap());
    let held = pool.try_acquire(SIZE).unwrap();
    let mut frozen = pool.try_acquire(SIZE).unwrap();
    frozen.extend_from_slice(b"x");
    let frozen = frozen.freeze();
    let waiting = tokio::spawn(pool.acquire_until(SIZE, Instant::now() + Duration::from_secs(3)));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(pool.stats().waiting, 1);
    drop(frozen);
    let dropped = Instant::now();
    assert!(waiting.await.unwrap().is_ok());
    assert!(dropped.elapsed() <= Duration::from_millis(160), "{:?}", dropped.elapsed());
    drop(held);
}

#[test]
fn an_acquire_with_a_deadline_needs_a_runtime_only_to_wait() {
    let pool = pool(1024);
    let acquire = pin!(pool.acquire_until(64, Instant::now()));
    assert!(acquire.poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[tokio::test]
async fn acquires_that_are_ready_at_once_let_other_tasks_run() {
    const ACQUIRES: usize = 10_000;
    let pool = pool(1024);
    let other = tokio::spawn(async {});
    for _ in 0..ACQUIRES {
        drop(pool.acquire_async(64).await.unwrap());
    }
    assert!(other.is_finished());
}

#[test]
fn decay_frees_memory_while_the_pool_is_idle_and_workers_sleep() {
    let pool = pool(usize::MAX);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_park(pool.flush_on_park())
        .build()
        .unwrap();
    let task = runtime.block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let held: Vec<_> = (0..8).map(|_| pool.acquire(1024)).collect();
                    tokio::task::yield_now().await;
                    drop(held);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(pool.stats().high_water_bytes > 0);
        let decay = pool.spawn_decay();
        let gone = async {
            while pool.stats().live_bytes > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), gone).await.expect("unused buffers are freed");
        [decay]
    });
    drop(pool);
    let [decay] = task;
    let ended = async { timeout(Duration::from_secs(30), decay).await };
    runtime.block_on(ended).expect("the task ends with its pool").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_a_decay_interval_never_decays() {
    let config = BufferPoolConfig::builder().class(1024, 64).decay_interval(None).build().unwrap();
    let pool = BufferPool::new(config);
    drop(pool.acquire(1024));
    pool.flush_thread_cache();
    // 1024, or 0 under a debug switch that keeps nothing.
    let idle = pool.stats().idle_bytes;
    let decay = pool.spawn_decay();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(pool.stats().idle_bytes, idle);
    assert!(decay.is_finished());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_a_small_limit_and_all_are_served() {
    let pool = pool(4 * 1024);
    let served = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..200)
        .map(|task| {
            let (pool, served) = (pool.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                for round in 0..50 {
                    let size = if (task + round) % 3 == 0 { 1000 } else { 60 };
                    let wait = pool.acquire_async(size);
                    let mut buffer = if round % 7 == 0 {
                        // Some cancel at once, some later.
                        match timeout(Duration::from_micros(round * 3), wait).await {
                            Ok(buffer) => buffer.unwrap(),
                            Err(_) => continue,
                        }
                    } else {
                        wait.await.unwrap()
                    };
                    buffer.extend_from_slice(b"x");
                    if round % 2 == 0 {
                        tokio::task::yield_now().await;
                    }
                    drop(buffer.freeze());
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        timeout(Duration::from_secs(60), task).await.expect("no task starves").unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 200 * 40);
    pool.flush_thread_cache();
    let stats = pool.stats();
    assert!(stats.high_water_bytes <= 4 * 1024, "{stats}");
    assert_eq!((stats.in_use, stats.waiting, stats.overruns), (0, 0, 0), "{stats}");
}

/// Workers that sleep keep the caches that they used in a burst, as no function flushes them.
#[test]
fn a_waiter_gets_seven_eighths_of_the_limit_while_workers_sleep_without_a_flush() {
    const SIZE: usize = 16_384;
    let config = BufferPoolConfig::builder().class(SIZE, 64).memory_limit(64 * SIZE).decay_interval(None);
    let pool = BufferPool::new(config.build().unwrap());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Each of the two workers runs one: it blocks until the other has begun.
    let both = Arc::new(Barrier::new(2));
    let burst = |pool: BufferPool, both: Arc<Barrier>| async move {
        both.wait();
        for _ in 0..50 {
            let mut ready: Vec<_> = (0..16).map_while(|_| pool.try_acquire(SIZE).ok()).collect();
            ready.iter_mut().for_each(|buffer| buffer.resize(100, 1));
            let frozen: Vec<_> = ready.drain(ready.len() / 2..).map(PooledBuffer::freeze).collect();
            drop((ready, frozen));
        }
    };
    let hold = |pool: BufferPool| async move {
        let mut held = Vec::new();
        while let Ok(Ok(buffer)) = timeout(Duration::from_millis(300), pool.acquire_async(SIZE)).await {
            held.push(buffer);
        }
        held.len()
    };
    let held = runtime.block_on(async {
        let bursts: Vec<_> = (0..2).map(|_| tokio::spawn(burst(pool.clone(), Arc::clone(&both)))).collect();
        for burst in bursts {
            burst.await.unwrap();
        }
        tokio::spawn(hold(pool.clone())).await.unwrap()
    });
    assert!(held >= 56, "{held} of 64: {}", pool.stats());
}

#[test]
fn the_task_and_the_threads_of_a_pool_together_make_one_step_per_interval() {
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&steps);
    let config = BufferPoolConfig::builder().class(1024, 1024).thread_cache_bytes(0);
    let config = config.decay_interval(Some(Duration::from_millis(200))).on_decay(move |freed| {
        assert_eq!(freed % 1024, 0);
        counted.fetch_add(freed / 1024, Ordering::Relaxed);
    });
    let pool = BufferPool::new(config.build().unwrap());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        pool.spawn_decay();
        // All 64 are needed between two intervals, so no step may free one.
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(2) {
            let held: Vec<_> = (0..64).map(|_| pool.acquire(1024)).collect();
            drop(held);
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(steps.load(Ordering::Relaxed), 0, "buffers of the working set were freed");
}
