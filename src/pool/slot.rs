use std::mem;

use bytes::{Bytes, BytesMut};

use super::core::Core;
use super::shared::Shell;
use crate::sync::Arc;

/// What a handle points to: the storage, and all that must find its way back with it.
///
/// It lives in a box so that a handle is 8 bytes, and the box is recycled with the storage. The pool
/// reference rides along while the slot lies idle, so neither acquire nor drop touches a reference count.
pub(super) struct Slot {
    /// Exclusive storage, `clear`ed while idle; empty while the storage is `frozen`.
    pub(super) storage: BytesMut,
    /// The pool's own view of frozen storage, by which it is found again.
    pub(super) frozen: Bytes,
    pub(super) core: Arc<Core>,
    /// Where the slot stays while several [`PooledBytes`](super::PooledBytes) share it; made once, kept.
    pub(super) shell: Option<Arc<Shell>>,
    /// Index of the class, or one past the last for storage from the heap.
    pub(super) class: usize,
}

impl Slot {
    /// A slot with new storage of `bytes`.
    pub(super) fn new(core: &Arc<Core>, class: usize, bytes: usize) -> Box<Self> {
        let mut storage = BytesMut::with_capacity(bytes);
        // A buffer that was split once keeps its shared header for life and freezes without a malloc.
        drop(storage.split_to(0));
        Box::new(Self { storage, frozen: Bytes::new(), core: Arc::clone(core), shell: None, class })
    }

    /// Turns the exclusive storage into a frozen view of its written bytes. No malloc, no locked instruction.
    pub(super) fn freeze(&mut self) -> Bytes {
        mem::take(&mut self.storage).freeze()
    }

    /// Takes storage back from a frozen view if no other view of it is left; hands the view back otherwise.
    pub(super) fn thaw(&mut self, view: Bytes) -> Result<(), Bytes> {
        // `is_unique` loads Relaxed, but the conversion behind it loads the count again with Acquire,
        // which pairs with the Release decrement of the last other view: its reads are over.
        let mut storage = view.try_into_mut()?;
        storage.clear();
        // The view may have begun inside the storage. Asking for the full size moves it to the front;
        // it is unique, so this neither fails nor allocates.
        let size = self.core.class_size(self.class);
        if size > storage.capacity() {
            storage.reserve(size);
        }
        self.storage = storage;
        Ok(())
    }
}

/// A slot whose storage is frozen and may still be seen by somebody's `Bytes`.
pub(super) struct Parked(Box<Slot>);

impl Parked {
    /// Remembers `view`'s storage in `slot`. `view` must be of the slot's own storage.
    pub(super) fn new(mut slot: Box<Slot>, view: Bytes) -> Self {
        slot.frozen = view;
        Self(slot)
    }

    /// The slot again, if every `Bytes` of its storage is gone.
    pub(super) fn reclaim(mut self) -> Result<Box<Slot>, Self> {
        let view = mem::take(&mut self.0.frozen);
        match self.0.thaw(view) {
            Ok(()) => Ok(self.0),
            Err(view) => {
                self.0.frozen = view;
                Err(self)
            }
        }
    }

    pub(super) fn class(&self) -> usize {
        self.0.class
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }
}
