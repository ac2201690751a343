//! The caches of the running thread, one per pool.
//!
//! The cache used last is kept apart: a thread that uses one pool finds its cache with one comparison, and a thread that
//! alternates between pools keeps the caches of all of them.

use std::cell::RefCell;
use std::mem;

use super::cache::LocalCache;
use crate::pool::hooks::Request;
use crate::pool::shared::{Core, Frozen, Slot};
use crate::sync::{Arc, Undropped, Unique, thread_local};

/// The most caches that one thread keeps beside the current one. Beyond that, the one used longest ago is dropped, which
/// flushes it.
const MAX_OTHERS: usize = 15;

// Has no destructor, so that an access need not check whether it was destroyed: `EXIT` empties it when the thread
// exits.
thread_local! {
    static CACHES: Undropped<RefCell<ThreadCaches>> =
        const { Undropped::new(RefCell::new(ThreadCaches { current: None, others: Vec::new() })) };
}

thread_local! {
    static EXIT: Exit = const { Exit };
}

struct ThreadCaches {
    current: Option<LocalCache>,
    /// The one used longest ago first.
    others: Vec<LocalCache>,
}

/// Drops the caches when the thread exits, which flushes them.
struct Exit;

impl Drop for Exit {
    fn drop(&mut self) {
        let _ = CACHES.try_with(|caches| {
            let (current, others) = match caches.try_borrow_mut() {
                Ok(mut caches) => (caches.current.take(), mem::take(&mut caches.others)),
                Err(_) => return,
            };
            drop((current, others));
        });
    }
}

/// The fast path of [`acquire`]: the slot of the class that this thread returned last.
#[inline(always)]
pub(in crate::pool) fn pop(core: &Arc<Core>, class: usize) -> Option<Unique<Slot>> {
    let hit = CACHES.try_with(move |caches| caches.try_borrow_mut().ok()?.current_of(core)?.pop(class));
    hit.ok().flatten()
}

/// The second fast path: the slot of the class that this thread froze first, if it is free.
#[inline]
pub(in crate::pool) fn reclaim(core: &Arc<Core>, class: usize) -> Option<Unique<Slot>> {
    let hit = CACHES.try_with(move |caches| caches.try_borrow_mut().ok()?.current_of(core)?.reclaim(class));
    hit.ok().flatten()
}

/// A slot of the class; `None` if the class is the heap, or the memory limit is reached.
#[cold]
#[inline(never)]
pub(in crate::pool) fn acquire(core: &Arc<Core>, request: Request) -> Option<Unique<Slot>> {
    match with_cache(core, |cache| cache.acquire(request)) {
        Some(slot) => slot,
        None => Core::acquire_cacheless(core, request),
    }
}

/// Returns an empty slot to its pool, in any thread, also while its thread locals are being destroyed.
#[inline]
pub(in crate::pool) fn return_slot(slot: Unique<Slot>) {
    let mut slot = Some(slot);
    let _ = CACHES.try_with(|caches| {
        if let Ok(mut caches) = caches.try_borrow_mut()
            && let Some(returned) = slot.take()
        {
            slot = match caches.current_of(&returned.core) {
                Some(cache) => cache.push(returned),
                None => Some(returned),
            };
        }
    });
    if let Some(slot) = slot {
        return_slowly(slot);
    }
}

#[inline(never)]
fn return_slowly(slot: Unique<Slot>) {
    let core = Arc::clone(&slot.core);
    let mut slot = Some(slot);
    with_cache(&core, |cache| slot.take().map(|slot| cache.return_slot(slot)));
    if let Some(slot) = slot {
        core.return_cacheless(slot);
    }
}

/// Follows a slot that was just frozen, or fails with it if the pool cannot follow it.
#[inline]
pub(in crate::pool) fn follow(frozen: Frozen) -> Result<(), Frozen> {
    let mut refused = Some(frozen);
    let _ = CACHES.try_with(|caches| {
        if let Ok(mut caches) = caches.try_borrow_mut()
            && let Some(frozen) = refused.take()
        {
            refused = match caches.current_of(frozen.core()) {
                Some(cache) => cache.follow(frozen),
                None => Some(frozen),
            };
        }
    });
    refused.map_or(Ok(()), follow_slowly)
}

#[cold]
#[inline(never)]
fn follow_slowly(frozen: Frozen) -> Result<(), Frozen> {
    let core = Arc::clone(frozen.core());
    let mut frozen = Some(frozen);
    let done = with_cache(&core, |cache| frozen.take().map_or(Ok(()), |frozen| cache.follow_slowly(frozen)));
    match (done, frozen) {
        (Some(done), _) => done,
        (None, Some(frozen)) => core.follow_cacheless(frozen),
        (None, None) => Ok(()),
    }
}

/// Runs `f` with this thread's cache of the pool, which is created if there is none.
///
/// Does not run `f` in two cases: the thread locals are destroyed (a buffer is dropped by the destructor of another
/// one), or this thread is already inside of `f` (a waker ran there).
fn with_cache<R>(core: &Arc<Core>, f: impl FnOnce(&mut LocalCache) -> R) -> Option<R> {
    EXIT.try_with(|_| ()).ok()?;
    CACHES
        .try_with(|caches| caches.try_borrow_mut().ok().map(|mut caches| f(caches.select(core))))
        .ok()
        .flatten()
}

/// Flushes this thread's cache of the pool to the shared queues. Returns the bytes freed because they were full.
pub(in crate::pool) fn flush(core: &Arc<Core>) -> usize {
    let freed = CACHES.try_with(|caches| Some(caches.try_borrow_mut().ok()?.find(core)?.flush()));
    freed.ok().flatten().unwrap_or(0)
}

/// Drops this thread's cache of a closed pool.
pub(in crate::pool) fn forget(core: &Arc<Core>) {
    let _ = CACHES.try_with(|caches| {
        if let Ok(mut caches) = caches.try_borrow_mut() {
            caches.remove(core);
        }
    });
}

impl ThreadCaches {
    /// The cache of this pool, if it was used last.
    #[inline]
    fn current_of(&mut self, core: &Arc<Core>) -> Option<&mut LocalCache> {
        self.current.as_mut().filter(|cache| cache.belongs_to(core))
    }

    /// Makes the cache of this pool, created if there is none, the current one.
    fn select(&mut self, core: &Arc<Core>) -> &mut LocalCache {
        if !self.current.as_ref().is_some_and(|cache| cache.belongs_to(core)) {
            // Also drop the caches of pools that other threads have closed.
            self.others.retain(|cache| !cache.is_closed());
            let known = self.others.iter().position(|cache| cache.belongs_to(core));
            let next = known.map(|index| self.others.remove(index));
            if let Some(previous) = mem::replace(&mut self.current, next).filter(|cache| !cache.is_closed()) {
                if self.others.len() == MAX_OTHERS {
                    drop(self.others.remove(0));
                }
                self.others.push(previous);
            }
        }
        self.current.get_or_insert_with(|| LocalCache::new(core))
    }

    /// The cache of this pool, if there is one.
    fn find(&mut self, core: &Arc<Core>) -> Option<&mut LocalCache> {
        self.current.iter_mut().chain(&mut self.others).find(|cache| cache.belongs_to(core))
    }

    fn remove(&mut self, core: &Arc<Core>) {
        if self.current.as_ref().is_some_and(|cache| cache.belongs_to(core)) {
            self.current = None;
        }
        self.others.retain(|cache| !cache.belongs_to(core));
    }
}
