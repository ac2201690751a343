use std::collections::VecDeque;
use std::mem;

use super::class::Class;
use super::core::Core;
use super::slot::{Parked, Slot};
use super::stats::{ClassCounters, Counters};
use crate::sync::Arc;

/// Frozen buffers looked at, at most, for one acquire. The oldest is the likeliest to be free; a few
/// long-lived ones in front must not cost each acquire a walk over all of them.
const PARKED_SCAN: usize = 8;
/// Buffers moved at once between a cache and its class, at most.
const MAX_BATCH: usize = 32;

/// One thread's part of one pool: the buffers it keeps, and its counters. Never shared, so without locks.
///
/// Ready buffers are a stack (the last one back is warm), frozen ones a line (the first is the likeliest
/// to be free). Dropping the cache, as a thread does when it exits, gives everything to the shared queues.
pub(super) struct LocalCache {
    core: Arc<Core>,
    /// One a class, and one for the heap.
    counters: Arc<Counters>,
    classes: Box<[LocalClass]>,
    /// Bytes of ready buffers, over all classes; at most `core.thread_cache_bytes`.
    ready_bytes: usize,
}

struct LocalClass {
    /// Bytes of a buffer.
    size: usize,
    #[expect(clippy::vec_box, reason = "the box is the handle's: it moves in and out as it is")]
    ready: Vec<Box<Slot>>,
    parked: VecDeque<Parked>,
    /// Room taken from the class, at least `ready.len() + parked.len()`.
    room: usize,
}

impl LocalClass {
    fn new(size: usize) -> Self {
        Self { size, ready: Vec::new(), parked: VecDeque::new(), room: 0 }
    }

    /// Whether there is spare room, after taking some if there was none.
    fn find_room(&mut self, class: &Class, cache_bytes: usize) -> bool {
        if self.spare_room() == 0 {
            self.room += class.take_room(batch(class, cache_bytes));
        }
        self.spare_room() > 0
    }

    fn spare_room(&self) -> usize {
        self.room.saturating_sub(self.ready.len() + self.parked.len())
    }
}

impl LocalCache {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self {
            counters: core.register(),
            classes: core.classes().iter().map(|class| LocalClass::new(class.size)).collect(),
            ready_bytes: 0,
            core: Arc::clone(core),
        }
    }

    #[inline]
    pub(super) fn belongs_to(&self, core: &Arc<Core>) -> bool {
        Arc::ptr_eq(&self.core, core)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A slot of the class, from wherever one lies nearest; new storage of `bytes` otherwise.
    #[inline]
    pub(super) fn acquire(&mut self, index: usize, bytes: usize) -> Box<Slot> {
        if let Some(local) = self.classes.get_mut(index)
            && let Some(slot) = local.ready.pop()
        {
            self.ready_bytes -= local.size;
            self.counters.of(index).cache_hits.bump();
            return slot;
        }
        self.acquire_elsewhere(index, bytes)
    }

    /// Takes a slot back, empty. It stays here if there is room, and goes to the heap if the pool has none.
    #[inline]
    pub(super) fn give_back(&mut self, slot: Box<Slot>) {
        let index = slot.class;
        self.counters.of(index).returned.bump();
        if let Some(local) = self.classes.get_mut(index)
            && local.spare_room() > 0
            && self.ready_bytes + local.size <= self.core.thread_cache_bytes
            && !self.core.is_closed()
        {
            self.ready_bytes += local.size;
            local.ready.push(slot);
            return;
        }
        self.give_back_elsewhere(slot);
    }

    /// Remembers a slot that was just frozen, or gives it up if the pool has no room.
    pub(super) fn park(&mut self, parked: Parked) {
        let index = parked.class();
        let counters = self.counters.of(index);
        counters.parked.bump();
        if let (Some(local), Some(class), false) =
            (self.classes.get_mut(index), self.core.class(index), self.core.is_closed())
            && local.find_room(class, self.core.thread_cache_bytes)
        {
            local.parked.push_back(parked);
        } else {
            counters.released.bump();
            drop(parked);
        }
    }

    /// Gives all it keeps to the shared queues, frozen slots that are free by now as ready ones.
    pub(super) fn flush(&mut self) {
        self.ready_bytes = 0;
        for (index, (local, class)) in self.classes.iter_mut().zip(self.core.classes()).enumerate() {
            let counters = self.counters.of(index);
            class.give_room(local.spare_room());
            local.room = 0;
            self.core.share_ready(class, mem::take(&mut local.ready), counters);
            for parked in mem::take(&mut local.parked) {
                match parked.reclaim() {
                    Ok(slot) => {
                        counters.unparked.bump();
                        self.core.share_ready(class, [slot], counters);
                    }
                    Err(parked) => self.core.share_parked(class, parked, counters),
                }
            }
        }
    }

    /// The cold half of [`acquire`](Self::acquire): own frozen slots, the shared queues, new storage.
    #[cold]
    fn acquire_elsewhere(&mut self, index: usize, bytes: usize) -> Box<Slot> {
        let counters = self.counters.of(index);
        if let (Some(local), Some(class)) = (self.classes.get_mut(index), self.core.class(index)) {
            if let Some(slot) = reclaim_own(local) {
                counters.reclaimed_hits.bump();
                return slot;
            }
            let wanted = batch(class, self.core.thread_cache_bytes);
            if let Some(slot) = refill(local, class, wanted, &mut self.ready_bytes) {
                counters.shared_hits.bump();
                return slot;
            }
            if let Some(slot) = reclaim_shared(local, class, &self.core, counters) {
                counters.reclaimed_hits.bump();
                return slot;
            }
        }
        counters.made.bump();
        Slot::new(&self.core, index, bytes)
    }

    /// The cold half of [`give_back`](Self::give_back): make room, or do without.
    #[cold]
    fn give_back_elsewhere(&mut self, slot: Box<Slot>) {
        let index = slot.class;
        let limit = self.core.thread_cache_bytes;
        let size = self.core.class_size(index);
        if size <= limit && self.ready_bytes + size > limit {
            self.spill(index);
        }
        let counters = self.counters.of(index);
        let (Some(local), Some(class), false) =
            (self.classes.get_mut(index), self.core.class(index), self.core.is_closed())
        else {
            counters.freed.bump();
            return drop(slot);
        };
        if !local.find_room(class, limit) {
            counters.freed.bump();
            drop(slot);
        } else if self.ready_bytes + size <= limit {
            self.ready_bytes += size;
            local.ready.push(slot);
        } else {
            local.room -= 1;
            self.core.share_ready(class, [slot], counters);
        }
    }

    /// Moves the cold half of a stack to its shared queue: of this class, or of the one that keeps most.
    fn spill(&mut self, index: usize) {
        let own = self.classes.get(index).is_some_and(|local| !local.ready.is_empty());
        let index = if own { index } else { self.largest_stack() };
        if let (Some(local), Some(class)) = (self.classes.get_mut(index), self.core.class(index)) {
            let cold = local.ready.len().div_ceil(2);
            local.room -= cold;
            self.ready_bytes -= cold * local.size;
            self.core.share_ready(class, local.ready.drain(..cold), self.counters.of(index));
        }
    }

    fn largest_stack(&self) -> usize {
        let bytes = self.classes.iter().map(|local| local.ready.len() * local.size);
        bytes.enumerate().max_by_key(|&(_, bytes)| bytes).map_or(0, |(index, _)| index)
    }
}

impl Drop for LocalCache {
    fn drop(&mut self) {
        self.flush();
        self.core.unregister(&self.counters);
    }
}

/// How many buffers of the class, or room for how many, move at once: a quarter of what the cache holds,
/// so that a refill leaves as much to take as to give; an eighth of what the class keeps, so that no
/// thread gathers the room of all.
fn batch(class: &Class, cache_bytes: usize) -> usize {
    (cache_bytes / class.size / 4).min(class.capacity / 8).clamp(1, MAX_BATCH)
}

/// The first of the thread's own frozen slots that is free again. Its room stays here, spare.
fn reclaim_own(local: &mut LocalClass) -> Option<Box<Slot>> {
    for _ in 0..PARKED_SCAN.min(local.parked.len()) {
        match local.parked.pop_front()?.reclaim() {
            Ok(slot) => return Some(slot),
            Err(parked) => local.parked.push_back(parked),
        }
    }
    None
}

/// Fetches up to `wanted` ready slots, keeps all but one. The room they bring replaces what was spare here:
/// a thread that only acquires must not gather the room of those that only give back.
fn refill(
    local: &mut LocalClass,
    class: &Class,
    wanted: usize,
    ready_bytes: &mut usize,
) -> Option<Box<Slot>> {
    let slot = class.pop_ready()?;
    let spare = local.spare_room();
    local.room += 1;
    for _ in 1..wanted {
        let Some(slot) = class.pop_ready() else { break };
        local.room += 1;
        *ready_bytes += class.size;
        local.ready.push(slot);
    }
    local.room -= spare;
    class.give_room(spare);
    Some(slot)
}

/// Like [`reclaim_own`], among what other threads froze.
fn reclaim_shared(
    local: &mut LocalClass,
    class: &Class,
    core: &Core,
    counters: &ClassCounters,
) -> Option<Box<Slot>> {
    for _ in 0..PARKED_SCAN.min(class.parked_len()) {
        match class.pop_parked()?.reclaim() {
            Ok(slot) => {
                local.room += 1;
                return Some(slot);
            }
            Err(parked) => core.share_parked(class, parked, counters),
        }
    }
    None
}
