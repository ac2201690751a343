//! The adaptive read size: how much to read at once.

use core::ops::RangeInclusive;

/// How much to read at once: little from a peer that sends little, to save memory, and much from a peer that fills its
/// buffers, to save system calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSize {
    small: usize,
    large: usize,
    is_large: bool,
    small_reads: u8,
}

impl ReadSize {
    /// 8 KiB holds most requests and replies.
    pub(crate) const SMALL: usize = 8 * 1024;
    /// 64 KiB: larger reads save hardly any system calls, as the kernel's buffers are not much larger.
    pub(crate) const LARGE: usize = 64 * 1024;
    /// The number of small reads in a row after which the next one is small again.
    const PATIENCE: u8 = 8;

    /// A small size and a large one, both at least 1.
    pub(crate) fn new(sizes: &RangeInclusive<usize>) -> Self {
        let small = (*sizes.start()).max(1);
        Self { small, large: small.max(*sizes.end()), is_large: false, small_reads: 0 }
    }

    /// The default sizes, but at most `largest`.
    pub(crate) fn at_most(largest: usize) -> Self {
        Self::new(&(Self::SMALL.min(largest)..=Self::LARGE.min(largest)))
    }

    /// Bytes of the next read.
    pub(crate) fn size(self) -> usize {
        if self.is_large { self.large } else { self.small }
    }

    /// Bytes of a small read.
    pub(crate) fn small(self) -> usize {
        self.small
    }

    /// Learns from a read of `count` bytes into `room` bytes.
    pub(crate) fn learn(&mut self, count: usize, room: usize) {
        // A read into a small rest of a buffer tells nothing.
        if count >= room && count >= self.small / 4 {
            self.is_large = true;
        }
        self.small_reads = if count >= self.small { 0 } else { self.small_reads.saturating_add(1) };
        if self.small_reads >= Self::PATIENCE {
            self.is_large = false;
        }
    }

    /// Forgets what it has learned.
    pub(crate) fn forget(&mut self) {
        (self.is_large, self.small_reads) = (false, 0);
    }
}
