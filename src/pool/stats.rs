use std::fmt;

use crate::sync::atomic::{AtomicU64, Ordering};

/// What happened to the buffers of a pool, counted by one thread.
pub(super) struct Counters {
    classes: Box<[ClassCounters]>,
    heap: ClassCounters,
}

impl Counters {
    pub(super) fn new(classes: usize) -> Self {
        Self {
            classes: (0..classes).map(|_| ClassCounters::default()).collect(),
            heap: ClassCounters::default(),
        }
    }

    /// Those of a class; of the heap for every other index.
    #[inline]
    pub(super) fn of(&self, class: usize) -> &ClassCounters {
        self.classes.get(class).unwrap_or(&self.heap)
    }
}

/// What happened to the buffers of one class, counted by one thread.
///
/// Only the owning thread writes, so a plain load and store suffice: no locked instruction, and no cache
/// line shared with another writer.
#[derive(Default)]
pub(super) struct ClassCounters {
    /// Served from the thread's own cache.
    pub(super) cache_hits: Counter,
    /// Served from the class's shared queue.
    pub(super) shared_hits: Counter,
    /// Served with a frozen buffer whose last `Bytes` was found to be gone.
    pub(super) reclaimed_hits: Counter,
    /// Served with new storage.
    pub(super) made: Counter,
    /// Came back by the drop of a handle.
    pub(super) returned: Counter,
    /// Frozen into `Bytes` and remembered.
    pub(super) parked: Counter,
    /// Frozen, found to be free, and laid down idle.
    pub(super) unparked: Counter,
    /// Frozen and given up: the storage belongs to its `Bytes` alone.
    pub(super) released: Counter,
    /// Idle or returned storage given back to the heap.
    pub(super) freed: Counter,
}

/// A counter with one writer and any number of readers.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn bump(&self) {
        // Ordering: Relaxed both ways. One thread writes, so the sum cannot be lost; a reader needs no
        // other memory to be visible with it. Stats are exact once the readers have synchronised with
        // the writers by other means (a join, a channel, a lock), which orders these stores as well.
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    #[inline]
    fn get(&self) -> u64 {
        // Ordering: see `bump`.
        self.0.load(Ordering::Relaxed)
    }
}

/// Sums of [`Counters`] over threads.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    classes: Box<[ClassTotals]>,
    heap: ClassTotals,
}

impl Totals {
    pub(super) fn new(classes: usize) -> Self {
        Self { classes: vec![ClassTotals::default(); classes].into(), heap: ClassTotals::default() }
    }

    pub(super) fn add(&mut self, counters: &Counters) {
        self.heap.add(&counters.heap);
        for (total, counters) in self.classes.iter_mut().zip(&counters.classes) {
            total.add(counters);
        }
    }

    /// `sizes`: the bytes of a buffer of each class.
    pub(super) fn stats(&self, sizes: impl Iterator<Item = usize>) -> BufferPoolStats {
        let heap = &self.heap;
        let mut stats = BufferPoolStats {
            total_acquires: heap.acquires(),
            total_allocations: heap.made,
            total_returns: heap.came_back(),
            currently_in_use: heap.in_use(),
            heap_fallbacks: heap.made,
            ..BufferPoolStats::default()
        };
        for (class, size) in self.classes.iter().zip(sizes) {
            let size = size as u64;
            stats.total_acquires += class.acquires();
            stats.total_allocations += class.made;
            stats.total_returns += class.came_back();
            stats.currently_in_use += class.in_use();
            stats.currently_parked += class.parked_now();
            stats.cache_hits += class.cache_hits;
            stats.shared_hits += class.shared_hits;
            stats.reclaimed_hits += class.reclaimed_hits;
            stats.idle_buffers += class.idle();
            stats.idle_bytes += class.idle() * size;
            stats.live_bytes += class.live() * size;
        }
        stats
    }
}

/// Sums of [`ClassCounters`] over threads.
#[derive(Clone, Copy, Debug, Default)]
struct ClassTotals {
    cache_hits: u64,
    shared_hits: u64,
    reclaimed_hits: u64,
    made: u64,
    returned: u64,
    parked: u64,
    unparked: u64,
    released: u64,
    freed: u64,
}

impl ClassTotals {
    fn add(&mut self, counters: &ClassCounters) {
        self.cache_hits += counters.cache_hits.get();
        self.shared_hits += counters.shared_hits.get();
        self.reclaimed_hits += counters.reclaimed_hits.get();
        self.made += counters.made.get();
        self.returned += counters.returned.get();
        self.parked += counters.parked.get();
        self.unparked += counters.unparked.get();
        self.released += counters.released.get();
        self.freed += counters.freed.get();
    }

    fn acquires(&self) -> u64 {
        self.cache_hits + self.shared_hits + self.reclaimed_hits + self.made
    }

    /// Handed out now. Threads count in their own time, so while they run a return may be seen before
    /// its acquire: then this is 0, not a wrap.
    fn in_use(&self) -> u64 {
        self.acquires().saturating_sub(self.returned + self.parked)
    }

    fn came_back(&self) -> u64 {
        self.returned + self.parked.saturating_sub(self.parked_now())
    }

    fn parked_now(&self) -> u64 {
        self.parked.saturating_sub(self.reclaimed_hits + self.unparked + self.released)
    }

    fn live(&self) -> u64 {
        self.made.saturating_sub(self.freed + self.released)
    }

    fn idle(&self) -> u64 {
        self.live().saturating_sub(self.in_use() + self.parked_now())
    }
}

/// A snapshot of what a [`BufferPool`](super::BufferPool) did and holds.
///
/// Exact when the pool's threads are quiet (their work happened before the call); while they run, a
/// value may lag by what they do at that moment. Counts are buffers, since the pool was made; sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferPoolStats {
    /// Buffers handed out, by whatever source.
    pub total_acquires: u64,
    /// Acquires that had to allocate: new pooled storage, and every heap fallback.
    pub total_allocations: u64,
    /// Buffers that came back: dropped, or frozen and found free, or frozen and given up.
    pub total_returns: u64,
    /// Handed out now as [`PooledBuffer`](super::PooledBuffer) or [`PooledBytes`](super::PooledBytes).
    pub currently_in_use: u64,
    /// Frozen into `bytes::Bytes` and not found free yet. The pool learns of their return when it looks:
    /// at an acquire, a flush or a trim.
    pub currently_parked: u64,
    /// Served from the acquiring thread's own cache.
    pub cache_hits: u64,
    /// Served from a class's shared queue.
    pub shared_hits: u64,
    /// Served with a frozen buffer whose last `Bytes` was found to be gone.
    pub reclaimed_hits: u64,
    /// Served from the heap because no class fits. Counted in `total_allocations`, never kept.
    pub heap_fallbacks: u64,
    /// Buffers that lie ready, in shared queues and thread caches.
    pub idle_buffers: u64,
    /// Their storage in bytes.
    pub idle_bytes: u64,
    /// All pooled storage in bytes: idle, handed out and parked. Heap fallbacks are not in it.
    pub live_bytes: u64,
}

impl BufferPoolStats {
    /// Acquires served without an allocation, in percent; 0 before the first acquire.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        if self.total_acquires == 0 {
            return 0.0;
        }
        let hits = self.total_acquires.saturating_sub(self.total_allocations);
        hits as f64 * 100.0 / self.total_acquires as f64
    }
}

/// One line for a log.
impl fmt::Display for BufferPoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acquires {} hit rate {:.2}% (cache {}, shared {}, reclaimed {}) allocations {} (heap {}) \
             in use {} parked {} idle {} = {} B of {} B live",
            self.total_acquires,
            self.hit_rate(),
            self.cache_hits,
            self.shared_hits,
            self.reclaimed_hits,
            self.total_allocations,
            self.heap_fallbacks,
            self.currently_in_use,
            self.currently_parked,
            self.idle_buffers,
            self.idle_bytes,
            self.live_bytes,
        )
    }
}
