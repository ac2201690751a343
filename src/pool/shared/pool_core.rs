//! All of a pool together: closing, evicting, trimming, decay.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::chains::Chain;
use super::class::Class;
use super::clock::Clock;
use super::memory::Memory;
use super::slot::{Frozen, Slot};
use super::waiters::Waiters;
use crate::pool::config::{BufferPoolConfig, OnDecay};
use crate::pool::hooks::{Hooks, Request, Switches};
use crate::pool::stats::{Counters, Totals};
use crate::size::SizeClasses;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::statistic::{AtomicBool, AtomicUsize as Number};
use crate::sync::{Arc, Mutex, Unique};

/// What the handles, the slots and the thread caches of one pool share.
///
/// Slots point here and lie in its queues: a cycle, which [`close`](Core::close) cuts when the last
/// `BufferPool` handle goes. What is still out then is freed when it comes back.
pub(in crate::pool) struct Core {
    pub(in crate::pool) sizes: SizeClasses,
    classes: Box<[Class]>,
    /// What every return looks at, and hardly anybody writes:
    ///
    /// | bits | meaning | set | cleared |
    /// |---|---|---|---|
    /// | 0 | [`CLOSED`]: the last `BufferPool` handle is gone | `close` | never |
    /// | 1 | [`WAITING`]: somebody waits for memory | the first waiter | the last |
    /// | 2.. | number of the step of decay | each step adds 1 | wraps |
    state: AtomicUsize,
    /// Bytes of ready buffers, and as many of frozen ones, that one thread may keep.
    pub(in crate::pool) thread_cache_bytes: usize,
    /// Whether an acquire may take a ready buffer of the next class before it does without.
    pub(in crate::pool) next_class: bool,
    /// What is done with every buffer of the pool beside lending it, if anything is.
    pub(in crate::pool) hooks: Option<Hooks>,
    pub(in crate::pool) memory: Memory,
    pub(in crate::pool) waiters: Waiters,
    pub(in crate::pool) clock: Clock,
    on_decay: OnDecay,
    /// Bytes that steps of decay freed within an acquire or a return, where no function of the user's may run.
    unreported: Number,
    /// Frozen buffers for which their queue had no place when a thread let go of them.
    orphans: Mutex<VecDeque<Frozen>>,
    /// Whether there are orphans.
    orphaned: AtomicBool,
    pub(super) registry: Mutex<Registry>,
    /// What happens without a thread cache: in a thread whose locals are already destroyed.
    pub(super) cacheless: Counters,
}

pub(in crate::pool) const CLOSED: usize = 1;
pub(in crate::pool) const WAITING: usize = 2;
/// One step of decay.
const STEP: usize = 4;
/// Frozen buffers in use that are looked at, at most, in one shared queue for one acquire. The oldest is the likeliest to be free; a few
/// long-lived ones in front must not cost each acquire a walk over all of them.
pub(in crate::pool) const FROZEN_SCAN: usize = 8;

/// What [`Core::obtain`] found.
pub(in crate::pool) enum Grant {
    Ready(Unique<Slot>),
    Reclaimed(Unique<Slot>),
    /// Bytes for one buffer of the class are reserved in the memory.
    Room,
}

/// The counters of every thread that has a cache of this pool, and the sums of those that are gone.
pub(super) struct Registry {
    pub(super) threads: Vec<Arc<Counters>>,
    pub(super) gone: Totals,
}

impl Core {
    pub(in crate::pool) fn new(config: &BufferPoolConfig) -> Self {
        let (switches, config) = Switches::from_environment(config);
        let table = config.classes();
        let exact = config.memory_limit() != usize::MAX;
        let sizes = SizeClasses::new(table.iter().map(|&(size, _)| size).collect());
        Self {
            classes: table.iter().map(|&(size, capacity)| Class::new(size, capacity, exact)).collect(),
            state: AtomicUsize::new(0),
            thread_cache_bytes: config.thread_cache_bytes(),
            next_class: config.serves_from_next_class(),
            hooks: Hooks::new(&config, switches),
            memory: Memory::new(config.memory_limit(), sizes.largest()),
            waiters: Waiters::new(),
            clock: Clock::new(config.decay_interval()),
            on_decay: config.on_decay(),
            unreported: Number::new(0),
            orphans: Mutex::new(VecDeque::new()),
            orphaned: AtomicBool::new(false),
            registry: Mutex::new(Registry { threads: Vec::new(), gone: Totals::new(table.len()) }),
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

    /// Bytes of a buffer of the class; 0 for the heap, which has no size.
    #[inline]
    pub(in crate::pool) fn class_size(&self, index: usize) -> usize {
        self.class(index).map_or(0, |class| class.size)
    }

    /// The class index that stands for the heap.
    #[inline]
    pub(in crate::pool) fn heap(&self) -> usize {
        self.classes.len()
    }

    /// The state word. It may be outdated at once.
    #[inline]
    pub(in crate::pool) fn state(&self) -> usize {
        // Ordering: Relaxed. On the fast path an outdated word only means that a thread keeps, within its
        // lease, what it might have laid down: the next flush of its cache goes through `settle`. Where
        // missing a bit would lose something, `settle` looks behind a fence.
        self.state.load(Ordering::Relaxed)
    }

    pub(in crate::pool) fn is_closed(&self) -> bool {
        self.state() & CLOSED != 0
    }

    /// Sets a bit, so that whoever lays down a buffer from now on sees it, or has laid it down visibly.
    fn raise(&self, bit: usize) {
        // Ordering: the write may be Relaxed because of the fence behind it; see `settle`.
        self.state.fetch_or(bit, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The last handle is gone: nothing will be acquired any more, so nothing stays idle.
    pub(in crate::pool) fn close(&self) {
        self.raise(CLOSED);
        self.sweep();
    }

    /// From now on there are waiters.
    pub(in crate::pool) fn raise_waiting(&self) {
        self.raise(WAITING);
    }

    /// The last waiter is gone. Under the lock of the waiters.
    pub(in crate::pool) fn lower_waiting(&self) {
        // Ordering: Relaxed. Who still sees the bit looks at an empty list.
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
    }

    /// One more step of decay happened.
    pub(in crate::pool) fn count_step(&self) {
        // Ordering: Relaxed, a hint to the threads to let go of what they do not need.
        self.state.fetch_add(STEP, Ordering::Relaxed);
    }

    /// Behind every push, or run of pushes, to a queue, and every release of memory. Two outcomes of the race
    /// with `close`, and with a new waiter: its bit is seen here, and this thread empties the queues, or
    /// serves; or it is not, and then what was done here is before the sweep, or the first try, of the other.
    pub(in crate::pool) fn settle(&self) {
        // Ordering: this fence and the one in `raise` are totally ordered. If ours is first, what we
        // pushed or released is visible behind the other; if the other is first, we see the bit.
        // Nothing weaker orders our push (a store) before our load of the word.
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
        drop(self.take_orphans(usize::MAX));
    }

    /// New storage of the class, for which the budget has its bytes reserved.
    pub(in crate::pool) fn make(core: &Arc<Self>, index: usize) -> Unique<Slot> {
        let class = core.class(index).inspect(|class| class.count_made());
        Slot::new(core, index, class.map_or(0, |class| class.size))
    }

    /// Storage of the class was freed: the end of a slot.
    pub(in crate::pool) fn unmake(&self, index: usize) {
        if let Some(class) = self.class(index) {
            class.count_freed();
            self.memory.release(class.size);
        }
    }

    /// Lays ready slots of one class into its shared queue; those that it does not keep are freed.
    pub(in crate::pool) fn share_ready(
        &self,
        class: &Class,
        slots: impl IntoIterator<Item = Unique<Slot>, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
    ) {
        self.lay_down(class, slots);
        self.settle();
    }

    /// The same. The caller settles. Returns the bytes freed.
    pub(in crate::pool) fn lay_down(
        &self,
        class: &Class,
        slots: impl IntoIterator<Item = Unique<Slot>, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
    ) -> usize {
        let keeps = self.hooks.as_ref().is_none_or(|hooks| !hooks.keeps_nothing_shared());
        let freed = if keeps { class.push_ready(slots) } else { slots.into_iter().count() };
        freed * class.size
    }

    /// Lays a frozen slot into the shared queue; hands it back if that has no place, or the budget no lease.
    pub(in crate::pool) fn follow(&self, frozen: Frozen) -> Result<(), Frozen> {
        let Some(class) = self.class(frozen.index()).filter(|class| class.frozen.reserve(1) == 1) else {
            return Err(frozen);
        };
        if !self.memory.lease_all(class.size) {
            class.frozen.vacate(1);
            return Err(frozen);
        }
        class.frozen.push([frozen.0]);
        self.settle();
        Ok(())
    }

    /// Takes over a frozen slot, together with the lease for it, from a thread that ends.
    pub(in crate::pool) fn adopt(&self, class: &Class, frozen: Frozen) {
        self.put_back(class, frozen);
        self.settle();
    }

    fn put_back(&self, class: &Class, frozen: Frozen) {
        if class.frozen.reserve(1) == 1 {
            class.frozen.push([frozen.0]);
        } else {
            self.add_orphan(frozen);
        }
    }

    #[cold]
    #[inline(never)] // named in .ci/tsan-suppressions
    fn add_orphan(&self, frozen: Frozen) {
        self.orphans.lock().push_back(frozen);
        self.orphaned.store(true, Ordering::Relaxed);
    }

    /// The oldest ones, up to `count`.
    #[inline(never)] // named in .ci/tsan-suppressions
    fn take_orphans(&self, count: usize) -> Vec<Frozen> {
        let mut orphans = self.orphans.lock();
        let count = count.min(orphans.len());
        let taken = orphans.drain(..count).collect();
        self.orphaned.store(!orphans.is_empty(), Ordering::Relaxed);
        taken
    }

    /// Whether [`reclaim_shared`](Self::reclaim_shared) has anything to look at, at some recent moment.
    pub(in crate::pool) fn has_frozen(&self, index: usize) -> bool {
        // Ordering: Relaxed, a hint: who does not see it yet leaves the orphans to the next one.
        self.class(index).is_some_and(|class| class.frozen.len() > 0) || self.orphaned.load(Ordering::Relaxed)
    }

    /// Frozen slots of the class that are free again, among the first few of the shared queue. The caller settles.
    pub(in crate::pool) fn reclaim_shared(&self, class: &Class, found: impl FnMut(Unique<Slot>)) {
        // Ordering: Relaxed, as above.
        if self.orphaned.load(Ordering::Relaxed) {
            self.find_free_orphans(FROZEN_SCAN);
        }
        self.scan_frozen(class, FROZEN_SCAN, false, found);
    }

    /// Hands `found` the frozen slots that are free again, chain by chain, until `looks` were in use, or, unless `all` are
    /// wanted, behind the first chain with any. Those that are in use go to the back.
    fn scan_frozen(&self, class: &Class, mut looks: usize, all: bool, mut found: impl FnMut(Unique<Slot>)) {
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
            // First what was not looked at, behind it, in their order, those in use.
            class.frozen.put_back(chain);
            class.frozen.put_back(used.reversed());
            class.frozen.vacate(free);
            if looks == 0 || free > 0 && !all {
                break;
            }
        }
    }

    /// Lays the frozen slots that are free by now, among the first of each queue, down as ready ones. The
    /// caller settles. Returns the bytes freed.
    fn find_free(&self, looks: usize) -> usize {
        let mut freed = self.find_free_orphans(looks);
        for class in &self.classes {
            self.scan_frozen(class, looks, true, |slot| freed += self.lay_down_free(class, slot));
        }
        freed
    }

    /// The same among the orphans. Those that are in use move to their queue, as far as that has places.
    fn find_free_orphans(&self, scan: usize) -> usize {
        let mut freed = 0;
        for frozen in self.take_orphans(scan) {
            let Some(class) = self.class(frozen.index()) else { continue };
            match frozen.reclaim(class.size) {
                Ok(mut slot) => {
                    slot.note_return();
                    self.memory.end_lease(class.size);
                    freed += self.lay_down_free(class, slot);
                }
                Err(frozen) => self.put_back(class, frozen),
            }
        }
        freed
    }

    fn lay_down_free(&self, class: &Class, slot: Unique<Slot>) -> usize {
        self.cacheless.of(slot.index()).found_free.add(1);
        self.lay_down(class, [slot])
    }

    /// What a waiter, or an acquire at the limit, may have: out of the shared queues of its class, or room for
    /// new storage, for which idle memory of other classes gives way. The caller settles.
    pub(in crate::pool) fn obtain(&self, index: usize) -> Option<Grant> {
        let class = self.class(index)?;
        if let Some(slot) = class.pop_ready() {
            class.note_low_water();
            return Some(Grant::Ready(slot));
        }
        let mut free = None;
        self.scan_frozen(class, FROZEN_SCAN, false, |slot| {
            if let Some(another) = free.replace(slot) {
                self.lay_down_free(class, another);
            }
        });
        if let Some(slot) = free {
            return Some(Grant::Reclaimed(slot));
        }
        if self.memory.reserve(class.size) {
            return Some(Grant::Room);
        }
        if self.next_class
            && let Some(slot) = self.class(index + 1).and_then(Class::pop_ready)
        {
            return Some(Grant::Ready(slot));
        }
        self.find_free(FROZEN_SCAN);
        if let Some(slot) = class.pop_ready() {
            return Some(Grant::Ready(slot));
        }
        // If all of it together were not enough, it would be lost for nothing.
        let idle: usize = self.classes.iter().map(|other| other.ready_len() * other.size).sum();
        if self.memory.missing(class.size) > idle {
            return None;
        }
        // The largest first: the fewest buffers are lost.
        for other in self.classes.iter().rev() {
            while let Some(slot) = other.pop_ready() {
                drop(slot);
                if self.memory.reserve(class.size) {
                    return Some(Grant::Room);
                }
            }
        }
        self.memory.reserve(class.size).then_some(Grant::Room)
    }

    /// Frees what lies in the shared queues: ready slots, and frozen ones found free. Returns the bytes.
    pub(in crate::pool) fn trim(&self) -> usize {
        let refused = self.find_free(usize::MAX);
        let freed: usize = self.classes.iter().map(|class| free_ready(class, usize::MAX)).sum();
        self.settle();
        refused + freed
    }

    /// One step of decay: frees what lay in the shared queues unused since the last one. Returns the bytes.
    pub(in crate::pool) fn decay(&self) -> usize {
        self.count_step();
        let refused = self.find_free(usize::MAX);
        let freed: usize = self.classes.iter().map(|class| free_ready(class, class.take_unneeded())).sum();
        self.settle();
        refused + freed
    }

    /// Makes a step of decay if it is time. Called by slow paths, now and then.
    pub(in crate::pool) fn decay_if_due(&self) {
        if self.clock.is_due() {
            // Ordering: Relaxed, here and in `report`: a number, and no memory hangs on it.
            self.unreported.fetch_add(self.decay(), Ordering::Relaxed);
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

    /// Counters for a new thread cache.
    pub(in crate::pool) fn register(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(self.classes.len()));
        self.registry.lock().threads.push(Arc::clone(&counters));
        counters
    }

    /// Folds the counters of a thread cache that goes away.
    pub(in crate::pool) fn unregister(&self, counters: &Arc<Counters>) {
        let mut registry = self.registry.lock();
        registry.threads.retain(|other| !Arc::ptr_eq(other, counters));
        registry.gone.add(counters);
    }

    /// Makes a slot of what was obtained.
    pub(in crate::pool) fn redeem(core: &Arc<Self>, index: usize, grant: Grant) -> Unique<Slot> {
        match grant {
            Grant::Ready(slot) => {
                core.cacheless.of(slot.index()).shared_hits.add(1);
                slot
            }
            Grant::Reclaimed(slot) => {
                core.cacheless.of(slot.index()).reclaimed_hits.add(1);
                slot
            }
            Grant::Room => {
                core.cacheless.of(index).made.add(1);
                Self::make(core, index)
            }
        }
    }

    /// Takes back what was obtained and is not wanted any more.
    pub(in crate::pool) fn refuse(&self, index: usize, grant: Grant) {
        match grant {
            Grant::Ready(slot) => {
                if let Some(class) = self.class(slot.index()) {
                    self.share_ready(class, [slot]);
                }
            }
            Grant::Reclaimed(slot) => {
                if let Some(class) = self.class(slot.index()) {
                    self.lay_down_free(class, slot);
                }
                self.settle();
            }
            Grant::Room => {
                self.memory.release(self.class_size(index));
                self.settle();
            }
        }
    }

    /// Storage of the heap: no class fits, or the budget of the one that does is spent.
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

    /// An acquire in a thread that has no cache any more, or never one.
    pub(in crate::pool) fn acquire_cacheless(core: &Arc<Self>, request: Request) -> Option<Unique<Slot>> {
        if core.state() & (CLOSED | WAITING) != 0 || core.refuses() {
            return None;
        }
        let grant = core.obtain(request.class);
        core.settle();
        let mut slot = Self::redeem(core, request.class, grant?);
        slot.note_acquire(request);
        Some(slot)
    }

    /// Takes back a slot in such a thread: straight to the shared queue.
    pub(in crate::pool) fn give_back_cacheless(&self, mut slot: Unique<Slot>) {
        slot.reset();
        self.cacheless.of(slot.index()).returned.add(1);
        slot.note_return();
        match self.class(slot.index()) {
            Some(class) if !self.loses(&slot) => self.share_ready(class, [slot]),
            _ => {
                drop(slot);
                self.settle();
            }
        }
    }

    /// Whether frozen storage must be wiped at its last drop, and so cannot be left to be found.
    pub(in crate::pool) fn must_wipe(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.wipe)
    }

    /// Whether a debug switch wants this acquire refused.
    pub(in crate::pool) fn refuses(&self) -> bool {
        self.hooks.as_ref().is_some_and(Hooks::refuses)
    }

    /// Whether a debug switch wants this buffer, which just came back, lost.
    pub(in crate::pool) fn loses(&self, slot: &Slot) -> bool {
        let whole = slot.storage.capacity() >= self.class_size(slot.index());
        self.hooks.as_ref().is_some_and(|hooks| hooks.loses(Arc::as_ptr(&slot.core), self, whole))
    }

    /// Remembers a slot that was just frozen in such a thread; hands it back if there is no place to follow it.
    pub(in crate::pool) fn follow_cacheless(&self, frozen: Frozen) -> Result<(), Frozen> {
        if self.state() & (CLOSED | WAITING) != 0 || self.must_wipe() {
            return Err(frozen);
        }
        let class = frozen.index();
        frozen.show();
        self.follow(frozen).inspect(|()| self.cacheless.of(class).frozen.add(1))
    }
}

/// Frees up to `count` ready slots of the shared queue. Returns the bytes. The caller settles.
fn free_ready(class: &Class, count: usize) -> usize {
    let mut freed = 0;
    while freed < count {
        let Some(slot) = class.pop_ready() else { break };
        drop(slot);
        freed += 1;
    }
    freed * class.size
}
