//! The engine: idle items are taken and put back without a lock; one lock guards the queue of waiters and the count of slots.
//!
//! A slot is the permission to have an item, so no counter beside the slots can disagree with them:
//!
//! ```text
//!            connect_permit, reserve            Vacant::fill, put            try_get
//!  free slot ───────────────────────▶ Vacant ──────────────────────▶ idle ──────────────▶ Held
//!     ▲                                 │                             ▲                    │ │
//!     └──────────── release ────────────┴───────── Held::empty ───────┼────────────────────┘ │
//!                                                                     └───── put ────────────┘
//! ```

mod connects;

use std::mem;
use std::task::Waker;
use std::time::Instant;

use super::facts::{Checkout, Facts};
use super::slots::{Cut, Held, MAX_SLOTS, Order, Slots, Vacant};
use super::waiters::{Ticket, Waiters};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::statistic::AtomicUsize as Hint;
use crate::sync::{Mutex, contain, order_store_before_load};

/// What the engine is told once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most items.
    pub(crate) max: usize,
    /// Idle items that are wanted.
    pub(crate) min_idle: usize,
    /// The most connects at once.
    pub(crate) max_connecting: usize,
    /// The most waiters.
    pub(crate) max_waiting: usize,
    /// After this many failed connects in a row, only one is tried at a time.
    pub(crate) down_after: usize,
    /// Whether a get may take an item while others wait.
    pub(crate) barging: bool,
    pub(crate) order: Order,
}

/// The permission for a connect: its slot is reserved.
#[must_use = "a permit that is not given back is lost to the pool"]
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(super) vacant: Vacant,
    has_failed: bool,
    /// The waiter that it was begun for.
    owner: Option<Ticket>,
}

/// Why a waiter is not, or no longer, in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    QueueFull,
    Closed,
    /// Its connect failed and is not tried again.
    Failed,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Idle and handed out.
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) connecting: usize,
    /// Surplus that is not dropped yet, whose slots are free already.
    pub(crate) closing: usize,
    pub(crate) waiting: usize,
    /// Gets that have ever waited.
    pub(crate) new_waiters: u64,
    pub(crate) max: usize,
}

/// What a poll of a waiter found.
pub(crate) enum Polled<T> {
    Granted(Held<T>),
    /// Nothing yet. It may be that another connect is wanted.
    Waiting {
        wants_connect: bool,
    },
    Closed,
    /// The connect for it has failed.
    Failed,
}

/// Who joins the queue, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Joins {
    /// A get that begins, at the end. `wake_overdue` wakes it at its deadline, which must not be before those of earlier gets.
    New { deadline: Option<Instant> },
    /// One that found a dead item without waiting, at the end.
    Late,
    /// One that was given a dead item, before all others, and also if the queue is full: it has waited its turn.
    Again,
}

/// What joining the queue brought.
#[must_use = "a waiter that does not leave is served in vain"]
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) ticket: Ticket,
    /// Whether a waiter was served at once, most likely this one: poll it.
    pub(crate) has_served: bool,
    pub(crate) wants_connect: bool,
}

pub(crate) struct Core<T> {
    slots: Slots<T>,
    /// Not 0 while a return has to look into the state: [`WAITER`] and [`OVER`].
    attention: AtomicUsize,
    /// With fewer idle items than this another connect may be wanted. A hint: the next change corrects a stale one.
    replenish_below: Hint,
    min_idle: usize,
    max_connecting: usize,
    max_waiting: usize,
    down_after: usize,
    barging: bool,
    state: Mutex<State<T>>,
}

/// Changed under the lock only.
struct State<T> {
    waiters: Waiters<Held<T>>,
    /// Gets that have ever joined the queue.
    new_waiters: u64,
    /// How many slots are not free.
    size: usize,
    /// How many of them have a connect under way, or between two attempts.
    connecting: usize,
    /// How many items were cut, and are not dropped yet.
    closing: usize,
    max: usize,
    /// Idle items that will soon be closed, and are replaced before.
    expiring: usize,
    /// Connects at once for idle items. It grows with each that succeeds, so that later ones resume TLS sessions.
    wave: usize,
    /// Connects that have failed since the last success.
    failures: usize,
    /// Attempts that have failed and will be tried again.
    retrying: usize,
    /// Whether many in a row have failed of those that are tried again: then one is under way at a time.
    is_down: bool,
    /// While the server seems to be down, the slot of the attempt that is tried again. Until it ends, no other begins.
    retried: Option<u32>,
    is_closed: bool,
}

/// The bit of `attention` that says that there are too many items, or that the pool is closed.
const OVER: usize = 1;
/// The bit of `attention` that says that somebody waits.
const WAITER: usize = 2;

impl<T> Core<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        let core = Self {
            slots: Slots::new(limits.order),
            attention: AtomicUsize::new(0),
            replenish_below: Hint::new(0),
            min_idle: limits.min_idle,
            max_connecting: limits.max_connecting.max(1),
            max_waiting: limits.max_waiting,
            down_after: limits.down_after,
            barging: limits.barging,
            state: Mutex::new(State {
                waiters: Waiters::new(),
                new_waiters: 0,
                size: 0,
                connecting: 0,
                closing: 0,
                max: limits.max.min(MAX_SLOTS),
                expiring: 0,
                wave: 1,
                failures: 0,
                retrying: 0,
                is_down: false,
                retried: None,
                is_closed: false,
            }),
        };
        core.publish(&mut core.state.lock());
        core
    }

    /// Takes an idle item, unless others wait, or there are too many.
    #[inline]
    pub(crate) fn try_get(&self) -> Option<(Held<T>, &Facts)> {
        let forbidding = if self.barging { OVER } else { usize::MAX };
        // Ordering: Relaxed. A waiter that joins at the same time is served by the next return.
        if self.attention.load(Ordering::Relaxed) & forbidding != 0 {
            return None;
        }
        self.slots.take_any()
    }

    /// Whether so few items are idle that a connect may be wanted: ask `connect_permit`.
    #[inline]
    pub(crate) fn may_want_connect(&self) -> bool {
        self.slots.are_fewer_idle_than(self.replenish_below.load(Ordering::Relaxed))
    }

    /// Returns an item: to the first waiter, or else it is idle. What comes back must be closed: there are too many.
    #[inline]
    pub(crate) fn put(&self, held: Held<T>) -> Option<T> {
        // Ordering: Relaxed. A waiter that this misses is seen below.
        if self.attention.load(Ordering::Relaxed) != 0 {
            return self.attend(Some(held));
        }
        self.slots.park(held);
        // Ordering: SeqCst, the other half of what `Slots::park` says.
        if self.attention.load(Ordering::SeqCst) != 0 { self.attend(None) } else { None }
    }

    /// What a return does when it must look into the state.
    #[cold]
    fn attend(&self, returned: Option<Held<T>>) -> Option<T> {
        if let Some(facts) = returned.as_ref().and_then(|held| self.facts(held)) {
            facts.on_return();
        }
        let mut state = self.state.lock();
        let (wakers, surplus) = self.settle(&mut state, returned);
        drop(state);
        wake(wakers);
        surplus.map(Cut::into_item)
    }

    /// Serves the waiters with `returned` and with idle items. The second of what it returns is one too many.
    fn settle(&self, state: &mut State<T>, mut returned: Option<Held<T>>) -> (Wakers, Option<Cut<T>>) {
        let over = returned.take_if(|_| state.is_over());
        let wakers = if over.is_some() { Wakers::default() } else { self.serve(state, returned) };
        let idle = || self.slots.take_any().map(|(held, _)| held);
        let over = over.or_else(|| if state.is_over() { idle() } else { None });
        let surplus = over.map(|held| self.cut(state, held));
        self.publish(state);
        (wakers, surplus)
    }

    /// Gives `returned` and idle items to the waiters, and parks what nobody waits for.
    fn serve(&self, state: &mut State<T>, mut returned: Option<Held<T>>) -> Wakers {
        let mut wakers = Wakers::default();
        loop {
            if returned.is_none() && state.waiters.len() > 0 {
                returned = self.slots.take_any().map(|(held, _)| held);
            }
            let Some(held) = returned.take() else { return wakers };
            match state.waiters.grant(held) {
                Ok(waker) => wakers.push(waker),
                Err(held) => self.slots.park(held),
            }
        }
    }

    /// Frees the slot of an item that is one too many.
    fn cut(&self, state: &mut State<T>, held: Held<T>) -> Cut<T> {
        state.size -= 1;
        state.closing += 1;
        self.slots.cut(held)
    }

    pub(crate) fn join(&self, waker: Waker, joins: Joins) -> Result<Joined, Refusal> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        // Those for whom a connection is or can be opened do not count: they do not wait for others.
        let served = state.connecting + state.max.saturating_sub(state.size);
        let is_first = matches!(joins, Joins::Again);
        if !is_first && state.waiters.len() >= self.max_waiting.saturating_add(served) {
            return Err(Refusal::QueueFull);
        }
        let deadline = match joins {
            Joins::New { deadline } => {
                state.new_waiters += 1;
                deadline
            }
            Joins::Late | Joins::Again => None,
        };
        let ticket = state.waiters.join(waker, is_first, deadline);
        // Announces the waiter before it looks at the idle items: see `Slots::park`.
        self.publish(&mut state);
        order_store_before_load();
        let wakers = self.serve(&mut state, None);
        let has_served = wakers.first.is_some();
        if has_served {
            self.publish(&mut state);
        }
        let wants_connect = self.wants_connect(&state);
        drop(state);
        wake(wakers);
        Ok(Joined { ticket, has_served, wants_connect })
    }

    /// Fetches what the waiter was granted, or leaves its waker.
    pub(crate) fn poll(&self, ticket: &Ticket, waker: &Waker) -> Polled<T> {
        if let Some(held) = self.state.lock().waiters.fetch(ticket) {
            return Polled::Granted(held);
        }
        let mut waker = waker.clone(); // and outside the lock, what it is exchanged for is dropped
        let mut state = self.state.lock();
        let granted = state.waiters.poll(ticket, &mut waker);
        let is_dismissed = state.waiters.is_dismissed(ticket);
        let is_closed = state.is_closed;
        let wants_connect = granted.is_none() && self.wants_connect(&state);
        drop(state);
        match granted {
            Some(held) => Polled::Granted(held),
            None if is_closed => Polled::Closed,
            None if is_dismissed => Polled::Failed,
            None => Polled::Waiting { wants_connect },
        }
    }

    /// The waiter leaves. What it was granted goes to the next; what comes back must be closed.
    pub(crate) fn leave(&self, ticket: Ticket) -> Option<T> {
        let mut state = self.state.lock();
        let (granted, _waker) = state.waiters.leave(&ticket);
        let (wakers, surplus) = self.settle(&mut state, granted);
        drop(state);
        wake(wakers);
        surplus.map(Cut::into_item)
    }

    /// A slot for an item that was made elsewhere.
    pub(crate) fn reserve(&self) -> Option<Vacant> {
        let mut state = self.state.lock();
        if state.size >= state.max {
            return None;
        }
        let vacant = self.slots.reserve()?;
        state.size += 1;
        self.publish(&mut state);
        Some(vacant)
    }

    /// The item of this slot is gone.
    pub(crate) fn release(&self, vacant: Vacant) {
        if let Some(facts) = self.slots.facts(vacant.slot()) {
            facts.on_return();
        }
        let mut state = self.state.lock();
        self.slots.release(vacant);
        state.size -= 1;
        self.publish(&mut state);
    }

    /// Changes the most items. Afterwards the caller closes what `take_surplus` gives.
    pub(crate) fn resize(&self, max: usize) {
        let mut state = self.state.lock();
        if !state.is_closed {
            state.max = max.min(MAX_SLOTS);
        }
        self.publish(&mut state);
    }

    /// Wakes all waiters, which find it closed, and makes every item one too many. Tells whether it was open.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state.lock();
        let was_closed = mem::replace(&mut state.is_closed, true);
        state.max = 0;
        let wakers = state.waiters.dismiss_all();
        self.publish(&mut state);
        drop(state);
        wake(Wakers { first: None, more: wakers });
        !was_closed
    }

    /// Wakes all waiters, which look again and ask for connects.
    pub(crate) fn wake_waiters(&self) {
        let more = self.state.lock().waiters.wakers();
        wake(Wakers { first: None, more });
    }

    /// Wakes the waiters whose deadline has passed, which leave, and returns the next deadline.
    pub(crate) fn wake_overdue(&self, now: Instant) -> Option<Instant> {
        let (more, next) = self.state.lock().waiters.overdue(now);
        wake(Wakers { first: None, more });
        next
    }

    /// An idle item that must be closed, because there are too many.
    pub(crate) fn take_surplus(&self) -> Option<T> {
        let mut state = self.state.lock();
        if !state.is_over() {
            return None;
        }
        // What is parked at the same time is found by the one who parks it: see `Slots::park`.
        order_store_before_load();
        let surplus = self.slots.take_any().map(|(held, _)| self.cut(&mut state, held));
        self.publish(&mut state);
        drop(state);
        surplus.map(Cut::into_item)
    }

    /// An item that was one too many is dropped.
    pub(crate) fn closed(&self) {
        self.state.lock().closing -= 1;
    }

    /// So many idle items will soon be closed: others are wanted in their place.
    pub(crate) fn expect_closes(&self, expiring: usize) {
        let mut state = self.state.lock();
        state.expiring = expiring;
        self.publish(&mut state);
    }

    /// One of these closes has come.
    pub(crate) fn expected_close(&self) {
        let mut state = self.state.lock();
        state.expiring = state.expiring.saturating_sub(1);
        self.publish(&mut state);
    }

    /// Takes each idle item in turn, and puts it back if `keep` says so, which must not panic. Returns the others, and those
    /// kept that are too many by now.
    pub(crate) fn take_idle_unless(&self, mut keep: impl FnMut(&mut T) -> bool) -> (Vec<Held<T>>, Vec<T>) {
        let (mut taken, mut surplus) = (Vec::new(), Vec::new());
        for slot in self.slots.idle_slots() {
            let Some(mut held) = self.slots.take(slot) else { continue };
            if keep(held.item_mut()) {
                surplus.extend(self.put(held));
            } else {
                taken.push(held);
            }
        }
        (taken, surplus)
    }

    pub(crate) fn facts(&self, held: &Held<T>) -> Option<&Facts> {
        self.slots.facts(held.slot())
    }

    /// The items that are handed out.
    pub(crate) fn checkouts(&self) -> Vec<Checkout> {
        self.slots.numbers().filter_map(|slot| self.slots.facts(slot)?.checkout()).collect()
    }

    /// How many checkouts did not wait.
    pub(crate) fn direct_checkouts(&self) -> u64 {
        self.slots.numbers().filter_map(|slot| self.slots.facts(slot)).map(Facts::checkouts).sum()
    }

    /// How long gets have waited that were served, in microseconds.
    pub(crate) fn waited(&self) -> u64 {
        self.slots.numbers().filter_map(|slot| self.slots.facts(slot)).map(Facts::waited).sum()
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.state.lock();
        Counts {
            open: state.size - state.connecting,
            idle: self.slots.idle(),
            connecting: state.connecting,
            closing: state.closing,
            waiting: state.waiters.len(),
            new_waiters: state.new_waiters,
            max: state.max,
        }
    }

    /// Shows the state to those who do not lock it.
    fn publish(&self, state: &mut State<T>) {
        let waits = if state.waiters.len() > 0 { WAITER } else { 0 };
        let attention = waits | if state.is_over() { OVER } else { 0 };
        // Ordering: Relaxed. It is written under the lock only. That it is rarely written keeps it in all caches.
        if self.attention.load(Ordering::Relaxed) != attention {
            // Ordering: SeqCst, see `Slots::park`. A later waiter that finds it written is ordered after this by the lock.
            self.attention.store(attention, Ordering::SeqCst);
        }
        let limit = self.max_connecting.min(state.wave);
        let has_room = state.size < state.max && state.connecting < limit && !state.is_probing();
        let below =
            if has_room { (self.min_idle + state.expiring).saturating_sub(state.connecting) } else { 0 };
        if self.replenish_below.load(Ordering::Relaxed) != below {
            self.replenish_below.store(below, Ordering::Relaxed);
        }
    }
}

impl<T> State<T> {
    /// Whether there are too many items, or no more are wanted at all.
    fn is_over(&self) -> bool {
        self.is_closed || self.size > self.max
    }

    /// Whether an attempt is under way that must show first whether the server is up again.
    fn is_probing(&self) -> bool {
        self.is_down && self.connecting > 0
    }
}

/// Mostly one, which takes no memory of its own.
#[derive(Default)]
struct Wakers {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakers {
    fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }
}

/// After all bookkeeping, and outside the lock: a waker may run its task at once.
fn wake(wakers: Wakers) {
    if let Some(first) = wakers.first {
        contain(|| first.wake());
    }
    for waker in wakers.more {
        contain(|| waker.wake());
    }
}
