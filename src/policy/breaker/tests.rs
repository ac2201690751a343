//! The breaker against a plain list of what happened, and its corners.

use proptest::prelude::*;

use super::*;
use Outcome::{Cancelled, Failure, Refused, Success, Timeout};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Sends one request.
fn send(breaker: &mut Breaker, now: Instant, outcome: Outcome) -> Option<BreakerChange> {
    let permit = breaker.ask(now).0.unwrap();
    breaker.record(now, permit, outcome)
}

fn open(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for _ in 0..5 {
        send(&mut breaker, now, Failure);
    }
    breaker
}

#[test]
fn the_fifth_failure_in_a_row_opens_it() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for outcome in [Failure, Timeout, Failure, Timeout, Cancelled] {
        assert_eq!(send(&mut breaker, now, outcome), None);
    }
    let change = send(&mut breaker, now, Timeout).unwrap();
    assert_eq!((change.from, change.to), (BreakerState::Closed, BreakerState::Open));
    assert_eq!(change.reason, BreakerReason::FailuresInARow);
    assert_eq!(breaker.ask(now + SECOND).0.unwrap_err().retry_in, MINUTE - SECOND);
}

#[test]
fn a_success_in_between_keeps_it_closed() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerPolicy::default().error_percent(101));
    for outcome in [Failure, Failure, Failure, Failure, Success].repeat(20) {
        assert_eq!(send(&mut breaker, now, outcome), None);
    }
}

#[test]
fn half_of_twenty_opens_it() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for outcome in [Failure, Success].repeat(9) {
        assert_eq!(send(&mut breaker, now, outcome), None);
    }
    assert_eq!(send(&mut breaker, now, Success), None);
    let change = send(&mut breaker, now, Failure).unwrap();
    assert_eq!(change.reason, BreakerReason::ErrorRate);
}

#[test]
fn a_success_never_opens_it() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for outcome in [Failure, Failure, Success].repeat(6) {
        assert_eq!(send(&mut breaker, now, outcome), None);
    }
    for _ in 0..5 {
        assert_eq!(send(&mut breaker, now, Success), None, "12 of 19 to 23 failed");
    }
    assert!(send(&mut breaker, now, Failure).is_some());
}

#[test]
fn less_than_half_does_not_nor_what_is_forgotten() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for outcome in [Failure, Success, Success].repeat(20) {
        assert_eq!(send(&mut breaker, now, outcome), None);
    }
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for (second, outcome) in [Failure, Success].repeat(20).into_iter().enumerate() {
        assert_eq!(send(&mut breaker, now + SECOND * second as u32, outcome), None);
    }
}

#[test]
fn after_a_minute_three_probes_close_it() {
    let now = Instant::now();
    let mut breaker = open(now);
    assert!(breaker.ask(now + MINUTE - SECOND).0.is_err());
    let now = now + MINUTE;
    let (first, change) = breaker.ask(now);
    let change = change.unwrap();
    assert_eq!((change.from, change.to), (BreakerState::Open, BreakerState::HalfOpen));
    assert_eq!(change.reason, BreakerReason::WaitOver);
    let probes = [first, breaker.ask(now).0, breaker.ask(now).0].map(Result::unwrap);
    assert_eq!(breaker.ask(now + SECOND).0.unwrap_err().retry_in, SECOND);
    let changes = probes.map(|probe| breaker.record(now, probe, Success));
    assert_eq!(changes[..2], [None, None]);
    let change = changes[2].unwrap();
    assert_eq!((change.to, change.reason), (BreakerState::Closed, BreakerReason::ProbesSucceeded));
    for _ in 0..4 {
        assert_eq!(send(&mut breaker, now, Failure), None, "it begins anew");
    }
}

#[test]
fn a_probe_that_fails_opens_it_for_another_minute() {
    let now = Instant::now();
    let mut breaker = open(now);
    let now = now + MINUTE;
    assert_eq!(send(&mut breaker, now, Success), None);
    let change = send(&mut breaker, now, Timeout).unwrap();
    assert_eq!((change.to, change.reason), (BreakerState::Open, BreakerReason::ProbeFailed));
    assert!(breaker.ask(now + MINUTE - SECOND).0.is_err());
    assert!(breaker.ask(now + MINUTE).0.is_ok());
}

#[test]
fn each_failed_probe_opens_it_for_twice_as_long_as_before() {
    let mut now = Instant::now();
    let policy = BreakerPolicy::default().failures(1).probes(1).first_open_for(Some(5 * SECOND));
    let mut breaker = Breaker::new(policy);
    send(&mut breaker, now, Failure);
    for seconds in [5, 10, 20, 40, 60, 60] {
        assert_eq!(breaker.open_for(now), Some(SECOND * seconds));
        assert!(breaker.ask(now + SECOND * (seconds - 1)).0.is_err());
        now += SECOND * seconds;
        assert_eq!(breaker.open_for(now), None);
        send(&mut breaker, now, Timeout);
    }
    now += MINUTE;
    send(&mut breaker, now, Success);
    send(&mut breaker, now, Failure);
    assert_eq!(breaker.open_for(now), Some(5 * SECOND), "it begins anew");
    now += 5 * SECOND;
    send(&mut breaker, now, Failure);
    assert_eq!(breaker.open_for(now), Some(10 * SECOND));
}

#[test]
fn it_is_never_open_for_longer_than_the_longest() {
    let now = Instant::now();
    let policy = BreakerPolicy::default().failures(1).first_open_for(Some(MINUTE * 2));
    let mut breaker = Breaker::new(policy);
    send(&mut breaker, now, Failure);
    assert_eq!(breaker.open_for(now), Some(MINUTE));
}

#[test]
fn a_probe_that_is_cancelled_or_refused_is_sent_again() {
    let now = Instant::now();
    let mut breaker = open(now);
    let now = now + MINUTE;
    for outcome in [Cancelled, Refused].repeat(5) {
        assert_eq!(send(&mut breaker, now, outcome), None);
    }
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn what_was_refused_neither_opens_it_nor_ends_a_row_of_failures() {
    let (mut breaker, now) = (Breaker::new(BreakerPolicy::default()), Instant::now());
    for outcome in [Failure, Failure, Failure, Failure, Refused, Refused] {
        assert_eq!(send(&mut breaker, now, outcome), None);
    }
    assert!(send(&mut breaker, now, Failure).is_some());
}

#[test]
fn lost_probes_are_replaced_after_a_minute() {
    let now = Instant::now();
    let mut breaker = open(now);
    let now = now + MINUTE;
    for _ in 0..3 {
        let _ = breaker.ask(now).0.unwrap();
    }
    assert!(breaker.ask(now + MINUTE - SECOND).0.is_err());
    for _ in 0..3 {
        assert!(breaker.ask(now + MINUTE).0.is_ok());
    }
    assert!(breaker.ask(now + MINUTE).0.is_err());
}

#[test]
fn what_was_sent_before_a_change_does_not_count() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerPolicy::default());
    let old: Vec<_> = (0..8).map(|_| breaker.ask(now).0.unwrap()).collect();
    for _ in 0..5 {
        send(&mut breaker, now, Failure);
    }
    let now = now + MINUTE;
    let _probe = breaker.ask(now).0.unwrap();
    for (permit, outcome) in old.into_iter().zip([Success, Failure].repeat(4)) {
        assert_eq!(breaker.record(now, permit, outcome), None);
    }
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn without_probes_one_is_sent_nevertheless() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerPolicy::default().probes(0).failures(0));
    assert!(send(&mut breaker, now, Failure).is_some());
    assert_eq!(send(&mut breaker, now + MINUTE, Success).unwrap().to, BreakerState::Closed);
}

#[test]
fn one_that_stays_open_for_ever_does() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerPolicy::default().failures(1).open_for(Duration::MAX));
    send(&mut breaker, now, Failure);
    assert!(breaker.ask(now + MINUTE * 1000).0.is_err());
}

/// What happens next: a request begins, or the oldest ends.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask,
    End(Outcome),
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![Just(Success), Just(Failure), Just(Timeout), Just(Cancelled)];
    prop_oneof![Just(Event::Ask), outcome.prop_map(Event::End)]
}

proptest! {
    #[test]
    fn changes_follow_each_other_and_no_more_probes_are_sent_than_allowed(
        events in prop::collection::vec((0_u64..30_000, event()), 1..200),
        probes in 1_u32..4,
    ) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(BreakerPolicy::default().failures(2).probes(probes));
        let (mut permits, mut state) = (std::collections::VecDeque::new(), BreakerState::Closed);
        // Since it became half-open, in the last minute.
        let mut sent: Vec<Instant> = Vec::new();
        let mut opened = now;
        for (gap, event) in events {
            now += Duration::from_millis(gap);
            let change = match event {
                Event::Ask => {
                    let (verdict, change) = breaker.ask(now);
                    if breaker.state() == BreakerState::Open {
                        prop_assert!(now < opened + MINUTE);
                        prop_assert!(verdict.is_err());
                    }
                    if change.is_some() {
                        sent.clear();
                        prop_assert!(now >= opened + MINUTE);
                    }
                    if let Ok(permit) = verdict {
                        permits.push_back(permit);
                        sent.push(now);
                    }
                    change
                }
                Event::End(outcome) => {
                    let Some(permit) = permits.pop_front() else { continue };
                    let change = breaker.record(now, permit, outcome);
                    if outcome == Cancelled {
                        prop_assert_eq!(change, None);
                        sent.pop();
                    }
                    change
                }
            };
            if let Some(change) = change {
                prop_assert_eq!(change.from, state);
                prop_assert_ne!(change.to, state);
                state = change.to;
                if state == BreakerState::Open {
                    opened = now;
                }
            }
            prop_assert_eq!(breaker.state(), state);
            if state == BreakerState::HalfOpen {
                let recent = sent.iter().filter(|&&at| now - at < MINUTE).count();
                // Those sent just before they were replaced, and their replacements.
                prop_assert!(recent <= 2 * probes as usize, "{recent}");
            }
        }
    }
}

#[test]
fn changes_are_counted_by_their_reason() {
    let now = Instant::now();
    let mut breaker = open(now);
    send(&mut breaker, now + MINUTE, Failure);
    for _ in 0..3 {
        send(&mut breaker, now + 2 * MINUTE, Success);
    }
    let stats = breaker.stats();
    assert_eq!((stats.state, stats.opened_by_error_rate), (BreakerState::Closed, 0));
    let counts = [stats.opened_by_failures, stats.opened_by_probe, stats.half_opened, stats.closed];
    assert_eq!(counts, [1, 1, 2, 1]);
}

#[test]
fn what_is_refused_is_counted() {
    let now = Instant::now();
    let mut breaker = open(now);
    assert_eq!(breaker.stats().refused, 0);
    assert!(breaker.ask(now).0.is_err());
    assert_eq!(breaker.stats().refused, 1);
}

#[test]
fn stats_have_the_present_state() {
    let now = Instant::now();
    let mut breaker = open(now);
    assert_eq!(breaker.stats().state, BreakerState::Open);
    let _probe = breaker.ask(now + MINUTE);
    assert_eq!(breaker.stats().state, BreakerState::HalfOpen);
}

#[test]
fn it_open_for_the_rest_of_its_time() {
    let now = Instant::now();
    let closed = Breaker::new(BreakerPolicy::default());
    assert_eq!(closed.open_for(now), None);
    let breaker = open(now);
    assert_eq!(breaker.open_for(now), Some(MINUTE));
    assert_eq!(breaker.open_for(now + MINUTE - SECOND), Some(SECOND));
    assert_eq!(breaker.open_for(now + MINUTE), None);
}

#[test]
fn without_a_pause_no_more_probes_are_sent_at_once() {
    let (mut breaker, now) =
        (Breaker::new(BreakerPolicy::default().failures(1).open_for(Duration::ZERO)), Instant::now());
    let (permit, _) = breaker.ask(now);
    breaker.record(now, permit.unwrap(), Failure);
    let sent = |breaker: &mut Breaker, now| (0..100).filter(|_| breaker.ask(now).0.is_ok()).count();
    assert_eq!(sent(&mut breaker, now), 3);
    assert_eq!(sent(&mut breaker, now + SECOND), 3, "they got lost");
}
