//! The caches of the running thread, one per pool.
//!
//! The cache used last is kept apart: a thread that uses one pool finds its cache with one comparison, and a thread that
//! alternates between pools keeps the caches of all of them.

use std::cell::RefCell;
use std::mem;

use super::cache::LocalCache;
use crate::pool::hooks::Request;
use crate::pool::shared::{Core, Frozen, Slot};
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Undropped, Unique, thread_local};

/// Pools closed so far. A thread compares it with the number that it last saw, and looks for closed pools if it differs.
static CLOSED_POOLS: AtomicUsize = AtomicUsize::new(0);

// Has no destructor, so that an access need not check whether it was destroyed: `EXIT` empties it when the thread
// exits.
thread_local! {
    static CACHES: Undropped<RefCell<ThreadCaches>> =
        const { Undropped::new(RefCell::new(ThreadCaches { current: None, others: Vec::new(), closed: 0 })) };
}

thread_local! {
    static EXIT: Exit = const { Exit };
}

struct ThreadCaches {
    current: Option<LocalCache>,
    others: Vec<LocalCache>,
    /// The number of closed pools when this thread last looked for them.
    closed: usize,
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
    if slot.core.is_closed() {
        drop_cache(&slot.core);
        return Core::return_late(slot);
    }
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
/// Does not run `f` in three cases: the pool is closed, the thread locals are destroyed (a buffer is dropped by the
/// destructor of another one), or this thread is already inside of `f` (a waker ran there).
fn with_cache<R>(core: &Arc<Core>, f: impl FnOnce(&mut LocalCache) -> R) -> Option<R> {
    if core.is_closed() {
        return None;
    }
    EXIT.try_with(|_| ()).ok()?;
    CACHES
        .try_with(|caches| caches.try_borrow_mut().ok().map(|mut caches| f(caches.select(core))))
        .ok()
        .flatten()
}

/// Flushes this thread's cache of the pool to the shared queues. Returns the bytes freed because they were full. Drops the
/// cache instead if the pool is closed.
pub(in crate::pool) fn flush(core: &Arc<Core>) -> usize {
    if core.is_closed() {
        drop_cache(core);
        return 0;
    }
    let freed = CACHES.try_with(|caches| Some(caches.try_borrow_mut().ok()?.find(core)?.flush()));
    freed.ok().flatten().unwrap_or(0)
}

/// Drops this thread's cache of a pool that was just closed, and lets the other threads drop theirs.
pub(in crate::pool) fn forget(core: &Arc<Core>) {
    // Ordering: Release, and Acquire in `drop_closed`: a thread that sees the number sees that the pool is closed.
    CLOSED_POOLS.fetch_add(1, Ordering::Release);
    drop_cache(core);
}

/// Drops this thread's cache of a closed pool, if there is one.
fn drop_cache(core: &Arc<Core>) {
    let _ = CACHES.try_with(|caches| {
        if let Ok(mut caches) = caches.try_borrow_mut() {
            if caches.current_of(core).is_some() {
                caches.current = None;
            }
            caches.drop_closed();
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
            self.drop_closed();
            let known = self.others.iter().position(|cache| cache.belongs_to(core));
            let next = known.map(|index| self.others.swap_remove(index));
            let previous = mem::replace(&mut self.current, next);
            self.others.extend(previous.filter(|cache| !cache.is_closed()));
        }
        self.current.get_or_insert_with(|| LocalCache::new(core))
    }

    /// Drops the other caches whose pools were closed since the last call, by any thread.
    fn drop_closed(&mut self) {
        let closed = CLOSED_POOLS.load(Ordering::Acquire);
        if mem::replace(&mut self.closed, closed) != closed {
            self.others.retain(|cache| !cache.is_closed());
        }
    }

    /// The cache of this pool, if there is one.
    fn find(&mut self, core: &Arc<Core>) -> Option<&mut LocalCache> {
        self.current.iter_mut().chain(&mut self.others).find(|cache| cache.belongs_to(core))
    }
}
