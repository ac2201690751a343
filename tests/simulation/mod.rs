//! A simulation of thousands of peers that share one pool, in virtual time: one thread and no sleep, so that the result is
//! the same on every machine.
//!
//! [`Scenario`] has the peers, [`policy`] what serves them: a real pool, or a model of a strict FIFO for comparison.

pub(crate) mod policy;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use millpond::BufferPoolConfig;

use self::policy::Policy;

/// Microseconds of virtual time.
pub(crate) type Time = u64;

pub(crate) const MILLISECOND: Time = 1000;
pub(crate) const SECOND: Time = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Asks for a small buffer and returns it soon.
    Small,
    /// The same with a large one.
    Large,
    /// Keeps a large buffer until the stall ends.
    Stalled,
    /// The same with a middle one.
    StalledMiddle,
    /// Keeps a large buffer for long, returns it, and asks again at once.
    Dripper,
    /// Asks for a large buffer and leaves the queue soon.
    Canceller,
    /// Asks for a large buffer at the same moment as all others of its kind, again and again.
    Flood,
}

pub(crate) const KINDS: [Kind; 7] = [
    Kind::Small,
    Kind::Large,
    Kind::Stalled,
    Kind::StalledMiddle,
    Kind::Dripper,
    Kind::Canceller,
    Kind::Flood,
];

/// A pool, and the requests that its peers make.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) config: BufferPoolConfig,
    pub(crate) sizes: Sizes,
}

/// Bytes of the requests.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) small: usize,
    /// Of [`Kind::StalledMiddle`], if there are such peers.
    pub(crate) middle: Option<usize>,
    pub(crate) large: usize,
}

impl Setting {
    /// The presets for relays and messages and the classes of a bus, with limits from 1 to 256 MiB.
    pub(crate) fn all() -> Vec<Self> {
        let bus = BufferPoolConfig::powers_of_two_and(6, 128..=16 << 20).unwrap();
        let of = |name: &str, classes: &BufferPoolConfig, limits: &[usize], small, middle, large| {
            let setting = |&mib: &usize| Self {
                name: format!("{name}, {mib} MiB"),
                config: classes.to_builder().memory_limit(mib << 20).build().unwrap(),
                sizes: Sizes { small, middle, large },
            };
            limits.iter().map(setting).collect::<Vec<_>>()
        };
        let messages = BufferPoolConfig::messages();
        [
            of("relay", &BufferPoolConfig::proxy(), &[1, 64, 256], 1000, None, 64 << 10),
            of("messages", &messages, &[1, 64], 100, Some(4096), 64 << 10),
            of("messages of two sizes", &messages, &[1], 100, None, 200),
            of("bus", &bus, &[64, 256], 100, Some(1 << 20), 16 << 20),
        ]
        .concat()
    }

    /// Bytes of the class for a request of `bytes`.
    pub(crate) fn class_of(&self, bytes: usize) -> usize {
        self.config.classes()[self.index_of(bytes)].size
    }

    fn index_of(&self, bytes: usize) -> usize {
        self.config.classes().iter().position(|class| class.size >= bytes).expect("a class that fits")
    }

    /// Bytes that are kept for requests smaller than one of `bytes`, as the docs of `memory_limit` promise.
    fn reserve(&self, bytes: usize) -> usize {
        let (limit, classes) = (self.config.memory_limit(), self.config.classes());
        let last = classes.len() - 1;
        (limit / 2 * self.index_of(bytes) / last).min(limit - classes[last].size)
    }

    /// Buffers for requests of `bytes` that may exist at once.
    pub(crate) fn places(&self, bytes: usize) -> usize {
        (self.config.memory_limit() - self.reserve(bytes)) / self.class_of(bytes)
    }

    /// All kinds of peers, among them `small` well-behaved ones and `stalled` ones. Those that keep large buffers for long,
    /// but do not stall, leave half of them to the others.
    pub(crate) fn crowd(&self, small: usize, stalled: usize) -> Scenario {
        let drippers = (self.places(self.sizes.large) / 2).min(10);
        // All of them are served, and more than half of the memory is theirs.
        let middle = self.sizes.middle.map_or(0, |middle| self.places(middle).min(stalled * 2));
        Scenario {
            sizes: self.sizes,
            peers: [small, 200, stalled, middle, drippers, 20, 200],
            small_hold: MILLISECOND,
            stalled_until: 5 * SECOND,
            end: 12 * SECOND,
        }
    }
}

/// The peers of one run, and how long it takes.
pub(crate) struct Scenario {
    pub(crate) sizes: Sizes,
    /// The number of peers of each of [`KINDS`].
    pub(crate) peers: [usize; 7],
    /// The longest time that a small buffer is held.
    pub(crate) small_hold: Time,
    pub(crate) stalled_until: Time,
    pub(crate) end: Time,
}

/// The longest time that a well-behaved peer holds a large buffer.
pub(crate) const LARGE_HOLD: Time = 3 * MILLISECOND;

/// Peers of one kind.
struct Group {
    kind: Kind,
    peers: usize,
    bytes: usize,
    /// When the first request comes.
    first: Range<Time>,
    hold: Range<Time>,
    /// Between a return and the next request.
    pause: Range<Time>,
    /// After this wait it leaves the queue.
    patience: Option<Range<Time>>,
}

impl Scenario {
    fn group(&self, kind: Kind) -> Group {
        let ms = |range: Range<Time>| range.start * MILLISECOND..range.end * MILLISECOND;
        let (first, hold, pause) = match kind {
            Kind::Small => (ms(0..500), 0..self.small_hold, ms(200..800)),
            // The first to stall, so that large requests wait for them, too.
            Kind::StalledMiddle => (ms(0..200), ms(0..1), ms(100..1000)),
            Kind::Large => (ms(200..1000), 0..LARGE_HOLD, ms(1000..3000)),
            Kind::Stalled => (ms(200..1000), ms(0..1), ms(100..1000)),
            Kind::Dripper => (ms(200..1000), ms(500..1500), 0..1),
            Kind::Canceller => (ms(200..1000), ms(0..1), ms(0..200)),
            Kind::Flood => (ms(2000..2001), ms(0..1), ms(499..500)),
        };
        Group {
            kind,
            peers: self.peers[kind as usize],
            bytes: match kind {
                Kind::Small => self.sizes.small,
                Kind::StalledMiddle => self.sizes.middle.unwrap_or(self.sizes.large),
                _ => self.sizes.large,
            },
            first,
            hold,
            pause,
            patience: (kind == Kind::Canceller).then(|| ms(0..50)),
        }
    }
}

/// The waits of one kind of peer.
#[derive(Clone, Default)]
pub(crate) struct Waits {
    /// In ascending order, 0 for requests that were served at once. A request that still waits at the end counts, too.
    waits: Vec<Time>,
    pub(crate) given_up: usize,
    pub(crate) waiting_at_the_end: usize,
    /// The longest wait, without the time in which peers stalled.
    pub(crate) longest_after_the_stall: Time,
}

impl Waits {
    pub(crate) fn requests(&self) -> usize {
        self.waits.len()
    }

    /// The `per_mille` quantile.
    pub(crate) fn quantile(&self, per_mille: usize) -> Time {
        let last = self.waits.len().saturating_sub(1);
        self.waits.get(last * per_mille / 1000).copied().unwrap_or(0)
    }

    pub(crate) fn longest(&self) -> Time {
        self.quantile(1000)
    }
}

/// The result of a run.
pub(crate) struct Report {
    /// Of each of [`KINDS`].
    pub(crate) waits: [Waits; 7],
    pub(crate) most_live: usize,
    /// Grants to a request while an older one waited.
    pub(crate) passes: usize,
    /// The most bytes that were granted to younger requests while one request was the oldest.
    pub(crate) most_passed: usize,
}

impl Report {
    pub(crate) fn of(&self, kind: Kind) -> &Waits {
        &self.waits[kind as usize]
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request,
    Return,
    /// The patience of this request ends.
    GiveUp(u64),
}

#[derive(Clone, Default)]
struct Peer {
    group: usize,
    /// The number of its request, while it waits.
    waits: Option<u64>,
    asked: Time,
}

struct Oldest {
    peer: usize,
    passed: usize,
}

/// Plays `scenario` with `policy` as its pool.
pub(crate) fn play(scenario: &Scenario, policy: impl Policy) -> Report {
    Run::new(scenario, policy).play()
}

struct Run<'a, P> {
    scenario: &'a Scenario,
    policy: P,
    groups: Vec<Group>,
    peers: Vec<Peer>,
    /// The earliest first; those of one moment in the order in which they were added.
    events: BinaryHeap<Reverse<(Time, u64, usize, Event)>>,
    waiting: BTreeMap<u64, Oldest>,
    now: Time,
    /// Events so far.
    added: u64,
    /// Requests so far.
    requests: u64,
    dice: Dice,
    report: Report,
}

impl<'a, P: Policy> Run<'a, P> {
    fn new(scenario: &'a Scenario, policy: P) -> Self {
        let groups: Vec<_> = KINDS.map(|kind| scenario.group(kind)).into();
        let peers = groups.iter().enumerate();
        let peers = peers.flat_map(|(group, of)| vec![Peer { group, ..Peer::default() }; of.peers]).collect();
        let report = Report { waits: Default::default(), most_live: 0, passes: 0, most_passed: 0 };
        Self {
            scenario,
            policy,
            groups,
            peers,
            events: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            now: 0,
            added: 0,
            requests: 0,
            dice: Dice(0x9e37_79b9_7f4a_7c15),
            report,
        }
    }

    fn play(mut self) -> Report {
        for peer in 0..self.peers.len() {
            let first = self.groups[self.peers[peer].group].first.clone();
            self.after(first, peer, Event::Request);
        }
        while let Some(Reverse((time, _, peer, event))) = self.events.pop() {
            if time > self.scenario.end {
                break;
            }
            self.now = time;
            match event {
                Event::Request => self.request(peer),
                Event::Return => self.give_back(peer),
                Event::GiveUp(request) => self.give_up(peer, request),
            }
            while let Some(served) = self.policy.granted() {
                self.granted(served);
            }
        }
        self.now = self.scenario.end;
        for peer in 0..self.peers.len() {
            if self.peers[peer].waits.is_some() {
                self.count_wait(peer).waiting_at_the_end += 1;
            }
        }
        self.report.most_live = self.policy.most_live();
        self.report.waits.iter_mut().for_each(|waits| waits.waits.sort_unstable());
        self.report
    }

    fn request(&mut self, peer: usize) {
        self.requests += 1;
        self.peers[peer].asked = self.now;
        self.peers[peer].waits = Some(self.requests);
        self.waiting.insert(self.requests, Oldest { peer, passed: 0 });
        let group = &self.groups[self.peers[peer].group];
        if self.policy.request(peer, group.bytes) {
            self.granted(peer);
        } else if let Some(patience) = group.patience.clone() {
            self.after(patience, peer, Event::GiveUp(self.requests));
        }
    }

    fn granted(&mut self, peer: usize) {
        let request = self.peers[peer].waits.take().expect("granted to a peer that does not wait");
        self.waiting.remove(&request);
        let bytes = self.groups[self.peers[peer].group].bytes;
        if let Some(mut oldest) = self.waiting.first_entry()
            && *oldest.key() < request
            && self.groups[self.peers[oldest.get().peer].group].kind != Kind::Small
        {
            let oldest = oldest.get_mut();
            oldest.passed += bytes;
            self.report.passes += 1;
            self.report.most_passed = self.report.most_passed.max(oldest.passed);
        }
        self.count_wait(peer);
        let group = &self.groups[self.peers[peer].group];
        if matches!(group.kind, Kind::Stalled | Kind::StalledMiddle) && self.now < self.scenario.stalled_until
        {
            let left = self.scenario.stalled_until - self.now;
            self.after(left..left + 1, peer, Event::Return);
        } else {
            self.after(group.hold.clone(), peer, Event::Return);
        }
    }

    fn give_back(&mut self, peer: usize) {
        self.policy.give_back(peer);
        let pause = self.groups[self.peers[peer].group].pause.clone();
        self.after(pause, peer, Event::Request);
    }

    fn give_up(&mut self, peer: usize, request: u64) {
        if self.peers[peer].waits == Some(request) {
            self.peers[peer].waits = None;
            self.waiting.remove(&request);
            self.policy.cancel(peer);
            let group = self.peers[peer].group;
            self.report.waits[self.groups[group].kind as usize].given_up += 1;
            self.after(self.groups[group].pause.clone(), peer, Event::Request);
        }
    }

    fn count_wait(&mut self, peer: usize) -> &mut Waits {
        let Peer { group, asked, .. } = self.peers[peer];
        let waits = &mut self.report.waits[self.groups[group].kind as usize];
        waits.waits.push(self.now - asked);
        let after_the_stall = self.now.saturating_sub(asked.max(self.scenario.stalled_until));
        waits.longest_after_the_stall = waits.longest_after_the_stall.max(after_the_stall);
        waits
    }

    fn after(&mut self, wait: Range<Time>, peer: usize, event: Event) {
        let time = self.now + wait.start + self.dice.below(wait.end - wait.start);
        self.added += 1;
        self.events.push(Reverse((time, self.added, peer, event)));
    }
}

/// xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}
