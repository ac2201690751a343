//! Which acquires of one thread and class the hooks see.

use core::num::NonZeroU32;

use super::random::Random;

/// Sizes that are recorded one by one, before they are sampled.
const EXACT: u32 = 1024;
/// After that, one size in this many is recorded. A thousand samples estimate a share of the acquires to 3 %.
const SIZE_ONE_IN: NonZeroU32 = NonZeroU32::new(256).unwrap();

/// Counts down to the next acquire of one thread and class that the hooks see: one that is sampled for the leak report,
/// or whose size is recorded.
///
/// Each acquire is sampled with the same probability, whatever happened before: the gaps have a geometric distribution,
/// which has no memory. A fixed gap would name one line only of a program that acquires a fixed number of buffers per
/// request. With gaps of `1..2n`, a short-lived thread or a rarely used class would be sampled at half the rate.
pub(in crate::pool) struct Countdown {
    random: Random,
    leaks: Gap,
    sizes: Gap,
    /// Sizes that are still recorded one by one.
    exact: u32,
    /// Whether the hooks see all acquires.
    all: bool,
}

/// What the hooks do with an acquire.
pub(super) struct Due {
    pub(super) sampled: bool,
    /// How many acquires this one stands for in the record of sizes; 0 if it is not recorded.
    pub(super) weight: u32,
}

/// Acquires until the next one that is sampled, if one in a number is.
struct Gap {
    one_in: Option<NonZeroU32>,
    left: u64,
}

impl Countdown {
    /// For a pool without hooks.
    pub(in crate::pool) fn never() -> Self {
        Self::new(Random::new(0, 0), None, false, false)
    }

    pub(super) fn new(mut random: Random, sample_one_in: Option<NonZeroU32>, sizes: bool, all: bool) -> Self {
        let leaks = Gap::new(sample_one_in, &mut random);
        let sizes = Gap::new(sizes.then_some(NonZeroU32::MIN), &mut random);
        Self { random, leaks, sizes, exact: EXACT, all }
    }

    /// The number of acquires before the next one that the hooks see.
    pub(in crate::pool) fn permits(&self) -> u64 {
        if self.all { 0 } else { self.leaks.left.min(self.sizes.left) }
    }

    /// The acquire after those with [`permits`](Self::permits).
    pub(super) fn pass(&mut self) -> Due {
        let passed = self.permits();
        let sampled = self.leaks.pass(passed, &mut self.random);
        let weight = self.sizes.one_in.map_or(0, NonZeroU32::get);
        let recorded = self.sizes.pass(passed, &mut self.random);
        if recorded && self.exact > 0 {
            self.exact -= 1;
            if self.exact == 0 {
                self.sizes = Gap::new(Some(SIZE_ONE_IN), &mut self.random);
            }
        }
        Due { sampled, weight: if recorded { weight } else { 0 } }
    }
}

impl Gap {
    fn new(one_in: Option<NonZeroU32>, random: &mut Random) -> Self {
        Self { one_in, left: one_in.map_or(u64::MAX, |one_in| random.gap(one_in)) }
    }

    /// Counts down by the acquires that passed and one more. Returns whether that one is sampled.
    fn pass(&mut self, passed: u64, random: &mut Random) -> bool {
        let sampled = self.left == passed;
        if sampled {
            *self = Self::new(self.one_in, random);
        } else {
            self.left -= passed + 1;
        }
        sampled
    }
}
