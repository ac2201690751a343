//! Random operations in any order: the engine agrees with a plain reference after each of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::connection::core::engine::Counts;
use crate::connection::core::slots::Vacant;

/// Numbers choose among what there is, modulo its count.
#[derive(Clone, Debug)]
enum Operation {
    TryGet,
    Put(usize),
    Empty(usize),
    /// Before all others, or at the end.
    Join(bool),
    Poll(usize),
    Leave(usize),
    WakeAll,
    Permit,
    Connected(usize),
    Failed(usize, bool),
    Abandon(usize),
    Reserve,
    Fill(usize),
    Release(usize),
    /// The difference to the first maximum.
    Resize(usize),
    TakeSurplus,
    ExpectCloses(usize),
    /// Items are kept whose bit is set.
    LookAtIdle(u8),
    Close,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let any = 0..usize::MAX;
    prop_oneof![
        6 => Just(TryGet),
        6 => any.clone().prop_map(Put),
        1 => any.clone().prop_map(Empty),
        6 => proptest::bool::weighted(0.2).prop_map(Join),
        6 => any.clone().prop_map(Poll),
        2 => any.clone().prop_map(Leave),
        1 => Just(WakeAll),
        6 => Just(Permit),
        4 => any.clone().prop_map(Connected),
        3 => (any.clone(), proptest::bool::weighted(0.7)).prop_map(|(at, retry)| Failed(at, retry)),
        1 => any.clone().prop_map(Abandon),
        2 => Just(Reserve),
        2 => any.clone().prop_map(Fill),
        1 => any.prop_map(Release),
        2 => (0..5_usize).prop_map(Resize),
        2 => Just(TakeSurplus),
        1 => (0..4_usize).prop_map(ExpectCloses),
        2 => proptest::num::u8::ANY.prop_map(LookAtIdle),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    // The larger ones need a second word of slots.
    let max = prop_oneof![3 => 1..6_usize, 1 => 63..70_usize];
    let order = prop_oneof![Just(Order::Lowest), Just(Order::RoundRobin)];
    (max, 0..4_usize, 1..4_usize, 1..5_usize, any::<bool>(), order).prop_map(
        |(max, min_idle, max_connecting, max_waiting, barging, order)| Limits {
            max,
            min_idle,
            max_connecting,
            max_waiting,
            down_after: 3,
            barging,
            order,
        },
    )
}

/// A slot and the number of the item that belongs to it.
type Place = (u32, usize);

/// What the engine should do, in the plainest way.
struct Reference {
    limits: Limits,
    max: usize,
    is_closed: bool,
    /// Slots that are not free.
    reserved: Vec<u32>,
    idle: BTreeMap<u32, usize>,
    next: u32,
    waiting: VecDeque<usize>,
    granted: BTreeMap<usize, Place>,
    connecting: usize,
    wave: usize,
    expiring: usize,
    failures: usize,
    /// Slots of attempts that have failed and will be tried again.
    retrying: BTreeSet<u32>,
    is_down: bool,
    retried: Option<u32>,
    /// Per slot of an attempt, the ticket it was begun for.
    owners: BTreeMap<u32, usize>,
    dismissed: BTreeSet<usize>,
    /// Per ticket.
    wakes: BTreeMap<usize, usize>,
}

impl Reference {
    fn most_waiting(&self) -> usize {
        self.limits.max_waiting + self.connecting + self.max.saturating_sub(self.reserved.len())
    }

    fn is_over(&self) -> bool {
        self.is_closed || self.reserved.len() > self.max
    }

    fn free(&mut self, slot: u32) {
        let before = self.reserved.len();
        self.reserved.retain(|&other| other != slot);
        assert_eq!(self.reserved.len() + 1, before, "slot {slot} was reserved once");
    }

    fn reserve(&mut self) -> u32 {
        let slot = (0..).find(|slot| !self.reserved.contains(slot)).unwrap();
        self.reserved.push(slot);
        slot
    }

    fn take_any(&mut self) -> Option<Place> {
        let above = match self.limits.order {
            Order::Lowest => None,
            Order::RoundRobin => self.idle.range(self.next..).next(),
        };
        let (&slot, &item) = above.or_else(|| self.idle.first_key_value())?;
        self.idle.remove(&slot);
        self.next = slot + 1;
        Some((slot, item))
    }

    /// The item that is too many, if one is.
    fn settle(&mut self, returned: Option<Place>) -> Option<usize> {
        let mut cut = if self.is_over() { returned } else { None };
        if cut.is_none() {
            self.idle.extend(returned.filter(|_| self.waiting.is_empty()));
            let mut next = returned;
            while !self.waiting.is_empty() {
                let Some(place) = next.take().or_else(|| self.take_any()) else { break };
                let ticket = self.waiting.pop_front().unwrap();
                *self.wakes.entry(ticket).or_default() += 1;
                self.granted.insert(ticket, place);
            }
            cut = if self.is_over() { self.take_any() } else { None };
        }
        let (slot, item) = cut?;
        self.free(slot);
        Some(item)
    }

    fn may_get(&self) -> bool {
        !self.is_over() && (self.limits.barging || self.waiting.is_empty())
    }

    fn wants_connect(&self) -> bool {
        let most = self.limits.max_connecting;
        let for_waiters = self.waiting.len() > self.connecting;
        let for_idle = self.connecting < self.wave
            && self.idle.len() + self.connecting < self.limits.min_idle + self.expiring + self.waiting.len();
        let has_room = self.reserved.len() < self.max && self.connecting < most;
        let has_room = has_room && (!self.is_down || self.connecting == 0);
        has_room && (for_waiters || for_idle)
    }

    fn is_connect_wanted(&self) -> bool {
        let is_short = !self.waiting.is_empty() || self.idle.len() < self.limits.min_idle + self.expiring;
        self.reserved.len() <= self.max && is_short
    }

    fn end(&mut self, slot: u32) {
        self.retrying.remove(&slot);
        self.retried = self.retried.filter(|&other| other != slot);
        self.connecting -= 1;
        self.owners.remove(&slot);
        self.free(slot);
    }

    /// An attempt without retries has failed that was begun for this ticket.
    fn dismiss(&mut self, ticket: usize) {
        if self.waiting.contains(&ticket) {
            self.waiting.retain(|&other| other != ticket);
            *self.wakes.entry(ticket).or_default() += 1;
            self.dismissed.insert(ticket);
        }
    }

    fn wake_all(&mut self) {
        for &ticket in &self.waiting {
            *self.wakes.entry(ticket).or_default() += 1;
        }
    }
}

/// The engine and the reference side by side, and what the callers have.
struct World {
    core: Core<usize>,
    reference: Reference,
    items: usize,
    held: Vec<Held<usize>>,
    vacant: Vec<Vacant>,
    attempts: Vec<Attempt>,
    tickets: Vec<(usize, Ticket, Arc<Wakes>)>,
    joined: usize,
}

impl World {
    fn new(limits: Limits) -> Self {
        let reference = Reference {
            limits,
            max: limits.max,
            is_closed: false,
            reserved: Vec::new(),
            idle: BTreeMap::new(),
            next: 0,
            waiting: VecDeque::new(),
            granted: BTreeMap::new(),
            connecting: 0,
            wave: 1,
            expiring: 0,
            failures: 0,
            retrying: BTreeSet::new(),
            is_down: false,
            retried: None,
            owners: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            wakes: BTreeMap::new(),
        };
        Self {
            core: Core::new(limits),
            reference,
            items: 0,
            held: Vec::new(),
            vacant: Vec::new(),
            attempts: Vec::new(),
            tickets: Vec::new(),
            joined: 0,
        }
    }

    /// Many items at once, so that the second word of slots is used.
    fn fill(&mut self) {
        for _ in 0..self.reference.limits.max.saturating_sub(2) {
            self.apply(&Operation::Reserve);
            self.apply(&Operation::Fill(0));
        }
    }

    fn apply(&mut self, operation: &Operation) {
        let before = self.reference.reserved.len();
        self.step(operation);
        self.check(before);
    }

    fn step(&mut self, operation: &Operation) {
        let (core, reference) = (&self.core, &mut self.reference);
        match *operation {
            Operation::TryGet => {
                let got = core.try_get().map(|(held, _)| held);
                let expected = if reference.may_get() { reference.take_any() } else { None };
                assert_eq!(got.as_ref().map(place), expected);
                self.held.extend(got);
            }
            Operation::Put(at) => {
                let Some(held) = take(&mut self.held, at) else { return };
                let returned = place(&held);
                assert_eq!(core.put(held), reference.settle(Some(returned)));
            }
            Operation::Empty(at) => {
                let Some(held) = take(&mut self.held, at) else { return };
                self.vacant.push(held.empty().0);
            }
            Operation::Join(is_first) => {
                let wakes = Arc::new(Wakes::default());
                let joins = if is_first { Joins::Again } else { NEW };
                let joined = core.join(Waker::from(Arc::clone(&wakes)), joins);
                if reference.is_closed {
                    assert_eq!(joined.err(), Some(Refusal::Closed));
                } else if !is_first && reference.waiting.len() >= reference.most_waiting() {
                    assert_eq!(joined.err(), Some(Refusal::QueueFull));
                } else {
                    match is_first {
                        true => reference.waiting.push_front(self.joined),
                        false => reference.waiting.push_back(self.joined),
                    }
                    // Joining closes nothing, even if there are too many.
                    if let Some((ticket, place)) = reference
                        .waiting
                        .front()
                        .copied()
                        .and_then(|ticket| Some((ticket, reference.take_any()?)))
                    {
                        reference.waiting.pop_front();
                        *reference.wakes.entry(ticket).or_default() += 1;
                        reference.granted.insert(ticket, place);
                    }
                    self.tickets.push((self.joined, joined.unwrap().ticket, wakes));
                    self.joined += 1;
                }
            }
            Operation::Poll(at) => {
                if self.tickets.is_empty() {
                    return;
                }
                let at = at % self.tickets.len();
                let (number, ticket, wakes) = &self.tickets[at];
                match core.poll(ticket, &Waker::from(Arc::clone(wakes))) {
                    Polled::Granted(held) => {
                        assert_eq!(Some(place(&held)), reference.granted.remove(number));
                        self.held.push(held);
                        drop(self.tickets.remove(at));
                    }
                    Polled::Waiting { .. } => assert!(reference.waiting.contains(number)),
                    Polled::Failed => assert!(reference.dismissed.contains(number)),
                    Polled::Closed => {
                        assert!(reference.is_closed && !reference.granted.contains_key(number));
                    }
                }
            }
            Operation::Leave(at) => {
                let Some((number, ticket, _wakes)) = take(&mut self.tickets, at) else { return };
                reference.waiting.retain(|&other| other != number);
                let granted = reference.granted.remove(&number);
                assert_eq!(core.leave(ticket), reference.settle(granted));
            }
            Operation::WakeAll => {
                core.wake_waiters();
                reference.wake_all();
            }
            Operation::Permit => {
                let attempt = core.connect_permit();
                assert_eq!(attempt.is_some(), reference.wants_connect());
                if let Some(attempt) = attempt {
                    reference.connecting += 1;
                    let slot = reference.reserve();
                    assert_eq!(attempt.vacant.slot(), slot);
                    let mut waiting = reference.waiting.iter();
                    let owner =
                        waiting.find(|&ticket| !reference.owners.values().any(|other| other == ticket));
                    reference.owners.extend(owner.map(|&owner| (slot, owner)));
                    self.attempts.push(attempt);
                }
            }
            Operation::Connected(at) => {
                let Some(attempt) = take(&mut self.attempts, at) else { return };
                reference.failures = 0;
                reference.retrying.remove(&attempt.vacant.slot());
                reference.owners.remove(&attempt.vacant.slot());
                (reference.is_down, reference.retried) = (false, None);
                reference.wave = reference.limits.max_connecting.min(reference.wave + 1);
                reference.connecting -= 1;
                let surplus = reference.settle(Some((attempt.vacant.slot(), self.items)));
                assert_eq!(core.connected(attempt, self.items), surplus);
                self.items += 1;
            }
            Operation::Failed(at, retry) => {
                let Some(attempt) = take(&mut self.attempts, at) else { return };
                let slot = attempt.vacant.slot();
                reference.failures += 1;
                if reference.failures >= 3 {
                    reference.wave = 1;
                    reference.is_down |= retry;
                }
                let is_alone = reference.retried.is_none_or(|other| other == slot);
                if retry && is_alone && reference.is_connect_wanted() {
                    reference.retrying.insert(slot);
                    reference.retried = reference.retried.or(reference.is_down.then_some(slot));
                    self.attempts.push(core.failed(attempt, retry).unwrap());
                } else {
                    let owner = reference.owners.get(&slot).copied();
                    reference.end(slot);
                    owner.into_iter().filter(|_| !retry).for_each(|owner| reference.dismiss(owner));
                    assert!(core.failed(attempt, retry).is_none());
                }
            }
            Operation::Abandon(at) => {
                let Some(attempt) = take(&mut self.attempts, at) else { return };
                reference.end(attempt.vacant.slot());
                core.abandon(attempt);
            }
            Operation::Reserve => {
                let vacant = core.reserve();
                assert_eq!(vacant.is_some(), reference.reserved.len() < reference.max);
                if let Some(vacant) = vacant {
                    assert_eq!(vacant.slot(), reference.reserve());
                    self.vacant.push(vacant);
                }
            }
            Operation::Fill(at) => {
                let Some(vacant) = take(&mut self.vacant, at) else { return };
                let surplus = reference.settle(Some((vacant.slot(), self.items)));
                assert_eq!(core.put(vacant.fill(self.items)), surplus);
                self.items += 1;
            }
            Operation::Release(at) => {
                let Some(vacant) = take(&mut self.vacant, at) else { return };
                reference.free(vacant.slot());
                core.release(vacant);
            }
            Operation::Resize(more) => {
                let max = (reference.limits.max + more).saturating_sub(3);
                core.resize(max);
                reference.max = if reference.is_closed { 0 } else { max };
            }
            Operation::ExpectCloses(count) => {
                core.expect_closes(count);
                reference.expiring = count;
            }
            Operation::TakeSurplus => {
                let expected = if reference.is_over() { reference.take_any() } else { None };
                expected.into_iter().for_each(|(slot, _)| reference.free(slot));
                assert_eq!(core.take_surplus(), expected.map(|(_, item)| item));
            }
            Operation::LookAtIdle(kept) => {
                let keeps = |item: usize| kept >> (item % 8) & 1 == 1;
                let (taken, surplus) = core.take_idle_unless(|item| keeps(*item));
                let (mut expected, mut too_many) = (Vec::new(), Vec::new());
                for (slot, item) in reference.idle.clone() {
                    reference.idle.remove(&slot);
                    if keeps(item) {
                        too_many.extend(reference.settle(Some((slot, item))));
                    } else {
                        expected.push((slot, item));
                    }
                }
                assert_eq!(taken.iter().map(place).collect::<Vec<_>>(), expected);
                assert_eq!(surplus, too_many);
                self.held.extend(taken);
            }
            Operation::Close => {
                assert_eq!(core.close(), !reference.is_closed);
                reference.wake_all();
                reference.waiting.clear();
                (reference.is_closed, reference.max) = (true, 0);
            }
        }
    }

    /// Checks what holds after each operation; `before` it, so many slots were reserved.
    fn check(&self, before: usize) {
        let Self { core, reference, .. } = self;
        let counts = core.counts();
        assert_eq!(
            (counts.open, counts.idle, counts.connecting, counts.waiting, counts.max),
            (
                reference.reserved.len() - reference.connecting,
                reference.idle.len(),
                reference.connecting,
                reference.waiting.len(),
                reference.max
            )
        );
        assert_eq!(counts.connecting, self.attempts.len(), "each attempt is known to somebody");
        let places = reference.idle.len() + reference.granted.len() + self.held.len() + self.vacant.len();
        assert_eq!(counts.open, places, "each item and each empty slot is in one place");
        let size = counts.open + counts.connecting;
        assert!(size <= counts.max.max(before), "{size} slots are reserved, before it were {before}");
        assert!(counts.waiting == 0 || counts.idle == 0, "an item is idle while somebody waits");
        assert_eq!(core.is_connect_wanted(), reference.is_connect_wanted());
        assert_eq!(core.is_retrying(), !reference.retrying.is_empty());
        assert!(counts.waiting > 0 || core.may_want_connect() == reference.wants_connect());
        for (number, _, wakes) in &self.tickets {
            assert_eq!(wakes.0.load(Relaxed), reference.wakes.get(number).copied().unwrap_or(0));
        }
    }

    /// All return what they have. Then each waiter is served, or the pool is empty.
    fn end(&mut self) {
        while !self.attempts.is_empty() {
            self.apply(&Operation::Connected(0));
        }
        while !self.vacant.is_empty() {
            self.apply(&Operation::Fill(0));
        }
        for at in 0.. {
            if self.tickets.is_empty() && self.held.is_empty() {
                break;
            }
            if let Some(dismissed) =
                self.tickets.iter().position(|(number, ..)| self.reference.dismissed.contains(number))
            {
                self.apply(&Operation::Leave(dismissed));
                continue;
            }
            let Counts { waiting, open, .. } = self.core.counts();
            if waiting > 0 && open == 0 && self.reference.max > 0 {
                self.apply(&Operation::Permit);
                self.apply(&Operation::Connected(0));
            }
            if self.reference.max == 0 {
                self.apply(&Operation::Leave(0));
            }
            // Not always that of the oldest ticket: another may have been put before it.
            self.apply(&Operation::Poll(at));
            self.apply(&Operation::Put(0));
        }
        let over = self.reference.reserved.len().saturating_sub(self.reference.max);
        for _ in 0..over {
            self.apply(&Operation::TakeSurplus);
        }
        assert!(self.reference.reserved.len() <= self.reference.max);
    }
}

fn place(held: &Held<usize>) -> Place {
    (held.slot(), *held.item())
}

fn take<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(at % list.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_agrees_with_a_plain_reference(
        limits in limits(),
        operations in vec(operation(), 1..120),
        closes in proptest::bool::weighted(0.3),
        after in vec(operation(), 0..30),
    ) {
        let mut world = World::new(limits);
        if limits.max > 60 {
            world.fill();
        }
        operations.iter().for_each(|operation| world.apply(operation));
        if closes {
            world.apply(&Operation::Close);
            after.iter().for_each(|operation| world.apply(operation));
        }
        world.end();
    }
}
