//! Growth, shrinking, and what stops them.

use proptest::prelude::*;

use super::*;
use SizeDecision::{Grow, Hold, Keep, Shrink};

const SLOW: Duration = Duration::from_millis(101);

fn size() -> AdaptiveSize {
    AdaptiveSize::new(SizePolicy::default())
}

/// A pool whose connections are all in use, and for which gets wait.
fn busy(size: u32) -> SizeObservation {
    SizeObservation::default().size(size).in_use(size).mean_wait(SLOW)
}

fn idle(size: u32) -> SizeObservation {
    SizeObservation::default().size(size)
}

#[test]
fn long_waits_let_it_grow_by_a_fifth_rounded_up() {
    assert_eq!(size().tick(&busy(100)), Grow(120));
    assert_eq!(size().tick(&busy(11)), Grow(14));
    assert_eq!(size().tick(&busy(100).mean_wait(Duration::from_millis(100))), Keep);
}

#[test]
fn it_does_not_grow_into_an_outage() {
    assert_eq!(size().tick(&busy(100).is_broken(true)), Hold);
    assert_eq!(size().tick(&busy(100).connect_failures(1)), Hold);
    assert_eq!(size().tick(&busy(100).connected(8).connect_failures(1)), Hold);
    assert_eq!(size().tick(&busy(100).connecting(3)), Hold, "no connect has ended");
    assert_eq!(size().tick(&busy(100).connected(9).connect_failures(1)), Grow(120));
    assert_eq!(size().tick(&busy(100).connecting(3).connected(1)), Grow(120));
}

#[test]
fn two_idle_ticks_in_a_row_shrink_it_by_a_fifth() {
    let mut size = size();
    assert_eq!(size.tick(&idle(100).in_use(29)), Keep);
    assert_eq!(size.tick(&idle(100).in_use(29)), Shrink(80));
    assert_eq!(size.tick(&idle(80)), Keep, "it waits for two ticks again");
    assert_eq!(size.tick(&idle(80).in_use(24)), Keep, "30 % are not idle");
    assert_eq!(size.tick(&idle(80)), Keep);
    assert_eq!(size.tick(&idle(80)), Shrink(64));
}

#[test]
fn it_never_shrinks_below_what_is_in_use_and_is_to_be_idle() {
    let policy = SizePolicy::default().idle_ticks(1);
    let shrunk = |seen: SizeObservation| AdaptiveSize::new(policy).tick(&seen);
    assert_eq!(shrunk(idle(100).in_use(25).min_idle(60)), Shrink(85));
    assert_eq!(shrunk(idle(100).in_use(25).min_idle(75)), Keep);
    assert_eq!(shrunk(idle(100).in_use(25).min_idle(900)), Keep);
}

#[test]
fn it_stays_within_its_bounds() {
    let policy = SizePolicy::default().idle_ticks(1);
    assert_eq!(AdaptiveSize::new(policy).tick(&idle(12)), Shrink(10));
    assert_eq!(AdaptiveSize::new(policy).tick(&idle(10)), Keep);
    assert_eq!(size().tick(&busy(490)), Grow(500));
    assert_eq!(size().tick(&busy(500)), Keep);
    assert_eq!(size().tick(&idle(600).in_use(300)), Shrink(500));
    assert_eq!(size().tick(&idle(4).in_use(4)), Grow(10));
}

#[test]
fn it_never_pauses_a_pool() {
    let mut adaptive = AdaptiveSize::new(SizePolicy::default().min(0).idle_ticks(1));
    assert_eq!(adaptive.tick(&idle(2)), Shrink(1));
    assert_eq!(adaptive.tick(&idle(1)), Keep);
    let mut adaptive = AdaptiveSize::new(SizePolicy::default().min(0).max(0));
    assert_eq!(adaptive.tick(&idle(3)), Shrink(1));
}

#[test]
fn a_pool_that_is_paused_stays_so() {
    assert_eq!(size().tick(&busy(0)), Keep);
}

#[test]
fn the_settings_are_those_that_it_was_made_with() {
    assert_eq!(AdaptiveSize::new(SizePolicy::default().min(7)).policy().min, 7);
}

proptest! {
    #[test]
    fn no_decision_breaks_the_bounds(
        ticks in prop::collection::vec((0_u32..700, 0_u64..200, 0_u64..3, 0_u32..3, any::<bool>()), 1..100),
        min in 0_u32..50, max in 0_u32..600, min_idle in 0_u32..30,
    ) {
        let policy = SizePolicy::default().min(min).max(max);
        let mut adaptive = AdaptiveSize::new(policy);
        let mut size = 50;
        for (in_use, wait, failures, connecting, is_broken) in ticks {
            let in_use = in_use.min(size);
            let seen = busy(size).in_use(in_use).min_idle(min_idle).mean_wait(Duration::from_millis(wait));
            let seen = seen.connect_failures(failures).connecting(connecting).is_broken(is_broken);
            match adaptive.tick(&seen) {
                Keep => {}
                Hold => prop_assert!(is_broken || failures > 0 || connecting > 0),
                Grow(to) => {
                    prop_assert!(to > size && to <= max.max(min));
                    prop_assert!(to == min || (!is_broken && failures == 0 && wait > 100));
                    size = to;
                }
                Shrink(to) => {
                    prop_assert!(to < size && to >= min && to >= in_use + min_idle);
                    size = to;
                }
            }
        }
    }
}
