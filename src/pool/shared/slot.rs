//! Storage together with its pool, and storage that is frozen.

use core::mem;
use core::num::NonZeroU32;

use bytes::{Buf, Bytes, BytesMut};

use super::pool_core::Core;
use crate::pool::hooks::Request;
use crate::sync::{Arc, Unique};

/// What a handle points to: the storage, and all that must find its way back with it.
///
/// A handle is one pointer to it, 8 bytes, exclusive ([`Unique`]) or counted
/// ([`Shared`](crate::sync::Shared)); the step between the two costs nothing, and the allocation is recycled with
/// the storage. The pool reference rides along while the slot lies idle, so neither acquire nor drop touches
/// a reference count.
///
/// The drop of a slot is the end of its storage, and gives its bytes back to the memory.
pub(in crate::pool) struct Slot {
    /// Exclusive and `clear`ed while idle; an empty tail of the storage while that is frozen and [`Frozen`].
    pub(in crate::pool) storage: BytesMut,
    pub(in crate::pool) core: Arc<Core>,
    /// Index of the class, or one past the last for storage from the heap; and [`DISPLACED`].
    class: usize,
    /// The sampling detector's mark, while it follows this acquire.
    pub(in crate::pool) sample: Option<NonZeroU32>,
    /// While it lies in a shared queue: the next of its [`Chain`](super::chains::Chain).
    pub(in crate::pool) next: Option<Unique<Slot>>,
}

/// Set on the class of a slot whose storage does not begin at its beginning: an advanced view became
/// unique again. No class has such an index, so the slot misses every fast path and is put right on the
/// slow one.
const DISPLACED: usize = 1 << (usize::BITS - 1);

impl Slot {
    /// A slot with new storage of `bytes`. For a pooled class they are reserved in the budget already.
    pub(in crate::pool) fn new(core: &Arc<Core>, class: usize, bytes: usize) -> Unique<Self> {
        let mut storage = BytesMut::with_capacity(bytes);
        // A buffer that was split once keeps its shared header for life and freezes without a malloc.
        drop(storage.split_to(0));
        Unique::new(Self { storage, core: Arc::clone(core), class, sample: None, next: None })
    }

    /// Index of the class, as an index into tables: none if the storage is from the heap or displaced.
    #[inline]
    pub(in crate::pool) fn index(&self) -> usize {
        self.class
    }

    /// Index of the class, in whatever state the storage is.
    pub(in crate::pool) fn class(&self) -> usize {
        self.class & !DISPLACED
    }

    /// Whether the storage is of a class of the pool.
    pub(in crate::pool) fn is_of(&self, core: &Arc<Core>) -> bool {
        Arc::ptr_eq(&self.core, core) && self.class() != core.heap()
    }

    /// What the pool does with a buffer that it hands out, after everything else.
    pub(in crate::pool) fn note_acquire(&mut self, request: Request) {
        if let Some(hooks) = &self.core.hooks {
            hooks.on_acquire(&mut self.storage, &mut self.sample, request);
        }
    }

    /// What the pool does with a buffer that is not handed out any more, before anything else.
    pub(in crate::pool) fn note_return(&mut self) {
        if let Some(hooks) = &self.core.hooks {
            hooks.on_return(&mut self.storage, &mut self.sample);
        }
    }

    /// Of what was written, keeps `len` bytes from `start` on, for one exclusive owner.
    #[inline]
    pub(in crate::pool) fn recover(&mut self, start: usize, len: usize) {
        self.storage.truncate(start + len);
        if start > 0 {
            self.storage.advance(start);
            self.class |= DISPLACED;
        }
    }

    /// A new view shows `new` bytes, beside `all` others together, or those that the detector knows of.
    #[cold]
    pub(in crate::pool) fn shows(&self, sample: NonZeroU32, all: Option<usize>, new: usize) {
        if let Some(hooks) = &self.core.hooks {
            hooks.shows(sample, |shown| Some(all.or(shown).unwrap_or(0) + new));
        }
    }

    /// A view of `gone` bytes goes.
    #[cold]
    pub(in crate::pool) fn hides(&self, sample: NonZeroU32, gone: usize) {
        if let Some(hooks) = &self.core.hooks {
            hooks.shows(sample, |shown| Some(shown?.saturating_sub(gone)));
        }
    }

    /// Makes the storage empty, and whole again.
    pub(in crate::pool) fn reset(&mut self) {
        self.storage.clear();
        self.class &= !DISPLACED;
        let size = self.core.class_size(self.class);
        if self.storage.capacity() < size {
            // Exclusive and empty, so this moves its beginning back to the front.
            let whole = self.storage.try_reclaim(size);
            debug_assert!(whole, "exclusive storage can be reclaimed");
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // In this order: memory first, then its bytes in the memory.
        drop(mem::take(&mut self.storage));
        self.core.unmake(self.class());
    }
}

/// A slot whose storage is frozen and may still be seen by somebody's `Bytes`.
pub(in crate::pool) struct Frozen(pub(in crate::pool) Unique<Slot>);

impl Frozen {
    /// Splits what was written, at least one byte, off as a frozen view, and keeps an empty tail, by which the
    /// storage is found again. No malloc, one locked instruction.
    #[inline]
    pub(in crate::pool) fn freeze(mut slot: Unique<Slot>) -> (Self, Bytes) {
        slot.class &= !DISPLACED; // what is reclaimed is whole
        let bytes = slot.storage.split().freeze();
        (Self(slot), bytes)
    }

    /// The opposite: the pool has no place to follow it.
    #[cold]
    pub(in crate::pool) fn unfreeze(self, bytes: Bytes) -> Unique<Slot> {
        let mut slot = self.0;
        // In this order: without the tail the view is the only one, and need not be copied.
        slot.storage = BytesMut::new();
        slot.storage = BytesMut::from(bytes);
        if slot.storage.capacity() < slot.core.class_size(slot.class) {
            slot.class |= DISPLACED;
        }
        slot
    }

    /// Bytes that were frozen: what is not in the tail.
    fn frozen_len(&self) -> usize {
        self.0.core.class_size(self.0.class).saturating_sub(self.0.storage.capacity())
    }

    /// Tells the detector, if it follows this one.
    pub(in crate::pool) fn show(&self) {
        if let Some(sample) = self.0.sample {
            self.0.shows(sample, Some(0), self.frozen_len());
        }
    }

    /// Whether every `Bytes` of its storage is gone; if so, the storage is whole again. `size` is its class's: to look
    /// it up here would add three loads to the longest chain of a freeze.
    #[inline]
    pub(in crate::pool) fn is_free(&mut self, size: usize) -> bool {
        // The tail is shorter than the storage, as something was frozen: so asking for the whole looks at the
        // reference count, with Acquire, which pairs with the Release decrement of the last view.
        self.0.storage.try_reclaim(size)
    }

    /// The slot again, empty, if it [is free](Self::is_free). In a hooked pool the caller says that it
    /// [came back](Slot::note_return).
    #[inline]
    pub(in crate::pool) fn reclaim(mut self, size: usize) -> Result<Unique<Slot>, Self> {
        if self.is_free(size) { Ok(self.0) } else { Err(self) }
    }

    #[inline]
    pub(in crate::pool) fn index(&self) -> usize {
        self.0.class
    }

    #[inline]
    pub(in crate::pool) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }
}
