//! The door for `loom-tests`, open only to the model checker.
//!
//! Loom wakes a `join` before a thread's locals are destroyed, so a model of thread exit needs the cache
//! as a value: a thread owns a [`Cache`] and drops it as its last step.

use bytes::Bytes;

use super::buffer::PooledBuffer;
use super::core::Ask;
use super::local::LocalCache;
use super::slot::Parked;
use super::{Arc, BufferPool, Core, Location};

/// A thread's cache of one pool.
pub struct Cache {
    cache: LocalCache,
    core: Arc<Core>,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(pool: &BufferPool) -> Self {
        let core = Arc::clone(&pool.core);
        Self { cache: LocalCache::new(&core), core }
    }

    /// What `BufferPool::acquire` does with the thread's cache.
    pub fn acquire(&mut self, min_capacity: usize) -> PooledBuffer {
        let class = self.core.sizes.index_for(min_capacity);
        let ask = Ask { class, bytes: min_capacity, caller: Location::caller() };
        let slot = self.cache.acquire(ask);
        PooledBuffer::of(slot.unwrap_or_else(|| Core::overrun(&self.core, ask)))
    }

    /// What the drop of a buffer does.
    pub fn give_back(&mut self, buffer: PooledBuffer) {
        let mut slot = buffer.into_slot();
        slot.storage.clear();
        if let Some(slot) = self.cache.push(slot) {
            self.cache.give_back(slot);
        }
    }

    /// What `PooledBuffer::freeze` does.
    pub fn freeze(&mut self, buffer: PooledBuffer) -> Bytes {
        let (parked, bytes) = Parked::freeze(buffer.into_slot());
        match self.cache.park(parked).map_or(Ok(()), |parked| self.cache.park_slowly(parked)) {
            Ok(()) => bytes,
            Err(parked) => PooledBuffer::of(parked.unfreeze(bytes)).freeze_tracked(),
        }
    }
}
