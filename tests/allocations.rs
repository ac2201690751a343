//! Heap blocks and bytes of every kind of handle in steady state, counted by dhat.
//!
//! Without the test harness, whose own thread allocates at any time.

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;

use bytes::{Buf, Bytes};
use dhat::HeapStats;
use millpond::{BufferPool, BufferPoolConfig, BytesQueue, PooledBytes};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const OPERATIONS: usize = 10_000;
/// The block that `Bytes::from_owner` allocates.
const OWNER_BYTES: usize = 32;

/// What `OPERATIONS` operations allocated, reallocations included, and by how much they raised the peak of the heap.
#[derive(Debug, PartialEq)]
struct Spent {
    blocks: usize,
    bytes: usize,
    peak: usize,
}

const NOTHING: Spent = Spent { blocks: 0, bytes: 0, peak: 0 };

/// What the operations spend after as many to warm up.
fn spent(mut operation: impl FnMut()) -> Spent {
    (0..OPERATIONS).for_each(|_| operation());
    let before = HeapStats::get();
    (0..OPERATIONS).for_each(|_| operation());
    let after = HeapStats::get();
    Spent {
        blocks: (after.total_blocks - before.total_blocks) as usize,
        bytes: (after.total_bytes - before.total_bytes) as usize,
        peak: after.max_bytes - before.max_bytes,
    }
}

fn main() {
    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(4)).build();
    no_route_allocates_in_steady_state();
    println!("test result: ok. {OPERATIONS} operations of each route");
}

fn no_route_allocates_in_steady_state() {
    for (size, limit) in [(64, usize::MAX), (1024, usize::MAX), (60_000, usize::MAX), (1024, 4 << 20)] {
        // Without decay: on a slow machine a step between two operations would free idle buffers, and the next
        // operation would allocate.
        let config = BufferPoolConfig::messages().to_builder().memory_limit(limit).decay_interval(None);
        let pool = BufferPool::new(config.build().unwrap());
        let other = BufferPool::new(BufferPoolConfig::messages());
        let filled = || {
            let mut buffer = pool.acquire(size);
            buffer.resize(size / 2, 1);
            buffer
        };
        assert_eq!(spent(|| drop(black_box(filled()))), NOTHING, "acquire and drop, {size} B");
        assert_eq!(spent(|| drop(black_box(filled().freeze()))), NOTHING, "freeze, {size} B");
        assert_eq!(spent(|| drop(black_box(filled().into_shared()))), NOTHING, "share, {size} B");
        let cloned = || {
            let shared = filled().into_shared();
            drop(black_box((shared.clone(), shared.slice(1..5), shared)));
        };
        assert_eq!(spent(cloned), NOTHING, "share, clone, slice, {size} B");
        let tracked = || drop(black_box(filled().freeze_tracked()));
        let one_each = Spent { blocks: OPERATIONS, bytes: OPERATIONS * OWNER_BYTES, peak: 0 };
        assert_eq!(spent(tracked), one_each, "tracked, {size} B");
        let rewritten = || {
            let mut shared = filled().into_shared();
            shared.make_mut()[0] = 2;
            drop(black_box(shared.try_into_mut().unwrap()));
        };
        assert_eq!(spent(rewritten), NOTHING, "share, write, take back, {size} B");
        let copied = || {
            let shared = filled().into_shared();
            let mut other = shared.clone();
            other.make_mut()[0] = 2;
            drop(black_box((other.slice(..1).detach(1), other)));
        };
        assert_eq!(spent(copied), NOTHING, "copy on write, {size} B");
        let into_bytes = || drop(black_box(Bytes::from(filled().into_shared())));
        assert_eq!(spent(into_bytes), NOTHING, "share, into Bytes, {size} B");
        let given_away = || {
            let mut shared = filled().into_shared();
            shared.advance(4);
            let all = shared.copy_to_bytes(shared.len());
            drop(black_box((all, shared)));
        };
        assert_eq!(spent(given_away), NOTHING, "share, copy all to Bytes, {size} B");
        let advanced = || {
            let mut buffer = filled();
            buffer.advance(size / 4 + 1);
            buffer.reserve(size / 2); // in the room of what was read
            drop(black_box(buffer));
        };
        assert_eq!(spent(advanced), NOTHING, "advance, reserve, {size} B");
        let mut queue = BytesQueue::new();
        let queued = || {
            queue.extend([filled().into_shared(), filled().into_shared()]);
            queue.advance(size / 2 + 1);
            drop(black_box(queue.pop()));
        };
        assert_eq!(spent(queued), NOTHING, "push to a queue, advance, pop, {size} B");
        let alternate = || drop(black_box((filled(), other.acquire(size))));
        assert_eq!(spent(alternate), NOTHING, "two pools in turn, {size} B");

        // The most that can be in use at once: four in the channel, one at each end.
        drop((0..6).map(|_| filled().freeze()).collect::<Vec<_>>());
        let (send, receive) = sync_channel::<Bytes>(4);
        let reader = thread::spawn(move || receive.into_iter().map(|bytes| bytes.len()).sum::<usize>());
        assert_eq!(
            spent(|| send.send(filled().freeze()).unwrap()),
            NOTHING,
            "freeze, drop elsewhere, {size} B"
        );
        drop(send);
        assert_eq!(reader.join().unwrap(), 2 * OPERATIONS * (size / 2));

        let (send, receive) = sync_channel::<PooledBytes>(4);
        let reader = thread::spawn(move || receive.into_iter().map(|bytes| bytes.len()).sum::<usize>());
        // As many as the other thread keeps before it spills, and as the channel holds.
        drop((0..1100).map(|_| pool.acquire(size)).collect::<Vec<_>>());
        let across = || send.send(filled().into_shared()).unwrap();
        assert_eq!(spent(across), NOTHING, "share, drop elsewhere, {size} B");
        drop(send);
        reader.join().unwrap();
    }
}
