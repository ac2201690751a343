use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::panic::Location;

use super::budget::Budget;
use super::care::Care;
use super::chains::Chain;
use super::class::Class;
use super::config::BufferPoolConfig;
use super::counters::{Counters, Totals};
use super::decay::Clock;
use super::slot::{Parked, Slot};
use super::stats::BufferPoolStats;
use super::switches::Switches;
use super::wait::Waiters;
use crate::size::SizeClasses;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::statistic::AtomicBool;
use crate::sync::{Arc, Mutex, Unique};

/// What the handles, the slots and the thread caches of one pool share.
///
/// Slots point here and lie in its queues: a cycle, which [`close`](Core::close) cuts when the last
/// `BufferPool` handle goes. What is still out then is freed when it comes back.
pub(super) struct Core {
    pub(super) sizes: SizeClasses,
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
    pub(super) thread_cache_bytes: usize,
    /// Whether an acquire may take a ready buffer of the next class before it does without.
    pub(super) next_class: bool,
    /// What is done with every buffer of the pool beside lending it, if anything is.
    pub(super) care: Option<Care>,
    pub(super) budget: Budget,
    pub(super) waiters: Waiters,
    pub(super) clock: Clock,
    /// Frozen buffers for which their queue had no place when a thread let go of them.
    orphans: Mutex<VecDeque<Parked>>,
    /// Whether there are orphans.
    orphaned: AtomicBool,
    registry: Mutex<Registry>,
    /// What happens without a thread cache: in a thread whose locals are already destroyed.
    cacheless: Counters,
}

pub(super) const CLOSED: usize = 1;
pub(super) const WAITING: usize = 2;
/// One step of decay.
const STEP: usize = 4;
/// Frozen buffers in use that are looked at, at most, in one shared queue for one acquire. The oldest is the likeliest to be free; a few
/// long-lived ones in front must not cost each acquire a walk over all of them.
pub(super) const PARKED_SCAN: usize = 8;

/// What an acquire wants, and who asks.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    /// Index of the class.
    pub(super) class: usize,
    /// Bytes asked for.
    pub(super) bytes: usize,
    pub(super) caller: &'static Location<'static>,
}

/// What [`Core::obtain`] found.
pub(super) enum Grant {
    Ready(Unique<Slot>),
    Reclaimed(Unique<Slot>),
    /// Bytes for one buffer of the class are reserved in the budget.
    Room,
}

/// The counters of every thread that has a cache of this pool, and the sums of those that are gone.
struct Registry {
    threads: Vec<Arc<Counters>>,
    gone: Totals,
}

impl Core {
    pub(super) fn new(config: &BufferPoolConfig) -> Self {
        let (switches, config) = Switches::from_environment(config);
        let table = config.classes();
        let exact = config.byte_limit() != usize::MAX;
        let sizes = SizeClasses::new(table.iter().map(|&(size, _)| size).collect());
        Self {
            classes: table.iter().map(|&(size, capacity)| Class::new(size, capacity, exact)).collect(),
            state: AtomicUsize::new(0),
            thread_cache_bytes: config.thread_cache_bytes(),
            next_class: config.serves_from_next_class(),
            care: Care::new(&config, switches),
            budget: Budget::new(config.byte_limit(), sizes.largest()),
            waiters: Waiters::new(),
            clock: Clock::new(config.decay_interval()),
            orphans: Mutex::new(VecDeque::new()),
            orphaned: AtomicBool::new(false),
            registry: Mutex::new(Registry { threads: Vec::new(), gone: Totals::new(table.len()) }),
            cacheless: Counters::new(table.len()),
            sizes,
        }
    }

    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    #[inline]
    pub(super) fn class(&self, index: usize) -> Option<&Class> {
        self.classes.get(index)
    }

    /// Bytes of a buffer of the class; 0 for the heap, which has no size.
    #[inline]
    pub(super) fn class_size(&self, index: usize) -> usize {
        self.class(index).map_or(0, |class| class.size)
    }

    /// The class index that stands for the heap.
    #[inline]
    pub(super) fn heap(&self) -> usize {
        self.classes.len()
    }

    /// The state word. It may be outdated at once.
    #[inline]
    pub(super) fn state(&self) -> usize {
        // Ordering: Relaxed. On the fast path an outdated word only means that a thread keeps, within its
        // lease, what it might have laid down: the next flush of its cache goes through `settle`. Where
        // missing a bit would lose something, `settle` looks behind a fence.
        self.state.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state() & CLOSED != 0
    }

    /// Sets a bit, so that whoever lays down a buffer from now on sees it, or has laid it down visibly.
    fn raise(&self, bit: usize) {
        // Ordering: the write may be Relaxed because of the fence behind it; see `settle`.
        self.state.fetch_or(bit, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The last handle is gone: nothing will be acquired any more, so nothing stays idle.
    pub(super) fn close(&self) {
        self.raise(CLOSED);
        self.sweep();
    }

    /// From now on there are waiters.
    pub(super) fn raise_waiting(&self) {
        self.raise(WAITING);
    }

    /// The last waiter is gone. Under the lock of the waiters.
    pub(super) fn lower_waiting(&self) {
        // Ordering: Relaxed. Who still sees the bit looks at an empty list.
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
    }

    /// One more step of decay happened.
    pub(super) fn count_step(&self) {
        // Ordering: Relaxed, a hint to the threads to let go of what they do not need.
        self.state.fetch_add(STEP, Ordering::Relaxed);
    }

    /// Behind every push, or run of pushes, to a queue, and every release of budget. Two outcomes of the race
    /// with `close`, and with a new waiter: its bit is seen here, and this thread empties the queues, or
    /// serves; or it is not, and then what was done here is before the sweep, or the first try, of the other.
    pub(super) fn settle(&self) {
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
            while let Some(chain) = class.parked.pop() {
                class.parked.vacate(chain.count());
            }
        }
        drop(self.take_orphans(usize::MAX));
    }

    /// New storage of the class, for which the budget has its bytes reserved.
    pub(super) fn make(core: &Arc<Self>, index: usize) -> Unique<Slot> {
        let class = core.class(index).inspect(|class| class.count_made());
        Slot::new(core, index, class.map_or(0, |class| class.size))
    }

    /// Storage of the class was freed: the end of a slot.
    pub(super) fn unmake(&self, index: usize) {
        if let Some(class) = self.class(index) {
            class.count_freed();
            self.budget.release(class.size);
        }
    }

    /// Lays ready slots of one class into its shared queue; those that it does not keep are freed.
    pub(super) fn share_ready(
        &self,
        class: &Class,
        slots: impl IntoIterator<Item = Unique<Slot>, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
    ) {
        self.lay_down(class, slots);
        self.settle();
    }

    /// The same. The caller settles. Returns the bytes freed.
    pub(super) fn lay_down(
        &self,
        class: &Class,
        slots: impl IntoIterator<Item = Unique<Slot>, IntoIter: DoubleEndedIterator + ExactSizeIterator>,
    ) -> usize {
        let keeps = self.care.as_ref().is_none_or(|care| !care.keeps_nothing_shared());
        let freed = if keeps { class.push_ready(slots) } else { slots.into_iter().count() };
        freed * class.size
    }

    /// Lays a frozen slot into the shared queue; hands it back if that has no place, or the budget no lease.
    pub(super) fn park(&self, parked: Parked) -> Result<(), Parked> {
        let Some(class) = self.class(parked.index()).filter(|class| class.parked.reserve(1) == 1) else {
            return Err(parked);
        };
        if !self.budget.lease_all(class.size) {
            class.parked.vacate(1);
            return Err(parked);
        }
        class.parked.push([parked.0]);
        self.settle();
        Ok(())
    }

    /// Takes over a frozen slot, together with the lease for it, from a thread that ends.
    pub(super) fn adopt(&self, class: &Class, parked: Parked) {
        self.put_back(class, parked);
        self.settle();
    }

    fn put_back(&self, class: &Class, parked: Parked) {
        if class.parked.reserve(1) == 1 {
            class.parked.push([parked.0]);
        } else {
            self.add_orphan(parked);
        }
    }

    #[cold]
    #[inline(never)] // named in .ci/tsan-suppressions
    fn add_orphan(&self, parked: Parked) {
        self.orphans.lock().push_back(parked);
        self.orphaned.store(true, Ordering::Relaxed);
    }

    /// The oldest ones, up to `count`.
    #[inline(never)] // named in .ci/tsan-suppressions
    fn take_orphans(&self, count: usize) -> Vec<Parked> {
        let mut orphans = self.orphans.lock();
        let count = count.min(orphans.len());
        let taken = orphans.drain(..count).collect();
        self.orphaned.store(!orphans.is_empty(), Ordering::Relaxed);
        taken
    }

    /// Whether [`reclaim_shared`](Self::reclaim_shared) has anything to look at, at some recent moment.
    pub(super) fn has_parked(&self, index: usize) -> bool {
        // Ordering: Relaxed, a hint: who does not see it yet leaves the orphans to the next one.
        self.class(index).is_some_and(|class| class.parked.len() > 0) || self.orphaned.load(Ordering::Relaxed)
    }

    /// Frozen slots of the class that are free again, among the first few of the shared queue. The caller settles.
    pub(super) fn reclaim_shared(&self, class: &Class, found: impl FnMut(Unique<Slot>)) {
        // Ordering: Relaxed, as above.
        if self.orphaned.load(Ordering::Relaxed) {
            self.find_free_orphans(PARKED_SCAN);
        }
        self.scan_parked(class, PARKED_SCAN, false, found);
    }

    /// Hands `found` the frozen slots that are free again, chain by chain, until `looks` were in use, or, unless `all` are
    /// wanted, behind the first chain with any. Those that are in use go to the back.
    fn scan_parked(&self, class: &Class, mut looks: usize, all: bool, mut found: impl FnMut(Unique<Slot>)) {
        for _ in 0..class.parked.chains() {
            let Some(mut chain) = class.parked.pop() else { break };
            let (mut used, mut free) = (Chain::default(), 0);
            while looks > 0
                && let Some(slot) = chain.next()
            {
                match Parked(slot).reclaim(class.size) {
                    Ok(mut slot) => {
                        slot.came_back();
                        self.budget.end_lease(class.size);
                        free += 1;
                        found(slot);
                    }
                    Err(parked) => {
                        looks -= 1;
                        used.prepend(parked.0);
                    }
                }
            }
            // First what was not looked at, behind it, in their order, those in use.
            class.parked.put_back(chain);
            class.parked.put_back(used.reversed());
            class.parked.vacate(free);
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
            self.scan_parked(class, looks, true, |slot| freed += self.lay_down_free(class, slot));
        }
        freed
    }

    /// The same among the orphans. Those that are in use move to their queue, as far as that has places.
    fn find_free_orphans(&self, scan: usize) -> usize {
        let mut freed = 0;
        for parked in self.take_orphans(scan) {
            let Some(class) = self.class(parked.index()) else { continue };
            match parked.reclaim(class.size) {
                Ok(mut slot) => {
                    slot.came_back();
                    self.budget.end_lease(class.size);
                    freed += self.lay_down_free(class, slot);
                }
                Err(parked) => self.put_back(class, parked),
            }
        }
        freed
    }

    fn lay_down_free(&self, class: &Class, slot: Unique<Slot>) -> usize {
        self.cacheless.of(slot.index()).unparked.add(1);
        self.lay_down(class, [slot])
    }

    /// What a waiter, or an acquire at the limit, may have: out of the shared queues of its class, or room for
    /// new storage, for which idle memory of other classes gives way. The caller settles.
    pub(super) fn obtain(&self, index: usize) -> Option<Grant> {
        let class = self.class(index)?;
        if let Some(slot) = class.pop_ready() {
            class.note_low_water();
            return Some(Grant::Ready(slot));
        }
        let mut free = None;
        self.scan_parked(class, PARKED_SCAN, false, |slot| {
            if let Some(another) = free.replace(slot) {
                self.lay_down_free(class, another);
            }
        });
        if let Some(slot) = free {
            return Some(Grant::Reclaimed(slot));
        }
        if self.budget.reserve(class.size) {
            return Some(Grant::Room);
        }
        if self.next_class
            && let Some(slot) = self.class(index + 1).and_then(Class::pop_ready)
        {
            return Some(Grant::Ready(slot));
        }
        self.find_free(PARKED_SCAN);
        if let Some(slot) = class.pop_ready() {
            return Some(Grant::Ready(slot));
        }
        // If all of it together were not enough, it would be lost for nothing.
        let idle: usize = self.classes.iter().map(|other| other.ready_len() * other.size).sum();
        if self.budget.missing(class.size) > idle {
            return None;
        }
        // The largest first: the fewest buffers are lost.
        for other in self.classes.iter().rev() {
            while let Some(slot) = other.pop_ready() {
                drop(slot);
                if self.budget.reserve(class.size) {
                    return Some(Grant::Room);
                }
            }
        }
        self.budget.reserve(class.size).then_some(Grant::Room)
    }

    /// Frees what lies in the shared queues: ready slots, and frozen ones found free. Returns the bytes.
    pub(super) fn trim(&self) -> usize {
        let refused = self.find_free(usize::MAX);
        let freed: usize = self.classes.iter().map(|class| free_ready(class, usize::MAX)).sum();
        self.settle();
        refused + freed
    }

    /// One step of decay: frees what lay in the shared queues unused since the last one. Returns the bytes.
    pub(super) fn decay(&self) -> usize {
        self.count_step();
        let refused = self.find_free(usize::MAX);
        let freed: usize = self.classes.iter().map(|class| free_ready(class, class.take_unneeded())).sum();
        self.settle();
        refused + freed
    }

    /// Counters for a new thread cache.
    pub(super) fn register(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(self.classes.len()));
        self.registry.lock().threads.push(Arc::clone(&counters));
        counters
    }

    /// Folds the counters of a thread cache that goes away.
    pub(super) fn unregister(&self, counters: &Arc<Counters>) {
        let mut registry = self.registry.lock();
        registry.threads.retain(|other| !Arc::ptr_eq(other, counters));
        registry.gone.add(counters);
    }

    /// Makes a slot of what was obtained.
    pub(super) fn redeem(core: &Arc<Self>, index: usize, grant: Grant) -> Unique<Slot> {
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
    pub(super) fn refuse(&self, index: usize, grant: Grant) {
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
                self.budget.release(self.class_size(index));
                self.settle();
            }
        }
    }

    /// Storage of the heap: no class fits, or the budget of the one that does is spent.
    #[cold]
    pub(super) fn overrun(core: &Arc<Self>, ask: Ask) -> Unique<Slot> {
        let class = core.class(ask.class);
        let mut slot = Slot::new(core, core.heap(), class.map_or(ask.bytes, |class| class.size));
        core.cacheless.of(core.heap()).made.add(1);
        if class.is_some() {
            core.cacheless.of(ask.class).overruns.add(1);
        }
        slot.lent(ask);
        slot
    }

    /// An acquire in a thread that has no cache any more, or never one.
    pub(super) fn acquire_cacheless(core: &Arc<Self>, ask: Ask) -> Option<Unique<Slot>> {
        if core.state() & (CLOSED | WAITING) != 0 || core.refuses() {
            return None;
        }
        let grant = core.obtain(ask.class);
        core.settle();
        let mut slot = Self::redeem(core, ask.class, grant?);
        slot.lent(ask);
        Some(slot)
    }

    /// Takes back a slot in such a thread: straight to the shared queue.
    pub(super) fn give_back_cacheless(&self, mut slot: Unique<Slot>) {
        slot.reset();
        self.cacheless.of(slot.index()).returned.add(1);
        slot.came_back();
        match self.class(slot.index()) {
            Some(class) if !self.loses(&slot) => self.share_ready(class, [slot]),
            _ => {
                drop(slot);
                self.settle();
            }
        }
    }

    /// Whether frozen storage must be wiped at its last drop, and so cannot be left to be found.
    pub(super) fn must_wipe(&self) -> bool {
        self.care.as_ref().is_some_and(|care| care.wipe)
    }

    /// Whether a debug switch wants this acquire refused.
    pub(super) fn refuses(&self) -> bool {
        self.care.as_ref().is_some_and(Care::refuses)
    }

    /// Whether a debug switch wants this buffer, which just came back, lost.
    pub(super) fn loses(&self, slot: &Slot) -> bool {
        let whole = slot.storage.capacity() >= self.class_size(slot.index());
        self.care.as_ref().is_some_and(|care| care.loses(Arc::as_ptr(&slot.core), self, whole))
    }

    /// Remembers a slot that was just frozen in such a thread; hands it back if there is no place to follow it.
    pub(super) fn park_cacheless(&self, parked: Parked) -> Result<(), Parked> {
        if self.state() & (CLOSED | WAITING) != 0 || self.must_wipe() {
            return Err(parked);
        }
        let class = parked.index();
        parked.show();
        self.park(parked).inspect(|()| self.cacheless.of(class).parked.add(1))
    }

    pub(super) fn stats(&self) -> BufferPoolStats {
        let registry = self.registry.lock();
        let mut totals = registry.gone.clone();
        totals.add(&self.cacheless);
        for counters in &registry.threads {
            totals.add(counters);
        }
        drop(registry);
        totals.stats(self)
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
