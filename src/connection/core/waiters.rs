//! The queue of waiters: first come, first served, with direct hand-over.

use std::collections::BTreeMap;
use std::mem;
use std::task::Waker;

/// The place of a waiter in the queue. It must leave the queue.
#[must_use = "a waiter that does not leave is served in vain"]
#[derive(Debug)]
pub(crate) struct Ticket(pub(super) u64);

/// Who waits for a `G`, and who was granted one and has not fetched it yet.
pub(super) struct Waiters<G> {
    next: u64,
    waiting: BTreeMap<u64, Waker>,
    granted: BTreeMap<u64, G>,
}

impl<G> Waiters<G> {
    pub(super) fn new() -> Self {
        Self { next: 0, waiting: BTreeMap::new(), granted: BTreeMap::new() }
    }

    /// Those that were granted nothing yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn join(&mut self, waker: Waker) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(ticket, waker);
        Ticket(ticket)
    }

    /// Gives the grant to the first waiter, and returns the waker to call, or the grant if nobody waits.
    pub(super) fn grant(&mut self, grant: G) -> Result<Waker, G> {
        let Some((ticket, waker)) = self.waiting.pop_first() else { return Err(grant) };
        self.granted.insert(ticket, grant);
        Ok(waker)
    }

    /// Fetches what the waiter was granted, or else exchanges its waker for this one.
    pub(super) fn poll(&mut self, ticket: &Ticket, waker: &mut Waker) -> Option<G> {
        if let Some(old) = self.waiting.get_mut(&ticket.0) {
            mem::swap(old, waker);
        }
        self.granted.remove(&ticket.0)
    }

    /// The waiter leaves: with what it was granted, or with its waker.
    pub(super) fn leave(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        (self.granted.remove(&ticket.0), self.waiting.remove(&ticket.0))
    }

    /// All that wait leave, and their wakers are returned. What others were granted they can still fetch.
    pub(super) fn dismiss(&mut self) -> Vec<Waker> {
        mem::take(&mut self.waiting).into_values().collect()
    }

    /// The wakers of all that wait. They stay in the queue.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        self.waiting.values().cloned().collect()
    }
}
