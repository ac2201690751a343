//! Who is served when memory is short: the queue's guarantees, and wakers that misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SMALL: usize = 64;
const LARGE: usize = 1024;

fn limited(classes: &[(usize, usize)], limit: usize, cache: usize) -> BufferPool {
    let builder = BufferPoolConfig::builder().classes(classes.iter().copied()).decay_interval(None);
    BufferPool::new(builder.thread_cache_bytes(cache).memory_limit(limit).build().unwrap())
}

/// Small and large buffers, and no thread caches.
fn mixed(limit: usize) -> BufferPool {
    limited(&[(SMALL, 256), (LARGE, 16)], limit, 0)
}

fn poll_with(future: &mut Acquire, waker: &Waker) -> Poll<Result<PooledBuffer, AcquireError>> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn poll_once(future: &mut Acquire) -> Poll<Result<PooledBuffer, AcquireError>> {
    poll_with(future, Waker::noop())
}

/// A waiter in the queue.
fn waiting(pool: &BufferPool, size: usize) -> Acquire {
    waiting_with(pool, size, Waker::noop())
}

fn waiting_with(pool: &BufferPool, size: usize, waker: &Waker) -> Acquire {
    let mut future = pool.acquire_async(size);
    assert!(poll_with(&mut future, waker).is_pending(), "{}", pool.stats());
    future
}

fn filled(pool: &BufferPool, size: usize) -> PooledBuffer {
    let mut buffer = pool.acquire(size);
    buffer.resize(size, 7);
    buffer
}

fn hold(pool: &BufferPool, size: usize, count: usize) -> Vec<PooledBuffer> {
    (0..count).map(|_| pool.try_acquire(size).unwrap()).collect()
}

#[test]
fn large_requests_leave_small_ones_half_of_the_limit() {
    let pool = mixed(4 * LARGE);
    let large: Vec<_> = (0..4).map_while(|_| pool.try_acquire(LARGE).ok()).collect();
    assert_eq!(large.len(), 2);
    hold(&pool, SMALL, 2 * LARGE / SMALL);
}

#[test]
fn small_requests_may_use_the_whole_limit() {
    let pool = mixed(4 * LARGE);
    hold(&pool, SMALL, 4 * LARGE / SMALL);
}

#[test]
fn a_limit_of_one_largest_buffer_serves_each_class() {
    let pool = mixed(LARGE);
    for size in [SMALL, LARGE, SMALL, LARGE] {
        drop(pool.try_acquire(size).unwrap());
    }
}

#[test]
fn a_small_waiter_passes_a_large_one() {
    let pool = mixed(LARGE);
    let mut held = hold(&pool, SMALL, LARGE / SMALL);
    let (mut large, mut small) = (waiting(&pool, LARGE), waiting(&pool, SMALL));
    held.pop();
    assert!(poll_once(&mut small).is_ready());
    assert!(poll_once(&mut large).is_pending());
}

#[test]
fn a_small_request_that_does_not_wait_passes_a_large_waiter() {
    let pool = mixed(LARGE);
    let held = hold(&pool, SMALL, 1);
    let large = waiting(&pool, LARGE);
    assert!(pool.try_acquire(SMALL).is_ok());
    drop((held, large));
}

#[test]
fn a_large_request_does_not_pass_a_small_waiter() {
    let pool = mixed(LARGE);
    let held = hold(&pool, SMALL, LARGE / SMALL);
    let mut small = waiting(&pool, SMALL);
    assert!(pool.try_acquire(LARGE).is_err());
    drop(held);
    assert!(poll_once(&mut small).is_ready());
}

#[test]
fn a_request_does_not_pass_a_waiter_of_its_class() {
    let pool = limited(&[(LARGE, 4)], LARGE, 0);
    let held = pool.acquire(LARGE);
    let (mut first, mut second) = (waiting(&pool, LARGE), waiting(&pool, LARGE));
    drop(held);
    assert!(poll_once(&mut second).is_pending());
    assert!(poll_once(&mut first).is_ready());
}

/// Lets small requests pass a large waiter until one is refused. Returns the bytes that passed.
fn pass(pool: &BufferPool) -> usize {
    let mut passed = 0;
    while let Ok(small) = pool.try_acquire(SMALL) {
        drop(small);
        passed += SMALL;
        assert!(passed < 100 * LARGE, "a large waiter starves");
    }
    passed
}

#[test]
fn a_large_waiter_is_passed_by_four_times_its_size() {
    let pool = mixed(LARGE);
    let held = hold(&pool, SMALL, 1);
    let mut large = waiting(&pool, LARGE);
    assert_eq!(pass(&pool), 4 * LARGE);
    drop(held);
    assert!(poll_once(&mut large).is_ready());
}

#[test]
fn a_large_waiter_that_was_passed_enough_collects_what_small_ones_have_beyond_their_reserve() {
    let pool = mixed(4 * LARGE);
    let mut held = hold(&pool, SMALL, 3 * LARGE / SMALL + 1);
    let mut large = waiting(&pool, LARGE);
    pass(&pool);
    held.pop();
    assert!(poll_once(&mut large).is_ready());
}

#[test]
fn small_requests_always_pass_within_their_reserve() {
    let pool = mixed(4 * LARGE);
    let held = hold(&pool, LARGE, 2);
    let large = waiting(&pool, LARGE);
    for _ in 0..10 {
        drop(hold(&pool, SMALL, 2 * LARGE / SMALL));
    }
    drop((held, large));
}

#[test]
fn a_waiter_between_a_stalled_large_one_and_small_requests_is_passed_by_four_times_its_size() {
    const MIDDLE: usize = 256;
    let pool = limited(&[(SMALL, 256), (MIDDLE, 16), (LARGE, 16)], 4 * LARGE, 0);
    let _stalled = hold(&pool, LARGE, 2);
    let mut small = VecDeque::new();
    small.extend(std::iter::from_fn(|| pool.try_acquire(SMALL).ok()));
    let _large = waiting(&pool, LARGE);
    let mut middle = waiting(&pool, MIDDLE);
    let mut passed = 0;
    while let Some(returned) = small.pop_front()
        && poll_once(&mut middle).is_pending()
    {
        drop(returned);
        if let Ok(next) = pool.try_acquire(SMALL) {
            small.push_back(next);
            passed += SMALL;
        }
        assert!(passed <= 4 * MIDDLE, "{}", pool.stats());
    }
    assert_eq!(pool.stats().waiting, 1, "only the large one waits");
}

#[test]
fn the_next_oldest_waiter_may_be_passed_as_often_as_the_first() {
    let pool = mixed(LARGE);
    let held = hold(&pool, SMALL, 1);
    let (first, second) = (waiting(&pool, LARGE), waiting(&pool, LARGE));
    pass(&pool);
    drop(first);
    assert_eq!(pass(&pool), 4 * LARGE);
    drop((held, second));
}

#[test]
fn after_a_cancelled_oldest_waiter_a_smaller_one_is_served() {
    let pool = mixed(LARGE);
    let held = hold(&pool, SMALL, 1);
    let large = waiting(&pool, LARGE);
    pass(&pool);
    let mut small = waiting(&pool, SMALL);
    drop(large);
    assert!(poll_once(&mut small).is_ready(), "{}", pool.stats());
    drop(held);
}

#[test]
fn the_pool_says_whether_tasks_wait() {
    let pool = limited(&[(LARGE, 4)], LARGE, 0);
    let held = pool.acquire(LARGE);
    assert!(!pool.has_waiters());
    let waiting = waiting(&pool, LARGE);
    assert!(pool.has_waiters());
    drop(held);
    assert!(!pool.has_waiters(), "it was served");
    drop(waiting);
}

#[test]
fn a_granted_buffer_counts_as_in_use_before_its_waiter_takes_it() {
    let pool = limited(&[(LARGE, 4)], LARGE, 0);
    let held = pool.acquire(LARGE);
    let waiting = waiting(&pool, LARGE);
    drop(held);
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.idle), (1, 0), "{stats}");
    drop(waiting);
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.idle), (0, 1), "{stats}");
}

#[test]
fn granted_room_counts_as_in_use_before_its_waiter_takes_it() {
    let pool = mixed(LARGE);
    let held = hold(&pool, SMALL, 1);
    let waiting = waiting(&pool, LARGE);
    drop(held);
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.live_bytes), (1, LARGE as u64), "{stats}");
    drop(waiting);
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.live_bytes), (0, 0), "{stats}");
}

#[test]
fn an_acquire_that_may_wait_takes_the_buffer_in_its_threads_cache_although_others_wait() {
    let pool = limited(&[(SMALL, 256), (LARGE, 16)], 16 * LARGE, 4 * LARGE);
    drop(pool.acquire(SMALL));
    let theirs = pool.clone();
    let other = thread::spawn(move || (hold(&theirs, LARGE, 8), waiting(&theirs, LARGE)));
    let (held, waiting) = other.join().unwrap();
    let hits = pool.stats().cache_hits;
    assert!(poll_once(&mut pool.acquire_async(SMALL)).is_ready());
    assert_eq!(pool.stats().cache_hits, hits + 1, "{}", pool.stats());
    drop((held, waiting));
}

/// Memory that becomes idle without a notice is found by the next poll.
#[test]
fn a_waiter_that_is_polled_again_finds_frozen_buffers_that_became_free() {
    let pool = limited(&[(LARGE, 16)], 32 * LARGE, 0);
    let mut frozen: Vec<Bytes> = (0..16).map(|_| filled(&pool, LARGE).freeze()).collect();
    let held = hold(&pool, LARGE, 16);
    let mut waiting = waiting(&pool, LARGE);
    frozen.pop();
    assert!(poll_once(&mut waiting).is_ready(), "{}", pool.stats());
    drop(held);
}

#[test]
fn a_waiter_that_is_polled_again_finds_the_idle_buffers_of_its_thread() {
    let pool = limited(&[(LARGE, 16)], 8 * LARGE, 8 * LARGE);
    let theirs = pool.clone();
    let held = thread::spawn(move || hold(&theirs, LARGE, 7)).join().unwrap();
    let frozen = filled(&pool, LARGE).freeze();
    let mut waiting = thread::scope(|scope| scope.spawn(|| waiting(&pool, LARGE)).join().unwrap());
    drop(frozen);
    assert!(poll_once(&mut waiting).is_ready(), "{}", pool.stats());
    drop(held);
}

/// Panics when it is woken.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

fn panics() -> Waker {
    Waker::from(Arc::new(Panics))
}

struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_waiter_after_one_whose_waker_panics_is_woken() {
    let pool = limited(&[(LARGE, 4), (2 * LARGE, 4)], 2 * LARGE, 0);
    let held = pool.acquire(2 * LARGE);
    let first = waiting_with(&pool, LARGE, &panics());
    let counts = Arc::new(Counts(AtomicUsize::new(0)));
    let second = waiting_with(&pool, LARGE, &Waker::from(Arc::clone(&counts)));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(held))).is_ok(), "the drop of a buffer panics");
    assert_eq!(counts.0.load(Ordering::SeqCst), 1);
    drop((first, second));
}

#[test]
fn a_waker_that_panics_in_a_flush_does_not_change_the_books() {
    let pool = limited(&[(LARGE, 1)], 64 * LARGE, 16 * LARGE);
    let mut frozen: Vec<_> = (0..6).map(|_| filled(&pool, LARGE).freeze()).collect();
    let theirs = pool.clone();
    let waiting = thread::spawn(move || {
        let held: Vec<_> = std::iter::from_fn(|| theirs.try_acquire(LARGE).ok()).collect();
        (waiting_with(&theirs, LARGE, &panics()), held)
    });
    let (waiting, held) = waiting.join().unwrap();
    frozen.remove(0);
    assert!(catch_unwind(AssertUnwindSafe(|| pool.flush_thread_cache())).is_ok());
    let granted = 1;
    assert_eq!(pool.stats().live_bytes as usize, (frozen.len() + held.len() + granted) * LARGE);
    drop((waiting, held, frozen));
    pool.trim();
    let stats = pool.stats();
    assert_eq!((stats.live_bytes, stats.in_use, stats.frozen), (0, 0, 0), "{stats}");
}

#[test]
fn a_buffer_that_is_returned_while_a_waker_panics_is_counted_as_returned() {
    let builder = BufferPoolConfig::builder().class(LARGE, 8).thread_cache_bytes(0);
    let builder = builder.memory_limit(2 * LARGE).decay_interval(Some(Duration::from_millis(1)));
    let pool = BufferPool::new(builder.build().unwrap());
    let frozen = filled(&pool, LARGE).freeze();
    let held = pool.try_acquire(LARGE).unwrap();
    let waiting = waiting_with(&pool, LARGE, &panics());
    drop(frozen);
    thread::sleep(Duration::from_millis(5)); // so that the return makes a step of decay
    assert!(catch_unwind(AssertUnwindSafe(|| drop(held))).is_ok());
    drop(waiting);
    assert_eq!(pool.stats().in_use, 0, "{}", pool.stats());
}

#[test]
fn a_thread_exits_although_a_waker_panics_in_the_flush_of_its_cache() {
    let pool = limited(&[(LARGE, 8)], 16 * LARGE, 4 * LARGE);
    let theirs = pool.clone();
    let (cached, was_cached) = mpsc::channel::<()>();
    let (exit, may_exit) = mpsc::channel::<()>();
    let other = thread::spawn(move || {
        drop([theirs.acquire(LARGE), theirs.acquire(LARGE)]);
        cached.send(()).unwrap();
        may_exit.recv().unwrap();
    });
    was_cached.recv().unwrap();
    let held: Vec<_> = std::iter::from_fn(|| pool.try_acquire(LARGE).ok()).collect();
    let mut waiting = waiting_with(&pool, LARGE, &panics());
    exit.send(()).unwrap();
    assert!(other.join().is_ok());
    assert!(poll_once(&mut waiting).is_ready());
    drop(held);
}

/// Panics when its last clone is dropped.
struct PanicsInDrop;

impl Wake for PanicsInDrop {
    fn wake(self: Arc<Self>) {
        std::mem::forget(self);
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn the_cancel_of_a_waiter_whose_waker_panics_in_its_drop_serves_the_next() {
    let pool = mixed(LARGE);
    let held = hold(&pool, SMALL, 1);
    let waker = Waker::from(Arc::new(PanicsInDrop));
    let large = waiting_with(&pool, LARGE, &waker);
    pass(&pool);
    let mut small = waiting(&pool, SMALL);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(waker))).is_ok(), "the waiter has a clone");
    assert!(catch_unwind(AssertUnwindSafe(|| drop(large))).is_ok());
    assert!(poll_once(&mut small).is_ready());
    drop(held);
}

#[test]
fn a_poll_does_not_fail_because_the_waker_before_panics_in_its_drop() {
    let pool = mixed(LARGE);
    let held = hold(&pool, LARGE, 1);
    let waker = Waker::from(Arc::new(PanicsInDrop));
    let mut large = waiting_with(&pool, LARGE, &waker);
    drop(waker);
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut large).is_ready())).is_ok());
    drop(held);
    assert!(poll_once(&mut large).is_ready());
}

/// Polls its future where it is woken.
struct Inline(Mutex<Option<Acquire>>);

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let future = self.0.lock().unwrap().take();
        if let Some(mut future) = future {
            assert!(poll_once(&mut future).is_ready());
        }
    }
}

#[test]
fn thirty_thousand_wakers_that_poll_inline_do_not_overflow_the_stack() {
    let pool = limited(&[(LARGE, 4)], LARGE, 0);
    let held = pool.acquire(LARGE);
    for _ in 0..30_000 {
        let inline = Arc::new(Inline(Mutex::new(None)));
        let future = waiting_with(&pool, LARGE, &Waker::from(Arc::clone(&inline)));
        *inline.0.lock().unwrap() = Some(future);
    }
    drop(held);
    let stats = pool.stats();
    assert_eq!((stats.waiting, stats.waits), (0, 30_000), "{stats}");
}

/// A cancel that searched the queue would take minutes here.
#[test]
fn a_hundred_thousand_waiters_are_cancelled_in_any_order() {
    let pool = limited(&[(LARGE, 4)], LARGE, 0);
    let held = pool.acquire(LARGE);
    let mut queue: Vec<_> = (0..100_000).map(|_| waiting(&pool, LARGE)).collect();
    while let Some(newest) = queue.pop() {
        drop(newest);
    }
    assert_eq!(pool.stats().waiting, 0);
    drop(held);
}

const CLASSES: [usize; 4] = [64, 256, 1024, 4096];

#[derive(Clone, Debug)]
enum Step {
    Acquire(usize),
    Wait(usize),
    Poll(usize),
    Cancel(usize),
    Return(usize),
    Freeze(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let class = 0..CLASSES.len();
    let step = prop_oneof![
        3 => class.clone().prop_map(Step::Acquire),
        3 => class.prop_map(Step::Wait),
        2 => any::<usize>().prop_map(Step::Poll),
        1 => any::<usize>().prop_map(Step::Cancel),
        4 => any::<usize>().prop_map(Step::Return),
        1 => any::<usize>().prop_map(Step::Freeze),
    ];
    prop::collection::vec(step, 1..300)
}

/// What the pool should do, as far as it is promised.
struct World {
    pool: BufferPool,
    held: Vec<PooledBuffer>,
    /// By age.
    waiting: BTreeMap<usize, (Acquire, usize)>,
    next: usize,
}

impl World {
    fn new(limit: usize) -> Self {
        let pool = limited(&CLASSES.map(|size| (size, 64)), limit, 0);
        Self { pool, held: Vec::new(), waiting: BTreeMap::new(), next: 0 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Acquire(class) => self.held.extend(self.pool.try_acquire(CLASSES[class])),
            Step::Wait(class) => {
                let mut future = self.pool.acquire_async(CLASSES[class]);
                match poll_once(&mut future) {
                    Poll::Ready(buffer) => self.held.push(buffer.unwrap()),
                    Poll::Pending => drop(self.waiting.insert(self.next, (future, class))),
                }
                self.next += 1;
            }
            Step::Poll(at) => {
                if let Some(number) = self.nth_waiter(at)
                    && let Poll::Ready(buffer) = poll_once(&mut self.waiting.get_mut(&number).unwrap().0)
                {
                    self.waiting.remove(&number);
                    self.held.push(buffer.unwrap());
                }
            }
            Step::Cancel(at) => {
                if let Some(number) = self.nth_waiter(at) {
                    self.waiting.remove(&number);
                }
            }
            Step::Return(at) => {
                if !self.held.is_empty() {
                    self.held.swap_remove(at % self.held.len());
                }
            }
            Step::Freeze(at) => {
                if !self.held.is_empty() {
                    let mut buffer = self.held.swap_remove(at % self.held.len());
                    buffer.extend_from_slice(b"x");
                    drop(buffer.freeze());
                }
            }
        }
    }

    fn nth_waiter(&self, n: usize) -> Option<usize> {
        self.waiting.keys().nth(n.checked_rem(self.waiting.len())?).copied()
    }

    /// Takes what was granted, and checks the promises.
    fn check(&mut self) {
        let mut failed = Vec::new();
        let (numbers, before): (Vec<_>, _) = (self.waiting.keys().copied().collect(), self.pool.stats());
        for number in numbers {
            let (future, class) = self.waiting.get_mut(&number).unwrap();
            let class = *class;
            match poll_once(future) {
                Poll::Ready(buffer) => {
                    self.waiting.remove(&number);
                    self.held.push(buffer.unwrap());
                }
                Poll::Pending => failed.push(class),
            }
        }
        let stats = self.pool.stats();
        assert_eq!(stats.waiting as usize, failed.len(), "{before}\n{stats}");
        assert_eq!(stats.in_use as usize, self.held.len(), "{stats}");
        assert_eq!(self.pool.has_waiters(), !failed.is_empty());
        let memory = &self.pool.core.memory;
        assert!(stats.high_water_bytes as usize <= memory.limit());
        if let Some(&oldest) = failed.first() {
            // All that is idle is within reach: nothing is in a cache, and the service looked at the frozen.
            let idle = |class: usize| stats.classes[class].idle_bytes() as usize;
            assert!(!memory.fits_without(oldest, idle), "the oldest waits although it fits: {stats:#}");
        }
    }
}

proptest! {
    #[test]
    fn after_any_steps_the_oldest_waiter_waits_for_memory_in_use_only(
        steps in steps(),
        limit in CLASSES[3]..5 * CLASSES[3],
    ) {
        let mut world = World::new(limit);
        for step in &steps {
            world.step(step);
            world.check();
        }
        // Once all buffers are returned, each waiter is served.
        while !world.waiting.is_empty() {
            world.held.clear();
            let before = world.waiting.len();
            world.check();
            prop_assert!(world.waiting.len() < before, "{}", world.pool.stats());
        }
        drop(world.held);
        world.pool.trim();
        let stats = world.pool.stats();
        prop_assert_eq!((stats.live_bytes, stats.in_use, stats.frozen), (0, 0, 0));
        prop_assert_eq!(stats.acquires, stats.returns);
    }
}
