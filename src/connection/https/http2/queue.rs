//! The queue in front of the streams: one queue per urgency, and each has its share.

use std::array;
use std::task::Waker;

use super::urgency::Urgency;
use crate::connection::core::{Ticket, Waiters};

/// Who waits for a `G`. Within an urgency it is first come, first served. Between them it is stride scheduling: while several
/// wait, each urgency gets twice the grants of the next, and so the last one at least one in 255.
pub(super) struct Queue<G> {
    classes: [Class<G>; Urgency::COUNT],
    /// The position of the class that was served last.
    position: u64,
}

struct Class<G> {
    waiters: Waiters<G>,
    /// Where it stands. The one that is furthest behind is served.
    position: u64,
}

/// The place of a waiter. It must leave.
#[must_use = "a waiter that does not leave is served in vain"]
pub(super) struct Place {
    urgency: Urgency,
    ticket: Ticket,
}

impl<G> Queue<G> {
    pub(super) fn new() -> Self {
        Self { classes: array::from_fn(|_| Class { waiters: Waiters::new(), position: 0 }), position: 0 }
    }

    /// Those that were granted nothing yet.
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(|class| class.waiters.len()).sum()
    }

    fn class(&mut self, urgency: Urgency) -> Option<&mut Class<G>> {
        self.classes.get_mut(usize::from(urgency.get()))
    }

    /// Joins the queue at the end of its urgency, or with `is_first` at its beginning. There is a class for each urgency.
    pub(super) fn join(&mut self, urgency: Urgency, waker: Waker, is_first: bool) -> Option<Place> {
        if self.len() == 0 {
            // A new beginning, for all alike.
            self.position = 0;
            self.classes.iter_mut().for_each(|class| class.position = 0);
        }
        let position = self.position;
        let class = self.class(urgency)?;
        if class.waiters.len() == 0 {
            // What it did not use while nobody waited is gone.
            class.position = class.position.max(position);
        }
        Some(Place { urgency, ticket: class.waiters.join(waker, is_first, None) })
    }

    /// Gives the grant to the waiter whose turn it is, and returns the waker to call, or the grant if nobody waits.
    pub(super) fn grant(&mut self, grant: G) -> Result<Waker, G> {
        let waiting = self.classes.iter_mut().enumerate().filter(|(_, class)| class.waiters.len() > 0);
        let Some((urgency, class)) = waiting.min_by_key(|(_, class)| class.position) else {
            return Err(grant);
        };
        self.position = class.position;
        class.position += 1 << urgency;
        class.waiters.grant(grant)
    }

    /// Fetches what the waiter was granted, or else exchanges its waker for this one.
    pub(super) fn poll(&mut self, place: &Place, waker: &mut Waker) -> Option<G> {
        self.class(place.urgency)?.waiters.poll(&place.ticket, waker)
    }

    /// The wakers of all that wait. They stay in the queue.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        self.classes.iter().flat_map(|class| class.waiters.wakers()).collect()
    }

    /// The waiter leaves: with what it was granted, or with its waker.
    pub(super) fn leave(&mut self, place: &Place) -> (Option<G>, Option<Waker>) {
        self.class(place.urgency).map_or((None, None), |class| class.waiters.leave(&place.ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(queue: &mut Queue<u32>, urgency: u8) -> Place {
        queue.join(Urgency::new(urgency), Waker::noop().clone(), false).unwrap()
    }

    fn is_served(queue: &mut Queue<u32>, place: &Place) -> bool {
        queue.poll(place, &mut Waker::noop().clone()).is_some()
    }

    /// Which of the places were served, in turn.
    fn served(queue: &mut Queue<u32>, places: &[Place]) -> Vec<usize> {
        let mut served = Vec::new();
        while queue.grant(0).is_ok() {
            served.extend(places.iter().position(|place| is_served(queue, place)));
        }
        served
    }

    #[test]
    fn the_most_urgent_is_served_first() {
        let mut queue = Queue::new();
        let places = [5, 0, 3].map(|urgency| join(&mut queue, urgency));
        assert_eq!(served(&mut queue, &places), [1, 2, 0]);
    }

    #[test]
    fn the_first_of_an_urgency_is_served_first() {
        let mut queue = Queue::new();
        let places = [3, 3, 3].map(|urgency| join(&mut queue, urgency));
        assert_eq!(served(&mut queue, &places), [0, 1, 2]);
    }

    #[test]
    fn the_least_urgent_is_served_among_any_number_of_the_most_urgent() {
        let mut queue = Queue::new();
        let least = join(&mut queue, 7);
        let mut urgent: Vec<_> = (0..1_000).map(|_| join(&mut queue, 0)).collect();
        // They queue up again, so that there is no end to them.
        let before = (0..1_000)
            .take_while(|_| {
                queue.grant(0).unwrap();
                urgent.retain(|place| !is_served(&mut queue, place));
                urgent.push(join(&mut queue, 0));
                !is_served(&mut queue, &least)
            })
            .count();
        assert!(before < 255, "{before}");
    }

    #[test]
    fn each_urgency_is_served_twice_as_often_as_the_next() {
        let mut queue = Queue::new();
        let mut places: Vec<_> = (0..60).map(|at| (at % 2 + 3, join(&mut queue, at % 2 + 3))).collect();
        let mut counts = [0; 2];
        for _ in 0..30 {
            queue.grant(0).unwrap();
            places.retain(|(urgency, place)| {
                let is_served = is_served(&mut queue, place);
                counts[usize::from(*urgency) - 3] += usize::from(is_served);
                !is_served
            });
        }
        assert_eq!(counts, [20, 10]);
    }

    #[test]
    fn an_urgency_saves_nothing_up_while_nobody_waits() {
        let mut queue = Queue::new();
        let busy: Vec<_> = (0..20).map(|_| join(&mut queue, 5)).collect();
        (0..10).for_each(|_| drop(queue.grant(0)));
        // Had it waited from the beginning, it would have several turns to catch up with.
        let late = [6, 6, 6, 6].map(|urgency| join(&mut queue, urgency));
        (0..3).for_each(|_| drop(queue.grant(0)));
        let caught_up = late.iter().filter(|place| is_served(&mut queue, place)).count();
        assert_eq!(caught_up, 1);
        drop(busy);
    }
}
