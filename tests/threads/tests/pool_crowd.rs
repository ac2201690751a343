//! Eight threads use every operation of one pool, under random schedules: too many for loom to explore all. In a second
//! crowd everybody waits, leaves, and has wakers that panic or return memory.
//!
//! ```sh
//! RUSTFLAGS="--cfg millpond_shuttle" CARGO_TARGET_DIR=target/shuttle cargo test --release -p threads
//! ```
//!
//! `MILLPOND_SCHEDULES` is the number of schedules, 20000 unless it is set. Shuttle prints the schedule of a failure,
//! which `shuttle::replay` repeats. It switches threads at each atomic, lock and thread local of the pool, but not inside
//! `bytes`, the queue and the counted references: loom explores those.
#![cfg(millpond_shuttle)]

use std::env;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use millpond::{Acquire, AcquireError, BufferPool, BufferPoolConfig, PooledBuffer, PooledBytes};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

const THREADS: usize = 8;
const STEPS: usize = 10;
const CLASSES: [(usize, usize); 2] = [(8, 3), (32, 2)];
const LIMIT: usize = 96;

enum Held {
    Buffer(PooledBuffer),
    Shared(PooledBytes),
    Plain(Bytes),
}

#[derive(Clone)]
struct World {
    pool: BufferPool,
    /// Where threads put buffers for others.
    table: Arc<Mutex<Vec<Held>>>,
}

impl World {
    /// Called before a thread waits or exits, so that no thread waits for a buffer in a mailbox.
    fn clear_the_table(&self) {
        let left: Vec<_> = self.table.lock().unwrap().drain(..).collect();
        left.into_iter().for_each(check);
    }
}

#[test]
fn schedules_by_chance() {
    shuttle::check_random(crowd, schedules());
}

/// Few switches at random places (probabilistic concurrency testing).
#[test]
fn schedules_of_three_switches() {
    shuttle::check_pct(crowd, schedules(), 3);
}

#[test]
fn a_queue_by_chance() {
    shuttle::check_random(queue, schedules() / 4);
}

#[test]
fn a_queue_with_three_switches() {
    shuttle::check_pct(queue, schedules() / 4, 3);
}

fn schedules() -> usize {
    env::var("MILLPOND_SCHEDULES").map_or(20_000, |count| count.parse().unwrap())
}

fn crowd() {
    let mut dice = thread_rng();
    let limit = if dice.gen_bool(0.5) { LIMIT } else { usize::MAX };
    let config = BufferPoolConfig::builder().classes(CLASSES).memory_limit(limit).decay_interval(None);
    let config = config.thread_cache_bytes([0, 32, 128][dice.gen_range(0..3)]);
    let config = config.serve_from_next_class(dice.gen_bool(0.3)).wipe_on_return(dice.gen_bool(0.2));
    let world = World { pool: BufferPool::new(config.build().unwrap()), table: Arc::default() };
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let world = world.clone();
            thread::spawn(move || live(&world))
        })
        .collect();
    assert!(world.pool.stats().live_bytes <= limit as u64);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_books(&world.pool, limit);
}

fn assert_books(pool: &BufferPool, limit: usize) {
    pool.trim();
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.frozen, stats.waiting), (0, 0, 0), "{stats:#}");
    assert_eq!((stats.live_bytes, stats.idle_bytes), (0, 0), "{stats:#}");
    assert_eq!(stats.acquires, stats.returns, "{stats:#}");
    assert!(stats.high_water_bytes <= limit as u64, "{stats:#}");
}

fn live(world: &World) {
    let mut dice = thread_rng();
    let mut held = Vec::new();
    let mut waiting: Option<(Acquire, usize)> = None;
    for _ in 0..STEPS {
        let size = dice.gen_range(1..=CLASSES[1].0);
        match dice.gen_range(0..13) {
            0..=2 => held.push(written(world.pool.acquire(size), size)),
            3 => held.extend(world.pool.try_acquire(size).map(|buffer| written(buffer, size))),
            4 | 5 => {
                // A thread that waits holds nothing, or all threads could wait for each other.
                held.drain(..).for_each(check);
                waiting = None;
                world.clear_the_table();
                let buffer = block_on(world.pool.acquire_async(size)).unwrap();
                held.push(written(buffer, size));
            }
            6 => world.table.lock().unwrap().extend(held.pop()),
            7 => held.extend(world.table.lock().unwrap().pop()),
            8 | 9 => match held.pop() {
                Some(Held::Buffer(buffer)) if dice.gen_bool(0.5) => held.push(Held::Plain(buffer.freeze())),
                Some(Held::Buffer(buffer)) => held.push(Held::Shared(buffer.into_shared())),
                Some(Held::Shared(shared)) => {
                    let clone = Held::Shared(shared.clone());
                    world.table.lock().unwrap().push(clone);
                    held.push(Held::Shared(shared));
                }
                other => held.extend(other),
            },
            10 => match dice.gen_range(0..3) {
                0 => drop(world.pool.trim()),
                1 => drop(world.pool.decay()),
                _ => world.pool.flush_thread_cache(),
            },
            11 => {
                // Leaves the queue, perhaps while it is being served, or polls again.
                waiting = match waiting {
                    None => Some((world.pool.acquire_async(size), size)),
                    Some(_) if dice.gen_bool(0.5) => None,
                    Some((mut waits, size)) => match poll_once(&mut waits) {
                        Poll::Ready(buffer) => {
                            held.push(written(buffer.unwrap(), size));
                            None
                        }
                        Poll::Pending => Some((waits, size)),
                    },
                }
            }
            _ => held.drain(..1.min(held.len())).for_each(check),
        }
    }
    drop(waiting);
    held.drain(..).for_each(check);
    world.clear_the_table();
}

fn poll_once(waits: &mut Acquire) -> Poll<Result<PooledBuffer, AcquireError>> {
    Pin::new(waits).poll(&mut Context::from_waker(Waker::noop()))
}

fn written(mut buffer: PooledBuffer, size: usize) -> Held {
    assert!(buffer.is_empty());
    buffer.resize(size, size as u8);
    Held::Buffer(buffer)
}

/// Checks that no other thread wrote to it.
fn check(held: Held) {
    let bytes = match &held {
        Held::Buffer(buffer) => &buffer[..],
        Held::Shared(shared) => &shared[..],
        Held::Plain(plain) => &plain[..],
    };
    assert!(bytes.iter().all(|&byte| usize::from(byte) == bytes.len()), "{bytes:?}");
}

/// Everybody waits for memory. At the end each thread waits without a time limit: a lost wake-up is a deadlock.
fn queue() {
    let cache = [0, 32][thread_rng().gen_range(0..2)];
    let config = BufferPoolConfig::builder().classes(CLASSES).memory_limit(LIMIT).decay_interval(None);
    let pool = BufferPool::new(config.thread_cache_bytes(cache).build().unwrap());
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || wait_and_leave(&pool))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let stats = pool.stats();
    let most = (LIMIT - LIMIT / 2) / CLASSES[1].0; // the other half is for small ones
    assert!(stats.classes[1].high_water <= most as u64, "{stats:#}");
    assert_books(&pool, LIMIT);
}

fn wait_and_leave(pool: &BufferPool) {
    let mut dice = thread_rng();
    let (mut waiting, mut held) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let size = CLASSES[dice.gen_range(0..2)].0;
        match dice.gen_range(0..8) {
            0..=2 => waiting.push(pool.acquire_async(size)),
            3 => held.extend(pool.try_acquire(size)),
            4 if !waiting.is_empty() => drop(waiting.swap_remove(dice.gen_range(0..waiting.len()))),
            5 => drop(held.pop()),
            6 => pool.flush_thread_cache(),
            _ => {}
        }
        if !waiting.is_empty() {
            let at = dice.gen_range(0..waiting.len());
            let waker = StdArc::new(Waking(Mutex::new(if dice.gen_bool(0.5) { held.pop() } else { None })));
            let waker = Waker::from(waker);
            if let Poll::Ready(buffer) = Pin::new(&mut waiting[at]).poll(&mut Context::from_waker(&waker)) {
                drop(waiting.swap_remove(at));
                held.push(buffer.unwrap());
            }
        }
    }
    drop((waiting, held));
    let size = CLASSES[dice.gen_range(0..2)].0;
    drop(block_on(pool.acquire_async(size)).unwrap());
    pool.flush_thread_cache();
}

/// A waker that returns a buffer, or panics.
struct Waking(Mutex<Option<PooledBuffer>>);

impl Wake for Waking {
    fn wake(self: StdArc<Self>) {
        let held = self.0.lock().unwrap().take();
        if held.is_none() {
            resume_unwind(Box::new("a waker")); // without a report of shuttle's
        }
    }
}
