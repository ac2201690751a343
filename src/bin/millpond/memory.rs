//! The command's allocator, and how freed memory leaves the process.
//!
//! The allocator is the system's. On glibc, [`return_free_pages`] runs after each step of decay that freed memory,
//! because glibc by itself keeps nearly all of a burst. Resident MiB of `millpond proxy`, with 16384 buffers of
//! 64 KiB held by stalled readers and then freed (2 cores, 30 s after the burst):
//!
//! | allocator | start | burst | 30 s after | stripped binary |
//! |---|---|---|---|---|
//! | glibc | 5.6 | 1030 | 1030 | no difference |
//! | glibc, `malloc_trim` | 5.6 | 1030 | 7.0, after 9 s | no difference |
//! | jemalloc | 6.9 | 1080 | 510 | + 440 KiB |
//! | jemalloc, background threads | 7.0 | 1080 | 15.3 | + 440 KiB |
//! | mimalloc | 12.1 | 1090 | 331 | + 140 KiB |
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
