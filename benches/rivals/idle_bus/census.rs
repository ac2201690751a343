//! An allocator that knows how many blocks of each size live.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Sizes that are told apart, by steps of 8 bytes; the last place is for all larger ones.
const PLACES: usize = 8192 / 8 + 1;

#[global_allocator]
static GLOBAL: Counting = Counting;

static BYTES: AtomicU64 = AtomicU64::new(0);
static BLOCKS: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

struct Counting;

fn place(size: usize) -> usize {
    size.div_ceil(8).min(PLACES - 1)
}

// Ordering: Relaxed, both. They are read when no thread writes them.
fn born(size: usize) {
    BYTES.fetch_add(size as u64, Ordering::Relaxed);
    BLOCKS[place(size)].fetch_add(1, Ordering::Relaxed);
}

fn gone(size: usize) {
    BYTES.fetch_sub(size as u64, Ordering::Relaxed);
    BLOCKS[place(size)].fetch_sub(1, Ordering::Relaxed);
}

// SAFETY: each call goes to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        born(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        born(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gone(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gone(layout.size());
        born(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    pub(crate) bytes: u64,
    /// Size rounded up to 8 bytes, and how many.
    pub(crate) blocks: Vec<(usize, u64)>,
}

impl Census {
    pub(crate) fn now() -> Self {
        let bytes = BYTES.load(Ordering::Relaxed);
        let counts: Vec<u64> = BLOCKS.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let blocks = counts.into_iter().enumerate().filter(|&(_, count)| count > 0);
        Self { bytes, blocks: blocks.map(|(place, count)| (place * 8, count)).collect() }
    }

    /// What the server wrote: two other numbers come first.
    pub(crate) fn read(line: &str) -> io::Result<Self> {
        let mut census = Self::default();
        for (nth, word) in line.split_whitespace().skip(2).enumerate() {
            if nth == 0 {
                census.bytes = word.parse().map_err(io::Error::other)?;
                continue;
            }
            let (size, count) = word.split_once('x').ok_or_else(|| io::Error::other(word.to_owned()))?;
            let parsed = (size.parse().map_err(io::Error::other)?, count.parse().map_err(io::Error::other)?);
            census.blocks.push(parsed);
        }
        Ok(census)
    }

    pub(crate) fn of_size(&self, size: usize) -> u64 {
        self.blocks.iter().find(|(known, _)| *known == size).map_or(0, |(_, count)| *count)
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes)?;
        self.blocks.iter().try_for_each(|(size, count)| write!(f, " {size}x{count}"))
    }
}

/// Gives all free pages of glibc's heap back to the kernel; other systems' heaps have no such call.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no precondition.
    unsafe {
        libc::malloc_trim(0);
    }
}
