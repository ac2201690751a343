//! One thread's view of the engine. The races are in `loom-tests`.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::*;

mod random;

const LIMITS: Limits = Limits {
    max: 3,
    min_idle: 0,
    max_connecting: 8,
    max_waiting: 100,
    down_after: 3,
    barging: false,
    order: Order::Lowest,
};

const NEW: Joins = Joins::New { deadline: None };

fn with_items(limits: Limits, count: usize) -> Core<usize> {
    let core = Core::new(limits);
    for item in 0..count {
        assert!(core.put(core.reserve().unwrap().fill(item)).is_none());
    }
    core
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn join(core: &Core<usize>) -> Ticket {
    core.join(Waker::noop().clone(), NEW).unwrap().ticket
}

fn granted(core: &Core<usize>, ticket: &Ticket) -> Option<Held<usize>> {
    match core.poll(ticket, Waker::noop()) {
        Polled::Granted(held) => Some(held),
        Polled::Waiting { .. } | Polled::Closed | Polled::Failed => None,
    }
}

#[test]
fn the_lowest_slot_is_taken_first() {
    let core = with_items(LIMITS, 3);
    let first = core.try_get().unwrap().0;
    let _second = core.try_get().unwrap().0;
    core.put(first);
    assert_eq!(*core.try_get().unwrap().0.item(), 0);
}

#[test]
fn round_robin_takes_each_in_turn() {
    let core = with_items(Limits { order: Order::RoundRobin, ..LIMITS }, 3);
    let turns: Vec<_> = (0..7)
        .map(|_| {
            let held = core.try_get().unwrap().0;
            let item = *held.item();
            core.put(held);
            item
        })
        .collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn no_more_slots_than_the_maximum_are_reserved() {
    let core = with_items(LIMITS, 3);
    assert!(core.reserve().is_none());
}

#[test]
fn slots_of_all_segments_are_found_again() {
    const MANY: usize = 1_000;
    let core = with_items(Limits { max: MANY, ..LIMITS }, MANY);
    let mut items: Vec<_> = (0..MANY).map(|_| core.try_get().unwrap().0).collect();
    assert!(core.try_get().is_none());
    items.drain(..).for_each(|held| assert!(core.put(held).is_none()));
    assert_eq!(core.counts().idle, MANY);
}

#[test]
fn a_returned_item_goes_to_the_first_waiter() {
    let core = with_items(LIMITS, 1);
    let held = core.try_get().unwrap().0;
    let (first, second) = (join(&core), join(&core));
    core.put(held);
    assert!(granted(&core, &second).is_none());
    assert!(granted(&core, &first).is_some());
    core.leave(second);
}

#[test]
fn a_newcomer_does_not_overtake_a_waiter() {
    let core = with_items(LIMITS, 1);
    let held = core.try_get().unwrap().0;
    let ticket = join(&core);
    core.put(held);
    assert!(core.try_get().is_none());
    core.leave(ticket);
}

#[test]
fn what_a_leaving_waiter_was_granted_goes_to_the_next() {
    let core = with_items(LIMITS, 1);
    let held = core.try_get().unwrap().0;
    let (first, second) = (join(&core), join(&core));
    core.put(held);
    core.leave(first);
    assert!(granted(&core, &second).is_some());
}

#[test]
fn what_the_last_waiter_leaves_is_idle() {
    let core = with_items(LIMITS, 1);
    let held = core.try_get().unwrap().0;
    let ticket = join(&core);
    core.put(held);
    core.leave(ticket);
    assert_eq!(core.counts().idle, 1);
}

#[test]
fn a_waiter_takes_what_is_idle() {
    let core = with_items(LIMITS, 1);
    let ticket = join(&core);
    assert!(granted(&core, &ticket).is_some());
}

#[test]
fn a_full_queue_refuses() {
    let core = with_items(Limits { max: 1, max_waiting: 1, ..LIMITS }, 1);
    let _held = core.try_get().unwrap();
    let ticket = join(&core);
    assert_eq!(core.join(Waker::noop().clone(), NEW).unwrap_err(), Refusal::QueueFull);
    core.leave(ticket);
}

#[test]
fn a_waiter_for_whom_an_item_can_be_made_does_not_count() {
    let core = with_items(Limits { max: 2, max_waiting: 0, ..LIMITS }, 0);
    let tickets = [join(&core), join(&core)];
    assert_eq!(core.join(Waker::noop().clone(), NEW).unwrap_err(), Refusal::QueueFull);
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn each_waiter_gets_an_attempt_up_to_the_limit_of_connects() {
    let core = with_items(Limits { max: 100, max_connecting: 2, ..LIMITS }, 0);
    let tickets = [join(&core), join(&core), join(&core)];
    let attempts: Vec<_> = std::iter::from_fn(|| core.connect_permit()).collect();
    assert_eq!(attempts.len(), 2);
    attempts.into_iter().for_each(|attempt| core.abandon(attempt));
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn idle_items_are_connected_in_waves() {
    let core = with_items(Limits { max: 100, min_idle: 7, ..LIMITS }, 0);
    let mut waves = Vec::new();
    loop {
        let attempts: Vec<_> = std::iter::from_fn(|| core.connect_permit()).collect();
        if attempts.is_empty() {
            break;
        }
        waves.push(attempts.len());
        for attempt in attempts {
            assert!(core.connected(attempt, 0).is_none());
        }
    }
    assert_eq!(waves, [1, 2, 4]);
}

#[test]
fn after_one_failure_others_go_on() {
    let core = with_items(Limits { max: 100, ..LIMITS }, 0);
    let tickets = [(); 3].map(|()| join(&core));
    let [first, second] = [(); 2].map(|()| core.connect_permit().unwrap());
    let first = core.failed(first, true).expect("it is tried again");
    let second = core.failed(second, true).expect("it is tried again, too");
    let third = core.connect_permit().expect("the third waiter has an attempt");
    [first, second, third].into_iter().for_each(|attempt| core.abandon(attempt));
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn a_success_ends_a_row_of_failures() {
    let core = with_items(Limits { max: 100, ..LIMITS }, 0);
    let tickets = [(); 5].map(|()| join(&core));
    let [first, second, third] = [(); 3].map(|()| core.connect_permit().unwrap());
    let first = core.failed(first, true).and_then(|first| core.failed(first, true)).unwrap();
    assert!(core.connected(second, 2).is_none());
    let third = core.failed(third, true).unwrap();
    let fourth = core.connect_permit().expect("one of three has failed");
    [first, third, fourth].into_iter().for_each(|attempt| core.abandon(attempt));
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

/// An engine whose server is down, and whose first attempt has failed so often that it is the one that is tried again.
fn down(core: &Core<usize>) -> Attempt {
    let attempt = core.connect_permit().unwrap();
    (0..3).fold(attempt, |attempt, _| core.failed(attempt, true).unwrap())
}

#[test]
fn after_many_failures_one_attempt_is_tried_again() {
    let core = with_items(Limits { max: 100, ..LIMITS }, 0);
    let tickets = [join(&core), join(&core)];
    let other = core.connect_permit().unwrap();
    let retried = down(&core);
    assert!(core.failed(other, true).is_none());
    assert!(core.connect_permit().is_none(), "nothing else begins before it has ended");
    assert!(core.connected(retried, 1).is_none());
    let other = core.connect_permit();
    assert!(other.is_some(), "the other waiter has an attempt again");
    core.abandon(other.unwrap());
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn after_many_failures_one_attempt_follows_one_that_was_abandoned() {
    let core = with_items(Limits { max: 100, ..LIMITS }, 0);
    let tickets = [(); 2].map(|()| join(&core));
    core.abandon(down(&core));
    let next = core.connect_permit().unwrap();
    assert!(core.connect_permit().is_none());
    core.abandon(next);
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn an_attempt_that_nobody_waits_for_is_not_tried_again() {
    let core = with_items(LIMITS, 0);
    let ticket = join(&core);
    let attempt = core.connect_permit().unwrap();
    core.leave(ticket);
    assert!(core.failed(attempt, true).is_none());
    assert_eq!(core.counts().connecting, 0);
}

#[test]
fn no_two_attempts_are_tried_again_at_once() {
    let core = with_items(Limits { max: 100, ..LIMITS }, 0);
    let tickets = [(); 4].map(|()| join(&core));
    let [second, third] = [(); 2].map(|()| core.connect_permit().unwrap());
    let first = down(&core);
    assert!(core.connected(second, 2).is_none(), "the server is up again");
    let third = (0..3).fold(third, |third, _| core.failed(third, true).unwrap());
    assert!(core.failed(first, true).is_none(), "the third is tried again already");
    assert!(core.connect_permit().is_none(), "how the third ends is not known yet");
    core.abandon(third);
    assert!(core.connect_permit().map(|attempt| core.abandon(attempt)).is_some());
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn a_smaller_pool_gives_idle_items_up_at_once() {
    let core = with_items(LIMITS, 3);
    core.resize(1);
    let surplus: Vec<_> = std::iter::from_fn(|| core.take_surplus()).collect();
    assert_eq!((surplus.len(), core.counts().open), (2, 1));
}

#[test]
fn a_smaller_pool_gives_items_in_use_up_when_they_return() {
    let core = with_items(LIMITS, 3);
    let held: Vec<_> = (0..3).map(|_| core.try_get().unwrap().0).collect();
    core.resize(1);
    let cut = held.into_iter().filter_map(|held| core.put(held)).count();
    assert_eq!((cut, core.counts().idle), (2, 1));
}

#[test]
fn a_larger_pool_serves_its_waiters_with_connects() {
    let core = with_items(LIMITS, 3);
    let _held: Vec<_> = (0..3).map(|_| core.try_get().unwrap().0).collect();
    let ticket = join(&core);
    assert!(core.connect_permit().is_none());
    core.resize(4);
    assert!(core.connect_permit().is_some());
    core.leave(ticket);
}

#[test]
fn waiters_are_woken_at_their_deadlines() {
    let core = with_items(LIMITS, 0);
    let start = Instant::now();
    let wakes: [_; 2] = std::array::from_fn(|_| Arc::new(Wakes::default()));
    let deadlines = [1, 2].map(|seconds| start + Duration::from_secs(seconds));
    let own_timer = core.join(Waker::noop().clone(), Joins::Late).unwrap().ticket;
    let tickets: Vec<_> = std::iter::zip(&wakes, deadlines)
        .map(|(wakes, deadline)| {
            let joins = Joins::New { deadline: Some(deadline) };
            core.join(Waker::from(Arc::clone(wakes)), joins).unwrap().ticket
        })
        .collect();
    assert_eq!(core.wake_overdue(start), Some(deadlines[0]));
    assert_eq!(core.wake_overdue(deadlines[0]), Some(deadlines[1]));
    assert_eq!(wakes.each_ref().map(|wakes| wakes.0.load(Relaxed)), [1, 0]);
    assert_eq!(core.wake_overdue(deadlines[1]), None);
    assert!(tickets.into_iter().chain([own_timer]).all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn only_gets_that_begin_are_counted() {
    let core = with_items(LIMITS, 0);
    let joins = [NEW, Joins::Late, Joins::Again];
    let tickets = joins.map(|joins| core.join(Waker::noop().clone(), joins).unwrap().ticket);
    assert_eq!(core.counts().new_waiters, 1);
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn a_closed_pool_wakes_its_waiters() {
    let core = with_items(LIMITS, 0);
    let wakes = Arc::new(Wakes::default());
    let ticket = core.join(Waker::from(Arc::clone(&wakes)), NEW).unwrap().ticket;
    core.close();
    assert_eq!(wakes.0.load(Relaxed), 1);
    assert!(matches!(core.poll(&ticket, Waker::noop()), Polled::Closed));
    core.leave(ticket);
}

#[test]
fn a_closed_pool_keeps_nothing() {
    let core = with_items(LIMITS, 2);
    let held = core.try_get().unwrap().0;
    core.close();
    assert!(core.take_surplus().is_some());
    assert!(core.put(held).is_some());
    assert_eq!(core.counts().open, 0);
}

#[test]
fn idle_items_that_are_not_kept_leave_their_slots_to_the_caller() {
    let core = with_items(LIMITS, 3);
    let (taken, surplus) = core.take_idle_unless(|item| *item != 1);
    assert!(surplus.is_empty());
    assert_eq!(taken.iter().map(|held| *held.item()).collect::<Vec<_>>(), [1]);
    taken.into_iter().for_each(|held| core.release(held.empty().0));
    assert_eq!(core.counts().open, 2);
}

#[test]
fn a_closed_pool_gives_nothing_even_if_others_may_be_overtaken() {
    let core = with_items(Limits { barging: true, ..LIMITS }, 1);
    core.close();
    assert!(core.try_get().is_none());
}

#[test]
fn a_get_that_may_overtake_leaves_waiters_in_the_queue() {
    let core = with_items(Limits { barging: true, ..LIMITS }, 2);
    let (first, second) = (core.try_get().unwrap().0, core.try_get().unwrap().0);
    let ticket = join(&core);
    core.put(first);
    core.put(second);
    assert!(core.try_get().is_some(), "the second");
    assert!(granted(&core, &ticket).is_some());
}

#[test]
fn kept_items_that_became_too_many_are_returned() {
    let core = with_items(LIMITS, 3);
    let (taken, surplus) = core.take_idle_unless(|_| {
        core.resize(1);
        true
    });
    assert!(taken.is_empty());
    assert_eq!((surplus.len(), core.counts().open, core.counts().idle), (2, 1, 1));
}

/// Uses the pool when it is dropped.
struct Nosy(Arc<Core<usize>>);

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.0.counts();
    }
}

#[test]
fn wakers_are_dropped_outside_the_lock() {
    let core = Arc::new(with_items(LIMITS, 0));
    let nosy = || Waker::from(Arc::new(Nosy(Arc::clone(&core))));
    let [exchanged, leaving, _dismissed] = [(); 3].map(|()| core.join(nosy(), NEW).unwrap().ticket);
    assert!(granted(&core, &exchanged).is_none());
    core.leave(leaving);
    core.close();
    assert_eq!(core.join(nosy(), NEW).unwrap_err(), Refusal::Closed);
}

fn is_dismissed(core: &Core<usize>, ticket: &Ticket) -> bool {
    matches!(core.poll(ticket, Waker::noop()), Polled::Failed)
}

#[test]
fn without_retries_a_failed_attempt_dismisses_the_waiter_it_was_begun_for() {
    let core = with_items(LIMITS, 0);
    let tickets = [(); 2].map(|()| join(&core));
    let [first, second] = [(); 2].map(|()| core.connect_permit().unwrap());
    assert!(core.failed(second, false).is_none());
    assert_eq!(tickets.each_ref().map(|ticket| is_dismissed(&core, ticket)), [false, true]);
    assert!(core.failed(first, false).is_none());
    assert!(is_dismissed(&core, &tickets[0]));
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn a_failed_attempt_of_a_waiter_that_left_dismisses_no_other() {
    let core = with_items(LIMITS, 0);
    let left = join(&core);
    let attempt = core.connect_permit().unwrap();
    core.leave(left);
    let ticket = join(&core);
    assert!(core.failed(attempt, false).is_none());
    assert!(!is_dismissed(&core, &ticket));
    assert!(core.lacks_attempts());
    core.leave(ticket);
}

#[test]
fn a_waiter_whose_attempt_served_an_older_one_has_another() {
    let core = with_items(LIMITS, 0);
    let tickets = [(); 2].map(|()| join(&core));
    let [first, second] = [(); 2].map(|()| core.connect_permit().unwrap());
    assert!(core.connected(second, 2).is_none());
    assert!(core.failed(first, false).is_none());
    assert!(!is_dismissed(&core, &tickets[1]));
    let third = core.connect_permit().unwrap();
    assert!(core.failed(third, false).is_none());
    assert!(is_dismissed(&core, &tickets[1]));
    assert!(tickets.into_iter().all(|ticket| core.leave(ticket).is_none()));
}

#[test]
fn a_waiter_whose_attempt_was_abandoned_has_another() {
    let core = with_items(LIMITS, 0);
    let ticket = join(&core);
    core.abandon(core.connect_permit().unwrap());
    assert!(core.failed(core.connect_permit().unwrap(), false).is_none());
    assert!(is_dismissed(&core, &ticket));
    core.leave(ticket);
}

#[test]
fn without_retries_a_failed_attempt_dismisses_its_waiter_also_beside_an_item_in_use() {
    let core = with_items(LIMITS, 1);
    let _held = core.try_get().unwrap();
    let ticket = join(&core);
    assert!(core.failed(core.connect_permit().unwrap(), false).is_none());
    assert!(is_dismissed(&core, &ticket));
    core.leave(ticket);
}
