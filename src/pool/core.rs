use super::class::Class;
use super::config::BufferPoolConfig;
use super::slot::{Parked, Slot};
use super::stats::{BufferPoolStats, ClassCounters, Counters, Totals};
use crate::size::SizeClasses;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Arc, Mutex};

/// What the handles, the slots and the thread caches of one pool share.
///
/// Slots point here and lie in its queues: a cycle, which [`close`](Core::close) cuts when the last
/// `BufferPool` handle goes. What is still out then is freed when it comes back.
pub(super) struct Core {
    pub(super) sizes: SizeClasses,
    classes: Box<[Class]>,
    /// Bytes of ready buffers that one thread may keep.
    pub(super) thread_cache_bytes: usize,
    closed: AtomicBool,
    registry: Mutex<Registry>,
}

/// The counters of every thread that has a cache of this pool, and the sums of those that are gone.
struct Registry {
    threads: Vec<Arc<Counters>>,
    gone: Totals,
    /// What happens without a thread cache: in a thread whose locals are already destroyed.
    cacheless: Counters,
}

impl Core {
    pub(super) fn new(config: &BufferPoolConfig) -> Self {
        let table = config.classes();
        let sizes = SizeClasses::new(table.iter().map(|&(size, _)| size).collect());
        Self {
            classes: table.iter().map(|&(size, capacity)| Class::new(size, capacity)).collect(),
            sizes,
            thread_cache_bytes: config.thread_cache_bytes(),
            closed: AtomicBool::new(false),
            registry: Mutex::new(Registry {
                threads: Vec::new(),
                gone: Totals::new(table.len()),
                cacheless: Counters::new(table.len()),
            }),
        }
    }

    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    pub(super) fn class(&self, index: usize) -> Option<&Class> {
        self.classes.get(index)
    }

    /// Bytes of a buffer of the class; 0 for the heap, which has no size.
    pub(super) fn class_size(&self, index: usize) -> usize {
        self.class(index).map_or(0, |class| class.size)
    }

    /// The class index that stands for the heap.
    pub(super) fn heap(&self) -> usize {
        self.classes.len()
    }

    /// Whether the last `BufferPool` handle is gone. A `false` may be outdated at once.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        // Ordering: Relaxed. Seen `true`: the slot is freed, which needs nothing of the closing thread.
        // Seen `false` too late: the slot goes to a thread cache, which is flushed under the rule of
        // `share_ready`, or to a queue by that rule itself.
        self.closed.load(Ordering::Relaxed)
    }

    /// The last handle is gone: nothing will be acquired any more, so nothing stays idle.
    pub(super) fn close(&self) {
        // Ordering: the store may be Relaxed because of the fence behind it; see `sweep_if_closed`.
        self.closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.sweep();
    }

    /// Lays ready slots of one class, with their room, into its shared queue.
    pub(super) fn share_ready(
        &self,
        class: &Class,
        slots: impl IntoIterator<Item = Box<Slot>>,
        counters: &ClassCounters,
    ) {
        for slot in slots {
            if let Err(refused) = class.push_ready(slot) {
                class.give_room(1);
                counters.freed.bump();
                drop(refused);
            }
        }
        self.sweep_if_closed();
    }

    /// Lays a frozen slot, with its room, into the shared queue.
    pub(super) fn share_parked(&self, class: &Class, parked: Parked, counters: &ClassCounters) {
        if let Err(refused) = class.push_parked(parked) {
            class.give_room(1);
            counters.released.bump();
            drop(refused);
        }
        self.sweep_if_closed();
    }

    /// Behind every push, or run of pushes, to a queue. Two outcomes of the race with `close`:
    /// the flag is seen here, and this thread empties the queues; or it is not, and then the push is
    /// before the sweep of the closing thread, which finds the slot.
    fn sweep_if_closed(&self) {
        // Ordering: this fence and the one in `close` are totally ordered. If ours is first, what we
        // pushed is visible to the sweep behind the other; if the other is first, we see the flag.
        // Nothing weaker orders our push (a store) before our load of the flag.
        fence(Ordering::SeqCst);
        if self.is_closed() {
            self.sweep();
        }
    }

    /// Empties the queues of a closed pool.
    fn sweep(&self) {
        for class in &self.classes {
            while let Some(slot) = class.pop_ready() {
                drop(slot);
            }
            while let Some(parked) = class.pop_parked() {
                drop(parked);
            }
        }
    }

    /// Frees what lies in the shared queues: ready slots, and frozen ones found free. Returns the bytes.
    pub(super) fn trim(&self, counters: &Counters) -> usize {
        let mut bytes = 0;
        for (index, class) in self.classes.iter().enumerate() {
            let counters = counters.of(index);
            // As many as lie there now: one that is still in use goes to the back of its queue.
            for _ in 0..class.parked_len() {
                let Some(parked) = class.pop_parked() else { break };
                match parked.reclaim() {
                    Ok(slot) => {
                        counters.unparked.bump();
                        self.share_ready(class, [slot], counters);
                    }
                    Err(parked) => self.share_parked(class, parked, counters),
                }
            }
            while let Some(slot) = class.pop_ready() {
                drop(slot);
                class.give_room(1);
                counters.freed.bump();
                bytes += class.size;
            }
        }
        bytes
    }

    /// Counters for a new thread cache.
    pub(super) fn register(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(self.classes.len()));
        self.registry.lock().threads.push(Arc::clone(&counters));
        counters
    }

    /// Folds the counters of a thread cache that goes away.
    pub(super) fn unregister(&self, counters: &Arc<Counters>) {
        let mut registry = self.registry.lock();
        registry.threads.retain(|other| !Arc::ptr_eq(other, counters));
        registry.gone.add(counters);
    }

    /// Takes back a slot in a thread that has no cache any more: straight to the shared queue, counted
    /// under the registry's lock.
    pub(super) fn give_back_cacheless(&self, slot: Box<Slot>) {
        self.cacheless(slot.class, |counters| {
            counters.returned.bump();
            match self.class_with_room(slot.class) {
                Some(class) => self.share_ready(class, [slot], counters),
                None => {
                    counters.freed.bump();
                    drop(slot);
                }
            }
        });
    }

    /// The same for a slot that was just frozen.
    pub(super) fn park_cacheless(&self, parked: Parked) {
        self.cacheless(parked.class(), |counters| {
            counters.parked.bump();
            match self.class_with_room(parked.class()) {
                Some(class) => self.share_parked(class, parked, counters),
                None => {
                    counters.released.bump();
                    drop(parked);
                }
            }
        });
    }

    /// The class, with room for one buffer taken; none if it has no room, or if nothing is kept any more.
    fn class_with_room(&self, index: usize) -> Option<&Class> {
        self.class(index).filter(|class| !self.is_closed() && class.take_room(1) == 1)
    }

    /// An acquire in such a thread.
    pub(super) fn acquire_cacheless(core: &Arc<Self>, class: usize, bytes: usize) -> Box<Slot> {
        let ready = core.class(class).and_then(|class| class.pop_ready().inspect(|_| class.give_room(1)));
        core.cacheless(class, |counters| match ready {
            Some(slot) => {
                counters.shared_hits.bump();
                slot
            }
            None => {
                counters.made.bump();
                Slot::new(core, class, bytes)
            }
        })
    }

    /// Runs `f` with the counters that threads without a cache share, one at a time.
    fn cacheless<R>(&self, class: usize, f: impl FnOnce(&ClassCounters) -> R) -> R {
        let registry = self.registry.lock();
        f(registry.cacheless.of(class))
    }

    pub(super) fn stats(&self) -> BufferPoolStats {
        let registry = self.registry.lock();
        let mut totals = registry.gone.clone();
        totals.add(&registry.cacheless);
        for counters in &registry.threads {
            totals.add(counters);
        }
        drop(registry);
        totals.stats(self.classes.iter().map(|class| class.size))
    }
}
