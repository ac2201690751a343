//! Models of the engine of connection pools. An item is a race probe: whoever has it writes it, so loom fails if two have it
//! at once, or if it is handed on without an order. A missed wake-up is a deadlock, which loom reports.
#![cfg(millpond_loom)]

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc as StdArc, Mutex};
use std::task::{Poll, Wake, Waker};

use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use loom_tests::{model, outcomes};
use millpond::connection::model::{Attempt, Core, Held, Limits, Polled, Ticket};

#[derive(Default)]
struct Item(UnsafeCell<()>);

type Engine = Core<Item>;

/// An engine with as many idle items.
fn engine(max: usize, items: usize) -> Arc<Engine> {
    let core = Core::new(Limits { max, min_idle: 0, barging: false });
    for _ in 0..items {
        assert!(core.add(Item::default()).is_ok());
    }
    Arc::new(core)
}

fn used(mut held: Held<Item>) -> Held<Item> {
    held.item().0.with_mut(|_| ());
    held
}

fn take(core: &Engine) -> Held<Item> {
    used(core.try_get().unwrap())
}

/// Puts an item back that need not be closed.
#[track_caller]
fn put(core: &Engine, held: Held<Item>) {
    assert!(core.put(held).is_none());
}

/// Waits for an item; `None` if the engine is closed, or the connect for it fails. `drive` is called when it has to wait.
fn wait(core: &Engine, mut drive: impl FnMut()) -> Option<Held<Item>> {
    let mut ticket = None;
    let got = block_on(poll_fn(|cx| {
        if ticket.is_none() {
            ticket = core.join(cx.waker().clone());
        }
        let Some(ticket) = &ticket else { return Poll::Ready(None) };
        match core.poll(ticket, cx.waker()) {
            Polled::Granted(held) => Poll::Ready(Some(used(held))),
            Polled::Closed => Poll::Ready(None),
            Polled::Waiting => {
                drive();
                Poll::Pending
            }
        }
    }));
    if let Some(ticket) = ticket {
        let _surplus = core.leave(ticket); // in a closed pool, what is too many may come back
    }
    got
}

/// A waiter that nobody polls yet.
fn waiter(core: &Engine) -> Ticket {
    core.join(Waker::noop().clone()).unwrap()
}

fn granted(core: &Engine, ticket: &Ticket) -> Option<Held<Item>> {
    match core.poll(ticket, Waker::noop()) {
        Polled::Granted(held) => Some(used(held)),
        Polled::Waiting | Polled::Closed => None,
    }
}

/// Opens what is wanted. As the pool does it after each change, but here it opens at once.
fn drive(core: &Engine) {
    while let Some(attempt) = core.connect_permit() {
        assert!(core.connected(attempt, Item::default()).is_none());
    }
}

/// Closes what is too many, and returns the number.
fn drain(core: &Engine) -> usize {
    std::iter::from_fn(|| core.take_surplus()).map(|item| item.0.with_mut(|_| ())).count()
}

/// Asserts that nobody waits or connects, and that there are as many items, all idle.
#[track_caller]
fn assert_books(core: &Engine, items: usize) {
    let counts = core.counts();
    assert_eq!((counts.open, counts.idle), (items, items), "{counts:?}");
    assert_eq!((counts.connecting, counts.waiting), (0, 0), "{counts:?}");
    let all: Vec<_> = (0..items).map(|_| take(core)).collect();
    assert!(core.try_get().is_none());
    drop(all);
}

#[test]
fn an_item_is_handed_from_one_get_to_another() {
    let seen = outcomes("get and put", None, || {
        let core = engine(1, 1);
        let theirs = Arc::clone(&core);
        let other = thread::spawn(move || theirs.try_get().map(|held| put(&theirs, used(held))).is_some());
        let mine = core.try_get().map(|held| put(&core, used(held))).is_some();
        let both = (mine, other.join().unwrap());
        assert_books(&core, 1);
        both
    });
    assert_eq!(seen, BTreeSet::from([(true, true), (true, false), (false, true)]));
}

#[test]
fn two_gets_take_neighbours() {
    model("two gets", None, || {
        let core = engine(2, 2);
        let theirs = Arc::clone(&core);
        let other = thread::spawn(move || take(&theirs));
        let mine = take(&core);
        put(&core, mine);
        put(&core, other.join().unwrap());
        assert_books(&core, 2);
    });
}

#[test]
fn a_put_reaches_a_new_waiter_for_an_item() {
    model("put and join", None, || {
        let core = engine(1, 1);
        let held = take(&core);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || ()).unwrap()));
        put(&core, held);
        waits.join().unwrap();
        assert_books(&core, 1);
    });
}

#[test]
fn a_get_that_was_faster_than_a_waiter_serves_it_later() {
    model("get, put and join", None, || {
        let core = engine(1, 1);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || ()).unwrap()));
        if let Some(held) = core.try_get() {
            put(&core, used(held));
        }
        waits.join().unwrap();
        assert_books(&core, 1);
    });
}

#[test]
fn an_item_granted_to_a_waiter_that_leaves_goes_to_the_next() {
    let seen = outcomes("hand-over and leave", Some(3), || {
        let core = engine(1, 1);
        let held = take(&core);
        let leaves = waiter(&core);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || ()).unwrap()));
        let theirs = Arc::clone(&core);
        let returns = thread::spawn(move || put(&theirs, held));
        let was_granted = core.counts().waiting == 0;
        assert!(core.leave(leaves).is_none());
        returns.join().unwrap();
        waits.join().unwrap();
        assert_books(&core, 1);
        was_granted
    });
    assert_eq!(seen.len(), 2, "it leaves both before and after it was granted the item");
}

/// Counts its wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn two_puts_serve_two_waiters_first_come_first_served() {
    model("two puts and two waiters", Some(3), || {
        let core = engine(2, 2);
        let held = [take(&core), take(&core)];
        let wakes = StdArc::new(Wakes::default());
        let first = core.join(Waker::from(StdArc::clone(&wakes))).unwrap();
        let theirs = Arc::clone(&core);
        let second = thread::spawn(move || {
            let held = wait(&theirs, || ()).unwrap();
            let earlier = granted(&theirs, &first).expect("the first waiter was served before");
            put(&theirs, held);
            put(&theirs, earlier);
        });
        let [one, other] = held;
        let theirs = Arc::clone(&core);
        let returns = thread::spawn(move || put(&theirs, one));
        put(&core, other);
        returns.join().unwrap();
        second.join().unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_books(&core, 2);
    });
}

#[test]
fn a_put_while_the_pool_shrinks_leaves_none_too_many() {
    model("resize and put", None, || {
        let core = engine(2, 2);
        let (mine, other) = (take(&core), take(&core));
        let theirs = Arc::clone(&core);
        let returns = thread::spawn(move || theirs.put(other).is_some());
        core.resize(1);
        let closed = drain(&core);
        assert_eq!(closed + usize::from(returns.join().unwrap()), 1);
        put(&core, mine);
        assert_books(&core, 1);
    });
}

#[test]
fn a_get_while_the_pool_shrinks_leaves_none_too_many() {
    model("resize, get and put", None, || {
        let core = engine(2, 2);
        let theirs = Arc::clone(&core);
        let gets = thread::spawn(move || theirs.try_get().and_then(|held| theirs.put(used(held))).is_some());
        core.resize(1);
        let closed = drain(&core);
        assert_eq!(closed + usize::from(gets.join().unwrap()), 1);
        assert_books(&core, 1);
    });
}

#[test]
fn a_larger_pool_opens_for_its_waiter() {
    model("resize and join", None, || {
        let core = engine(1, 1);
        let held = take(&core);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || wait(&theirs, || drive(&theirs)).unwrap());
        core.resize(2);
        drive(&core);
        put(&core, waits.join().unwrap());
        put(&core, held);
        assert_books(&core, 2);
    });
}

#[test]
fn a_connect_and_a_put_while_the_pool_closes_leave_nothing() {
    model("close, connect and put", Some(4), || {
        let core = engine(2, 1);
        let held = take(&core);
        let leaves = waiter(&core);
        let attempt = core.connect_permit().unwrap();
        assert!(core.leave(leaves).is_none());
        let theirs = Arc::clone(&core);
        let connects = thread::spawn(move || theirs.connected(attempt, Item::default()).is_some());
        let theirs = Arc::clone(&core);
        let returns = thread::spawn(move || theirs.put(held).is_some());
        assert!(core.close());
        let closed = drain(&core);
        let others = [connects, returns].map(|other| usize::from(other.join().unwrap()));
        assert_eq!(closed + others.iter().sum::<usize>(), 2);
        assert_books(&core, 0);
    });
}

#[test]
fn a_close_ends_the_wait_of_a_new_waiter() {
    let seen = outcomes("close, put and join", Some(3), || {
        let core = engine(1, 1);
        let held = take(&core);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || wait(&theirs, || ()).map(|held| theirs.put(held)).is_some());
        let theirs = Arc::clone(&core);
        let closes = thread::spawn(move || {
            theirs.close();
            drain(&theirs);
        });
        let _surplus = core.put(held);
        let was_served = waits.join().unwrap();
        closes.join().unwrap();
        assert_books(&core, 0);
        was_served
    });
    assert_eq!(seen.len(), 2, "it is served or dismissed");
}

#[test]
fn a_close_ends_a_wait_for_nothing() {
    model("close and join", None, || {
        let core = engine(1, 0);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || wait(&theirs, || ()).is_none());
        core.close();
        assert!(waits.join().unwrap());
        assert_books(&core, 0);
    });
}

#[test]
fn an_idle_item_either_expires_or_is_taken() {
    let seen = outcomes("expiry and get", None, || {
        let core = engine(1, 1);
        let theirs = Arc::clone(&core);
        let gets = thread::spawn(move || theirs.try_get().map(|held| put(&theirs, used(held))).is_some());
        let (expired, surplus) = core.take_idle_unless(|item| item.0.with_mut(|_| false));
        assert!(surplus.is_empty());
        let expired: Vec<_> = expired.into_iter().map(|held| core.remove(used(held))).collect();
        let was_taken = gets.join().unwrap();
        assert_books(&core, 1 - expired.len());
        (expired.len(), was_taken)
    });
    assert_eq!(seen, BTreeSet::from([(0, true), (1, false), (1, true)]));
}

#[test]
fn an_item_that_is_looked_at_reaches_a_new_waiter() {
    model("look and join", None, || {
        let core = engine(1, 1);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || ()).unwrap()));
        let (expired, surplus) = core.take_idle_unless(|_| true);
        assert!(expired.is_empty() && surplus.is_empty());
        waits.join().unwrap();
        assert_books(&core, 1);
    });
}

#[test]
fn an_item_that_is_looked_at_while_the_pool_closes_is_closed_by_one() {
    model("look and close", None, || {
        let core = engine(1, 1);
        let theirs = Arc::clone(&core);
        let looks = thread::spawn(move || theirs.take_idle_unless(|_| true).1.len());
        core.close();
        let closed = drain(&core);
        assert_eq!(closed + looks.join().unwrap(), 1);
        assert_books(&core, 0);
    });
}

/// An engine with a connect under way, whose waiter has left.
fn connecting(max: usize) -> (Arc<Engine>, Attempt) {
    let core = engine(max, 0);
    let leaves = waiter(&core);
    let attempt = core.connect_permit().unwrap();
    assert!(core.leave(leaves).is_none());
    (core, attempt)
}

#[test]
fn a_connect_that_ends_reaches_a_new_waiter() {
    model("connected and join", None, || {
        let (core, attempt) = connecting(1);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || drive(&theirs)).unwrap()));
        assert!(core.connected(attempt, Item::default()).is_none());
        waits.join().unwrap();
        assert_books(&core, 1);
    });
}

#[test]
fn one_waiter_gets_one_connect() {
    model("connected and permit", None, || {
        let core = engine(2, 0);
        let ticket = waiter(&core);
        let attempt = core.connect_permit().unwrap();
        let theirs = Arc::clone(&core);
        let connects = thread::spawn(move || assert!(theirs.connected(attempt, Item::default()).is_none()));
        assert!(core.connect_permit().is_none(), "either it is under way, or its item is granted");
        connects.join().unwrap();
        put(&core, granted(&core, &ticket).unwrap());
        assert_books(&core, 1);
    });
}

#[test]
fn a_new_waiter_is_served_by_a_retry_or_by_its_own_connect() {
    let seen = outcomes("failed and join", None, || {
        let (core, attempt) = connecting(1);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || drive(&theirs)).unwrap()));
        let retry = core.failed(attempt, true);
        let is_retried = retry.is_some();
        // Nobody drives if it is not retried: then nobody waited, and who waits later drives.
        assert!(retry.and_then(|attempt| core.connected(attempt, Item::default())).is_none());
        waits.join().unwrap();
        assert_books(&core, 1);
        is_retried
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_connect_that_fails_and_a_put_end_a_wait() {
    let seen = outcomes("failed and put", None, || {
        let core = engine(2, 1);
        let held = take(&core);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || {
            let fail = || {
                if let Some(attempt) = theirs.connect_permit() {
                    assert!(theirs.failed(attempt, false).is_none());
                }
            };
            wait(&theirs, fail).map(|held| put(&theirs, held)).is_some()
        });
        put(&core, held);
        let is_served = waits.join().unwrap();
        assert_books(&core, 1);
        is_served
    });
    assert_eq!(seen, BTreeSet::from([false, true]));
}

#[test]
fn a_new_waiter_is_served_after_an_attempt_is_abandoned() {
    model("abandon and join", None, || {
        let (core, attempt) = connecting(1);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || drive(&theirs)).unwrap()));
        core.abandon(attempt);
        drive(&core);
        waits.join().unwrap();
        assert_books(&core, 1);
    });
}

#[test]
fn a_new_waiter_is_served_after_a_slot_is_released() {
    model("release and join", None, || {
        let core = engine(1, 1);
        let held = take(&core);
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || drive(&theirs)).unwrap()));
        core.remove(held);
        drive(&core);
        waits.join().unwrap();
        assert_books(&core, 1);
    });
}

/// Puts an item back when it is woken.
struct Returns(Mutex<Option<Held<Item>>>, Arc<Engine>);

impl Wake for Returns {
    fn wake(self: StdArc<Self>) {
        let held = self.0.lock().unwrap().take();
        held.into_iter().for_each(|held| put(&self.1, held));
    }
}

#[test]
fn a_put_within_a_waker_reaches_the_next_waiter_for_an_item() {
    model("wakers that put", Some(3), || {
        let core = engine(2, 2);
        let (first, second) = (take(&core), take(&core));
        let waker = StdArc::new(Returns(Mutex::new(Some(second)), Arc::clone(&core)));
        let ticket = core.join(Waker::from(waker)).unwrap();
        let theirs = Arc::clone(&core);
        let waits = thread::spawn(move || put(&theirs, wait(&theirs, || ()).unwrap()));
        put(&core, first);
        waits.join().unwrap();
        put(&core, granted(&core, &ticket).unwrap());
        assert_books(&core, 2);
    });
}
