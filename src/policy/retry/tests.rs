//! Retries one by one, and their budget against a plain list.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn replayable() -> Failed {
    Failed::default().replayable(true)
}

fn full() -> RetryBudget {
    RetryBudget::new(BudgetPolicy::default().min_per_second(1000))
}

fn decide(policy: RetryPolicy, failed: Failed, random: u64) -> RetryDecision {
    policy.decide(&mut full(), Instant::now(), &failed, random)
}

#[test]
fn the_persistent_schedule_is_that_of_the_original_clients() {
    let policy = RetryPolicy::persistent();
    let delays: Vec<_> = (1..=9)
        .map(|attempts| match decide(policy, replayable().attempts(attempts), 0) {
            RetryDecision::After(delay) => delay.as_secs(),
            RetryDecision::GiveUp(why) => panic!("{why:?}"),
        })
        .collect();
    assert_eq!(delays, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    let late = replayable().attempts(u32::MAX - 1);
    assert_eq!(decide(policy, late, 0), RetryDecision::After(600 * SECOND));
}

#[test]
fn what_the_server_asks_for_wins() {
    let failed = replayable().retry_after(Some(10 * SECOND));
    assert_eq!(decide(RetryPolicy::default(), failed, 0), RetryDecision::After(10 * SECOND));
    assert_eq!(decide(RetryPolicy::default(), failed, 1000), RetryDecision::After(11 * SECOND));
}

#[test]
fn a_server_that_asks_for_no_pause_gets_the_backoff() {
    let failed = replayable().retry_after(Some(Duration::ZERO));
    let after = |random| decide(RetryPolicy::default(), failed, random);
    assert_eq!(after(0), RetryDecision::After(Duration::from_millis(50)));
    assert_eq!(after(1000), RetryDecision::After(Duration::from_millis(25)));
}

#[test]
fn a_server_that_asks_for_too_long_a_pause_is_not_asked_again() {
    let asked = |seconds| replayable().retry_after(Some(seconds * SECOND));
    assert_eq!(decide(RetryPolicy::default(), asked(60), 0), RetryDecision::After(60 * SECOND));
    assert_eq!(decide(RetryPolicy::default(), asked(61), 0), RetryDecision::GiveUp(GiveUp::Deadline));
    assert_eq!(decide(RetryPolicy::persistent(), asked(600), 0), RetryDecision::After(600 * SECOND));
}

#[test]
fn jitter_leaves_out_up_to_its_share() {
    let policy = RetryPolicy::default().backoff(Backoff::default().initial(SECOND)).jitter_percent(40);
    assert_eq!(decide(policy, replayable(), 0), RetryDecision::After(SECOND));
    assert_eq!(decide(policy, replayable(), 1000), RetryDecision::After(SECOND * 6 / 10));
}

#[test]
fn a_request_that_is_not_replayable_is_not_sent_again() {
    let given_up = RetryDecision::GiveUp(GiveUp::NotReplayable);
    assert_eq!(decide(RetryPolicy::default(), Failed::default(), 0), given_up);
}

#[test]
fn the_third_attempt_is_the_last() {
    let after = |attempts| decide(RetryPolicy::default(), replayable().attempts(attempts), 0);
    assert_eq!(after(2), RetryDecision::After(Duration::from_millis(100)));
    assert_eq!(after(3), RetryDecision::GiveUp(GiveUp::Attempts));
}

#[test]
fn no_retry_comes_after_the_deadline_or_costs_the_budget() {
    let now = Instant::now();
    let mut budget = RetryBudget::new(BudgetPolicy::default().percent(0).window(SECOND));
    let late = replayable().deadline(Deadline::after(now, Duration::from_millis(50)));
    let given_up = RetryDecision::GiveUp(GiveUp::Deadline);
    assert_eq!(RetryPolicy::default().decide(&mut budget, now, &late, 0), given_up);
    let in_time = replayable().deadline(Deadline::after(now, Duration::from_millis(51)));
    let decision = RetryPolicy::default().decide(&mut budget, now, &in_time, 0);
    assert_eq!(decision, RetryDecision::After(Duration::from_millis(50)));
    let decision = RetryPolicy::default().decide(&mut budget, now, &in_time, 0);
    assert_eq!(decision, RetryDecision::GiveUp(GiveUp::Budget));
}

#[test]
fn of_a_hundred_requests_twenty_are_sent_again() {
    let now = Instant::now();
    let mut budget = RetryBudget::new(BudgetPolicy::default().min_per_second(0));
    for _ in 0..100 {
        budget.on_request(now);
    }
    let sent = (0..100).filter(|_| budget.withdraw(now)).count();
    assert_eq!(sent, 20);
}

#[test]
fn a_window_of_less_than_a_second_has_its_retries_too() {
    for (window, expected) in [(900, 9), (1, 1), (1500, 15)] {
        let policy = BudgetPolicy::default().min_per_second(10).window(Duration::from_millis(window));
        let (mut budget, now) = (RetryBudget::new(policy), Instant::now());
        let sent = (0..100).filter(|_| budget.withdraw(now)).count();
        assert_eq!(sent, expected, "{window} ms");
    }
}

#[test]
fn ten_seconds_have_ten_retries_without_requests() {
    let now = Instant::now();
    let mut budget = RetryBudget::new(BudgetPolicy::default());
    let sent = (0..100).filter(|_| budget.withdraw(now)).count();
    assert_eq!(sent, 10);
    assert!(budget.withdraw(now + 10 * SECOND), "they are forgotten");
}

proptest! {
    #[test]
    fn retries_stay_within_their_share(
        events in prop::collection::vec((0_u64..50, any::<bool>()), 1..400),
        percent in 0_u32..100,
    ) {
        let mut now = Instant::now();
        let mut budget = RetryBudget::new(BudgetPolicy::default().percent(percent).min_per_second(0));
        let (mut requests, mut retries) = (0, 0);
        for (gap, is_request) in events {
            // Less than the window in all, so nothing is forgotten.
            now += Duration::from_millis(gap / 3);
            if is_request {
                budget.on_request(now);
                requests += 1;
            } else {
                let expected = retries < requests * percent / 100;
                prop_assert_eq!(budget.withdraw(now), expected);
                retries += u32::from(expected);
            }
        }
    }

    #[test]
    fn a_delay_is_neither_longer_than_the_backoff_nor_shorter_than_its_jitter(
        attempts in 1_u32..60,
        jitter in 0_u32..150,
        random in any::<u64>(),
    ) {
        let policy = RetryPolicy::default().attempts(100).jitter_percent(jitter);
        let RetryDecision::After(delay) = decide(policy, replayable().attempts(attempts), random) else { panic!() };
        let whole = policy.backoff.nth(attempts - 1);
        prop_assert!(delay <= whole);
        prop_assert!(delay >= whole.mul_f64(1.0 - f64::from(jitter.min(100)) / 100.0));
    }
}

#[test]
fn decisions_are_counted_by_the_reason() {
    let (mut budget, now) = (RetryBudget::new(BudgetPolicy::default().window(SECOND)), Instant::now());
    let late = replayable().deadline(Deadline::at(now));
    for failed in [replayable(), replayable(), Failed::default(), replayable().attempts(3), late] {
        let _ = RetryPolicy::default().decide(&mut budget, now, &failed, 0);
    }
    let expected = RetryStats { sent: 1, not_replayable: 1, attempts: 1, deadline: 1, budget: 1 };
    assert_eq!(budget.stats(), expected);
}
