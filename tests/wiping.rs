//! A wiping pool overwrites returned storage, after every kind of return.
//!
//! No safe call shows the old bytes, so these tests read the storage by its address, and freed memory in the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{Buf, Bytes};
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer, PooledBytes};

#[test]
fn storage_is_overwritten_after_every_kind_of_return() {
    type Way = (&'static str, fn(PooledBuffer));
    let ways: [Way; 7] = [
        ("drop", drop),
        ("cleared before", |mut buffer| buffer.clear()),
        ("shared", |buffer| drop(buffer.into_shared())),
        ("shared by several", |buffer| {
            let shared = buffer.into_shared();
            drop((shared.clone(), shared));
        }),
        ("frozen", |buffer| drop(buffer.freeze())),
        ("tracked", |buffer| drop(buffer.freeze_tracked())),
        ("shared, then bytes", |buffer| drop(Bytes::from(buffer.into_shared()))),
    ];
    for cache in [0, 1 << 20] {
        for wipe in [false, true] {
            for (name, way) in ways {
                let config = BufferPoolConfig::builder().class(128, 4).wipe_on_return(wipe);
                let pool = BufferPool::new(config.thread_cache_bytes(cache).build().unwrap());
                let mut buffer = pool.acquire(128);
                buffer.resize(128, 0x5A);
                let address = buffer.as_ptr();
                way(buffer);
                let again = pool.acquire(128);
                assert_eq!(again.as_ptr(), address, "{name}: the same storage");
                assert!(again.is_empty());
                // SAFETY: `again` owns the 128 bytes at `address`, and the owner before wrote all of them.
                let left = unsafe { std::slice::from_raw_parts(address, 128) };
                let expected = if wipe { 0 } else { 0x5A };
                assert!(left.iter().all(|&byte| byte == expected), "{name}, cache {cache}, wiping {wipe}");
            }
        }
    }
}

/// Looks at each block of a tested size that is freed in this thread.
struct Watch;

const SECRET: u8 = 0x5A;
const CLASS: usize = 12_345;
/// Of the heap, as no class is as large.
const LARGE: usize = 23_456;

thread_local!(static LEFT: Cell<usize> = const { Cell::new(0) });

// SAFETY: every call is forwarded to `System`. Each block is zeroed first, so all of it can be read before it is freed.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if [CLASS, LARGE].contains(&layout.size()) {
            // SAFETY: the block is initialized, and not freed yet.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            let left = bytes.iter().filter(|&&byte| byte == SECRET).count();
            let _ = LEFT.try_with(|all| all.set(all.get() + left));
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Watch = Watch;

/// Storage from the heap was wiped from where its view started, so bytes that were read before stayed in freed memory.
#[test]
fn storage_of_which_the_first_bytes_were_read_is_overwritten_whole() {
    type Way = (&'static str, fn(PooledBuffer));
    let ways: [Way; 14] = [
        ("buffer, dropped", |mut buffer| buffer.advance(600)),
        ("buffer, all read", |mut buffer| buffer.advance(buffer.len())),
        ("buffer, frozen", |mut buffer| {
            buffer.advance(600);
            drop(buffer.freeze());
        }),
        ("buffer, tracked", |mut buffer| {
            buffer.advance(600);
            drop(buffer.freeze_tracked());
        }),
        ("buffer, grown in place", |mut buffer| {
            buffer.advance(buffer.len() - 100);
            buffer.reserve(10_000);
        }),
        ("buffer, grown", |mut buffer| {
            buffer.advance(600);
            buffer.truncate(9000);
            buffer.reserve(50_000);
        }),
        ("shared, dropped", |buffer| buffer.into_shared().advance(600)),
        ("shared, into a buffer", |buffer| drop(advanced(buffer).try_into_mut().unwrap())),
        ("shared, into bytes", |buffer| drop(Bytes::from(advanced(buffer)))),
        ("shared, into a buffer and frozen", |buffer| {
            drop(advanced(buffer).try_into_mut().unwrap().freeze());
        }),
        ("shared, into a buffer and grown", |buffer| {
            let mut buffer = advanced(buffer).try_into_mut().unwrap();
            buffer.clear();
            buffer.reserve(50_000);
        }),
        ("shared, copied on write", |buffer| {
            let mut shared = advanced(buffer);
            let other = shared.clone();
            shared.make_mut().fill(0);
            drop(other.try_into_mut().unwrap());
        }),
        ("shared, detached", |buffer| {
            let mut shared = advanced(buffer).slice(..10);
            assert!(shared.detach(8));
            shared.make_mut().fill(0);
        }),
        ("a slice, as bytes", |buffer| drop(Bytes::from(buffer.into_shared().slice(600..700)))),
    ];
    for cache in [0, 1 << 20] {
        for size in [CLASS, LARGE] {
            for (name, way) in ways {
                LEFT.set(0);
                let config = BufferPoolConfig::builder().class(16, 4).class(CLASS, 4).wipe_on_return(true);
                let pool = BufferPool::new(config.thread_cache_bytes(cache).build().unwrap());
                let mut buffer = pool.acquire(size);
                buffer.resize(size, SECRET);
                way(buffer);
                pool.trim();
                assert_eq!(pool.stats().live_bytes, 0);
                assert_eq!(LEFT.get(), 0, "{name}, {size} bytes, cache {cache}: secrets in freed memory");
            }
        }
    }
}

/// An acquire at the memory limit gets storage of a class's size from the heap.
#[test]
fn storage_of_an_overrun_is_overwritten_whole() {
    let config = BufferPoolConfig::builder().class(CLASS, 4).wipe_on_return(true).memory_limit(CLASS);
    let pool = BufferPool::new(config.build().unwrap());
    let _held = pool.acquire(CLASS);
    let ways: [fn(PooledBytes); 3] =
        [|shared| drop(Bytes::from(shared)), |shared| drop(shared.try_into_mut().unwrap()), drop];
    for way in ways {
        LEFT.set(0);
        let mut buffer = pool.acquire(CLASS);
        buffer.resize(CLASS, SECRET);
        way(advanced(buffer));
        assert_eq!(LEFT.get(), 0);
    }
}

fn advanced(buffer: PooledBuffer) -> PooledBytes {
    let mut shared = buffer.into_shared();
    shared.advance(600);
    shared
}
