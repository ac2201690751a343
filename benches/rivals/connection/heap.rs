//! The system's allocator, which counts only when asked: while a clock runs it costs a load.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[global_allocator]
static HEAP: Heap = Heap { counts: AtomicBool::new(false), allocations: AtomicU64::new(0) };

struct Heap {
    counts: AtomicBool,
    allocations: AtomicU64,
}

/// Runs `work` and returns how often the process allocated or reallocated.
pub(crate) fn allocations(work: impl FnOnce()) -> u64 {
    HEAP.allocations.store(0, Ordering::Relaxed);
    HEAP.counts.store(true, Ordering::Relaxed);
    work();
    HEAP.counts.store(false, Ordering::Relaxed);
    HEAP.allocations.load(Ordering::Relaxed)
}

impl Heap {
    fn count(&self) {
        if self.counts.load(Ordering::Relaxed) {
            self.allocations.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: every method passes its arguments to the system's allocator.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
