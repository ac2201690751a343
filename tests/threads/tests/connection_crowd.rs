//! Eight threads use every operation of one connection engine, under random schedules: too many for loom to explore all. At
//! the end each thread waits without a time limit, so a lost wake-up is a deadlock.
//!
//! See `pool_crowd.rs` for how to run it. Shuttle does not switch threads within the lock-free cell of a slot.
#![cfg(millpond_shuttle)]

use std::env;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use millpond::connection::model::{Attempt, Core, Held, Limits, Polled, Ticket};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

const THREADS: usize = 8;
const STEPS: usize = 10;
const ITEMS: usize = 3;

/// Counts itself while it lives, and who has it.
struct Item {
    living: Arc<AtomicUsize>,
    owners: AtomicUsize,
}

impl Drop for Item {
    fn drop(&mut self) {
        self.living.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct World {
    core: Arc<Core<Item>>,
    living: Arc<AtomicUsize>,
}

#[test]
fn schedules_by_chance() {
    shuttle::check_random(crowd, schedules());
}

/// Few switches at random places (probabilistic concurrency testing).
#[test]
fn schedules_of_three_switches() {
    shuttle::check_pct(crowd, schedules(), 3);
}

fn schedules() -> usize {
    env::var("MILLPOND_SCHEDULES").map_or(20_000, |count| count.parse().unwrap())
}

fn crowd() {
    let mut dice = thread_rng();
    let limits = Limits { max: ITEMS, min_idle: dice.gen_range(0..2), barging: dice.gen_bool(0.3) };
    let world = World { core: Arc::new(Core::new(limits)), living: Arc::default() };
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let world = world.clone();
            thread::spawn(move || live(&world))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let counts = world.core.counts();
    assert_eq!((counts.connecting, counts.waiting, counts.open), (0, 0, counts.idle), "{counts:?}");
    assert_eq!(world.living.load(Ordering::Relaxed), counts.idle);
    assert!(world.core.close());
    while world.core.take_surplus().is_some() {}
    assert_eq!((world.core.counts().open, world.living.load(Ordering::Relaxed)), (0, 0));
}

fn live(world: &World) {
    let core = &*world.core;
    let mut dice = thread_rng();
    let (mut held, mut tickets): (Vec<Held<Item>>, Vec<Ticket>) = (Vec::new(), Vec::new());
    let mut attempt: Option<Attempt> = None;
    for _ in 0..STEPS {
        match dice.gen_range(0..12) {
            0 | 1 => held.extend(core.try_get().map(entered)),
            2 | 3 => held.pop().into_iter().for_each(|held| put(core, held)),
            4 | 5 => tickets.extend(core.join(Waker::noop().clone())),
            6 if !tickets.is_empty() => {
                let ticket = tickets.swap_remove(dice.gen_range(0..tickets.len()));
                match core.poll(&ticket, Waker::noop()) {
                    Polled::Granted(granted) => held.push(entered(granted)),
                    Polled::Waiting => tickets.push(ticket),
                    Polled::Closed => drop(core.leave(ticket)),
                }
            }
            7 if !tickets.is_empty() => {
                drop(core.leave(tickets.swap_remove(dice.gen_range(0..tickets.len()))));
            }
            8 => match attempt.take().or_else(|| core.connect_permit()) {
                Some(permit) if dice.gen_bool(0.3) => attempt = core.failed(permit, dice.gen_bool(0.7)),
                Some(permit) if dice.gen_bool(0.3) => attempt = Some(permit),
                Some(permit) if dice.gen_bool(0.3) => core.abandon(permit),
                Some(permit) => drop(core.connected(permit, world.item())),
                None => {}
            },
            9 => {
                let (expired, surplus) = core.take_idle_unless(|_| thread_rng().gen_bool(0.5));
                drop(surplus);
                expired.into_iter().for_each(|held| drop(core.remove(held)));
            }
            10 => {
                core.resize(dice.gen_range(1..=ITEMS));
                while core.take_surplus().is_some() {}
            }
            _ => held.pop().into_iter().for_each(|held| drop(core.remove(left(held)))),
        }
    }
    // Who waits for one more has none.
    held.into_iter().for_each(|held| put(core, held));
    tickets.into_iter().for_each(|ticket| drop(core.leave(ticket)));
    attempt.into_iter().for_each(|attempt| core.abandon(attempt));
    drive(world);
    let mut ticket = None;
    let got = block_on(poll_fn(|cx| {
        loop {
            let joined = ticket.take().unwrap_or_else(|| core.join(cx.waker().clone()).unwrap());
            match core.poll(&joined, cx.waker()) {
                Polled::Granted(held) => return Poll::Ready(entered(held)),
                Polled::Waiting => {
                    ticket = Some(joined);
                    drive(world);
                    return Poll::Pending;
                }
                // Another thread's connect, which was begun for it, has failed.
                Polled::Closed => drop(core.leave(joined)),
            }
        }
    }));
    put(core, got);
    drive(world);
}

/// Opens what is wanted, as the pool does it after each change.
fn drive(world: &World) {
    while let Some(attempt) = world.core.connect_permit() {
        drop(world.core.connected(attempt, world.item()));
    }
}

impl World {
    fn item(&self) -> Item {
        self.living.fetch_add(1, Ordering::Relaxed);
        Item { living: Arc::clone(&self.living), owners: AtomicUsize::new(0) }
    }
}

fn entered(mut held: Held<Item>) -> Held<Item> {
    assert_eq!(held.item().owners.fetch_add(1, Ordering::Relaxed), 0, "nobody else has it");
    held
}

fn left(mut held: Held<Item>) -> Held<Item> {
    held.item().owners.fetch_sub(1, Ordering::Relaxed);
    held
}

fn put(core: &Core<Item>, held: Held<Item>) {
    drop(core.put(left(held)));
}
