//! The engine for `loom-tests` and `tests/threads`, which reach nothing else of this layer: the rest needs tokio.

use std::task::Waker;

use super::core;

/// See the engine's `Limits`.
#[derive(Clone, Copy)]
pub struct Limits {
    /// The most items.
    pub max: usize,
    /// Idle items that are wanted.
    pub min_idle: usize,
    /// Whether a get may take an item while others wait.
    pub barging: bool,
}

/// An engine.
pub struct Core<T>(core::Core<T>);

/// An item that is out.
pub struct Held<T>(core::Held<T>);

/// A waiter's place in the queue.
pub struct Ticket(core::Ticket);

/// The permission for a connect.
pub struct Attempt(core::Attempt);

/// What a poll of a waiter found.
pub enum Polled<T> {
    /// An item.
    Granted(Held<T>),
    /// Nothing yet.
    Waiting,
    /// Nothing for good: the engine is closed, or the connect that was begun for it has failed.
    Closed,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts {
    /// Idle and handed out.
    pub open: usize,
    /// In their slots.
    pub idle: usize,
    /// Connects under way.
    pub connecting: usize,
    /// In the queue.
    pub waiting: usize,
}

impl<T> Held<T> {
    /// The item.
    pub fn item(&mut self) -> &mut T {
        self.0.item_mut()
    }
}

impl<T> Core<T> {
    /// An engine without items.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let Limits { max, min_idle, barging } = limits;
        let order = core::Order::Lowest;
        let (max_connecting, max_waiting, down_after) = (max, usize::MAX, 3);
        let limits = core::Limits { max, min_idle, max_connecting, max_waiting, down_after, barging, order };
        let core = Self(core::Core::new(limits));
        // The checkers do not see that std's lock orders what a slot is made of, so for them the first ones are made
        // before threads are.
        if let Some(vacant) = core.0.reserve() {
            core.0.release(vacant);
        }
        core
    }

    /// Adds an idle item.
    ///
    /// # Errors
    ///
    /// Returns the item if there is no room.
    pub fn add(&self, item: T) -> Result<(), T> {
        let Some(vacant) = self.0.reserve() else { return Err(item) };
        self.0.put(vacant.fill(item)).map_or(Ok(()), Err)
    }

    /// See the engine's.
    pub fn try_get(&self) -> Option<Held<T>> {
        self.0.try_get().map(|(held, _)| Held(held))
    }

    /// See the engine's.
    pub fn put(&self, held: Held<T>) -> Option<T> {
        self.0.put(held.0)
    }

    /// Frees the slot of an item that is closed.
    pub fn remove(&self, held: Held<T>) -> T {
        let (vacant, item) = held.0.empty();
        self.0.release(vacant);
        item
    }

    /// See the engine's. `None`: it is closed.
    pub fn join(&self, waker: Waker) -> Option<Ticket> {
        let joins = core::Joins::New { deadline: None };
        self.0.join(waker, joins).ok().map(|joined| Ticket(joined.ticket))
    }

    /// See the engine's.
    pub fn poll(&self, ticket: &Ticket, waker: &Waker) -> Polled<T> {
        match self.0.poll(&ticket.0, waker) {
            core::Polled::Granted(held) => Polled::Granted(Held(held)),
            core::Polled::Waiting { .. } => Polled::Waiting,
            core::Polled::Closed | core::Polled::Failed => Polled::Closed,
        }
    }

    /// See the engine's.
    pub fn leave(&self, ticket: Ticket) -> Option<T> {
        self.0.leave(ticket.0)
    }

    /// See the engine's.
    pub fn connect_permit(&self) -> Option<Attempt> {
        self.0.connect_permit().map(Attempt)
    }

    /// See the engine's.
    pub fn connected(&self, attempt: Attempt, item: T) -> Option<T> {
        self.0.connected(attempt.0, item)
    }

    /// See the engine's.
    pub fn failed(&self, attempt: Attempt, retry: bool) -> Option<Attempt> {
        self.0.failed(attempt.0, retry).map(Attempt)
    }

    /// See the engine's.
    pub fn abandon(&self, attempt: Attempt) {
        self.0.abandon(attempt.0);
    }

    /// See the engine's.
    pub fn resize(&self, max: usize) {
        self.0.resize(max);
    }

    /// See the engine's.
    pub fn close(&self) -> bool {
        self.0.close()
    }

    /// See the engine's.
    pub fn take_surplus(&self) -> Option<T> {
        self.0.take_surplus()
    }

    /// See the engine's. The items that are not kept, with their slots, and those that are too many.
    pub fn take_idle_unless(&self, keep: impl FnMut(&mut T) -> bool) -> (Vec<Held<T>>, Vec<T>) {
        let (taken, surplus) = self.0.take_idle_unless(keep);
        (taken.into_iter().map(Held).collect(), surplus)
    }

    /// See the engine's.
    pub fn counts(&self) -> Counts {
        let core::Counts { open, idle, connecting, waiting, .. } = self.0.counts();
        Counts { open, idle, connecting, waiting }
    }
}
