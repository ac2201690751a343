//! Made and frozen on one thread, dropped on another: a proxy's pattern.
//!
//! 64 bytes are written, whatever the size: the rows tell the price of the storage's way, not of a copy.
//!
//! Messages cross in batches, each thread stays on a processor of its own, and neither sleeps within a slice: while one
//! drops a batch, the other makes the next. A channel of single messages would measure who sleeps when, in two modes.

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::contest::{Contestant, contest};
use crate::contestants::{KIB, heap, route};
use crate::outcome::{Role, Row};

/// Messages per batch.
const BATCH: u64 = 64;
/// Batches under way, at most.
const BATCHES: usize = 4;
/// Longer than elsewhere: a slice starts with a wake-up of the other thread.
const SLICE: Duration = Duration::from_millis(10);

pub(crate) fn rows() -> Vec<Row> {
    vec![contest("1 KiB", SLICE, contestants(KIB)), contest("16 KiB", SLICE, contestants(16 * KIB))]
}

fn contestants(size: usize) -> Vec<Contestant> {
    let (ours, rival) = (Role::Ours, Role::Rival);
    let named = heap::named;
    vec![
        Contestant::batched(ours, "freeze", handed_over(route::freeze(size))),
        Contestant::batched(ours, "into_shared", handed_over(route::into_shared(size))),
        Contestant::batched(rival, named("BytesMut"), handed_over(route::bytes_mut(size))),
        Contestant::batched(rival, named("split().freeze()"), handed_over(route::split(size))),
        Contestant::batched(rival, named("from_owner(PooledBuffer)"), handed_over(route::owned_pooled(size))),
        Contestant::batched(rival, named("from_owner(Vec)"), handed_over(route::owned_vec(size))),
        // What the hand-over itself takes of all the others' numbers.
        Contestant::batched(Role::Limit, "the hand-over alone", handed_over(|| Bytes::from_static(&[7; 64]))),
    ]
}

/// Vectors go round: filled by the maker, emptied by the dropper, never freed.
struct Batches<T> {
    full: ArrayQueue<Vec<T>>,
    empty: ArrayQueue<Vec<T>>,
}

impl<T> Batches<T> {
    fn new() -> Self {
        let batches = Self { full: ArrayQueue::new(BATCHES), empty: ArrayQueue::new(BATCHES) };
        (0..BATCHES).for_each(|_| drop(batches.empty.push(Vec::with_capacity(BATCH as usize))));
        batches
    }
}

/// Makes this many messages here, in whole batches, and waits until a thread of its own has dropped them.
fn handed_over<T: Send + 'static>(make: impl Fn() -> T + 'static) -> impl FnMut(u64) + 'static {
    let batches = Arc::new(Batches::new());
    let (start, starts) = sync_channel(1);
    let dropper = Arc::clone(&batches);
    // It ends with the channel.
    thread::spawn(move || {
        let _pinned = Pinned::to(1);
        for count in starts {
            for _ in 0..count {
                let mut batch: Vec<T> = spin(|| dropper.full.pop());
                batch.drain(..).for_each(|message| drop(black_box(message)));
                drop(dropper.empty.push(batch));
            }
        }
    });
    move |times| {
        let _pinned = Pinned::to(0);
        let count = times.div_ceil(BATCH);
        start.send(count).expect("the dropper lives");
        for _ in 0..count {
            let mut batch = spin(|| batches.empty.pop());
            batch.extend((0..BATCH).map(|_| make()));
            drop(batches.full.push(batch));
        }
        spin(|| batches.empty.is_full().then_some(()));
    }
}

/// Lets others run now and then: on a busy machine the other thread may need this processor.
fn spin<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    loop {
        for _ in 0..10_000 {
            if let Some(found) = poll() {
                return found;
            }
            spin_loop();
        }
        thread::yield_now();
    }
}

/// Keeps the current thread on one processor until it is dropped.
struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// To the n-th of those that the process may use, or to the first if there are fewer.
    fn to(n: usize) -> Self {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).expect("the kernel knows this thread");
        let mut usable = (0..CpuSet::count()).filter(|&cpu| before.is_set(cpu).unwrap_or(false));
        let first = usable.next().expect("it runs somewhere");
        let mut only = CpuSet::new();
        only.set(usable.nth(n.wrapping_sub(1)).filter(|_| n > 0).unwrap_or(first)).expect("it is in the set");
        sched_setaffinity(this, &only).expect("a subset of what it may use");
        Self { before }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}
