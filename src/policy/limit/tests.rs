//! A server that works on a few requests at once, and lets the others queue.

use proptest::prelude::*;

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

/// What a server does with as many requests as the limit allows, for some seconds: it works on `capacity` of them at once,
/// for 10 ms each.
fn settle(limit: &mut AdaptiveLimit, begin: Instant, seconds: u32, capacity: u32) -> Instant {
    let mut now = begin;
    while now < begin + seconds * 1000 * MILLISECOND {
        let load = f64::from(limit.limit()) / f64::from(capacity);
        let latency = (10 * MILLISECOND).mul_f64(load.max(1.0));
        now += latency / limit.limit();
        limit.record(now, latency, limit.limit(), Outcome::Success);
    }
    now
}

#[test]
fn it_finds_what_the_server_works_on_at_once() {
    let mut limit = AdaptiveLimit::new(LimitPolicy::default());
    let now = settle(&mut limit, Instant::now(), 30, 100);
    assert!((100..=230).contains(&limit.limit()), "{}", limit.limit());
    let now = settle(&mut limit, now, 30, 10);
    assert!((10..=40).contains(&limit.limit()), "{}", limit.limit());
    settle(&mut limit, now, 30, 100);
    assert!((100..=230).contains(&limit.limit()), "{}", limit.limit());
}

/// Records as many equal samples as a window needs, and returns what the last says.
fn window(limit: &mut AdaptiveLimit, now: &mut Instant, latency: Duration, in_flight: u32) -> Option<u32> {
    let changed = (0..10).map(|_| {
        *now += 12 * MILLISECOND;
        limit.record(*now, latency, in_flight, Outcome::Success)
    });
    changed.last().flatten()
}

#[test]
fn a_limit_that_is_not_used_does_not_grow() {
    let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default()), Instant::now());
    for _ in 0..20 {
        assert_eq!(window(&mut limit, &mut now, MILLISECOND, 9), None);
    }
    for _ in 0..2 {
        window(&mut limit, &mut now, MILLISECOND, 10);
    }
    assert_eq!(limit.limit(), 21);
}

#[test]
fn a_limit_that_is_not_used_does_not_shrink() {
    let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default()), Instant::now());
    for latency in [1, 3].into_iter().cycle().take(200) {
        assert_eq!(window(&mut limit, &mut now, latency * MILLISECOND, 1), None);
    }
}

#[test]
fn a_limit_that_is_not_used_shrinks_if_requests_fail() {
    for outcome in [Outcome::Failure, Outcome::Timeout] {
        let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default().initial(100)), Instant::now());
        for _ in 0..10 {
            now += 12 * MILLISECOND;
            limit.record(now, MILLISECOND, 1, outcome);
        }
        assert_eq!(limit.limit(), 98, "{outcome:?}");
    }
}

#[test]
fn half_again_as_long_is_tolerated() {
    let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default().initial(400)), Instant::now());
    window(&mut limit, &mut now, 100 * MILLISECOND, 400);
    assert_eq!(limit.limit(), 404);
    window(&mut limit, &mut now, 150 * MILLISECOND, 400);
    assert_eq!(limit.limit(), 408);
    window(&mut limit, &mut now, 300 * MILLISECOND, 400);
    assert_eq!(limit.limit(), 371, "half of it and the square root, a fifth of the way");
}

#[test]
fn failures_shrink_it_whatever_the_latency() {
    let mut limit = AdaptiveLimit::new(LimitPolicy::default().initial(100));
    let mut now = Instant::now();
    for _ in 0..11 {
        limit.record(now, MILLISECOND, 100, Outcome::Failure);
        now += 10 * MILLISECOND;
    }
    assert_eq!(limit.limit(), 98);
}

#[test]
fn timeouts_count_with_the_time_they_took() {
    let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default().initial(100)), Instant::now());
    window(&mut limit, &mut now, MILLISECOND, 100);
    for _ in 0..10 {
        now += 12 * MILLISECOND;
        limit.record(now, 1000 * MILLISECOND, 100, Outcome::Timeout);
    }
    assert!(limit.limit() < 100, "{}", limit.limit());
}

#[test]
fn a_server_that_has_become_slower_for_good_is_accepted() {
    let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default()), Instant::now());
    window(&mut limit, &mut now, 10 * MILLISECOND, 20);
    for _ in 0..50 {
        let in_flight = limit.limit();
        window(&mut limit, &mut now, 40 * MILLISECOND, in_flight);
    }
    assert!(limit.limit() <= 8, "{}", limit.limit());
    for _ in 0..1000 {
        let in_flight = limit.limit();
        window(&mut limit, &mut now, 40 * MILLISECOND, in_flight);
    }
    assert!(limit.limit() > 20, "{}", limit.limit());
}

#[test]
fn after_300_windows_half_of_it_shows_what_the_latency_without_load_is() {
    let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default().initial(100)), Instant::now());
    let mut next = |latency: u32, limit: &mut AdaptiveLimit| {
        let in_flight = limit.limit();
        window(limit, &mut now, latency * MILLISECOND, in_flight)
    };
    // As slow as it is tolerated, it stays where it is: what it grows by is what the latency takes.
    next(10, &mut limit);
    for _ in 0..298 {
        next(17, &mut limit);
    }
    let before = limit.limit();
    assert_eq!(next(17, &mut limit), Some(before / 2));
    assert_eq!(next(40, &mut limit), None, "its second window");
    assert_eq!(next(20, &mut limit), Some(before));
    next(29, &mut limit);
    assert!(limit.limit() > before, "half again as long as 20 ms is tolerated now");
    for _ in 0..298 {
        next(29, &mut limit);
    }
    let before = limit.limit();
    assert_eq!(next(29, &mut limit), Some(before / 2), "and again");
}

#[test]
fn a_change_takes_both_a_window_and_its_requests() {
    let now = Instant::now();
    let change = |requests: u32, over: Duration| {
        let mut limit = AdaptiveLimit::new(LimitPolicy::default().initial(400));
        let record =
            |number| limit.record(now + over * number / (requests - 1), MILLISECOND, 400, Outcome::Success);
        (0..requests).filter_map(record).count()
    };
    assert_eq!(change(100, 99 * MILLISECOND), 0);
    assert_eq!(change(9, 900 * MILLISECOND), 0);
    assert_eq!(change(10, 100 * MILLISECOND), 1);
}

#[test]
fn more_than_one_failure_per_ten_answers_shrinks_it() {
    for (failures, expected) in [(10, 102), (11, 98), (60, 98)] {
        let mut limit = AdaptiveLimit::new(LimitPolicy::default().initial(100).min_samples(100 + failures));
        let mut now = Instant::now();
        for number in 0..100 + failures {
            let outcome = if number < failures { Outcome::Failure } else { Outcome::Success };
            limit.record(now, MILLISECOND, 100, outcome);
            now += 2 * MILLISECOND;
        }
        assert_eq!(limit.limit(), expected, "{failures}");
    }
}

#[test]
fn what_was_cancelled_or_refused_says_nothing() {
    let (mut limit, now) = (AdaptiveLimit::new(LimitPolicy::default()), Instant::now());
    for number in 0..100 {
        let latency = if number == 0 { MILLISECOND } else { 9 * MILLISECOND };
        let outcome = [Outcome::Cancelled, Outcome::Refused][number as usize % 2];
        assert_eq!(limit.record(now + number * 50 * MILLISECOND, latency, 20, outcome), None);
    }
}

#[test]
fn a_few_fast_answers_are_not_the_latency_without_load() {
    let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default()), Instant::now());
    let mut next = |latency: u32, limit: &mut AdaptiveLimit| {
        let in_flight = limit.limit();
        window(limit, &mut now, latency * MILLISECOND, in_flight)
    };
    for _ in 0..100 {
        next(100, &mut limit);
    }
    let before = limit.limit();
    for _ in 0..2 {
        next(1, &mut limit);
    }
    for _ in 0..50 {
        next(100, &mut limit);
    }
    assert!(limit.limit() > before, "{} and {before}", limit.limit());
}

#[test]
fn a_load_that_the_server_serves_well_is_never_held_up() {
    let (mut limit, mut now) = (AdaptiveLimit::new(LimitPolicy::default().initial(100)), Instant::now());
    for _ in 0..1000 {
        window(&mut limit, &mut now, 100 * MILLISECOND, 100);
        assert!(limit.limit() >= 100, "{}", limit.limit());
    }
}

proptest! {
    #[test]
    fn it_stays_within_its_bounds(
        events in prop::collection::vec((0_u64..100, 0_u64..10_000, 0_u32..2000, 0_u8..4), 1..300),
        min in 0_u32..50, max in 0_u32..100,
    ) {
        let mut limit = AdaptiveLimit::new(LimitPolicy::default().min(min).max(max).min_samples(0));
        let mut now = Instant::now();
        for (gap, micros, in_flight, outcome) in events {
            now += Duration::from_millis(gap);
            let outcome =
                [Outcome::Success, Outcome::Failure, Outcome::Timeout, Outcome::Cancelled][usize::from(outcome)];
            let before = limit.limit();
            let changed = limit.record(now, Duration::from_micros(micros), in_flight, outcome);
            prop_assert_eq!(changed, (limit.limit() != before).then_some(limit.limit()));
            prop_assert!(limit.limit() >= min.max(1) && limit.limit() <= max.max(min).max(1));
        }
    }
}
