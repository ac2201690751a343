//! Arithmetic of size classes, pure.
//!
//! The smallest class that fits serves a request. The lookup starts at the first class for requests of that bit length, so
//! it walks only over the classes within one doubling: one step for powers of two.
//!
//! [`ReadSize`] decides how much to read at once.
//!
//! Absent on purpose: capacities, buffers, memory.

mod read_size;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::array;

pub(crate) use self::read_size::ReadSize;

/// The sizes of a pool's classes in bytes, ascending, without duplicates.
#[derive(Clone, Debug)]
pub(crate) struct SizeClasses {
    sizes: Box<[usize]>,
    /// `first[k]`: index of the first class above `2^k` bytes, where the lookup of `2^k + 1 ..= 2^(k+1)` bytes starts.
    /// `first[0]` is for up to 2 bytes.
    first: [u8; usize::BITS as usize],
}

/// The most classes of a pool: an index fits into a byte.
pub(crate) const MAX_CLASSES: usize = 64;

impl SizeClasses {
    /// Takes at most [`MAX_CLASSES`] sizes, the smallest ones.
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

    /// The smallest class that fits `bytes`; the number of classes if none does.
    #[inline]
    pub(crate) fn index_for(&self, bytes: usize) -> usize {
        // Of `bytes - 1`, as 2^k bytes belong to the doubling that ends with them.
        let doubling = (bytes.saturating_sub(1) | 1).ilog2() as usize;
        let mut index = self.first.get(doubling).copied().map_or(0, usize::from);
        while self.sizes.get(index).is_some_and(|&size| size < bytes) {
            index += 1;
        }
        index
    }

    /// All sizes, ascending.
    pub(crate) fn all(&self) -> &[usize] {
        &self.sizes
    }

    pub(crate) fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or(0)
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
