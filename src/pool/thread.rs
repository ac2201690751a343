//! The caches of the running thread, one a pool.
//!
//! The pool used last comes first, alone; a thread that uses one pool finds it with one comparison, and
//! one that alternates between pools keeps the caches of all of them.

use std::cell::RefCell;
use std::mem;

use super::core::Core;
use super::local::LocalCache;
use super::slot::{Parked, Slot};
use crate::sync::{Arc, thread_local};

/// Caches one thread keeps besides the current one. The one used longest ago is flushed beyond that.
const MAX_OTHERS: usize = 15;

thread_local! {
    static CACHES: RefCell<ThreadCaches> = RefCell::new(ThreadCaches::default());
}

#[derive(Default)]
struct ThreadCaches {
    current: Option<LocalCache>,
    /// The longest unused first.
    others: Vec<LocalCache>,
}

/// A slot of the class, or of `bytes` from the heap if `class` is the heap's.
#[inline]
pub(super) fn acquire(core: &Arc<Core>, class: usize, bytes: usize) -> Box<Slot> {
    with_cache(core, |cache| cache.acquire(class, bytes))
        .unwrap_or_else(|| Core::acquire_cacheless(core, class, bytes))
}

/// Takes an empty slot back, in any thread, at any moment of its life.
#[inline]
pub(super) fn give_back(slot: Box<Slot>) {
    let mut slot = Some(slot);
    // An error: the thread's locals are gone, and this is a drop in the destructor of another one.
    let _ = CACHES.try_with(|caches| {
        if let (Ok(mut caches), Some(slot)) = (caches.try_borrow_mut(), slot.take()) {
            caches.select(&slot.core).give_back(slot);
        }
    });
    if let Some(slot) = slot {
        Arc::clone(&slot.core).give_back_cacheless(slot);
    }
}

/// Remembers a slot that was just frozen.
pub(super) fn park(parked: Parked) {
    let mut parked = Some(parked);
    let _ = CACHES.try_with(|caches| {
        if let (Ok(mut caches), Some(parked)) = (caches.try_borrow_mut(), parked.take()) {
            caches.select(parked.core()).park(parked);
        }
    });
    if let Some(parked) = parked {
        Arc::clone(parked.core()).park_cacheless(parked);
    }
}

/// Gives the thread's cache of this pool to the shared queues.
pub(super) fn flush(core: &Arc<Core>) {
    with_cache(core, LocalCache::flush);
}

/// Frees what lies idle in the thread's cache of this pool and in the shared queues. Returns the bytes.
pub(super) fn trim(core: &Arc<Core>) -> usize {
    with_cache(core, |cache| {
        cache.flush();
        core.trim(cache.counters())
    })
    .unwrap_or(0)
}

/// Drops the thread's cache of a closed pool.
pub(super) fn forget(core: &Arc<Core>) {
    let _ = CACHES.try_with(|caches| caches.try_borrow_mut().map(|mut caches| caches.remove(core)));
}

fn with_cache<R>(core: &Arc<Core>, f: impl FnOnce(&mut LocalCache) -> R) -> Option<R> {
    CACHES
        .try_with(|caches| caches.try_borrow_mut().ok().map(|mut caches| f(caches.select(core))))
        .ok()
        .flatten()
}

impl ThreadCaches {
    /// The cache of this pool, made if there is none.
    #[inline]
    fn select(&mut self, core: &Arc<Core>) -> &mut LocalCache {
        if !self.current.as_ref().is_some_and(|cache| cache.belongs_to(core)) {
            self.switch(core);
        }
        self.current.get_or_insert_with(|| LocalCache::new(core))
    }

    #[cold]
    fn switch(&mut self, core: &Arc<Core>) {
        // The moment to let go of pools that were closed by another thread.
        self.others.retain(|cache| !cache.is_closed());
        let known = self.others.iter().position(|cache| cache.belongs_to(core));
        let next = known.map(|index| self.others.remove(index));
        if let Some(previous) = mem::replace(&mut self.current, next) {
            if self.others.len() == MAX_OTHERS {
                drop(self.others.remove(0));
            }
            self.others.push(previous);
        }
    }

    fn remove(&mut self, core: &Arc<Core>) {
        if self.current.as_ref().is_some_and(|cache| cache.belongs_to(core)) {
            self.current = None;
        }
        self.others.retain(|cache| !cache.belongs_to(core));
    }
}
