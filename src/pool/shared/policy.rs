//! Who gets how much of the memory limit, and who may pass whom: pure functions.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::min;

/// How many times its own size may pass the first waiter of a class.
const PASSES: usize = 4;

/// The shares of the memory limit.
///
/// The last part of the limit is reserved for smaller requests, more of it the larger the request is:
///
/// ```text
/// reserve(i) = min(limit / 2 × i / (classes - 1), limit - largest class)
/// bytes of class i and all larger ones ≤ limit - reserve(i)         for each i, at every instant
/// ```
///
/// This is the Russian dolls model of bandwidth allocation (RFC 4127), with size classes. `reserve(0)` is 0, so the first
/// of these bounds is the memory limit itself. Each bound leaves room for one buffer of the largest class, so it refuses
/// no class for ever. What larger classes hold cannot exceed their bounds, so smaller ones always find their reserve.
#[derive(Clone, Debug)]
pub(in crate::pool) struct Shares {
    sizes: Box<[usize]>,
    /// `bounds[i]` = limit - reserve(i).
    bounds: Box<[usize]>,
    limit: usize,
}

impl Shares {
    /// The sizes must be ascending, and none above the limit.
    pub(in crate::pool) fn new(limit: usize, sizes: &[usize]) -> Self {
        let largest = sizes.last().copied().unwrap_or(0);
        let steps = sizes.len().saturating_sub(1).max(1);
        let half = limit / 2;
        let share = |i: usize| half / steps * i + half % steps * i / steps;
        let bound = |i: usize| limit - min(share(i), limit.saturating_sub(largest));
        Self { sizes: sizes.into(), bounds: (0..sizes.len()).map(bound).collect::<Vec<_>>().into(), limit }
    }

    /// Bytes of a buffer of the class.
    pub(in crate::pool) fn size(&self, class: usize) -> usize {
        self.sizes.get(class).copied().unwrap_or(0)
    }

    /// Bytes that requests smaller than the class have for themselves.
    pub(in crate::pool) fn reserve(&self, class: usize) -> usize {
        self.limit - self.bounds.get(class).copied().unwrap_or(self.limit)
    }

    /// Whether one more buffer of the class keeps all bounds. `used` has the bytes of each class.
    pub(in crate::pool) fn fits(&self, class: usize, used: impl Fn(usize) -> usize) -> bool {
        let mut total = self.size(class);
        let bounds = self.bounds.iter().enumerate().rev();
        bounds.into_iter().all(|(i, &bound)| {
            total = total.saturating_add(used(i));
            i > class || total <= bound
        })
    }

    /// Bytes that may be leased: so few that leased buffers, whatever their classes, leave room for one of the largest.
    pub(in crate::pool) fn leasable(&self) -> usize {
        let (bound, largest) = (self.bounds.last(), self.sizes.last());
        let room = bound.copied().unwrap_or(0).saturating_sub(largest.copied().unwrap_or(0));
        min(self.limit / 2, room)
    }

    /// Whether a request of the class may pass a waiter for the class `larger`, which was passed by `passed` bytes since it
    /// became the first of its class. The first few may. From then on, it and all smaller classes must keep within the reserve
    /// that some class up to `larger` leaves them. So all other memory collects for the waiter, and classes between the two
    /// cannot take what is reserved for smaller ones. `in_use` has the bytes of each class that are not idle within reach.
    pub(in crate::pool) fn may_pass(
        &self,
        class: usize,
        larger: usize,
        passed: usize,
        in_use: impl Fn(usize) -> usize,
    ) -> bool {
        let size = self.size(class);
        let bound = self.size(larger).saturating_mul(PASSES);
        let mut total = size;
        passed.saturating_add(size) <= bound
            || (0..larger).any(|i| {
                total = total.saturating_add(in_use(i));
                i >= class && total <= self.reserve(i + 1)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A limit, and ascending sizes of which none exceeds it.
    fn shares() -> impl Strategy<Value = Shares> {
        let sizes = prop::collection::btree_set(1_usize..10_000, 1..12);
        (sizes, 0_usize..50_000).prop_map(|(sizes, more)| {
            let sizes: Vec<_> = sizes.into_iter().collect();
            Shares::new(sizes[sizes.len() - 1] + more, &sizes)
        })
    }

    proptest! {
        #[test]
        fn an_empty_pool_has_room_for_each_class(shares in shares()) {
            for class in 0..shares.sizes.len() {
                prop_assert!(shares.fits(class, |_| 0));
            }
        }

        #[test]
        fn leased_buffers_of_any_classes_leave_room_for_each_class(shares in shares(), leased in 0_usize..12) {
            let leased = leased % shares.sizes.len();
            let used = |class| if class == leased { shares.leasable() } else { 0 };
            for class in 0..shares.sizes.len() {
                prop_assert!(shares.fits(class, used));
            }
        }

        #[test]
        fn larger_classes_leave_smaller_ones_their_reserve(shares in shares(), from in 1_usize..12) {
            let from = from % shares.sizes.len();
            // Larger classes take all that they can get, the largest first.
            let mut used = vec![0; shares.sizes.len()];
            for class in (from..shares.sizes.len()).rev() {
                while shares.fits(class, |class| used[class]) {
                    used[class] += shares.size(class);
                }
            }
            prop_assert!(used.iter().sum::<usize>() <= shares.limit - shares.reserve(from));
        }

        #[test]
        fn no_order_of_requests_exceeds_the_limit(
            shares in shares(),
            classes in prop::collection::vec(0_usize..12, 1..100),
        ) {
            let mut used = vec![0; shares.sizes.len()];
            for class in classes {
                let class = class % shares.sizes.len();
                if shares.fits(class, |class| used[class]) {
                    used[class] += shares.size(class);
                }
            }
            prop_assert!(used.iter().sum::<usize>() <= shares.limit);
        }

        #[test]
        fn a_class_fits_wherever_a_larger_one_does(shares in shares(), used in prop::collection::vec(0_usize..9_000, 12)) {
            let fits: Vec<_> = (0..shares.sizes.len()).map(|class| shares.fits(class, |i| used[i])).collect();
            prop_assert!(fits.is_sorted_by(|smaller, larger| smaller >= larger));
        }
    }

    #[test]
    fn the_reserve_grows_with_the_class_to_half_of_the_limit() {
        let shares = Shares::new(1000, &[1, 10, 100]);
        assert_eq!([0, 1, 2].map(|class| shares.reserve(class)), [0, 250, 500]);
    }

    #[test]
    fn the_reserve_leaves_room_for_the_largest_class() {
        let shares = Shares::new(110, &[1, 10, 100]);
        assert_eq!([0, 1, 2].map(|class| shares.reserve(class)), [0, 10, 10]);
    }

    #[test]
    fn a_single_class_has_the_whole_limit() {
        assert_eq!(Shares::new(1000, &[10]).reserve(0), 0);
    }

    #[test]
    fn the_oldest_is_passed_by_a_bounded_number_of_bytes() {
        let shares = Shares::new(1000, &[10, 100]);
        assert!(shares.may_pass(0, 1, 390, |_| 1000));
        assert!(!shares.may_pass(0, 1, 391, |_| 1000));
    }

    #[test]
    fn a_middle_class_beyond_its_reserve_does_not_keep_smaller_requests_from_theirs() {
        let shares = Shares::new(1000, &[10, 50, 100]);
        let in_use = |class| [240, 700, 0][class];
        assert!(shares.may_pass(0, 2, usize::MAX, in_use));
        assert!(!shares.may_pass(1, 2, usize::MAX, in_use));
    }

    #[test]
    fn within_their_reserve_smaller_requests_always_pass() {
        let shares = Shares::new(1000, &[10, 100]);
        assert!(shares.may_pass(0, 1, usize::MAX, |_| 490));
        assert!(!shares.may_pass(0, 1, usize::MAX, |_| 491));
    }
}
