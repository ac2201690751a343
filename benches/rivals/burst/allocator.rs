//! A global allocator that is chosen when the process starts.
//!
//! `#[global_allocator]` is one and static, and a program allocates before `main`. So the first allocation
//! reads the choice from the environment; every later one pays a load and an indirect call, which matters to
//! a clock, but not to resident memory, all that is measured here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering};

use mimalloc::MiMalloc;
use tikv_jemallocator::Jemalloc;

/// Name of an allocator of [`ALL`]; anything else, or nothing, is the first.
pub(crate) const VARIABLE: &CStr = c"BURST_ALLOCATOR";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocator {
    Glibc,
    Jemalloc,
    Mimalloc,
}

pub(crate) const ALL: [Allocator; 3] = [Allocator::Glibc, Allocator::Jemalloc, Allocator::Mimalloc];

impl Allocator {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Jemalloc => "jemalloc",
            Self::Mimalloc => "mimalloc",
        }
    }

    /// Returns the free pages of the heap to the system, as far as the allocator does it at once when asked.
    pub(crate) fn return_free_pages(self) {
        match self {
            #[cfg(target_env = "gnu")]
            // SAFETY: it has no precondition.
            Self::Glibc => drop(unsafe { libc::malloc_trim(0) }),
            #[cfg(not(target_env = "gnu"))]
            Self::Glibc => {}
            Self::Jemalloc => {
                // Of all arenas: 4096 is MALLCTL_ARENAS_ALL.
                let name = c"arena.4096.purge".as_ptr();
                // SAFETY: the name ends in NUL, and this command reads and writes no value.
                unsafe { tikv_jemalloc_sys::mallctl(name, null_mut(), null_mut(), null_mut(), 0) };
            }
            // SAFETY: it has no precondition.
            Self::Mimalloc => unsafe { libmimalloc_sys::mi_collect(true) },
        }
    }
}

struct Switch;

#[global_allocator]
static GLOBAL: Switch = Switch;

/// 0 before the first allocation, then 1 + the index in [`ALL`].
static CHOSEN: AtomicU8 = AtomicU8::new(0);

// SAFETY: each call goes to the same allocator, which keeps the contract.
unsafe impl GlobalAlloc for Switch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { chosen().alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { chosen().alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` is of this allocator, for the choice never changes.
        unsafe { chosen().dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { chosen().realloc(pointer, layout, size) }
    }
}

fn chosen() -> &'static dyn GlobalAlloc {
    // Ordering: Relaxed. The first allocation is the main thread's, before there is another one.
    match CHOSEN.load(Ordering::Relaxed) {
        0 => choose(),
        1 => &System,
        2 => &Jemalloc,
        _ => &MiMalloc,
    }
}

#[cold]
fn choose() -> &'static dyn GlobalAlloc {
    // Not `std::env::var`, which allocates.
    // SAFETY: the name ends in NUL, and nobody changes the environment before `main`.
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    let name = if value.is_null() {
        &b""[..]
    } else {
        // SAFETY: what `getenv` returns ends in NUL and stays.
        unsafe { CStr::from_ptr(value) }.to_bytes()
    };
    let index = ALL.iter().position(|allocator| allocator.name().as_bytes() == name).unwrap_or(0);
    CHOSEN.store(index as u8 + 1, Ordering::Relaxed);
    chosen()
}
