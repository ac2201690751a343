//! The internals that `loom-tests` needs; compiled for the model checker only.
//!
//! Loom wakes a `join` before the thread locals are destroyed. So a model of thread exit needs the cache as a value: a
//! thread owns a [`Cache`] and drops it as its last step.

use core::panic::Location;

use bytes::Bytes;

use super::handle::{BufferPool, PooledBuffer};
use super::hooks::Request;
use super::shared::{Core, Frozen};
use super::thread::LocalCache;
use crate::sync::Arc;

/// The cache of one thread for one pool.
pub struct Cache {
    cache: LocalCache,
    core: Arc<Core>,
}

impl Cache {
    /// Creates an empty cache.
    #[must_use]
    pub fn new(pool: &BufferPool) -> Self {
        let core = Arc::clone(&pool.core);
        Self { cache: LocalCache::new(&core), core }
    }

    /// As `BufferPool::acquire`, with this cache.
    pub fn acquire(&mut self, min_capacity: usize) -> PooledBuffer {
        let class = self.core.sizes.index_for(min_capacity);
        let request = Request { class, bytes: min_capacity, caller: Location::caller() };
        let slot = self.cache.acquire(request);
        PooledBuffer::of(slot.unwrap_or_else(|| Core::overrun(&self.core, request)))
    }

    /// As the drop of a buffer, with this cache.
    pub fn return_buffer(&mut self, buffer: PooledBuffer) {
        let mut slot = buffer.into_slot();
        slot.storage.clear();
        if let Some(slot) = self.cache.push(slot) {
            self.cache.return_slot(slot);
        }
    }

    /// As `PooledBuffer::freeze`, with this cache.
    pub fn freeze(&mut self, buffer: PooledBuffer) -> Bytes {
        let (frozen, bytes) = Frozen::freeze(buffer.into_slot());
        match self.cache.follow(frozen).map_or(Ok(()), |frozen| self.cache.follow_slowly(frozen)) {
            Ok(()) => bytes,
            Err(frozen) => PooledBuffer::of(frozen.unfreeze(bytes)).freeze_tracked(),
        }
    }
}
