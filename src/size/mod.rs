//! Layer 1: size-class arithmetic, pure.
//!
//! A class table is a sorted list of sizes; a request is served by the smallest class that holds it.
//! The lookup starts at the first class that can fit a request of that bit length, so it walks only the
//! classes within one doubling: one step for powers of two.
//!
//! Absent on purpose: capacities, buffers, memory.

/// The sizes of a pool's classes in bytes, ascending, without duplicates.
#[derive(Clone, Debug)]
pub(crate) struct SizeClasses {
    sizes: Box<[usize]>,
    /// `first[k]`: index of the first class above `2^(k-1)` bytes, where a request of `2^(k-1) + 1 ..= 2^k` starts.
    first: Box<[usize]>,
}

impl SizeClasses {
    pub(crate) fn new(mut sizes: Vec<usize>) -> Self {
        sizes.sort_unstable();
        sizes.dedup();
        let first = (0..=usize::BITS)
            .map(|k| {
                let below = if k == 0 { 0 } else { 1_usize << (k - 1) };
                sizes.partition_point(|&size| size <= below)
            })
            .collect();
        Self { sizes: sizes.into(), first }
    }

    /// The smallest class that holds `bytes`.
    #[inline]
    pub(crate) fn index_for(&self, bytes: usize) -> Option<usize> {
        let start = self.first.get(ceil_log2(bytes)).copied()?;
        let above = self.sizes.get(start..)?;
        above.iter().position(|&size| size >= bytes).map(|step| start + step)
    }

    pub(crate) fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or(0)
    }
}

/// The exponent of the next power of two: 0 for 0 and 1, 1 for 2, 2 for 3 and 4.
#[inline]
fn ceil_log2(bytes: usize) -> usize {
    (usize::BITS - bytes.saturating_sub(1).leading_zeros()) as usize
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
            prop_assert_eq!(classes.index_for(bytes).map(|class| classes.sizes[class]), expected);
        }
    }

    #[test]
    fn the_ends_of_the_range_are_served_or_refused() {
        let classes = SizeClasses::new(vec![1, 64, 65, 4096]);
        for (bytes, class) in
            [(0, Some(0)), (1, Some(0)), (2, Some(1)), (64, Some(1)), (65, Some(2)), (66, Some(3))]
        {
            assert_eq!(classes.index_for(bytes), class, "{bytes} bytes");
        }
        assert_eq!(classes.index_for(4097), None);
        assert_eq!(classes.index_for(usize::MAX), None);
        assert_eq!(classes.largest(), 4096);
    }
}
