//! The whole pool: closing, evicting, trimming, decay.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::chains::Chain;
use super::class::Class;
use super::clock::Clock;
use super::memory::Memory;
use super::slot::{Frozen, Slot};
use super::snapshot::Registry;
use super::waiters::Waiters;
use crate::pool::config::{BufferPoolConfig, OnDecay};
#[cfg(feature = "std")]
use crate::pool::hooks::Countdown;
use crate::pool::hooks::{HolderReport, Hooks, Request, Switches};
use crate::pool::stats::Counters;
use crate::size::SizeClasses;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::statistic::{AtomicBool, AtomicUsize as Number};
use crate::sync::{Arc, Mutex, Unique};

/// The part of a pool that its handles, slots and thread caches share.
///
/// Slots point to the core, and its queues own slots: a cycle, which [`close`](Core::close) cuts when the last
/// `BufferPool` handle is dropped. Buffers in use at that time are freed when they are returned.
pub(in crate::pool) struct Core {
    pub(in crate::pool) sizes: SizeClasses,
    classes: Box<[Class]>,
    /// The state word. Every return reads it; writes are rare.
    ///
    /// | bits | meaning | set | cleared |
    /// |---|---|---|---|
    /// | 0 | [`CLOSED`]: the last `BufferPool` handle was dropped | by `close` | never |
    /// | 1 | [`WAITING`]: the queue of waiters is not empty | by the first waiter | when the queue is empty |
    /// | 2.. | number of the step of decay | each step adds 1 | wraps |
    state: AtomicUsize,
    /// Bytes of ready buffers, and of frozen ones, that one thread may keep.
    pub(in crate::pool) thread_cache_bytes: usize,
    /// Whether an acquire at the limit may take a ready buffer of the next class.
    pub(in crate::pool) next_class: bool,
    /// Optional work on every buffer.
    pub(in crate::pool) hooks: Option<Hooks>,
    pub(in crate::pool) memory: Memory,
    pub(in crate::pool) waiters: Waiters,
    pub(in crate::pool) clock: Clock,
    on_decay: OnDecay,
    /// Bytes that steps of decay freed within an acquire or a return, where no function of the user's may run.
    unreported: Number,
    /// Frozen slots of exited threads for which their queue had no place.
    overflow: Mutex<VecDeque<Frozen>>,
    /// Whether `overflow` has slots.
    has_overflow: AtomicBool,
    pub(super) registry: Mutex<Registry>,
    /// Counters of operations without a thread cache, as in a thread whose locals are destroyed.
    pub(super) cacheless: Counters,
}

pub(in crate::pool) const CLOSED: usize = 1;
pub(in crate::pool) const WAITING: usize = 2;
/// One step of decay in the state word.
const STEP: usize = 4;
/// The most frozen slots in use that one acquire looks at in one shared queue. The oldest is the most likely to be free. If
/// a few live long, an acquire must not walk over all of them.
pub(in crate::pool) const FROZEN_SCAN: usize = 8;
/// The same for each further poll of a waiter. Thousands may wait, and be polled for other reasons, beside tens of thousands
/// of frozen slots. What was looked at moves to the end of the queue, so repeated polls see all.
const POLL_SCAN: usize = 128;

impl Core {
    pub(in crate::pool) fn new(config: &BufferPoolConfig) -> Self {
        let (switches, config) = Switches::from_environment(config);
        let table = config.classes();
        let exact = config.memory_limit() != usize::MAX;
        let sizes = SizeClasses::new(table.iter().map(|class| class.size).collect());
        Self {
            classes: table.iter().map(|class| Class::new(class.size, class.capacity, exact)).collect(),
            state: AtomicUsize::new(0),
            thread_cache_bytes: config.thread_cache_bytes(),
            next_class: config.serves_from_next_class(),
            hooks: Hooks::new(&config, switches),
            memory: Memory::new(config.memory_limit(), sizes.all(), config.thread_cache_bytes() > 0),
            waiters: Waiters::new(table.len()),
            clock: Clock::new(config.decay_interval()),
            on_decay: config.on_decay(),
            unreported: Number::new(0),
            overflow: Mutex::new(VecDeque::new()),
            has_overflow: AtomicBool::new(false),
            registry: Mutex::new(Registry::new(table.len())),
            cacheless: Counters::new(table.len()),
            sizes,
        }
    }

    pub(in crate::pool) fn classes(&self) -> &[Class] {
        &self.classes
    }

    #[inline]
    pub(in crate::pool) fn class(&self, index: usize) -> Option<&Class> {
        self.classes.get(index)
    }

    /// The leak report, if it is on.
    pub(in crate::pool) fn holders(&self) -> Option<HolderReport> {
        let detector = self.hooks.as_ref()?.detector.as_ref()?;
        Some(detector.report(|class| self.class_size(class)))
    }

    /// Bytes of a buffer of the class; 0 for the heap.
    #[inline]
    pub(in crate::pool) fn class_size(&self, index: usize) -> usize {
        self.class(index).map_or(0, |class| class.size)
    }

    /// The class index that stands for the heap.
    #[inline]
    pub(in crate::pool) fn heap(&self) -> usize {
        self.classes.len()
    }

    /// The state word. It may be stale.
    #[inline]
    pub(in crate::pool) fn state(&self) -> usize {
        // Ordering: Relaxed. With a stale word the fast path keeps a buffer in its cache, within the lease, that it
        // should push: the next flush of the cache calls `serve_or_sweep`. Where a missed bit would lose a buffer or a
        // wake-up, `serve_or_sweep` loads the word after a fence.
        self.state.load(Ordering::Relaxed)
    }

    pub(in crate::pool) fn is_closed(&self) -> bool {
        self.state() & CLOSED != 0
    }

    /// Sets a bit. Each `serve_or_sweep` either sees it, or what was pushed before it is visible after this call.
    fn raise(&self, bit: usize) {
        // Ordering: Relaxed, as the fence after it orders it; see `serve_or_sweep`.
        self.state.fetch_or(bit, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Closes the pool after its last handle was dropped, and frees the idle buffers.
    pub(in crate::pool) fn close(&self) {
        self.raise(CLOSED);
        self.sweep();
    }

    /// Sets [`WAITING`].
    pub(in crate::pool) fn raise_waiting(&self) {
        self.raise(WAITING);
    }

    /// Clears [`WAITING`], as the queue is empty. The caller holds the lock of the waiters.
    pub(in crate::pool) fn lower_waiting(&self) {
        // Ordering: Relaxed. A thread that still sees the bit finds an empty queue.
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
    }

    /// Counts a step of decay in the state word.
    pub(in crate::pool) fn count_step(&self) {
        // Ordering: Relaxed. A hint to the threads to spill what they do not need.
        self.state.fetch_add(STEP, Ordering::Relaxed);
    }

    /// The steps of decay so far.
    #[cfg(test)]
    pub(in crate::pool) fn steps(&self) -> usize {
        self.state() / STEP
    }

    /// Serves waiters, or empties the queues of a closed pool. Must follow every push, or run of pushes, to a shared queue,
    /// and every release of memory.
    ///
    /// The race with `close`, and with a new waiter, has two outcomes. If this thread sees the bit, it sweeps or serves.
    /// If not, its pushes and releases are visible to the sweep, or to the first try of the waiter.
    pub(in crate::pool) fn serve_or_sweep(&self) {
        // Ordering: SeqCst. This fence and the one in `raise` are in one total order. If this one is first, what was
        // pushed or released before it is visible after the other; if the other is first, this thread sees the bit.
        // Acquire and Release do not order a store (the push) before a load (of the word).
        fence(Ordering::SeqCst);
        let state = self.state();
        if state & CLOSED != 0 {
            self.sweep();
        } else if state & WAITING != 0 {
            self.serve_waiters();
        }
    }

    /// Empties the queues of a closed pool.
    fn sweep(&self) {
        self.find_free(usize::MAX);
        for class in &self.classes {
            while let Some(slot) = class.pop_ready() {
                drop(slot);
            }
            while let Some(chain) = class.frozen.pop() {
                class.frozen.vacate(chain.count());
            }
        }
        drop(self.pop_overflow(usize::MAX));
    }

    /// Reserves the bytes of one buffer of the class. Returns whether they fit.
    pub(in crate::pool) fn reserve(&self, index: usize) -> bool {
        let class = self.class(index).filter(|_| self.memory.reserve(index));
        class.inspect(|class| class.count_made()).is_some()
    }

    /// A slot with new storage of the class. The caller has [reserved](Self::reserve) its bytes.
    pub(in crate::pool) fn make(core: &Arc<Self>, index: usize) -> Unique<Slot> {
        Slot::new(core, index, core.class_size(index))
    }

    /// Undoes [`reserve`](Self::reserve). Called by the drop of a slot.
    pub(in crate::pool) fn unmake(&self, index: usize) {
        if let Some(class) = self.class(index) {
            class.count_freed();
            self.memory.release(index);
        }
    }

    /// Counts storage of the class `from`, which was in use, as one of the smaller class `to`.
    pub(super) fn exchange(&self, from: usize, to: usize) {
        if let (Some(larger), Some(smaller)) = (self.class(from), self.class(to)) {
            self.memory.exchange(from, to);
            larger.count_freed();
            smaller.count_made();
            self.cacheless.of(from).returned.add(1);
            self.cacheless.of(to).made.add(1);
            self.serve_or_sweep();
        }
    }

    /// Pushes ready slots of one class to its shared queue, and frees those that do not fit.
    pub(in crate::pool) fn push_idle_and_serve(
        &self,
        class: &Class,
        slots: impl IntoIterator<Item = Unique<Slot>, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
    ) {
        self.push_idle(class, slots);
        self.serve_or_sweep();
    }

    /// The same, but the caller must call `serve_or_sweep`. Returns the bytes freed.
    pub(in crate::pool) fn push_idle(
        &self,
        class: &Class,
        slots: impl IntoIterator<Item = Unique<Slot>, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
    ) -> usize {
        let keeps = self.hooks.as_ref().is_none_or(|hooks| !hooks.keeps_nothing_shared());
        let freed = if keeps { class.push_ready(slots) } else { slots.into_iter().count() };
        freed * class.size
    }

    /// Pushes a frozen slot to the shared queue, or fails with it if there is no place or no lease for it.
    pub(in crate::pool) fn follow(&self, frozen: Frozen) -> Result<(), Frozen> {
        let Some(class) = self.class(frozen.class()).filter(|class| class.frozen.reserve(1) == 1) else {
            return Err(frozen);
        };
        if !self.memory.lease_all(class.size) {
            class.frozen.vacate(1);
            return Err(frozen);
        }
        class.frozen.push([frozen.0]);
        self.serve_or_sweep();
        Ok(())
    }

    /// Pushes a frozen slot of a thread that exits. Its lease moves with it.
    pub(in crate::pool) fn push_frozen_and_serve(&self, class: &Class, frozen: Frozen) {
        self.push_frozen(class, frozen);
        self.serve_or_sweep();
    }

    fn push_frozen(&self, class: &Class, frozen: Frozen) {
        if class.frozen.reserve(1) == 1 {
            class.frozen.push([frozen.0]);
        } else {
            self.push_overflow(frozen);
        }
    }

    #[cold]
    #[inline(never)] // named in .ci/tsan-suppressions
    fn push_overflow(&self, frozen: Frozen) {
        self.overflow.lock().push_back(frozen);
        // Ordering: Relaxed, a hint. A clear by `pop_overflow` before this push happens before this store, by the lock, so
        // the clear cannot hide the slot.
        self.has_overflow.store(true, Ordering::Relaxed);
    }

    /// Takes up to `count` of the oldest slots of the overflow.
    #[inline(never)] // named in .ci/tsan-suppressions
    fn pop_overflow(&self, count: usize) -> Vec<Frozen> {
        // Ordering: Relaxed, a hint that spares the lock. A thread that does not see it yet leaves the overflow to a later
        // look. The sweep of a closed pool sees it, by the fences of `raise` and `serve_or_sweep`.
        if !self.has_overflow.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut overflow = self.overflow.lock();
        let count = count.min(overflow.len());
        let taken = overflow.drain(..count).collect();
        // Ordering: Relaxed, a hint, stored under the lock; see `push_overflow`.
        self.has_overflow.store(!overflow.is_empty(), Ordering::Relaxed);
        taken
    }

    /// Whether [`reclaim_shared`](Self::reclaim_shared) has slots to look at, at some recent moment.
    pub(in crate::pool) fn has_frozen(&self, index: usize) -> bool {
        // Ordering: Relaxed, a hint. A thread that does not see it yet leaves the overflow to a later acquire.
        self.class(index).is_some_and(|class| class.frozen.len() > 0)
            || self.has_overflow.load(Ordering::Relaxed)
    }

    /// Passes slots found free to `found`, out of the first few frozen slots of the class's shared queue. The caller must
    /// call `serve_or_sweep`.
    pub(in crate::pool) fn reclaim_shared(&self, class: &Class, found: impl FnMut(Unique<Slot>)) {
        self.find_free_overflow(FROZEN_SCAN);
        self.scan_frozen(class, FROZEN_SCAN, false, found);
    }

    /// Passes slots found free to `found`, chain by chain, until it has seen `looks` slots in use, or, unless `all` are
    /// wanted, after the first chain with a free slot. Slots in use move to the end of the queue.
    pub(super) fn scan_frozen(
        &self,
        class: &Class,
        mut looks: usize,
        all: bool,
        mut found: impl FnMut(Unique<Slot>),
    ) {
        for _ in 0..class.frozen.chains() {
            let Some(mut chain) = class.frozen.pop() else { break };
            let (mut used, mut free) = (Chain::default(), 0);
            while looks > 0
                && let Some(slot) = chain.next()
            {
                match Frozen(slot).reclaim(class.size) {
                    Ok(mut slot) => {
                        slot.note_return();
                        self.memory.end_lease(class.size);
                        free += 1;
                        found(slot);
                    }
                    Err(frozen) => {
                        looks -= 1;
                        used.prepend(frozen.0);
                    }
                }
            }
            // First the slots that were not looked at, then those in use, in their order.
            class.frozen.push_chain(chain);
            class.frozen.push_chain(used.reversed());
            class.frozen.vacate(free);
            if looks == 0 || free > 0 && !all {
                break;
            }
        }
    }

    /// Pushes slots found free, among the first frozen ones of each shared queue, to the ready queues. Returns the bytes
    /// freed. The caller must call `serve_or_sweep`.
    fn find_free(&self, looks: usize) -> usize {
        let mut freed = self.find_free_overflow(looks);
        for class in &self.classes {
            self.scan_frozen(class, looks, true, |slot| freed += self.push_found_free(class, slot));
        }
        freed
    }

    /// Looks at the first frozen slots of each shared queue. The caller must call `serve_or_sweep`.
    pub(super) fn find_some_free(&self) {
        self.find_free(FROZEN_SCAN);
    }

    /// Looks at the next frozen slots of each shared queue, for a waiter that is polled again.
    pub(in crate::pool) fn find_free_and_serve(&self) {
        self.find_free(POLL_SCAN);
        self.serve_or_sweep();
    }

    /// The same for the overflow. Slots in use move to their queue, as far as it has places.
    fn find_free_overflow(&self, scan: usize) -> usize {
        let mut freed = 0;
        for frozen in self.pop_overflow(scan) {
            let Some(class) = self.class(frozen.class()) else { continue };
            match frozen.reclaim(class.size) {
                Ok(mut slot) => {
                    slot.note_return();
                    self.memory.end_lease(class.size);
                    freed += self.push_found_free(class, slot);
                }
                Err(frozen) => self.push_frozen(class, frozen),
            }
        }
        freed
    }

    pub(super) fn push_found_free(&self, class: &Class, slot: Unique<Slot>) -> usize {
        self.cacheless.of(slot.index()).found_free.add(1);
        self.push_idle(class, [slot])
    }

    /// Frees the ready slots of the shared queues, and the frozen ones found free. Returns the bytes freed.
    pub(in crate::pool) fn trim(&self) -> usize {
        let refused = self.find_free(usize::MAX);
        let freed: usize = self.classes.iter().map(|class| free_ready(class, usize::MAX)).sum();
        self.serve_or_sweep();
        refused + freed
    }

    /// Makes a step of decay: frees what was unused in the shared queues since the last step. Returns the bytes freed.
    pub(in crate::pool) fn decay(&self) -> usize {
        self.count_step();
        let refused = self.find_free(usize::MAX);
        let freed: usize = self.classes.iter().map(|class| free_ready(class, class.take_unneeded())).sum();
        self.clock.end_step();
        self.serve_or_sweep();
        refused + freed
    }

    /// Makes a step of decay if one is due. Returns the bytes freed.
    pub(in crate::pool) fn step_if_due(&self) -> usize {
        if self.clock.begin_if_due() { self.decay() } else { 0 }
    }

    /// The same in an acquire or a return, which cannot tell the program. Slow paths call it once in a while.
    pub(in crate::pool) fn decay_if_due(&self) {
        let freed = self.step_if_due();
        if freed > 0 {
            // Ordering: Relaxed, here and in `report`: a number, and no memory hangs on it.
            self.unreported.fetch_add(freed, Ordering::Relaxed);
        }
    }

    /// Tells the program what was freed: now, and by earlier steps that could not tell. Returns `freed`.
    pub(in crate::pool) fn report(&self, freed: usize) -> usize {
        let unreported = self.unreported.swap(0, Ordering::Relaxed);
        if freed + unreported > 0 {
            self.on_decay.call(freed + unreported);
        }
        freed
    }

    /// A slot with storage of the heap, as no class fits or the memory limit is reached.
    #[cold]
    pub(in crate::pool) fn overrun(core: &Arc<Self>, request: Request) -> Unique<Slot> {
        let class = core.class(request.class);
        let mut slot = Slot::new(core, core.heap(), class.map_or(request.bytes, |class| class.size));
        core.cacheless.of(core.heap()).made.add(1);
        if class.is_some() {
            core.cacheless.of(request.class).overruns.add(1);
        }
        slot.note_acquire(request);
        slot
    }

    /// Acquires in a thread without a cache: after its locals were destroyed, or without std.
    pub(in crate::pool) fn acquire_cacheless(core: &Arc<Self>, request: Request) -> Option<Unique<Slot>> {
        if core.is_closed() || core.must_fail() {
            return None;
        }
        let mut slot = Self::redeem(core, request.class, core.obtain_now(request.class)?);
        slot.note_acquire(request);
        Some(slot)
    }

    /// Returns a slot in such a thread: to the shared queue.
    pub(in crate::pool) fn return_cacheless(&self, mut slot: Unique<Slot>) {
        slot.reset();
        slot.note_return();
        self.cacheless.of(slot.class()).returned.add(1);
        match self.class(slot.index()) {
            Some(class) if !self.must_drop(&slot) => self.push_idle_and_serve(class, [slot]),
            _ => {
                drop(slot);
                self.serve_or_sweep();
            }
        }
    }

    /// The countdown of one class and thread.
    #[cfg(feature = "std")]
    pub(in crate::pool) fn countdown(&self) -> Countdown {
        self.hooks.as_ref().map_or_else(Countdown::never, Hooks::countdown)
    }

    /// Whether storage is wiped on return. Then frozen storage must be returned at its last drop, not found free later.
    pub(in crate::pool) fn must_wipe(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.wipe)
    }

    /// Whether a debug switch makes this acquire fail.
    pub(in crate::pool) fn must_fail(&self) -> bool {
        self.hooks.as_ref().is_some_and(Hooks::must_fail)
    }

    /// Whether a debug switch drops this buffer, which was just returned.
    pub(in crate::pool) fn must_drop(&self, slot: &Slot) -> bool {
        let whole = slot.storage.capacity() >= slot.size();
        self.hooks.as_ref().is_some_and(|hooks| hooks.must_drop(Arc::as_ptr(&slot.core), self, whole))
    }

    /// Returns a slot of a closed pool, which frees it.
    pub(in crate::pool) fn return_late(mut slot: Unique<Slot>) {
        slot.reset();
        slot.note_return();
        slot.core.cacheless.of(slot.class()).returned.add(1);
    }

    /// Follows a slot that was frozen in such a thread, or fails with it if the pool cannot follow it.
    pub(in crate::pool) fn follow_cacheless(&self, frozen: Frozen) -> Result<(), Frozen> {
        if self.state() & (CLOSED | WAITING) != 0 || self.must_wipe() {
            return Err(frozen);
        }
        let class = frozen.class();
        frozen.show();
        self.follow(frozen).inspect(|()| self.cacheless.of(class).frozen.add(1))
    }
}

/// Frees up to `count` ready slots of the shared queue. Returns the bytes freed. The caller must call `serve_or_sweep`.
fn free_ready(class: &Class, count: usize) -> usize {
    let mut freed = 0;
    while freed < count {
        let Some(slot) = class.pop_ready() else { break };
        drop(slot);
        freed += 1;
    }
    freed * class.size
}
