//! Heap allocations of every route in steady state, counted by the allocator, not reasoned.
//!
//! One test, so that no other thread allocates meanwhile.

use std::alloc::System;
use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;

use bytes::Bytes;
use millpond::{BufferPool, BufferPoolConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const OPERATIONS: usize = 10_000;

/// Allocations over the operations, after as many to warm up.
fn allocations(mut operation: impl FnMut()) -> usize {
    (0..OPERATIONS).for_each(|_| operation());
    let before = ALLOCATOR.stats();
    (0..OPERATIONS).for_each(|_| operation());
    let spent = ALLOCATOR.stats() - before;
    spent.allocations + spent.reallocations
}

#[test]
fn no_route_allocates_in_steady_state() {
    for size in [64, 1024, 60_000] {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let other = BufferPool::new(BufferPoolConfig::messages());
        let filled = || {
            let mut buffer = pool.acquire(size);
            buffer.resize(size / 2, 1);
            buffer
        };
        assert_eq!(allocations(|| drop(black_box(filled()))), 0, "acquire and drop, {size} B");
        assert_eq!(allocations(|| drop(black_box(filled().freeze()))), 0, "freeze, {size} B");
        assert_eq!(allocations(|| drop(black_box(filled().into_shared()))), 0, "share, {size} B");
        let cloned = || {
            let shared = filled().into_shared();
            drop(black_box((shared.clone(), shared.slice(1..5), shared)));
        };
        assert_eq!(allocations(cloned), 0, "share, clone, slice, {size} B");
        let into_bytes = || drop(black_box(Bytes::from(filled().into_shared())));
        assert_eq!(allocations(into_bytes), 0, "share, into Bytes, {size} B");
        let alternate = || drop(black_box((filled(), other.acquire(size))));
        assert_eq!(allocations(alternate), 0, "two pools in turn, {size} B");

        // As many as can be out at once: four in the channel, one at either end. However the threads are
        // scheduled, that is the most the pool ever needs.
        drop((0..6).map(|_| filled().freeze()).collect::<Vec<_>>());
        let (send, receive) = sync_channel::<Bytes>(4);
        let reader = thread::spawn(move || receive.into_iter().map(|bytes| bytes.len()).sum::<usize>());
        assert_eq!(
            allocations(|| send.send(filled().freeze()).unwrap()),
            0,
            "freeze, drop elsewhere, {size} B"
        );
        drop(send);
        assert_eq!(reader.join().unwrap(), 2 * OPERATIONS * (size / 2));
    }
}
