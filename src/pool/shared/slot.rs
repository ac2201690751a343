//! Storage together with its pool, and storage that is frozen.

use alloc::vec::Vec;
use core::mem;
use core::num::NonZeroU32;

use bytes::{Buf, Bytes, BytesMut};

use super::pool_core::Core;
#[cfg(feature = "std")]
use crate::pool::hooks::Countdown;
use crate::pool::hooks::Request;
use crate::size::MAX_CLASSES;
use crate::sync::{Arc, Unique};

/// What a handle points to: the storage, and what is needed to return it.
///
/// A handle is one pointer to a slot, 8 bytes, exclusive ([`Unique`]) or counted ([`Shared`](crate::sync::Shared)). The
/// conversion between the two costs nothing, and the allocation of the slot is recycled with the storage. An idle slot
/// keeps its reference to the pool, so neither acquire nor drop touches a reference count.
///
/// Dropping a slot frees its storage and releases its bytes of the memory limit.
pub(in crate::pool) struct Slot {
    /// Exclusive and empty while idle. In a [`Frozen`] slot, an empty tail of the frozen storage.
    pub(in crate::pool) storage: BytesMut,
    pub(in crate::pool) core: Arc<Core>,
    /// Index of the class, or [`HEAP`] and the size of the storage. May have [`DISPLACED`] or [`SAMPLED`] set.
    class: usize,
    /// The mark of the sampling detector, if this acquire is sampled.
    pub(in crate::pool) sample: Option<NonZeroU32>,
    /// In a shared queue: the next slot of its [`Chain`](super::chains::Chain).
    pub(in crate::pool) next: Option<Unique<Slot>>,
}

/// Storage from the heap has the class `HEAP` plus its size in bytes. No class of a pool has so high an index.
const HEAP: usize = MAX_CLASSES;

/// Set in `class` if `storage` does not start at the start of its allocation, as its first bytes were read and dropped.
///
/// No class has an index with this bit or the next one, so the slot misses every fast path, and the slow path clears them.
const DISPLACED: usize = 1 << (usize::BITS - 1);
/// Set in `class` if `sample` is: the slow path must take the sample back.
const SAMPLED: usize = 1 << (usize::BITS - 2);
const FLAGS: usize = DISPLACED | SAMPLED;

impl Slot {
    /// A slot with new storage of `bytes`. For a pooled class, the caller has reserved them.
    pub(in crate::pool) fn new(core: &Arc<Core>, class: usize, bytes: usize) -> Unique<Self> {
        let storage = new_storage(bytes);
        let class = if class == core.heap() { (HEAP + storage.capacity()).min(!FLAGS) } else { class };
        Unique::new(Self { storage, core: Arc::clone(core), class, sample: None, next: None })
    }

    /// Index of the class for the fast paths. Out of the range of classes if the storage is from the heap or displaced, or if
    /// this acquire is sampled.
    #[inline]
    pub(in crate::pool) fn index(&self) -> usize {
        self.class
    }

    /// Index of the class, or the one that stands for the heap, whether or not the storage is displaced or sampled.
    pub(in crate::pool) fn class(&self) -> usize {
        let class = self.class & !FLAGS;
        if class < HEAP { class } else { self.core.heap() }
    }

    /// Bytes of the whole storage, whatever was written to it or read.
    pub(in crate::pool) fn size(&self) -> usize {
        let class = self.class & !FLAGS;
        if class < HEAP { self.core.class_size(class) } else { class - HEAP }
    }

    /// Whether the storage is of a class of the pool.
    pub(in crate::pool) fn is_of(&self, core: &Arc<Core>) -> bool {
        Arc::ptr_eq(&self.core, core) && self.class() != core.heap()
    }

    /// Runs the hooks of an acquire that no countdown counts, after everything else.
    pub(in crate::pool) fn note_acquire(&mut self, request: Request) {
        if let Some(hooks) = &self.core.hooks {
            hooks.on_acquire(&mut self.storage, &mut self.sample, request);
            self.mark();
        }
    }

    /// Runs the hooks of an acquire for which the countdown has no permit, after everything else.
    #[cfg(feature = "std")]
    pub(in crate::pool) fn note_due(&mut self, countdown: &mut Countdown, request: Request) {
        if let Some(hooks) = &self.core.hooks {
            hooks.on_due(countdown, &mut self.storage, &mut self.sample, request);
            self.mark();
        }
    }

    /// Lets a sampled slot miss the fast paths.
    fn mark(&mut self) {
        if self.sample.is_some() {
            self.class |= SAMPLED;
        }
    }

    /// Runs the hooks of a return, before anything else.
    pub(in crate::pool) fn note_return(&mut self) {
        self.class &= !SAMPLED;
        if let Some(hooks) = &self.core.hooks {
            hooks.on_return(&mut self.storage, &mut self.sample);
        }
    }

    /// Labels this acquire in the leak report, if it is sampled.
    #[inline]
    pub(in crate::pool) fn label(&self, label: &'static str) {
        if let Some(sample) = self.sample {
            self.label_sample(sample, label);
        }
    }

    #[cold]
    fn label_sample(&self, sample: NonZeroU32, label: &'static str) {
        if let Some(hooks) = &self.core.hooks {
            hooks.label(sample, label);
        }
    }

    /// Shows `len` of the written bytes, from `start`, to one exclusive owner.
    #[inline]
    pub(in crate::pool) fn recover(&mut self, start: usize, len: usize) {
        self.storage.truncate(start + len);
        self.advance(start);
    }

    /// Drops the first `count` bytes, at most all. Their room can be [reclaimed](Self::reclaim_front); once nothing is
    /// left, it is.
    #[inline]
    pub(in crate::pool) fn advance(&mut self, count: usize) {
        if count > 0 {
            self.storage.advance(count);
            self.class |= DISPLACED;
            if self.storage.is_empty() {
                self.reset();
            }
        }
    }

    /// Takes back its storage, whose front may be missing.
    #[cfg(feature = "net")]
    pub(in crate::pool) fn adopt(&mut self, storage: BytesMut) {
        self.storage = storage;
        self.class &= !DISPLACED;
        if self.storage.capacity() < self.size() {
            self.class |= DISPLACED;
        }
    }

    /// Gets new storage in place of what it does not have any more.
    #[cfg(feature = "net")]
    pub(in crate::pool) fn renew(&mut self) {
        self.class &= !DISPLACED;
        self.storage = new_storage(self.size());
    }

    /// Shrinks the storage to that of a smaller class, which holds the written bytes. Nothing if it is of the heap, or if the
    /// part that is freed would have to be wiped.
    pub(in crate::pool) fn shrink(&mut self, class: usize) {
        let from = self.class();
        if from == self.core.heap() || self.core.must_wipe() {
            return;
        }
        // Exclusive, so the bytes move to the start of the allocation, and the allocator takes back its end.
        let mut storage = Vec::from(mem::take(&mut self.storage));
        storage.shrink_to(self.core.class_size(class));
        self.storage = with_header(BytesMut::from(Bytes::from(storage)));
        self.class = self.class & SAMPLED | class;
        if let (Some(hooks), Some(sample)) = (&self.core.hooks, self.sample) {
            hooks.shrinks(sample, class);
        }
        self.core.exchange(from, class);
    }

    /// Makes room for `additional` bytes, more than there is, by moving the written bytes to the start of the storage. Fails
    /// if they fit nowhere in it, or if fewer bytes were dropped than would have to be moved.
    pub(in crate::pool) fn reclaim_front(&mut self, additional: usize) -> bool {
        let reclaimed = self.class & DISPLACED != 0 && self.storage.try_reclaim(additional);
        if reclaimed {
            self.class &= !DISPLACED;
        }
        reclaimed
    }

    /// Tells the detector that a new view shows `new` bytes. The other views show `all`, or as many as the detector knows.
    #[cold]
    pub(in crate::pool) fn shows(&self, sample: NonZeroU32, all: Option<usize>, new: usize) {
        if let Some(hooks) = &self.core.hooks {
            hooks.shows(sample, |shown| Some(all.or(shown).unwrap_or(0) + new));
        }
    }

    /// Tells the detector that a view of `gone` bytes was dropped.
    #[cold]
    pub(in crate::pool) fn hides(&self, sample: NonZeroU32, gone: usize) {
        if let Some(hooks) = &self.core.hooks {
            hooks.shows(sample, |shown| Some(shown?.saturating_sub(gone)));
        }
    }

    /// Empties the storage, and undoes a displacement.
    pub(in crate::pool) fn reset(&mut self) {
        self.storage.clear();
        self.class &= !DISPLACED;
        // Exclusive and empty, so this moves its start back to the start of the allocation.
        let whole = self.storage.try_reclaim(self.size());
        debug_assert!(whole, "exclusive storage can be reclaimed");
    }
}

fn new_storage(bytes: usize) -> BytesMut {
    with_header(BytesMut::with_capacity(bytes))
}

/// Storage that freezes without a malloc: a `BytesMut` that was split once keeps its shared header.
fn with_header(mut storage: BytesMut) -> BytesMut {
    drop(storage.split_to(0));
    storage
}

impl Drop for Slot {
    fn drop(&mut self) {
        // In this order: first the storage, then its bytes of the limit.
        drop(mem::take(&mut self.storage));
        self.core.unmake(self.class());
    }
}

/// A slot whose storage is frozen. `Bytes` may still show it.
pub(in crate::pool) struct Frozen(pub(in crate::pool) Unique<Slot>);

impl Frozen {
    /// Splits the written bytes, at least one, off as a frozen view, and keeps an empty tail, through which the storage is
    /// reclaimed later. No malloc, one locked instruction.
    #[inline]
    pub(in crate::pool) fn freeze(mut slot: Unique<Slot>) -> (Self, Bytes) {
        slot.class &= !DISPLACED; // reclaiming gives the whole storage
        let bytes = slot.storage.split().freeze();
        (Self(slot), bytes)
    }

    /// Undoes [`freeze`](Self::freeze), if the pool cannot follow the storage.
    #[cold]
    pub(in crate::pool) fn unfreeze(self, bytes: Bytes) -> Unique<Slot> {
        let mut slot = self.0;
        // In this order: after the tail is dropped, the view is the only one, and is not copied.
        slot.storage = BytesMut::new();
        slot.storage = BytesMut::from(bytes);
        if slot.storage.capacity() < slot.size() {
            slot.class |= DISPLACED;
        }
        slot
    }

    /// Bytes that were frozen: those that are not in the tail.
    fn frozen_len(&self) -> usize {
        self.0.size().saturating_sub(self.0.storage.capacity())
    }

    /// Tells the detector how many bytes were frozen, if this acquire is sampled.
    pub(in crate::pool) fn show(&self) {
        if let Some(sample) = self.0.sample {
            self.0.shows(sample, Some(0), self.frozen_len());
        }
    }

    /// Whether every `Bytes` of the storage was dropped. If so, the storage is whole again. `size` is that of the class:
    /// looking it up here would add three dependent loads to a freeze.
    #[inline]
    pub(in crate::pool) fn is_free(&mut self, size: usize) -> bool {
        // The tail is shorter than the storage, as at least one byte was frozen. So asking for the whole size loads the
        // reference count with Acquire, which synchronizes with the Release decrements of all views: their reads happen
        // before the next write.
        self.0.storage.try_reclaim(size)
    }

    /// The slot, empty, if it [is free](Self::is_free). In a pool with hooks the caller must call
    /// [`note_return`](Slot::note_return).
    #[inline]
    pub(in crate::pool) fn reclaim(mut self, size: usize) -> Result<Unique<Slot>, Self> {
        if self.is_free(size) { Ok(self.0) } else { Err(self) }
    }

    /// Index of the class for the fast paths. Out of their range if the acquire is sampled.
    #[inline]
    pub(in crate::pool) fn index(&self) -> usize {
        self.0.class
    }

    /// Index of the class, or one past the last for storage from the heap.
    pub(in crate::pool) fn class(&self) -> usize {
        self.0.class()
    }

    #[inline]
    pub(in crate::pool) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }
}
