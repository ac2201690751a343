//! One thread's part of one pool.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::frozen_queue::FrozenQueue;
use crate::pool::hooks::Request;
use crate::pool::shared::{CLOSED, Class, Core, Frozen, MAX_CHAIN, Slot, WAITING};
use crate::pool::stats::{ClassCounters, Counters};
use crate::sync::{Arc, Unique};

/// A state word that never is: nobody waits for a closed pool.
const NEVER: usize = CLOSED | WAITING;
/// Slow operations of one thread between two looks at the clock of decay, which costs about as much as one.
const CLOCK_EVERY: u32 = 64;
/// Returns to one class between two looks of a thread that makes no slow operations.
const CLOCK_EVERY_FAST: u64 = 1024;

/// One thread's part of one pool: the buffers it keeps, and its counters. Never shared, so without locks.
///
/// Ready buffers are a stack (the last one back is warm), frozen ones a line (the first is the likeliest
/// to be free). Dropping the cache, as a thread does when it exits, gives everything to the shared queues.
pub(in crate::pool) struct LocalCache {
    core: Arc<Core>,
    /// The state word under which the fast paths of returning may be taken: the one this cache last acted on,
    /// or [`NEVER`] in a pool that does something with every buffer.
    seen: usize,
    /// The step of decay that this cache last noticed.
    step: usize,
    /// One a class, and one for the heap, which keeps nothing.
    classes: Box<[LocalClass]>,
    /// Bytes that the budget allows this cache: half for ready buffers, half for frozen ones. After a flush only
    /// those of the frozen ones that it left.
    lease: usize,
    /// Whether more is asked for when it is next needed.
    wants_lease: bool,
    /// Of the first half: not yet promised to a class.
    ready_left: usize,
    /// Of the second half: not yet taken by a frozen buffer.
    frozen_left: usize,
    /// Whether the pool does something with every buffer, so that no fast path may be taken.
    hooked: bool,
    /// The class to which a buffer came back last; and its index, which is the same number. With both, the way of a
    /// return to its stack is known before the slot is read, as long as the processor guesses the class right.
    last_class: usize,
    last_index: usize,
    counters: Arc<Counters>,
    slow_operations: u32,
}

/// A power of two long, so that finding one takes a shift.
#[repr(align(128))]
struct LocalClass {
    ready: Vec<Unique<Slot>>,
    /// Buffers for which bytes are promised: the stack grows to this without a second thought.
    limit: usize,
    counters: Arc<ClassCounters>,
    frozen: FrozenQueue,
    /// Bytes of a buffer; more than any quota for the heap, of which nothing is kept.
    size: usize,
    /// What `ready` is in a hooked pool, where the fast path of acquiring must miss.
    guarded: Vec<Unique<Slot>>,
}

impl LocalCache {
    pub(in crate::pool) fn new(core: &Arc<Core>) -> Self {
        let counters = core.register();
        let class = |index| LocalClass {
            ready: Vec::new(),
            limit: 0,
            counters: Arc::clone(counters.of(index)),
            frozen: FrozenQueue::default(),
            size: core.class(index).map_or(usize::MAX, |class| class.size),
            guarded: Vec::new(),
        };
        Self {
            seen: NEVER,
            step: NEVER,
            classes: (0..=core.heap()).map(class).collect(),
            lease: 0,
            wants_lease: true,
            ready_left: 0,
            frozen_left: 0,
            counters,
            hooked: core.hooks.is_some(),
            last_class: 0,
            last_index: 0,
            slow_operations: 0,
            core: Arc::clone(core),
        }
    }

    #[inline]
    pub(in crate::pool) fn belongs_to(&self, core: &Arc<Core>) -> bool {
        Arc::ptr_eq(&self.core, core)
    }

    pub(in crate::pool) fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// The fast path of [`acquire`](Self::acquire): the slot that came back last.
    #[inline]
    pub(in crate::pool) fn pop(&mut self, class: usize) -> Option<Unique<Slot>> {
        let local = self.classes.get_mut(class)?;
        let slot = local.ready.pop()?;
        local.counters.cache_hits.bump();
        Some(slot)
    }

    /// The next fast path: the first of this thread's frozen slots that is free again.
    #[inline]
    pub(in crate::pool) fn reclaim(&mut self, index: usize) -> Option<Unique<Slot>> {
        if self.hooked {
            return None;
        }
        self.reclaim_own(index)
    }

    /// The fast path of [`return_slot`](Self::return_slot). Hands the slot back if anything is out of the ordinary.
    #[inline]
    pub(in crate::pool) fn push(&mut self, slot: Unique<Slot>) -> Option<Unique<Slot>> {
        let index = if slot.index() == self.last_class {
            self.last_index
        } else {
            self.last_class = slot.index();
            self.last_index = slot.index();
            slot.index()
        };
        if let Some(local) = self.classes.get_mut(index)
            && local.ready.len() < local.limit
            && local.ready.len() < local.ready.capacity() // so that no code to grow it is in the way
            && self.core.state() == self.seen
        {
            let returned = local.counters.returned.get();
            if !returned.is_multiple_of(CLOCK_EVERY_FAST) {
                local.ready.push(slot);
                local.counters.returned.set(returned + 1);
                return None;
            }
        }
        Some(slot)
    }

    /// The fast path of [`follow_slowly`](Self::follow_slowly).
    #[inline]
    pub(in crate::pool) fn follow(&mut self, frozen: Frozen) -> Option<Frozen> {
        if self.core.state() == self.seen { self.enqueue_frozen(frozen).err() } else { Some(frozen) }
    }

    /// Takes a frozen slot into this thread's line; hands it back if the quota is used up.
    #[inline]
    fn enqueue_frozen(&mut self, frozen: Frozen) -> Result<(), Frozen> {
        match self.classes.get_mut(frozen.index()) {
            Some(local) if local.size <= self.frozen_left => {
                self.frozen_left -= local.size;
                local.counters.frozen.bump();
                local.frozen.push(frozen);
                Ok(())
            }
            _ => Err(frozen),
        }
    }

    /// A slot of the class, from wherever one lies nearest, or new; none if the class is the heap, or the
    /// budget is spent.
    pub(in crate::pool) fn acquire(&mut self, request: Request) -> Option<Unique<Slot>> {
        let kept = self.classes.get_mut(request.class).and_then(|local| local.guarded.pop());
        let kept = kept.inspect(|_| self.counters.of(request.class).cache_hits.bump());
        let kept = kept.or_else(|| self.pop(request.class)).or_else(|| self.reclaim_own(request.class));
        let mut slot = match kept {
            Some(slot) => slot,
            None => self.fetch(request.class)?,
        };
        slot.note_acquire(request);
        Some(slot)
    }

    /// Takes a slot back, empty. It stays here if there is room.
    pub(in crate::pool) fn return_slot(&mut self, mut slot: Unique<Slot>) {
        slot.reset();
        let index = slot.index();
        let returned = &self.counters.of(index).returned;
        if returned.get().is_multiple_of(CLOCK_EVERY_FAST) {
            self.core.decay_if_due();
        }
        self.check_clock();
        self.counters.of(index).returned.bump();
        slot.note_return();
        let state = self.core.state();
        if self.core.must_drop(&slot) {
            drop(slot);
            return self.core.serve_or_sweep();
        }
        match self.core.class(index) {
            Some(class) if state & WAITING != 0 => {
                self.core.push_idle_and_serve(class, [slot]);
                self.flush();
            }
            Some(_) if state & CLOSED == 0 => {
                self.notice_step(state);
                self.keep(index, slot);
            }
            _ => drop(slot),
        }
    }

    /// Remembers a slot that was just frozen; hands it back if the pool has no place to follow it.
    pub(in crate::pool) fn follow_slowly(&mut self, frozen: Frozen) -> Result<(), Frozen> {
        self.check_clock();
        let index = frozen.index();
        let state = self.core.state();
        if index == self.core.heap() || state & (CLOSED | WAITING) != 0 || self.core.must_wipe() {
            // Closed: nobody will look for it. Waited for, or secret: its return must be noticed at once.
            return Err(frozen);
        }
        self.notice_step(state);
        frozen.show();
        self.take_lease();
        self.enqueue_frozen(frozen).or_else(|frozen| self.follow_beyond_quota(frozen))
    }

    /// The quota is used up: the oldest go to the shared queue, where any thread finds them, of this class, or of the one
    /// that takes most of the quota. Under a memory limit only the new one does, if there is a lease for it.
    fn follow_beyond_quota(&mut self, frozen: Frozen) -> Result<(), Frozen> {
        let index = frozen.index();
        let mut frozen = Err(frozen);
        if self.core.memory.limit() == usize::MAX {
            let len = |local: &LocalClass| local.frozen.len();
            let own = self.classes.get(index).is_some_and(|local| len(local) > 0);
            let from = if own { index } else { self.largest(|local| len(local) * local.size) };
            let old = self.classes.get(from).map_or(0, len).div_ceil(2);
            self.share_oldest(from, old);
            frozen = frozen.or_else(|frozen| self.enqueue_frozen(frozen));
        }
        frozen.or_else(|frozen| {
            self.core.follow(frozen)?;
            self.counters.of(index).frozen.bump();
            Ok(())
        })
    }

    /// Lays up to `count` of the oldest frozen slots of the class, at most a chain, into the shared queue. There
    /// is no memory limit, so what they leave is leased anew.
    fn share_oldest(&mut self, index: usize, count: usize) {
        if let (Some(local), Some(class)) = (self.classes.get_mut(index), self.core.class(index)) {
            let count = class.frozen.reserve(count);
            local.frozen.drain_oldest(count, |oldest| class.frozen.push(oldest));
            self.frozen_left += count * class.size;
            self.core.serve_or_sweep();
        }
    }

    /// Lays all that is idle into the shared queues, and of what is frozen and in use as much as they have
    /// places for. Returns the bytes freed, as the queues are full.
    pub(in crate::pool) fn flush(&mut self) -> usize {
        let mut freed = self.push_found_free();
        for (local, class) in self.classes.iter_mut().zip(self.core.classes()) {
            local.limit = 0;
            freed += self.core.push_idle(class, local.stack(self.hooked).drain(..));
            // What is in use goes, with its part of the lease, so that nobody takes that in between.
            loop {
                let count = class.frozen.reserve(local.frozen.len());
                if count == 0 {
                    break;
                }
                local.frozen.drain_oldest(count, |oldest| class.frozen.push(oldest));
                self.lease -= count * class.size;
            }
        }
        let kept = self.lease_of_frozen();
        self.core.memory.end_lease(self.lease - kept);
        self.lease = kept;
        self.ready_left = 0;
        self.frozen_left = 0;
        self.wants_lease = true;
        self.core.serve_or_sweep();
        freed
    }

    /// Lays all frozen slots that are free by now down as ready ones. The caller settles. Returns the bytes freed.
    fn push_found_free(&mut self) -> usize {
        let mut freed = 0;
        for (local, class) in self.classes.iter_mut().zip(self.core.classes()) {
            for _ in 0..local.frozen.len() {
                let Some(frozen) = local.frozen.pop() else { break };
                match frozen.reclaim(class.size) {
                    Ok(mut slot) => {
                        slot.note_return();
                        self.frozen_left += class.size;
                        local.counters.found_free.bump();
                        freed += self.core.push_idle(class, [slot]);
                    }
                    Err(frozen) => local.frozen.push(frozen),
                }
            }
        }
        freed
    }

    /// Gives away what a flush leaves: frozen slots in use, for which the shared queues have no place.
    fn push_remaining_frozen(&mut self) {
        for (local, class) in self.classes.iter_mut().zip(self.core.classes()) {
            while let Some(frozen) = local.frozen.pop() {
                self.lease -= class.size;
                self.core.push_frozen_and_serve(class, frozen);
            }
        }
    }

    /// Bytes of the frozen slots that are kept here.
    fn lease_of_frozen(&self) -> usize {
        let classes = self.classes.iter().zip(self.core.classes());
        classes.map(|(local, class)| local.frozen.len() * class.size).sum()
    }

    /// The first of this thread's frozen slots that is free again.
    fn reclaim_own(&mut self, index: usize) -> Option<Unique<Slot>> {
        let local = self.classes.get_mut(index)?;
        let slot = local.frozen.reclaim(local.size)?;
        Some(self.reclaimed(index, slot))
    }

    fn reclaimed(&mut self, index: usize, mut slot: Unique<Slot>) -> Unique<Slot> {
        if let Some(local) = self.classes.get_mut(index) {
            self.frozen_left += local.size;
            local.counters.reclaimed_hits.bump();
        }
        if self.hooked {
            slot.note_return();
        }
        slot
    }

    /// From what belongs to no thread, or new.
    #[cold]
    fn fetch(&mut self, index: usize) -> Option<Unique<Slot>> {
        self.check_clock();
        if self.core.state() & (CLOSED | WAITING) != 0 || self.core.must_fail() {
            return None; // those who wait come first, and of a closed pool nobody keeps anything
        }
        if let Some(slot) = self.refill(index) {
            return Some(slot);
        }
        if let Some(slot) = self.refill_with_free(index) {
            return Some(slot);
        }
        let behind =
            self.classes.get_mut(index).and_then(|local| local.frozen.reclaim_after_first(local.size));
        if let Some(slot) = behind {
            return Some(self.reclaimed(index, slot));
        }
        let class = self.core.class(index)?;
        if self.core.memory.reserve(class.size) {
            self.counters.of(index).made.bump();
            return Some(Core::make(&self.core, index));
        }
        self.fetch_at_the_limit(index)
    }

    /// The budget is spent: idle memory gives way, this thread's first of all.
    fn fetch_at_the_limit(&mut self, index: usize) -> Option<Unique<Slot>> {
        if self.core.next_class {
            let hooked = self.hooked;
            let next = self.classes.get_mut(index + 1).and_then(|local| local.stack(hooked).pop());
            if let Some(slot) = next {
                self.counters.of(index + 1).cache_hits.bump();
                return Some(slot);
            }
        }
        self.flush();
        if self.core.state() & WAITING != 0 {
            return None; // what was flushed is theirs
        }
        let grant = self.core.obtain(index);
        self.core.serve_or_sweep();
        grant.map(|grant| Core::redeem(&self.core, index, grant))
    }

    /// Fetches a batch of ready slots, keeps all but one.
    fn refill(&mut self, index: usize) -> Option<Unique<Slot>> {
        if self.core.class(index)?.ready_len() == 0 {
            return None;
        }
        let batch = self.raise_limit(index);
        let hooked = self.hooked;
        let class = self.core.class(index)?;
        let local = self.classes.get_mut(index)?;
        let limit = local.limit;
        let stack = local.stack(hooked);
        let end = limit.min(stack.len() + batch.saturating_sub(1));
        let slot = class.pop_ready_and(stack, end.saturating_sub(stack.len()))?;
        while stack.len() < end {
            let Some(slot) = class.pop_ready_and(stack, end - stack.len() - 1) else { break };
            stack.push(slot);
        }
        local.counters.shared_hits.bump();
        class.note_low_water();
        Some(slot)
    }

    /// The same with frozen ones that are free again.
    fn refill_with_free(&mut self, index: usize) -> Option<Unique<Slot>> {
        if !self.core.has_frozen(index) {
            return None;
        }
        self.raise_limit(index);
        let hooked = self.hooked;
        let class = self.core.class(index)?;
        let local = self.classes.get_mut(index)?;
        let limit = local.limit;
        let mut first = None;
        self.core.reclaim_shared(class, |slot| {
            if first.is_none() {
                first = Some(slot);
                return;
            }
            local.counters.found_free.bump();
            let stack = local.stack(hooked);
            if stack.len() < limit {
                stack.push(slot);
            } else {
                self.core.push_idle(class, [slot]);
            }
        });
        self.core.serve_or_sweep();
        first.inspect(|_| local.counters.reclaimed_hits.bump())
    }

    /// Lays a slot onto its stack, whose limit may have to grow for it; else into the shared queue.
    fn keep(&mut self, index: usize, slot: Unique<Slot>) {
        if self.is_full(index) {
            self.raise_limit(index);
        }
        let fits = self.core.class_size(index) <= self.core.thread_cache_bytes;
        if self.is_full(index) && fits {
            self.spill(index);
            self.raise_limit(index);
        }
        if self.is_full(index) {
            if let Some(class) = self.core.class(index) {
                self.core.push_idle_and_serve(class, [slot]);
            }
        } else if let Some(local) = self.classes.get_mut(index) {
            local.stack(self.hooked).push(slot);
        }
    }

    fn is_full(&mut self, index: usize) -> bool {
        let hooked = self.hooked;
        self.classes.get_mut(index).is_none_or(|local| local.stack(hooked).len() >= local.limit)
    }

    /// Raises the limit of a class by a batch, as far as the lease goes. Returns the batch.
    fn raise_limit(&mut self, index: usize) -> usize {
        self.take_lease();
        let (Some(local), Some(class)) = (self.classes.get_mut(index), self.core.class(index)) else {
            return 0;
        };
        let batch = batch(class, self.core.thread_cache_bytes);
        let count = batch.min(self.ready_left / class.size).min(max_kept(class).saturating_sub(local.limit));
        self.ready_left -= count * class.size;
        local.limit += count;
        let limit = local.limit;
        let stack = local.stack(self.hooked);
        stack.reserve(limit.saturating_sub(stack.len()));
        batch
    }

    /// Fills up the lease, now and then: what others had at the last time they may have given back.
    fn take_lease(&mut self) {
        if !self.wants_lease || self.core.state() & (CLOSED | WAITING) != 0 {
            return;
        }
        self.wants_lease = false;
        let each = self.core.thread_cache_bytes;
        let for_frozen = self.lease_of_frozen() + self.frozen_left;
        let more_frozen = each.saturating_sub(for_frozen);
        let more_ready = each.saturating_sub(self.lease - for_frozen);
        let lease = self.core.memory.lease(more_frozen.saturating_add(more_ready));
        let ready = more_ready.min(lease.div_ceil(2).max(lease.saturating_sub(more_frozen)));
        self.lease += lease;
        self.ready_left += ready;
        self.frozen_left += lease - ready;
    }

    /// Moves the cold half of a stack to its shared queue: of this class, or of the one that was promised
    /// most; what that does not keep any more is free to be promised.
    fn spill(&mut self, index: usize) {
        let own = self.classes.get(index).is_some_and(|local| local.limit > 0);
        let index = if own { index } else { self.largest(|local| local.limit * local.size) };
        let hooked = self.hooked;
        if let (Some(local), Some(class)) = (self.classes.get_mut(index), self.core.class(index)) {
            let stack = local.stack(hooked);
            let cold = stack.len().div_ceil(2);
            self.core.push_idle_and_serve(class, stack.drain(..cold));
            if !own {
                let unused = local.limit - local.stack(hooked).len();
                local.limit -= unused;
                self.ready_left += unused * local.size;
            }
        }
    }

    /// The class with the most of these bytes.
    fn largest(&self, bytes: impl Fn(&LocalClass) -> usize) -> usize {
        let bytes = self.classes.iter().map(bytes);
        bytes.enumerate().max_by_key(|&(_, bytes)| bytes).map_or(0, |(index, _)| index)
    }

    /// After a step of decay: lets go of the cold half of everything, and of promises not made use of.
    fn notice_step(&mut self, state: usize) {
        if state == self.step {
            return;
        }
        self.step = state;
        self.seen = if self.hooked { NEVER } else { state };
        for (local, class) in self.classes.iter_mut().zip(self.core.classes()) {
            let stack = local.stack(self.hooked);
            let cold = stack.len().div_ceil(2);
            self.core.push_idle(class, stack.drain(..cold));
            let kept = stack.len();
            self.ready_left += (local.limit - kept) * local.size;
            local.limit = kept;
        }
        self.push_found_free();
        self.core.serve_or_sweep();
    }

    fn check_clock(&mut self) {
        self.slow_operations = self.slow_operations.wrapping_add(1);
        if self.slow_operations.is_multiple_of(CLOCK_EVERY) {
            self.wants_lease = true;
            self.core.decay_if_due();
        }
    }
}

impl LocalClass {
    fn stack(&mut self, hooked: bool) -> &mut Vec<Unique<Slot>> {
        if hooked { &mut self.guarded } else { &mut self.ready }
    }
}

impl Drop for LocalCache {
    fn drop(&mut self) {
        self.flush();
        self.push_remaining_frozen();
        self.core.memory.end_lease(self.lease);
        self.core.unregister(&self.counters);
    }
}

/// How many buffers of the class a thread keeps, at most: so that what a few threads gather, and lay down, neither
/// empties the shared queue nor overflows it.
fn max_kept(class: &Class) -> usize {
    class.capacity.div_ceil(4)
}

/// How many buffers of the class, or promises of one, move at once: a quarter of what the cache holds,
/// so that a refill leaves as much to take as to give; an eighth of what the class keeps, half of what a
/// thread gathers of it.
fn batch(class: &Class, cache_bytes: usize) -> usize {
    (cache_bytes / class.size / 4).min(class.capacity / 8).clamp(1, MAX_CHAIN)
}
