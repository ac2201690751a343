//! The pool through its public API.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc;
use std::thread;

use bytes::{Buf, BufMut, Bytes};

use super::*;
use crate::sync::Arc;

mod corners;
mod decay;
mod fairness;
mod flow;
mod hooks;
mod leases;
mod memory;
mod presets;
mod queue;
mod returns;
mod sharing;
mod shrink;
#[cfg(feature = "serde")]
mod stored;

fn pool(classes: &[(usize, usize)], thread_cache_bytes: usize) -> BufferPool {
    let builder = BufferPoolConfig::builder().thread_cache_bytes(thread_cache_bytes);
    let builder = classes.iter().fold(builder, |builder, &(size, capacity)| builder.class(size, capacity));
    BufferPool::new(builder.build().unwrap())
}

/// The documentation promises these.
const _: () = {
    const fn send_and_static<T: Send + 'static>() {}
    const fn sync<T: Sync>() {}
    send_and_static::<PooledBuffer>();
    send_and_static::<PooledBytes>();
    send_and_static::<BufferPool>();
    send_and_static::<Acquire>();
    sync::<PooledBuffer>();
    sync::<PooledBytes>();
    sync::<BufferPool>();
    sync::<Acquire>();
    assert!(size_of::<PooledBuffer>() == 8);
    assert!(size_of::<PooledBytes>() == 24);
};

#[test]
fn a_new_pool_holds_nothing_and_one_thread_allocates_once() {
    let pool = pool(&[(128, 8)], 4096);
    let stats = pool.stats();
    assert_eq!((stats.live_bytes, stats.idle_bytes, stats.acquires), (0, 0, 0));
    for _ in 0..1000 {
        drop(pool.acquire(100));
    }
    let stats = pool.stats();
    assert_eq!((stats.acquires, stats.allocations, stats.returns), (1000, 1, 1000));
    assert_eq!((stats.idle_bytes, stats.live_bytes, stats.in_use), (128, 128, 0));
    assert_eq!(stats.hit_rate(), 99.9);
}

#[test]
fn idle_memory_stays_within_the_capacities_and_the_thread_cache_after_every_kind_of_return() {
    for cache in [0, 256, 1 << 20] {
        let pool = pool(&[(128, 4), (1024, 3)], cache);
        let shared = 128 * 4 + 1024 * 3;
        let max = shared + shared.min(cache as u64); // a thread keeps no more of a class than the queue of the class
        let hold = |size| (0..50).map(|_| pool.acquire(size)).collect::<Vec<_>>();
        let buffers = [hold(100), hold(1000), hold(5000)].concat_buffers();
        assert_eq!(pool.stats().in_use, 150);
        drop(buffers);
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.heap_fallbacks), (0, 50), "{cache}");
        assert!((shared..=max).contains(&stats.idle_bytes), "{cache}: {stats}");

        let frozen: Vec<Bytes> = hold(100)
            .into_iter()
            .map(|mut buffer| {
                buffer.extend_from_slice(b"x");
                buffer.freeze()
            })
            .collect();
        let stats = pool.stats();
        // Storage that the pool cannot follow is returned at the last drop, so none is lost.
        let followed = (cache as u64 / 128).min(46) + 4;
        assert_eq!((stats.in_use, stats.frozen), (50 - followed, followed), "{cache}: {stats}");
        drop(frozen);
        assert!(pool.stats().idle_bytes <= max, "{cache}: {stats}");
        pool.trim();
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.frozen), (0, 0), "{cache}: {stats}");
        assert_eq!((stats.idle_bytes, stats.live_bytes), (0, 0), "{cache}: {stats}");
        assert_eq!(stats.acquires, stats.returns);
    }
}

trait ConcatBuffers {
    fn concat_buffers(self) -> Vec<PooledBuffer>;
}

impl<const N: usize> ConcatBuffers for [Vec<PooledBuffer>; N] {
    fn concat_buffers(self) -> Vec<PooledBuffer> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn a_request_that_no_class_fits_is_served_and_counted_and_never_kept() {
    let pool = pool(&[(128, 4)], 4096);
    assert_eq!(pool.try_acquire(129).unwrap_err(), AcquireError::TooLarge { requested: 129, largest: 128 });
    let mut buffer = pool.acquire(129);
    assert!(buffer.capacity() >= 129);
    buffer.resize(129, 7);
    let (bytes, shared) = (buffer.freeze(), pool.acquire(500).into_shared());
    drop((shared.clone(), shared, bytes));
    let stats = pool.stats();
    assert_eq!((stats.heap_fallbacks, stats.allocations, stats.returns), (2, 2, 2));
    assert_eq!((stats.live_bytes, stats.in_use, stats.frozen), (0, 0, 0));
}

#[test]
fn a_buffer_that_outgrows_its_class_moves_and_both_return_to_their_own() {
    let pool = pool(&[(16, 4), (64, 4)], 4096);
    let mut buffer = pool.acquire(10);
    buffer.extend_from_slice(&[1; 16]);
    assert_eq!(buffer.capacity(), 16);
    buffer.extend_from_slice(&[2; 4]);
    assert_eq!((buffer.capacity(), buffer.len()), (64, 20));
    assert_eq!(&buffer[14..18], &[1, 1, 2, 2]);
    assert_eq!((pool.stats().in_use, pool.stats().idle_bytes), (1, 16));
    buffer.resize(65, 3);
    assert!(buffer.capacity() >= 128);
    drop(buffer);
    let stats = pool.stats();
    assert_eq!((stats.idle_bytes, stats.heap_fallbacks, stats.in_use), (80, 1, 0));
}

#[test]
fn writing_through_buf_mut_grows_the_buffer_class_by_class() {
    let pool = pool(&[(16, 4), (64, 4)], 4096);
    let mut buffer = pool.acquire(16);
    buffer.put_slice(b"0123456789abcdef");
    assert_eq!((buffer.capacity(), pool.owns(&buffer)), (16, true), "full");
    assert_eq!(buffer.chunk_mut().len(), 48, "never empty");
    assert_eq!((&buffer[..], pool.owns(&buffer)), (&b"0123456789abcdef"[..], true));
    assert_eq!((pool.stats().in_use, pool.stats().idle_bytes), (1, 16), "the small one is returned");
}

#[test]
fn the_room_of_bytes_that_were_read_is_used_before_a_larger_buffer() {
    let pool = pool(&[(16, 4), (64, 4)], 4096);
    let mut buffer = pool.acquire(16);
    let address = buffer.as_ptr();
    buffer.put_slice(b"0123456789abcdef");
    buffer.advance(10);
    assert_eq!(buffer.capacity(), 6);
    buffer.put_slice(b"ghijklmnop");
    assert_eq!((&buffer[..], buffer.capacity()), (&b"abcdefghijklmnop"[..], 16));
    assert_eq!((buffer.as_ptr(), pool.stats().acquires), (address, 1));
    buffer.advance(4);
    buffer.put_u8(b'q'); // 12 bytes would move for the sake of 4
    assert_eq!((&buffer[..], buffer.capacity()), (&b"efghijklmnopq"[..], 64));
    buffer.advance(13);
    assert_eq!((buffer.len(), buffer.capacity()), (0, 64), "whole again, as all was read");
}

#[test]
fn shared_bytes_return_at_the_drop_of_the_last_handle() {
    let pool = pool(&[(64, 4)], 4096);
    let mut buffer = pool.acquire(64);
    buffer.extend_from_slice(b"hello, world");
    let mut all = buffer.into_shared();
    let (clone, empty) = (all.clone(), all.slice(3..3));
    let hello = all.split_to(5);
    all.advance(2);
    assert_eq!((&hello[..], &all[..], &clone[..]), (&b"hello"[..], &b"world"[..], &b"hello, world"[..]));
    let foreign: Bytes = all.copy_to_bytes(5);
    assert_eq!((&foreign[..], all.len()), (&b"world"[..], 0));
    drop((clone, hello, all));
    drop(empty);
    assert_eq!((pool.stats().in_use, pool.stats().idle_bytes), (1, 0), "a Bytes is out");
    drop(foreign);
    assert_eq!((pool.stats().in_use, pool.stats().idle_bytes), (0, 64));
    assert_eq!(pool.acquire(64).capacity(), 64);
    assert_eq!(pool.stats().allocations, 1);
}

#[test]
fn an_advanced_view_is_returned_whole() {
    let pool = pool(&[(64, 4)], 4096);
    let mut buffer = pool.acquire(64);
    buffer.resize(64, 9);
    let mut shared = buffer.into_shared();
    shared.advance(40);
    drop(shared);
    let buffer = pool.acquire(64);
    assert_eq!((buffer.len(), buffer.capacity(), pool.stats().allocations), (0, 64, 1));
}

#[test]
fn frozen_bytes_that_outlive_others_do_not_hide_the_free_ones() {
    let pool = pool(&[(64, 16)], 4096);
    let make = || {
        let mut buffer = pool.acquire(64);
        buffer.extend_from_slice(b"x");
        buffer.freeze()
    };
    let resident: Vec<Bytes> = (0..6).map(|_| make()).collect();
    let allocations_of_more = |times| {
        let before = pool.stats().allocations;
        (0..times).for_each(|_| drop(make()));
        pool.stats().allocations - before
    };
    // A few misses pass before a scan goes beyond the first.
    assert!(allocations_of_more(100) <= 8, "{}", pool.stats());
    assert_eq!(allocations_of_more(1000), 0, "{}", pool.stats());
    drop(resident);
}

#[test]
fn a_few_long_lived_frozen_buffers_do_not_delay_the_others() {
    let pool = pool(&[(64, 64)], 4096);
    let make = || {
        let mut buffer = pool.acquire(64);
        buffer.extend_from_slice(b"x");
        buffer.freeze()
    };
    // More than one acquire looks at.
    let resident: Vec<Bytes> = (0..20).map(|_| make()).collect();
    (0..1000).for_each(|_| drop(make()));
    let before = pool.stats().allocations;
    (0..1000).for_each(|_| drop(make()));
    assert!(before <= 20 + 1 + 3 * 8, "{}", pool.stats());
    assert_eq!(pool.stats().allocations, before, "{}", pool.stats());
    drop(resident);
}

#[test]
fn frozen_bytes_beyond_the_lease_are_found_in_the_shared_queue_in_order() {
    let pool = pool(&[(64, 1024)], 1024); // a thread follows 16
    let mut window = VecDeque::new();
    for round in 0..3000 {
        let mut buffer = pool.acquire(64);
        buffer.extend_from_slice(&[round as u8]);
        window.push_back(buffer.freeze());
        if window.len() > 200 {
            window.pop_front();
        }
    }
    let stats = pool.stats();
    assert!((201..=400).contains(&stats.allocations), "{stats}");
    drop(window);
    pool.trim();
    assert_eq!(pool.stats().live_bytes, 0);
}

#[test]
fn a_thread_returns_its_cache_when_it_exits() {
    let pool = pool(&[(64, 64)], 4096);
    let theirs = pool.clone();
    thread::spawn(move || {
        let held: Vec<_> = (0..10).map(|_| theirs.acquire(64)).collect();
        drop(held);
        let mut frozen = theirs.acquire(64);
        frozen.extend_from_slice(b"x");
        drop(frozen.freeze());
    })
    .join()
    .unwrap();
    let stats = pool.stats();
    assert_eq!((stats.allocations, stats.idle, stats.frozen), (10, 10, 0), "{stats}");
    let held: Vec<_> = (0..10).map(|_| pool.acquire(64)).collect();
    assert_eq!(pool.stats().allocations, 10, "{}", pool.stats());
    drop(held);
}

#[test]
fn buffers_made_here_and_dropped_there_circulate() {
    let pool = pool(&[(1024, 64)], 16 * 1024);
    let (send, receive) = mpsc::sync_channel::<Bytes>(8);
    let (send_shared, receive_shared) = mpsc::sync_channel::<PooledBytes>(8);
    let reader = thread::spawn(move || {
        receive.into_iter().for_each(|bytes| assert_eq!(bytes.len(), 5));
        receive_shared.into_iter().for_each(|bytes| assert_eq!(bytes.len(), 5));
    });
    for _ in 0..10_000 {
        let mut buffer = pool.acquire(1000);
        buffer.extend_from_slice(b"hello");
        send.send(buffer.freeze()).unwrap();
    }
    drop(send);
    for _ in 0..10_000 {
        let mut buffer = pool.acquire(1000);
        buffer.extend_from_slice(b"hello");
        send_shared.send(buffer.into_shared()).unwrap();
    }
    drop(send_shared);
    reader.join().unwrap();
    pool.flush_thread_cache();
    let stats = pool.stats();
    assert!(stats.allocations <= 64, "{stats}");
    assert_eq!((stats.acquires, stats.returns), (20_000, 20_000), "{stats}");
    assert_eq!((stats.in_use, stats.frozen), (0, 0), "{stats}");
}

#[test]
fn buffers_in_use_when_the_last_handle_drops_stay_valid_and_are_freed() {
    let pool = pool(&[(64, 4)], 4096);
    let core = Arc::downgrade(&pool.core);
    let (mut held, mut frozen, idle) = (pool.acquire(64), pool.acquire(64), pool.acquire(64));
    frozen.extend_from_slice(b"frozen");
    let shared = frozen.into_shared();
    let bytes: Bytes = shared.clone().into();
    drop(idle);
    drop(pool);
    held.extend_from_slice(b"still here");
    assert_eq!((&held[..], &shared[..], &bytes[..]), (&b"still here"[..], &b"frozen"[..], &b"frozen"[..]));
    drop((held, shared, bytes));
    // A cache created by a late return is dropped when the thread next uses another pool.
    for _ in 0..2 {
        drop(BufferPool::new(BufferPoolConfig::proxy()).acquire(1));
    }
    assert_eq!(core.strong_count(), 0);
}

#[test]
fn many_pools_in_one_thread_keep_their_caches_and_leak_nothing() {
    let pools: Vec<_> = (0..40).map(|_| pool(&[(64, 4)], 4096)).collect();
    for _ in 0..10 {
        for pool in &pools {
            drop(pool.acquire(64));
        }
    }
    for pool in &pools {
        assert_eq!(pool.stats().allocations, 1, "{}", pool.stats());
    }
    let cores: Vec<_> = pools.iter().map(|pool| Arc::downgrade(&pool.core)).collect();
    drop(pools);
    assert!(cores.iter().all(|core| core.strong_count() == 0));
}

#[test]
fn a_buffer_dropped_by_another_thread_local_destructor_is_not_lost() {
    thread_local!(static LATE: RefCell<Vec<PooledBuffer>> = const { RefCell::new(Vec::new()) });
    for touch_pool_first in [false, true] {
        let pool = pool(&[(64, 4)], 4096);
        let theirs = pool.clone();
        thread::spawn(move || {
            if touch_pool_first {
                drop(theirs.acquire(64));
            }
            // The order of destructors depends on the system; both are tried.
            LATE.with(|late| late.borrow_mut().push(theirs.acquire(64)));
        })
        .join()
        .unwrap();
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.idle), (0, 1), "{touch_pool_first}: {stats}");
    }
}

#[test]
fn a_pool_closed_by_a_thread_local_destructor_leaves_nothing() {
    thread_local!(static LATE: RefCell<Vec<(BufferPool, PooledBuffer, Bytes)>> = const { RefCell::new(Vec::new()) });
    for (touch_pool_first, closed_before) in [(false, false), (false, true), (true, false), (true, true)] {
        let pool = pool(&[(64, 4)], 4096);
        let core = Arc::downgrade(&pool.core);
        let theirs = pool.clone();
        let thread = thread::spawn(move || {
            if touch_pool_first {
                drop(theirs.acquire(64));
            }
            let mut frozen = LATE.with(|_| theirs.acquire(64));
            frozen.extend_from_slice(b"x");
            let (buffer, frozen) = (theirs.acquire(64), frozen.freeze());
            let kept = if closed_before { BufferPool::new(BufferPoolConfig::messages()) } else { theirs };
            LATE.with_borrow_mut(|late| late.push((kept, buffer, frozen)));
        });
        drop(pool);
        thread.join().unwrap();
        assert_eq!(core.strong_count(), 0, "{touch_pool_first} {closed_before}");
    }
}

#[test]
fn a_panic_while_a_buffer_is_held_returns_it() {
    let pool = pool(&[(64, 4)], 4096);
    let theirs = pool.clone();
    let panicked = thread::spawn(move || {
        let _held = theirs.acquire(64);
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert_eq!((pool.stats().in_use, pool.stats().idle), (0, 1));
}

#[test]
fn an_invalid_table_is_refused_with_the_reason() {
    let from = |classes: &[(usize, usize)]| BufferPoolConfig::from_map(classes.iter().copied());
    assert_eq!(from(&[]), Err(ConfigError::NoClasses));
    assert_eq!(from(&[(0, 1)]), Err(ConfigError::ZeroSize));
    assert_eq!(from(&[(8, 0)]), Err(ConfigError::ZeroCapacity { size: 8 }));
    assert_eq!(from(&[(1 << 31, 1)]), Err(ConfigError::ClassTooLarge { size: 1 << 31, max: 1 << 30 }));
    let many = ConfigError::CapacityTooLarge { size: 8, capacity: 1 << 23, max: 1 << 22 };
    assert_eq!(from(&[(8, 1 << 23)]), Err(many));
    let many: HashMap<_, _> = (1..=65).map(|size| (size, 1)).collect();
    assert_eq!(BufferPoolConfig::from_map(many), Err(ConfigError::TooManyClasses { count: 65, max: 64 }));
    let twice = BufferPoolConfig::builder().class(8, 1).class(8, 2).build();
    assert_eq!(twice, Err(ConfigError::DuplicateSize { size: 8 }));
    assert_eq!(from(&[(8, 1), (4, 2)]).unwrap().classes(), [(4, 2), (8, 1)].map(ClassConfig::from));
}

enum Held {
    Buffer(PooledBuffer),
    Shared(PooledBytes),
    Plain(Bytes),
}

impl Held {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Shared(shared) => shared,
            Self::Plain(bytes) => bytes,
        }
    }
}
