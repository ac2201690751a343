//! The command's allocator, and how freed memory leaves the process.
//!
//! The allocator is the system's. On glibc, [`return_free_pages`] runs after each step of decay that freed memory,
//! because glibc by itself keeps nearly all of a burst. Resident memory of `millpond proxy` before a burst of stalled
//! readers that hold 64 KiB buffers, in it, and 30 s after it, measured once each on 2 cores:
//!
//! | allocator | burst | start | in it | 30 s after | stripped binary |
//! |---|---|---|---|---|---|
//! | glibc | 512 MiB | 6.0 MiB | 527 MiB | 527 MiB | |
//! | glibc, `malloc_trim` | 1 GiB | 5.6 MiB | 1.0 GiB | 7.0 MiB, already after 9 s | |
//! | jemalloc | 512 MiB | 6.9 MiB | 562 MiB | 264 MiB | + 436 KiB |
//! | jemalloc, background threads | 1 GiB | 7.0 MiB | 1.0 GiB | 15.3 MiB | + 436 KiB |
//! | mimalloc | 1 GiB | 12.1 MiB | 1.0 GiB | 331 MiB | + 136 KiB |
//!
//! So the allocator that adds no dependency is also the one that returns the most, for one call of a C function.
//! This file holds the only unsafe code of the command.

/// Returns all free pages of the heap to the system. Takes about 0.25 s per GiB and locks a part of the heap at a time,
/// so it belongs in a thread that may block. Does nothing where the C library is not glibc: musl and Apple's return
/// the pages of large buffers by themselves.
pub(crate) fn return_free_pages() {
    // SAFETY: `malloc_trim` has no precondition. It is thread-safe, and touches no memory that is allocated.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
