//! The cache of one thread for one pool, and how many buffers of each class it keeps (`max_kept`).

use alloc::boxed::Box;

use super::local_class::LocalClass;
use crate::pool::hooks::{Hooks, Request};
use crate::pool::shared::{CLOSED, Class, Core, Frozen, MAX_CHAIN, Slot, WAITING};
use crate::pool::stats::Counters;
use crate::sync::{Arc, Unique};

/// A state value that never occurs: nobody waits for a closed pool.
const NEVER: usize = CLOSED | WAITING;
/// Slow operations of one thread per look at the clock of decay, which costs about as much as one of them.
const CLOCK_EVERY: u32 = 64;
/// Slow operations after which a thread counts as busy, which gives it access to all that caches may lease. A thread that
/// uses each class a few times, as many do when they start, stays below it. A thread that works with the pool exceeds it
/// soon, as its small cache still misses often.
const BUSY_FROM: u32 = 64;

/// The cache of one thread for one pool: its buffers and its counters. Never shared, so it needs no lock.
///
/// Ready buffers are a stack, as the last one returned is warm. Frozen buffers are a queue, as the first is the most
/// likely to be free. Dropping the cache, as a thread does when it exits, moves all of them to the shared queues.
pub(in crate::pool) struct LocalCache {
    core: Arc<Core>,
    /// The state word for which the fast paths of returning may be taken: the one this cache last acted on, or [`NEVER`]
    /// in a pool whose hooks see every buffer.
    seen: usize,
    /// The step of decay that this cache last noticed.
    step: usize,
    /// One per class, and one for the heap, which keeps nothing.
    classes: Box<[LocalClass]>,
    /// Bytes leased of the memory limit, as many as were needed so far: those of the classes' `limit`s, those of the frozen
    /// buffers, and `frozen_left`.
    lease: usize,
    /// Of `thread_cache_bytes`, the bytes that no class's `limit` uses.
    ready_left: usize,
    /// Bytes leased for frozen buffers that none uses.
    frozen_left: usize,
    /// Whether the pool's hooks see every buffer, so that no fast path may be taken.
    hooked: bool,
    /// The class of the last return. It is held twice, so that a return finds its stack by `last_index` before the slot is
    /// read, as long as the processor predicts correctly that the class is `last_class`.
    last_class: usize,
    last_index: usize,
    counters: Arc<Counters>,
    slow_operations: u32,
}

impl LocalCache {
    pub(in crate::pool) fn new(core: &Arc<Core>) -> Self {
        let counters = core.register();
        let class = |index| LocalClass::new(core, index, Arc::clone(counters.of(index)));
        let state = core.state();
        let step = if state & (CLOSED | WAITING) == 0 { state } else { NEVER };
        let hooked = core.hooks.as_ref().is_some_and(Hooks::sees_all);
        Self {
            seen: if hooked { NEVER } else { step },
            step,
            classes: (0..=core.heap()).map(class).collect(),
            lease: 0,
            ready_left: core.thread_cache_bytes,
            frozen_left: 0,
            counters,
            hooked,
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

    /// The fast path of [`acquire`](Self::acquire): the slot returned last.
    #[inline]
    pub(in crate::pool) fn pop(&mut self, class: usize) -> Option<Unique<Slot>> {
        let local = self.classes.get_mut(class)?;
        let slot = local.ready.pop()?;
        local.counters.cache_hits.bump();
        Some(slot)
    }

    /// The second fast path: this thread's first frozen slot of the class, if it is free.
    #[inline]
    pub(in crate::pool) fn reclaim(&mut self, index: usize) -> Option<Unique<Slot>> {
        let local = self.classes.get_mut(index)?;
        let reclaimed = local.counters.reclaimed_hits.get();
        if reclaimed == local.slow_reclaim_at {
            return None;
        }
        let mut slot = local.frozen.reclaim(local.size)?;
        local.counters.reclaimed_hits.set(reclaimed + 1);
        self.frozen_left += local.size;
        if slot.sample.is_some() {
            slot.note_return();
        }
        Some(slot)
    }

    /// The fast path of [`return_slot`](Self::return_slot). Gives the slot to the caller if the slow path must take it.
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
            && local.ready.len() < local.room
            && local.ready.len() < local.ready.capacity() // so that the compiler omits the code that grows it
            && self.core.state() == self.seen
        {
            let returned = local.counters.returned.get();
            if returned != local.slow_return_at {
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
        if self.core.state() != self.seen {
            return Some(frozen);
        }
        self.enqueue_frozen(frozen.index(), frozen).err()
    }

    /// Pushes a frozen slot to this thread's queue, or fails with it if the lease is used up.
    #[inline]
    fn enqueue_frozen(&mut self, index: usize, frozen: Frozen) -> Result<(), Frozen> {
        match self.classes.get_mut(index) {
            Some(local) if local.size <= self.frozen_left => {
                self.frozen_left -= local.size;
                local.counters.frozen.bump();
                local.frozen.push(frozen);
                Ok(())
            }
            _ => Err(frozen),
        }
    }

    /// A slot of the class, from this cache, the shared queues, or new. `None` if the class is the heap, or the memory
    /// limit is reached.
    pub(in crate::pool) fn acquire(&mut self, request: Request) -> Option<Unique<Slot>> {
        let mut slot = self.find(request.class);
        let local = self.classes.get_mut(request.class)?;
        if let Some(slot) = &mut slot {
            local.count_acquire(slot, request);
        }
        local.issue();
        slot
    }

    fn find(&mut self, index: usize) -> Option<Unique<Slot>> {
        let local = self.classes.get_mut(index)?;
        if let Some(slot) = local.stack().pop() {
            local.counters.cache_hits.bump();
            return Some(slot);
        }
        self.reclaim_own(index).or_else(|| self.fetch(index))
    }

    /// Returns a slot, emptied. It stays in this cache if there is room.
    pub(in crate::pool) fn return_slot(&mut self, mut slot: Unique<Slot>) {
        slot.reset();
        let index = slot.class();
        if self.classes.get_mut(index).is_some_and(LocalClass::count_return) {
            self.core.decay_if_due();
        }
        self.check_clock();
        slot.note_return();
        self.keep_or_drop(index, slot);
        if let Some(local) = self.classes.get_mut(index) {
            local.issue();
        }
    }

    fn keep_or_drop(&mut self, index: usize, slot: Unique<Slot>) {
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

    /// Follows a slot that was just frozen, or fails with it if the pool cannot follow it.
    pub(in crate::pool) fn follow_slowly(&mut self, frozen: Frozen) -> Result<(), Frozen> {
        self.check_clock();
        let index = frozen.class();
        let state = self.core.state();
        if self.core.class(index).is_none() || state & (CLOSED | WAITING) != 0 || self.core.must_wipe() {
            // In a closed pool nobody would find it free. With waiters, or wiping, its return must be noticed at once.
            return Err(frozen);
        }
        self.notice_step(state);
        frozen.show();
        self.lease_frozen(index);
        self.enqueue_frozen(index, frozen).or_else(|frozen| self.follow_beyond_lease(frozen))
    }

    /// Follows a slot after the lease of this cache is used up.
    ///
    /// Without a memory limit, the older half of this class's queue, or of the class with the most frozen bytes, spills
    /// to the shared queue. With one, only the new slot goes there, if it gets a lease of its own.
    fn follow_beyond_lease(&mut self, frozen: Frozen) -> Result<(), Frozen> {
        let index = frozen.class();
        let mut frozen = Err(frozen);
        if self.core.memory.limit() == usize::MAX {
            let len = |local: &LocalClass| local.frozen.len();
            let own = self.classes.get(index).is_some_and(|local| len(local) > 0);
            let from = if own { index } else { self.largest(|local| len(local) * local.size) };
            let old = self.classes.get(from).map_or(0, len).div_ceil(2);
            self.share_oldest(from, old);
            frozen = frozen.or_else(|frozen| self.enqueue_frozen(index, frozen));
        }
        frozen.or_else(|frozen| {
            self.core.follow(frozen)?;
            self.counters.of(index).frozen.bump();
            Ok(())
        })
    }

    /// Spills up to `count` of the oldest frozen slots of the class, at most one chain, to the shared queue. There is no
    /// memory limit, so this cache may use their bytes again.
    fn share_oldest(&mut self, index: usize, count: usize) {
        if let (Some(local), Some(class)) = (self.classes.get_mut(index), self.core.class(index)) {
            let count = class.frozen.reserve(count);
            local.frozen.drain_oldest(count, |oldest| class.frozen.push(oldest));
            self.frozen_left += count * class.size;
            self.core.serve_or_sweep();
        }
    }

    /// Moves all ready slots, and all frozen slots that the queues have room for, to the shared queues. Returns the bytes
    /// freed because the queues were full.
    pub(in crate::pool) fn flush(&mut self) -> usize {
        let mut freed = self.push_found_free();
        for (local, class) in self.classes.iter_mut().zip(self.core.classes()) {
            local.limit = 0;
            freed += self.core.push_idle(class, local.stack().drain(..));
            // Slots in use keep their lease in the shared queue, so that nobody else can take it in between.
            loop {
                let count = class.frozen.reserve(local.frozen.len());
                if count == 0 {
                    break;
                }
                local.frozen.drain_oldest(count, |oldest| class.frozen.push(oldest));
                self.lease -= count * class.size;
                self.core.memory.move_lease(count * class.size);
            }
        }
        let ready = self.leased_for_ready();
        self.ready_left += ready;
        self.end_lease(ready + self.frozen_left);
        self.frozen_left = 0;
        self.core.serve_or_sweep();
        freed
    }

    /// Pushes all frozen slots found free to the shared ready queues. Returns the bytes freed. The caller must call
    /// `serve_or_sweep`.
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

    /// Moves the frozen slots that a flush leaves, as the shared queues are full, to the overflow.
    fn push_remaining_frozen(&mut self) {
        for (local, class) in self.classes.iter_mut().zip(self.core.classes()) {
            while let Some(frozen) = local.frozen.pop() {
                self.lease -= class.size;
                self.core.memory.move_lease(class.size);
                self.core.push_frozen_and_serve(class, frozen);
            }
        }
    }

    /// This thread's first frozen slot of the class, if it is free.
    fn reclaim_own(&mut self, index: usize) -> Option<Unique<Slot>> {
        let local = self.classes.get_mut(index)?;
        let slot = local.frozen.reclaim(local.size)?;
        Some(self.reclaimed(index, slot))
    }

    fn reclaimed(&mut self, index: usize, mut slot: Unique<Slot>) -> Unique<Slot> {
        if let Some(local) = self.classes.get_mut(index) {
            self.frozen_left += local.size;
            local.count_reclaim();
        }
        slot.note_return();
        slot
    }

    /// A slot from the shared queues, or new.
    #[cold]
    fn fetch(&mut self, index: usize) -> Option<Unique<Slot>> {
        self.check_clock();
        if self.core.is_closed() || self.core.must_fail() {
            return None; // a closed pool keeps nothing
        }
        let state = self.core.state();
        if state & WAITING != 0 {
            return self.fetch_at_the_limit(index); // in the order of the waiters
        }
        self.notice_step(state);
        if let Some(slot) = self.refill(index) {
            return Some(slot);
        }
        if let Some(slot) = self.refill_with_free(index) {
            return Some(slot);
        }
        let later =
            self.classes.get_mut(index).and_then(|local| local.frozen.reclaim_after_first(local.size));
        if let Some(slot) = later {
            return Some(self.reclaimed(index, slot));
        }
        if self.core.reserve(index) {
            self.counters.of(index).made.bump();
            return Some(Core::make(&self.core, index));
        }
        self.fetch_at_the_limit(index)
    }

    /// The memory limit is reached: evicts idle memory, starting with this thread's.
    fn fetch_at_the_limit(&mut self, index: usize) -> Option<Unique<Slot>> {
        if self.core.next_class {
            let next = self.classes.get_mut(index + 1).and_then(|local| local.stack().pop());
            if let Some(slot) = next {
                self.counters.of(index + 1).cache_hits.bump();
                return Some(slot);
            }
        }
        self.flush(); // if there are waiters, it serves them
        self.core.obtain_now(index).map(|grant| Core::redeem(&self.core, index, grant))
    }

    /// Pops a batch of ready slots from the shared queue; keeps all but one.
    fn refill(&mut self, index: usize) -> Option<Unique<Slot>> {
        if self.core.class(index)?.ready_len() == 0 {
            return None;
        }
        let batch = self.raise_limit(index);
        let class = self.core.class(index)?;
        let local = self.classes.get_mut(index)?;
        let limit = local.limit;
        let stack = local.stack();
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

    /// Reclaims frozen slots of the shared queue; keeps all but one.
    fn refill_with_free(&mut self, index: usize) -> Option<Unique<Slot>> {
        if !self.core.has_frozen(index) {
            return None;
        }
        self.raise_limit(index);
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
            let stack = local.stack();
            if stack.len() < limit {
                stack.push(slot);
            } else {
                self.core.push_idle(class, [slot]);
            }
        });
        self.core.serve_or_sweep();
        first.inspect(|_| local.count_reclaim())
    }

    /// Pushes a slot to its stack, whose limit may grow for it, or else to the shared queue.
    fn keep(&mut self, index: usize, slot: Unique<Slot>) {
        if self.is_full(index) {
            self.raise_limit(index);
            if self.is_full(index) && self.core.class_size(index) <= self.core.thread_cache_bytes {
                self.spill(index);
                self.raise_limit(index);
            }
            if self.is_full(index)
                && let Some(class) = self.core.class(index)
            {
                return self.core.push_idle_and_serve(class, [slot]);
            }
        }
        if let Some(local) = self.classes.get_mut(index) {
            local.stack().push(slot);
        }
    }

    fn is_full(&mut self, index: usize) -> bool {
        self.classes.get_mut(index).is_none_or(|local| local.stack().len() >= local.limit)
    }

    /// Raises the limit of a class, as far as the lease allows: at first by one, then it doubles, until it grows by batches.
    /// Returns the size of a batch.
    fn raise_limit(&mut self, index: usize) -> usize {
        let limit = self.classes.get(index).map_or(0, |local| local.limit);
        let Some((size, most, batch)) = self.core.class(index).map(|class| {
            let batch = batch(class, self.core.thread_cache_bytes);
            let most = (self.ready_left / class.size).min(max_kept(class).saturating_sub(limit));
            (class.size, most.min(limit.clamp(1, batch)), batch)
        }) else {
            return 0;
        };
        let count = self.lease(size, most);
        self.ready_left -= count * size;
        if let Some(local) = self.classes.get_mut(index) {
            local.limit += count;
        }
        batch
    }

    /// Leases bytes for a frozen buffer of the class, if there are none left: at first for one, then as many as are leased,
    /// at most a batch.
    fn lease_frozen(&mut self, index: usize) {
        let cache_bytes = self.core.thread_cache_bytes;
        let held = self.lease - self.leased_for_ready();
        let Some((size, step)) = self
            .core
            .class(index)
            .map(|class| (class.size, (held / class.size).clamp(1, batch(class, cache_bytes))))
        else {
            return;
        };
        if self.frozen_left < size {
            let most = cache_bytes.saturating_sub(held) / size;
            self.frozen_left += self.lease(size, most.min(step)) * size;
        }
    }

    /// Leases up to `most` buffers of `size` bytes. Returns how many.
    fn lease(&mut self, size: usize, most: usize) -> usize {
        if most == 0 || self.core.state() & (CLOSED | WAITING) != 0 {
            return 0;
        }
        let busy = self.slow_operations >= BUSY_FROM;
        let count = self.core.memory.lease_for_cache(self.lease, size, most, busy);
        self.lease += count * size;
        count
    }

    fn end_lease(&mut self, bytes: usize) {
        self.lease -= bytes;
        self.core.memory.end_cache_lease(bytes);
    }

    /// Bytes leased for the classes' `limit`s.
    fn leased_for_ready(&self) -> usize {
        self.core.thread_cache_bytes - self.ready_left
    }

    /// Spills the cold half of a stack to its shared queue: the stack of this class or, if its limit is 0, of the class with
    /// the most leased bytes, whose limit is lowered so that this class can use them.
    fn spill(&mut self, index: usize) {
        let own = self.classes.get(index).is_some_and(|local| local.limit > 0);
        let index = if own { index } else { self.largest(|local| local.limit * local.size) };
        if let (Some(local), Some(class)) = (self.classes.get_mut(index), self.core.class(index)) {
            let stack = local.stack();
            let cold = stack.len().div_ceil(2);
            self.core.push_idle_and_serve(class, stack.drain(..cold));
            if !own {
                let unused = local.limit - local.stack().len();
                local.limit -= unused;
                self.ready_left += unused * class.size;
                self.end_lease(unused * class.size);
            }
        }
    }

    /// The class with the most bytes, as `bytes` counts them.
    fn largest(&self, bytes: impl Fn(&LocalClass) -> usize) -> usize {
        let bytes = self.classes.iter().map(bytes);
        bytes.enumerate().max_by_key(|&(_, bytes)| bytes).map_or(0, |(index, _)| index)
    }

    /// After a step of decay: spills the cold half of each stack, lowers each limit to what is kept, and ends the leases that
    /// are not used.
    fn notice_step(&mut self, state: usize) {
        if state == self.step {
            return;
        }
        self.step = state;
        self.seen = if self.hooked { NEVER } else { state };
        let mut unused = 0;
        for (local, class) in self.classes.iter_mut().zip(self.core.classes()) {
            let stack = local.stack();
            let cold = stack.len().div_ceil(2);
            self.core.push_idle(class, stack.drain(..cold));
            let kept = stack.len();
            unused += (local.limit - kept) * class.size;
            local.limit = kept;
        }
        self.ready_left += unused;
        self.push_found_free();
        self.end_lease(unused + self.frozen_left);
        self.frozen_left = 0;
        self.core.serve_or_sweep();
    }

    fn check_clock(&mut self) {
        self.slow_operations = self.slow_operations.wrapping_add(1);
        if self.slow_operations.is_multiple_of(CLOCK_EVERY) {
            self.core.decay_if_due();
        }
    }
}

impl Drop for LocalCache {
    fn drop(&mut self) {
        // What a closed pool pushed would be swept at once, and the queues may have to be made for it.
        if !self.core.is_closed() {
            self.flush();
            self.push_remaining_frozen();
        }
        self.core.unregister(&self.counters);
    }
}

/// The most buffers of the class that one thread keeps: so few that a few threads, when they refill or flush, neither empty
/// nor overflow the shared queue.
fn max_kept(class: &Class) -> usize {
    class.capacity.div_ceil(4)
}

/// How many buffers of the class move at once, at most: a quarter of the cache, so that after a refill the stack can both
/// grow and shrink; and an eighth of the class's capacity, which is half of what one thread keeps of it.
fn batch(class: &Class, cache_bytes: usize) -> usize {
    (cache_bytes / class.size / 4).min(class.capacity / 8).clamp(1, MAX_CHAIN)
}
