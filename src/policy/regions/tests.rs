//! Regions that are slow, fail, and come back.

use proptest::prelude::*;

use super::*;
use Outcome::{Failure, Success, Timeout};
use PickReason::{Best, LastResort, Probe, Returning};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn regions(count: usize) -> Regions {
    Regions::new(RegionPolicy::default(), count)
}

/// Samples of one region, 10 ms apart.
fn samples(
    regions: &mut Regions,
    now: &mut Instant,
    region: usize,
    number: u32,
    latency: u32,
    outcome: Outcome,
) {
    for _ in 0..number {
        *now += 10 * MILLISECOND;
        regions.record(*now, region, latency * MILLISECOND, outcome);
    }
}

/// The next pick that is no probe.
fn settled(regions: &mut Regions, now: Instant) -> Pick {
    for _ in 0..9 {
        let pick = regions.pick(now, None, 0);
        if pick.reason != Probe {
            return pick;
        }
    }
    panic!("nothing but probes")
}

#[test]
fn the_first_serves_until_more_is_known_and_the_others_are_probed() {
    let (mut regions, now) = (regions(3), Instant::now());
    assert_eq!(regions.pick(now, None, 0), Pick { region: 1, reason: Probe });
    assert_eq!(regions.pick(now, None, 0), Pick { region: 2, reason: Probe });
    assert_eq!(regions.pick(now, None, 0), Pick { region: 0, reason: Best });
    assert_eq!(regions.pick(now + 1999 * MILLISECOND, None, 0).region, 0);
    assert_eq!(regions.pick(now + 2 * SECOND, None, 0), Pick { region: 1, reason: Probe });
    assert_eq!(regions.current(), 0);
    assert_eq!(regions.score(0), None);
}

#[test]
fn another_one_serves_when_it_is_better_by_a_fifth() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    samples(&mut regions, &mut now, 0, 100, 100, Success);
    samples(&mut regions, &mut now, 1, 5, 81, Success);
    assert_eq!(settled(&mut regions, now).region, 0);
    let mut regions = self::regions(2);
    samples(&mut regions, &mut now, 0, 100, 100, Success);
    samples(&mut regions, &mut now, 1, 5, 79, Success);
    assert_eq!(settled(&mut regions, now).region, 1);
    assert_eq!(regions.current(), 1);
    let all = (0..1000).map(|random| regions.pick(now, None, random));
    assert_eq!(all.filter(|pick| pick.region == 1).count(), 1000, "and gets all at once");
    assert!(regions.score(1).unwrap() < 80 * MILLISECOND);
}

#[test]
fn fewer_samples_than_needed_decide_nothing() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    samples(&mut regions, &mut now, 0, 100, 100, Success);
    samples(&mut regions, &mut now, 1, 4, 10, Success);
    assert_eq!(settled(&mut regions, now).region, 0);
}

#[test]
fn the_first_samples_are_averaged_plainly_and_later_ones_by_time() {
    let policy = RegionPolicy::default().memory(SECOND).min_samples(3);
    let (mut regions, mut now) = (Regions::new(policy, 1), Instant::now());
    for latency in [10, 20, 60] {
        samples(&mut regions, &mut now, 0, 1, latency, Success);
    }
    assert_eq!(regions.score(0).unwrap().as_millis(), 30);
    regions.record(now + SECOND / 4, 0, 80 * MILLISECOND, Success);
    assert_eq!(regions.score(0).unwrap().as_millis(), 40, "a quarter in a second and a quarter");
    regions.record(now + 100 * SECOND, 0, 140 * MILLISECOND, Success);
    assert_eq!(regions.score(0).unwrap().as_millis(), 70, "30 % at most");
}

#[test]
fn errors_count_as_if_they_took_a_second() {
    let policy = RegionPolicy::default().min_samples(3);
    let (mut regions, mut now) = (Regions::new(policy, 1), Instant::now());
    samples(&mut regions, &mut now, 0, 1, 40, Success);
    samples(&mut regions, &mut now, 0, 1, 1, Failure);
    samples(&mut regions, &mut now, 0, 1, 40, Success);
    let score = regions.score(0).unwrap().as_secs_f64();
    assert!((score - (0.04 + 1.0 / 3.0)).abs() < 1e-6, "{score}");
}

#[test]
fn a_timeout_makes_the_latency_longer() {
    let policy = RegionPolicy::default().error_penalty(Duration::ZERO).min_samples(3);
    let (mut regions, mut now) = (Regions::new(policy, 1), Instant::now());
    samples(&mut regions, &mut now, 0, 2, 40, Success);
    samples(&mut regions, &mut now, 0, 1, 100, Timeout);
    assert_eq!(regions.score(0).unwrap().as_millis(), 60);
}

#[test]
fn five_failures_in_a_row_eject_it() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    samples(&mut regions, &mut now, 0, 4, 5, Failure);
    samples(&mut regions, &mut now, 0, 1, 5, Success);
    samples(&mut regions, &mut now, 0, 4, 5, Failure);
    assert!(!regions.is_ejected(0, now));
    let ejection = regions.record(now, 0, MILLISECOND, Timeout);
    assert_eq!(ejection, Some(Ejection { region: 0, duration: 30 * SECOND }));
    assert!(regions.is_ejected(0, now));
    assert_eq!(settled(&mut regions, now), Pick { region: 1, reason: Best });
    assert_eq!(regions.record(now, 0, MILLISECOND, Failure), None, "sent before");
    assert!(!regions.is_ejected(0, now + 30 * SECOND));
}

/// The first is known to be fast and the second to be slow; the first fails and is ejected.
fn ejected() -> (Regions, Instant) {
    let (mut regions, mut now) = (regions(2), Instant::now());
    samples(&mut regions, &mut now, 0, 9, 10, Success);
    samples(&mut regions, &mut now, 1, 9, 50, Success);
    samples(&mut regions, &mut now, 0, 5, 10, Failure);
    assert_eq!(settled(&mut regions, now).region, 1);
    (regions, now)
}

#[test]
fn one_that_comes_back_is_ejected_again_by_its_first_failure_and_twice_as_long() {
    let (mut regions, mut now) = ejected();
    for seconds in [30, 60, 120, 240, 300, 300] {
        assert!(regions.is_ejected(0, now + (seconds - 1) * SECOND / 2));
        now += 300 * SECOND;
        assert_eq!(regions.pick(now, None, 0), Pick { region: 0, reason: Probe });
        let next = (seconds * 2).min(300);
        assert_eq!(regions.record(now, 0, MILLISECOND, Failure).unwrap().duration, next * SECOND);
    }
}

#[test]
fn one_that_comes_back_gets_its_requests_slowly() {
    let (mut regions, now) = ejected();
    let mut now = now + 30 * SECOND;
    regions.pick(now, None, 0);
    samples(&mut regions, &mut now, 0, 5, 10, Success);
    let share = |regions: &mut Regions, now| {
        let picks = (0..1000).map(|random| regions.pick(now, None, random));
        let picks: Vec<_> = picks.filter(|pick| pick.reason != Probe).collect();
        assert!(picks.iter().all(|pick| pick.reason == if pick.region == 0 { Best } else { Returning }));
        picks.iter().filter(|pick| pick.region == 0).count() as f64 / picks.len() as f64
    };
    regions.pick(now, None, 0);
    assert_eq!(regions.pick(now, None, 99).reason, Best);
    assert_eq!(regions.pick(now, None, 100).reason, Returning);
    for (seconds, expected) in [(0, 0.1), (1, 0.1), (5, 0.25), (10, 0.5), (19, 0.95), (20, 1.0), (21, 1.0)] {
        let share = share(&mut regions, now + seconds * SECOND);
        assert!((share - expected).abs() < 0.01, "{share} after {seconds} s");
    }
    now += 21 * SECOND;
    samples(&mut regions, &mut now, 0, 1, 10, Success);
    samples(&mut regions, &mut now, 0, 4, 10, Failure);
    let again = regions.record(now, 0, MILLISECOND, Failure);
    assert_eq!(again.unwrap().duration, 30 * SECOND, "its past is forgiven");
}

#[test]
fn all_are_the_last_resort_in_turn() {
    let (mut regions, mut now) = (regions(3), Instant::now());
    for region in [1, 0, 2] {
        samples(&mut regions, &mut now, region, 5, 10, Failure);
    }
    for region in [1, 0, 2, 1] {
        assert_eq!(regions.pick(now, None, 0), Pick { region, reason: LastResort });
    }
    assert_eq!(regions.record(now, 1, MILLISECOND, Failure), None);
    assert!(regions.is_ejected(1, now));
    regions.record(now, 1, MILLISECOND, Success);
    assert!(!regions.is_ejected(1, now), "it works again");
    assert!(regions.is_ejected(0, now));
    regions.record(now, 0, MILLISECOND, Success);
    assert!(regions.is_ejected(0, now), "sent before");
}

#[test]
fn a_sticky_region_stays_until_it_is_ejected() {
    let (mut regions, mut now) = (Regions::new(RegionPolicy::default().sticky(true), 2), Instant::now());
    samples(&mut regions, &mut now, 0, 9, 100, Success);
    samples(&mut regions, &mut now, 1, 9, 10, Success);
    assert_eq!(settled(&mut regions, now).region, 0);
    samples(&mut regions, &mut now, 0, 5, 100, Failure);
    assert_eq!(settled(&mut regions, now).region, 1);
}

#[test]
fn a_client_stays_where_it_was_unless_that_is_ejected() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    assert_eq!(regions.pick(now, Some(1), 0), Pick { region: 1, reason: PickReason::Sticky });
    assert_ne!(regions.pick(now, Some(2), 0).reason, PickReason::Sticky, "there is none");
    samples(&mut regions, &mut now, 1, 5, 10, Failure);
    assert_eq!(regions.pick(now, Some(1), 0), Pick { region: 0, reason: Best });
}

#[test]
fn what_is_cancelled_or_unknown_says_nothing() {
    let (mut regions, mut now) = (regions(0), Instant::now());
    samples(&mut regions, &mut now, 0, 9, 10, Outcome::Cancelled);
    samples(&mut regions, &mut now, 1, 9, 10, Failure);
    assert_eq!(regions.score(0), None);
    assert_eq!(regions.score(1), None);
    assert!(!regions.is_ejected(1, now));
    assert_eq!(settled(&mut regions, now).region, 0);
}

#[test]
fn a_region_that_refuses_is_left_and_not_ejected() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    samples(&mut regions, &mut now, 0, 9, 10, Success);
    samples(&mut regions, &mut now, 1, 9, 50, Success);
    for _ in 0..30 {
        samples(&mut regions, &mut now, 0, 10, 0, Outcome::Refused);
    }
    assert_eq!(settled(&mut regions, now).region, 1);
    assert!(!regions.is_ejected(0, now));
}

proptest! {
    #[test]
    fn a_pick_is_never_ejected_as_long_as_one_is_not(
        events in prop::collection::vec((0_u64..5000, 0_usize..4, 0_u64..1000, 0_u8..4, any::<u64>()), 1..200),
        count in 1_usize..4,
    ) {
        let (mut regions, mut now) = (regions(count), Instant::now());
        for (gap, region, millis, outcome, random) in events {
            now += Duration::from_millis(gap);
            let outcome = [Success, Failure, Timeout, Failure][usize::from(outcome)];
            regions.record(now, region, Duration::from_millis(millis), outcome);
            let pick = regions.pick(now, (region < 2).then_some(region), random);
            prop_assert!(pick.region < count);
            let usable = (0..count).filter(|&region| !regions.is_ejected(region, now)).count();
            prop_assert_eq!(pick.reason == LastResort, usable == 0);
            prop_assert_eq!(regions.is_ejected(pick.region, now), usable == 0);
        }
    }
}

#[test]
fn a_region_is_ejected_for_the_time_that_the_caller_says() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    for duration in [SECOND / 2, 1000 * SECOND] {
        assert_eq!(regions.eject(now, 0, duration), Some(Ejection { region: 0, duration }));
        assert_eq!(regions.eject(now, 0, duration), None, "it is ejected");
        assert!(regions.is_ejected(0, now + duration - MILLISECOND));
        now += duration;
        assert!(!regions.is_ejected(0, now));
    }
    assert_eq!(regions.eject(now, 2, SECOND), None, "there is none");
    assert_eq!(regions.state(now, ["north", "south"])[0].ejections, 2);
}

#[test]
fn an_ejection_by_the_caller_makes_the_next_one_no_longer() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    for _ in 0..3 {
        regions.eject(now, 0, SECOND);
        now += SECOND;
        regions.pick(now, None, 0);
    }
    let ejection = regions.record(now, 0, MILLISECOND, Failure).expect("it is on trial");
    assert_eq!(ejection.duration, 30 * SECOND);
}

#[test]
fn an_ejection_for_ever_takes_ten_years() {
    let (mut regions, now) = (regions(2), Instant::now());
    let year = 365 * 24 * 3600 * SECOND;
    assert_eq!(regions.eject(now, 0, Duration::MAX).unwrap().duration, 10 * year);
    assert!(regions.is_ejected(0, now + 9 * year));
    assert_eq!(regions.pick(now, None, 0).region, 1);
}

#[test]
fn a_request_that_was_sent_before_an_ejection_does_not_eject_again() {
    let (mut regions, now) = ejected();
    let later = now + 31 * SECOND;
    regions.pick(later, None, 0);
    assert_eq!(regions.record(later, 0, 32 * SECOND, Timeout), None);
    assert!(!regions.is_ejected(0, later));
    assert_eq!(regions.record(later, 0, SECOND / 2, Timeout).unwrap().duration, 60 * SECOND);
}

#[test]
fn a_standby_that_answers_for_long_enough_is_forgiven() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    samples(&mut regions, &mut now, 0, 9, 10, Success);
    let mut eject = |seconds: u32, probes: u32| {
        samples(&mut regions, &mut now, 1, 4, 20, Failure);
        let ejection = regions.record(now, 1, MILLISECOND, Failure);
        now += 300 * SECOND;
        regions.pick(now, None, 0);
        for _ in 0..probes {
            now += 2 * SECOND;
            regions.record(now, 1, 20 * MILLISECOND, Success);
        }
        assert_eq!(ejection.unwrap().duration, seconds * SECOND);
    };
    eject(30, 9);
    eject(60, 10);
    eject(30, 0);
}

/// Both fail, and the first works again as the last resort, a second later.
fn recover(regions: &mut Regions, now: &mut Instant) -> [Duration; 2] {
    let durations = [0, 1].map(|region| {
        samples(regions, now, region, 4, 10, Failure);
        regions.record(*now, region, MILLISECOND, Failure).unwrap().duration
    });
    *now += SECOND;
    assert_eq!(regions.pick(*now, None, 0), Pick { region: 0, reason: LastResort });
    regions.record(*now, 0, 10 * MILLISECOND, Success);
    durations
}

#[test]
fn a_last_resort_that_works_again_gets_its_requests_slowly() {
    let mut regions = Regions::new(RegionPolicy::default().return_over(100 * SECOND), 2);
    let mut now = Instant::now();
    recover(&mut regions, &mut now);
    assert_eq!(regions.pick(now, None, 999), Pick { region: 0, reason: Best }, "no other serves");
    now += 31 * SECOND;
    assert_eq!(regions.pick(now, None, 0).reason, Probe);
    assert_eq!(regions.pick(now, None, 999), Pick { region: 1, reason: Returning });
}

#[test]
fn outages_a_day_apart_are_short() {
    let (mut regions, mut now) = (regions(2), Instant::now());
    for _ in 0..4 {
        assert_eq!(recover(&mut regions, &mut now)[0], 30 * SECOND);
        for _ in 0..40 {
            now += SECOND;
            let pick = regions.pick(now, None, 0);
            regions.record(now, pick.region, 10 * MILLISECOND, Success);
        }
        now += 24 * 3600 * SECOND;
    }
}

#[test]
fn requests_are_counted_by_why_and_outlive_an_ejection() {
    let (mut regions, now) = (regions(2), Instant::now());
    for _ in 0..3 {
        let _ = regions.pick(now, None, 0);
    }
    let _ = regions.pick(now, Some(0), 0);
    for region in [0, 1] {
        for _ in 0..5 {
            regions.record(now, region, MILLISECOND, Failure);
        }
    }
    let _ = regions.pick(now, None, 0);
    let state = regions.state(now, ["north", "south"]);
    let north = &state[0];
    assert_eq!((north.name.as_str(), north.is_current, north.is_ejected), ("north", true, true));
    assert_eq!([north.best, north.sticky, north.last_resort, north.ejections], [2, 1, 1, 1]);
    assert_eq!([state[1].probes, state[1].returning, state[1].ejections], [1, 0, 1]);
}

#[test]
fn the_state_has_the_score_once_it_is_known() {
    let now = Instant::now();
    let mut regions = Regions::new(RegionPolicy::default(), 2);
    for _ in 0..RegionPolicy::default().min_samples {
        regions.record(now, 0, MILLISECOND, Success);
    }
    let [known, unknown] = [0, 1].map(|region| regions.state(now, ["north", "south"])[region].score);
    assert!(known.is_some());
    assert_eq!(known, regions.score(0));
    assert_eq!(unknown, None);
}

#[test]
fn a_request_falls_back_to_the_best_of_the_others() {
    let (mut regions, mut now) = (regions(4), Instant::now());
    let fallback = |region| Some(Pick { region, reason: PickReason::Fallback });
    assert_eq!(regions.fall_back(now, &[0]), fallback(1));
    samples(&mut regions, &mut now, 1, 5, 30, Success);
    samples(&mut regions, &mut now, 2, 5, 20, Success);
    assert_eq!(regions.fall_back(now, &[0]), fallback(2));
    assert_eq!(regions.fall_back(now, &[2, 0]), fallback(1));
    samples(&mut regions, &mut now, 3, 5, 1, Failure);
    assert_eq!(regions.fall_back(now, &[0, 1, 2]), None);
    assert_eq!(regions.state(now, ["", "", "", ""])[1].fallback, 2);
}

#[test]
fn a_request_that_all_others_have_failed_goes_to_one_that_is_ejected() {
    let (mut regions, now) = (regions(3), Instant::now());
    for region in [1, 2] {
        regions.eject(now, region, SECOND);
    }
    let resort = |region| Some(Pick { region, reason: LastResort });
    assert_eq!(regions.last_resort(&[0]), resort(1));
    assert_eq!(regions.last_resort(&[0, 1]), resort(2));
    assert_eq!(regions.last_resort(&[0]), resort(1), "it was asked longer ago");
    assert_eq!(regions.last_resort(&[0, 1, 2]), None);
    assert_eq!(regions.state(now, ["", "", ""])[1].last_resort, 2);
}
