//! What the allocator sees of a pool: freed secrets, its size when empty, its peak, mallocs of a flush.
//!
//! This runs without the test harness, because the harness's own thread allocates at any time.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::BufMut;
use dhat::{HeapStats, Profiler};
use millpond::{BufferPool, BufferPoolConfig};

/// Counts blocks of `WATCHED` bytes that are freed or moved with a secret in them. dhat counts the rest.
struct Watch;

const WATCHED: usize = 12_345;
const SECRET: u8 = 0x5A;
static LEAKED_SECRETS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to dhat, after the block is read while it is still allocated.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { dhat::Alloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the read is within the block, and the tests below initialize all of it.
        if layout.size() == WATCHED && unsafe { block.add(WATCHED / 2).read() } == SECRET {
            LEAKED_SECRETS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as the caller promises.
        unsafe { dhat::Alloc.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Watch = Watch;

fn wiping(cache: usize) -> BufferPool {
    let config = BufferPoolConfig::builder().class(WATCHED, 4).wipe_on_return(true);
    BufferPool::new(config.thread_cache_bytes(cache).build().unwrap())
}

fn leaked_secrets(act: impl FnOnce()) -> usize {
    let before = LEAKED_SECRETS.load(Ordering::Relaxed);
    act();
    LEAKED_SECRETS.load(Ordering::Relaxed) - before
}

/// Every view is dropped before the pool closes, which drops the frozen slots of the shared queue.
fn unused_frozen_storage_is_wiped_when_the_pool_closes() {
    let count = leaked_secrets(|| {
        let pool = wiping(0);
        let mut buffer = pool.acquire(WATCHED);
        buffer.resize(WATCHED, SECRET);
        drop(buffer.freeze());
        drop(pool);
    });
    assert_eq!(count, 0, "freed with the secret in it");
}

/// The pool is already closed when the last view drops.
fn frozen_storage_is_wiped_when_its_view_outlives_the_pool() {
    for cache in [0, 1 << 20] {
        let count = leaked_secrets(|| {
            let pool = wiping(cache);
            let mut buffer = pool.acquire(WATCHED);
            buffer.resize(WATCHED, SECRET);
            let bytes = buffer.freeze();
            drop(pool);
            drop(bytes);
        });
        assert_eq!(count, 0, "cache {cache}: freed with the secret in it");
    }
}

/// `BytesMut::chunk_mut` makes a full `BytesMut` reallocate.
fn growing_through_buf_mut_leaves_no_secret() {
    let count = leaked_secrets(|| {
        let pool = wiping(1 << 20);
        let mut buffer = pool.acquire(WATCHED);
        buffer.resize(WATCHED, SECRET);
        let _ = buffer.chunk_mut().len();
        drop(buffer);
    });
    assert_eq!(count, 0, "moved, and the old block freed with the secret in it");
}

fn heap() -> Profiler {
    Profiler::builder().testing().build()
}

/// The queues of a class are allocated when they are first used: each takes 16 bytes per buffer of capacity.
fn an_empty_pool_is_small() {
    let config = BufferPoolConfig::powers_of_two(1..=65_536).unwrap();
    let _heap = heap();
    let pool = BufferPool::new(config);
    let bytes = HeapStats::get().max_bytes;
    assert!(bytes < 64 << 10, "an empty pool takes up to {bytes} bytes");
    drop(pool);
    let left = HeapStats::get().curr_bytes;
    assert!(left < 1 << 10, "{left} bytes outlive the pool, more than the thread's list of caches");
}

/// Threads that take all that they can get, keep it as writable, shared and frozen, and return it.
fn the_peak_of_the_heap_is_within_the_memory_limit() {
    const LIMIT: usize = 8 << 20;
    const SIZE: usize = 16 << 10;
    const THREADS: usize = 4;
    const BOOKS: usize = 512 << 10; // slots, queues, caches and the vectors below
    let config = BufferPoolConfig::builder().class(SIZE, LIMIT / SIZE).memory_limit(LIMIT).build().unwrap();
    let _heap = heap();
    let pool = BufferPool::new(config);
    let take_all = || {
        for _ in 0..20 {
            let (mut plain, mut shared, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
            while let Ok(buffer) = pool.try_acquire(SIZE) {
                match (plain.len() + shared.len() + frozen.len()) % 3 {
                    0 => plain.push(buffer),
                    1 => shared.push(buffer.into_shared()),
                    _ => frozen.push(buffer.freeze()),
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(take_all);
        }
    });
    let peak = HeapStats::get().max_bytes;
    assert!(peak <= LIMIT + BOOKS, "{peak} bytes at the peak");
    assert!(peak >= LIMIT / 2, "only {peak} bytes at the peak: the threads did not use up the limit");
}

/// `flush_on_park` flushes at each sleep of a worker, and must keep the capacity of the stacks and queues.
fn a_flush_costs_no_malloc_in_steady_state() {
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let round = || {
        let mut buffer = pool.acquire(1000);
        buffer.extend_from_slice(b"x");
        let bytes = buffer.freeze();
        drop(pool.acquire(1000));
        drop(bytes);
        pool.flush_thread_cache();
    };
    (0..100).for_each(|_| round());
    let _heap = heap();
    (0..1000).for_each(|_| round());
    let count = HeapStats::get().total_blocks;
    assert!(count < 10, "{count} mallocs in 1000 rounds");
}

fn main() {
    unused_frozen_storage_is_wiped_when_the_pool_closes();
    frozen_storage_is_wiped_when_its_view_outlives_the_pool();
    growing_through_buf_mut_leaves_no_secret();
    an_empty_pool_is_small();
    the_peak_of_the_heap_is_within_the_memory_limit();
    a_flush_costs_no_malloc_in_steady_state();
    println!("test result: ok. 6 passed");
}
