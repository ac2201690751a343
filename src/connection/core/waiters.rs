//! The queue of waiters: first come, first served, with direct hand-over.
//!
//! A waiter has a node in a table, and the queue is a list through the nodes. So no operation searches, and in steady state
//! none allocates.

use std::task::Waker;
use std::time::Instant;
use std::{iter, mem};

/// The place of a waiter in the queue. It must leave the queue, unless it fetched what it was granted.
#[must_use = "a waiter that does not leave is served in vain"]
#[derive(Debug)]
pub(crate) struct Ticket {
    node: usize,
    /// Tells it from later waiters with the same node.
    number: u64,
}

/// Who waits for a `G`, and who was granted one and has not fetched it yet.
pub(crate) struct Waiters<G> {
    nodes: Vec<Node<G>>,
    /// The first of a list of nodes that nobody uses.
    free: usize,
    used: usize,
    /// The queue.
    first: usize,
    last: usize,
    waiting: usize,
    next_number: u64,
}

struct Node<G> {
    number: u64,
    state: State<G>,
    /// Whether a connect is under way that was begun for it.
    has_attempt: bool,
    /// When it must be woken, unless it has a timer of its own.
    deadline: Option<Instant>,
    /// Neighbours in the queue; of a free node, the next free one.
    previous: usize,
    next: usize,
}

enum State<G> {
    Free,
    /// In the queue.
    Waiting(Waker),
    Granted(G),
    Dismissed,
}

/// No node.
const NONE: usize = usize::MAX;
/// Nodes that are kept when nobody waits.
const KEPT: usize = 64;

impl<G> Waiters<G> {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), free: NONE, used: 0, first: NONE, last: NONE, waiting: 0, next_number: 0 }
    }

    /// Those that were granted nothing yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Joins the queue at its end, or with `is_first` before all others. No deadline may be before those of earlier waiters.
    pub(crate) fn join(&mut self, waker: Waker, is_first: bool, deadline: Option<Instant>) -> Ticket {
        let number = self.next_number;
        self.next_number += 1;
        let (previous, next) = if is_first { (NONE, self.first) } else { (self.last, NONE) };
        let new = Node { number, state: State::Waiting(waker), has_attempt: false, deadline, previous, next };
        let node = if let Some(free) = self.nodes.get_mut(self.free) {
            let node = mem::replace(&mut self.free, free.next);
            *free = new;
            node
        } else {
            self.nodes.push(new);
            self.nodes.len() - 1
        };
        match self.nodes.get_mut(previous) {
            Some(previous) => previous.next = node,
            None => self.first = node,
        }
        match self.nodes.get_mut(next) {
            Some(next) => next.previous = node,
            None => self.last = node,
        }
        self.waiting += 1;
        self.used += 1;
        Ticket { node, number }
    }

    /// Gives the grant to the first waiter, and returns the waker to call, or the grant if nobody waits.
    pub(crate) fn grant(&mut self, grant: G) -> Result<Waker, G> {
        let first = self.first;
        let Some(node) = self.nodes.get_mut(first) else { return Err(grant) };
        let State::Waiting(waker) = mem::replace(&mut node.state, State::Granted(grant)) else {
            unreachable!("only those that wait are in the queue")
        };
        self.unlink(first);
        Ok(waker)
    }

    /// Fetches what the waiter was granted, with which its ticket ends.
    pub(super) fn fetch(&mut self, ticket: &Ticket) -> Option<G> {
        let is_granted = matches!(self.node(ticket)?.state, State::Granted(_));
        if is_granted { self.end(ticket).0 } else { None }
    }

    /// As `fetch`, or else exchanges its waker for this one.
    pub(crate) fn poll(&mut self, ticket: &Ticket, waker: &mut Waker) -> Option<G> {
        match &mut self.node(ticket)?.state {
            State::Waiting(old) => {
                mem::swap(old, waker);
                None
            }
            _ => self.fetch(ticket),
        }
    }

    /// The waiter leaves: with what it was granted, or with its waker.
    pub(crate) fn leave(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        if matches!(self.node(ticket), Some(Node { state: State::Waiting(_), .. })) {
            self.unlink(ticket.node);
        }
        self.end(ticket)
    }

    /// Notes that a connect begins for the first waiter that has none. What it returns only names the waiter.
    pub(super) fn begin_attempt(&mut self) -> Option<Ticket> {
        let mut next = self.first;
        loop {
            let node = self.nodes.get_mut(next)?;
            if !mem::replace(&mut node.has_attempt, true) {
                return Some(Ticket { node: next, number: node.number });
            }
            next = node.next;
        }
    }

    pub(super) fn end_attempt(&mut self, owner: Option<&Ticket>) {
        if let Some(node) = owner.and_then(|owner| self.node(owner)) {
            node.has_attempt = false;
        }
    }

    /// This waiter leaves, if it was granted nothing yet, and its waker is returned.
    pub(super) fn dismiss(&mut self, ticket: &Ticket) -> Option<Waker> {
        let node = self.node(ticket)?;
        match mem::replace(&mut node.state, State::Dismissed) {
            State::Waiting(waker) => {
                self.unlink(ticket.node);
                Some(waker)
            }
            other => {
                node.state = other;
                None
            }
        }
    }

    pub(super) fn is_dismissed(&mut self, ticket: &Ticket) -> bool {
        matches!(self.node(ticket), Some(Node { state: State::Dismissed, .. }))
    }

    /// All that wait leave, and their wakers are returned. What others were granted they can still fetch.
    pub(super) fn dismiss_all(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.waiting);
        while let Some(node) = self.nodes.get_mut(self.first) {
            if let State::Waiting(waker) = mem::replace(&mut node.state, State::Dismissed) {
                wakers.push(waker);
            }
            self.unlink(self.first);
        }
        wakers
    }

    /// The wakers of all that wait. They stay in the queue.
    pub(crate) fn wakers(&self) -> Vec<Waker> {
        self.queue().filter_map(Node::waker).collect()
    }

    /// The wakers of those whose deadline has passed, and the next deadline. They stay in the queue.
    pub(super) fn overdue(&self, now: Instant) -> (Vec<Waker>, Option<Instant>) {
        let mut wakers = Vec::new();
        for node in self.queue() {
            match node.deadline {
                Some(deadline) if deadline > now => return (wakers, Some(deadline)),
                Some(_) => wakers.extend(node.waker()),
                None => {}
            }
        }
        (wakers, None)
    }

    fn queue(&self) -> impl Iterator<Item = &Node<G>> {
        iter::successors(self.nodes.get(self.first), |node| self.nodes.get(node.next))
    }

    fn node(&mut self, ticket: &Ticket) -> Option<&mut Node<G>> {
        self.nodes.get_mut(ticket.node).filter(|node| node.number == ticket.number)
    }

    /// Takes a node out of the queue.
    fn unlink(&mut self, node: usize) {
        let Some(&mut Node { previous, next, .. }) = self.nodes.get_mut(node) else { return };
        match self.nodes.get_mut(previous) {
            Some(previous) => previous.next = next,
            None => self.first = next,
        }
        match self.nodes.get_mut(next) {
            Some(next) => next.previous = previous,
            None => self.last = previous,
        }
        self.waiting -= 1;
    }

    /// Frees a node that is not in the queue, and returns what it held.
    fn end(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        let free = self.free;
        let Some(node) = self.node(ticket) else { return (None, None) };
        let state = mem::replace(&mut node.state, State::Free);
        // No ticket has this number.
        node.number = u64::MAX;
        node.next = free;
        self.free = ticket.node;
        self.used -= 1;
        if self.used == 0 && self.nodes.len() > KEPT {
            self.nodes = Vec::new();
            self.free = NONE;
        }
        match state {
            State::Granted(grant) => (Some(grant), None),
            State::Waiting(waker) => (None, Some(waker)),
            State::Free | State::Dismissed => (None, None),
        }
    }
}

impl<G> Node<G> {
    fn waker(&self) -> Option<Waker> {
        match &self.state {
            State::Waiting(waker) => Some(waker.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Join {
            is_first: bool,
        },
        Grant,
        /// By the waiter of this number, if it is there.
        Poll(usize),
        Leave(usize),
        Dismiss,
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            6 => proptest::bool::weighted(0.2).prop_map(|is_first| Operation::Join { is_first }),
            4 => Just(Operation::Grant),
            4 => (0..8_usize).prop_map(Operation::Poll),
            3 => (0..8_usize).prop_map(Operation::Leave),
            1 => Just(Operation::Dismiss),
        ]
    }

    /// A waiter as a plain list has it.
    struct Expected {
        ticket: Ticket,
        waits: bool,
        grant: Option<u32>,
    }

    proptest! {
        #[test]
        fn the_queue_is_that_of_a_plain_list(operations in proptest::collection::vec(operation(), 1..300)) {
            let mut waiters = Waiters::new();
            let mut list: Vec<Expected> = Vec::new();
            let mut next = 0;
            for operation in operations {
                match operation {
                    Operation::Join { is_first } => {
                        let ticket = waiters.join(Waker::noop().clone(), is_first, None);
                        let at = if is_first { 0 } else { list.len() };
                        list.insert(at, Expected { ticket, waits: true, grant: None });
                    }
                    Operation::Grant => {
                        next += 1;
                        let first = list.iter_mut().find(|waiter| waiter.waits);
                        prop_assert_eq!(waiters.grant(next).is_ok(), first.is_some());
                        if let Some(first) = first {
                            (first.waits, first.grant) = (false, Some(next));
                        }
                    }
                    Operation::Poll(at) if at < list.len() => {
                        let granted = waiters.poll(&list[at].ticket, &mut Waker::noop().clone());
                        prop_assert_eq!(granted, list[at].grant);
                        if granted.is_some() {
                            list.remove(at);
                        }
                    }
                    Operation::Leave(at) if at < list.len() => {
                        let leaver = list.remove(at);
                        let (grant, waker) = waiters.leave(&leaver.ticket);
                        prop_assert_eq!((grant, waker.is_some()), (leaver.grant, leaver.waits));
                        // Its place is gone, though another may have the node.
                        prop_assert!(matches!(waiters.leave(&leaver.ticket), (None, None)));
                    }
                    Operation::Dismiss => {
                        let waiting = list.iter_mut().filter(|waiter| waiter.waits);
                        let count = waiting.map(|waiter| waiter.waits = false).count();
                        prop_assert_eq!(waiters.dismiss_all().len(), count);
                    }
                    Operation::Poll(_) | Operation::Leave(_) => {}
                }
                let waiting = list.iter().filter(|waiter| waiter.waits).count();
                prop_assert_eq!((waiters.len(), waiters.wakers().len()), (waiting, waiting));
                prop_assert_eq!(waiters.used, list.len());
            }
        }
    }

    #[test]
    fn a_crowd_leaves_no_memory() {
        let mut waiters = Waiters::<u32>::new();
        let tickets: Vec<Ticket> =
            (0..10_000).map(|_| waiters.join(Waker::noop().clone(), false, None)).collect();
        for ticket in &tickets {
            waiters.leave(ticket);
        }
        assert_eq!(waiters.nodes.capacity(), 0);
    }
}
