//! Layer 1: size-class arithmetic, pure.
//!
//! A class table is a sorted list of sizes; a request is served by the smallest class that holds it.
//! The lookup starts at the first class that can fit a request of that bit length, so it walks only the
//! classes within one doubling: one step for powers of two.
//!
//! [`Appetite`] is the other arithmetic of sizes: how much to read at once.
//!
//! Absent on purpose: capacities, buffers, memory.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::array;

/// The sizes of a pool's classes in bytes, ascending, without duplicates.
#[derive(Clone, Debug)]
pub(crate) struct SizeClasses {
    sizes: Box<[usize]>,
    /// `first[k]`: index of the first class above `2^k` bytes, where a request of `2^k + 1 ..= 2^(k+1)` starts; at 0
    /// those of up to 2 bytes do.
    first: [u8; usize::BITS as usize],
}

/// The most classes of a table: an index fits a byte with room to spare.
pub(crate) const MAX_CLASSES: usize = 64;

impl SizeClasses {
    /// At most [`MAX_CLASSES`] sizes; those beyond are left out.
    pub(crate) fn new(mut sizes: Vec<usize>) -> Self {
        sizes.sort_unstable();
        sizes.dedup();
        sizes.truncate(MAX_CLASSES);
        let first = array::from_fn(|k| {
            let below = if k == 0 { 0 } else { 1_usize << k };
            sizes.partition_point(|&size| size <= below) as u8
        });
        Self { sizes: sizes.into(), first }
    }

    /// The smallest class that holds `bytes`; the number of classes if none does.
    #[inline]
    pub(crate) fn index_for(&self, bytes: usize) -> usize {
        // Of the last byte's index, as 2^k bytes belong to the doubling that they end.
        let doubling = (bytes.saturating_sub(1) | 1).ilog2() as usize;
        let mut index = self.first.get(doubling).copied().map_or(0, usize::from);
        while self.sizes.get(index).is_some_and(|&size| size < bytes) {
            index += 1;
        }
        index
    }

    pub(crate) fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or(0)
    }
}

/// How much to read at once, learned from what reads bring: little from a peer that says little, so that
/// it costs little, and much from one that fills what it is given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Appetite {
    large: bool,
    small_reads: u8,
}

impl Appetite {
    /// Holds most requests and replies; 64 of them fit into a read of [`LARGE`](Self::LARGE).
    pub(crate) const SMALL: usize = 8 * 1024;
    /// From here on a larger read saves hardly a system call: the kernel's own buffers are not much larger.
    pub(crate) const LARGE: usize = 64 * 1024;
    /// Reads that would have fitted [`SMALL`](Self::SMALL), in a row, before the next one is small again.
    const PATIENCE: u8 = 8;

    /// Bytes of the next read.
    pub(crate) fn size(self) -> usize {
        if self.large { Self::LARGE } else { Self::SMALL }
    }

    /// A read brought `count` bytes where `room` would have fitted.
    pub(crate) fn learn(&mut self, count: usize, room: usize) {
        // What fills the end of a small buffer tells nothing.
        if count >= room && count >= Self::SMALL / 4 {
            self.large = true;
        }
        self.small_reads = if count >= Self::SMALL { 0 } else { self.small_reads.saturating_add(1) };
        if self.small_reads >= Self::PATIENCE {
            self.large = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SizeClasses;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_lookup_finds_the_smallest_class_that_fits(
            sizes in prop::collection::vec(1_usize..100_000, 1..40),
            bytes in 0_usize..110_000,
        ) {
            let classes = SizeClasses::new(sizes.clone());
            let expected = sizes.iter().copied().filter(|&size| size >= bytes).min();
            prop_assert_eq!(classes.sizes.get(classes.index_for(bytes)).copied(), expected);
        }
    }

    #[test]
    fn the_ends_of_the_range_are_served_or_refused() {
        let classes = SizeClasses::new(vec![1, 64, 65, 4096]);
        for (bytes, class) in [(0, 0), (1, 0), (2, 1), (64, 1), (65, 2), (66, 3), (4097, 4), (usize::MAX, 4)]
        {
            assert_eq!(classes.index_for(bytes), class, "{bytes} bytes");
        }
        assert_eq!(classes.largest(), 4096);
    }
}
