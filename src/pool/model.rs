//! The door for `loom-tests`, open only to the model checker.
//!
//! Loom wakes a `join` before a thread's locals are destroyed, so a model of thread exit needs the cache
//! as a value: a thread owns a [`Cache`] and drops it as its last step.

use super::buffer::PooledBuffer;
use super::local::LocalCache;
use super::slot::Parked;
use super::{Arc, BufferPool, Core};
use bytes::Bytes;

/// A thread's cache of one pool.
pub struct Cache {
    cache: LocalCache,
    core: Arc<Core>,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(pool: &BufferPool) -> Self {
        let core = Arc::clone(&pool.handle.core);
        Self { cache: LocalCache::new(&core), core }
    }

    /// What `BufferPool::acquire` does with the thread's cache.
    pub fn acquire(&mut self, min_capacity: usize) -> PooledBuffer {
        let class = self.core.sizes.index_for(min_capacity).unwrap_or(self.core.heap());
        PooledBuffer::from_slot(self.cache.acquire(class, min_capacity))
    }

    /// What the drop of a buffer does.
    pub fn give_back(&mut self, buffer: PooledBuffer) {
        if let Some(mut slot) = buffer.into_slot() {
            slot.storage.clear();
            self.cache.give_back(slot);
        }
    }

    /// What `PooledBuffer::freeze` does.
    pub fn freeze(&mut self, buffer: PooledBuffer) -> Bytes {
        let Some(mut slot) = buffer.into_slot() else { return Bytes::new() };
        let bytes = slot.freeze();
        self.cache.park(Parked::new(slot, bytes.clone()));
        bytes
    }
}
