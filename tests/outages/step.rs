//! A pool, ten times the load, and a server that allows just as many connections as that needs.

use std::collections::VecDeque;
use std::time::Duration;

use millpond::policy::{AdaptiveSize, Backoff, SizeDecision, SizeObservation, SizePolicy};

use super::events::{Events, MILLISECOND, Random, SECOND};
use super::{BEGIN, Report, Scenario};

const SECONDS: usize = 480;
/// 155 requests per second, then 1550.
const GAP: u64 = SECOND / 155;
/// With 50 ms for each request, 80 connections serve 1600 per second.
const SERVER_CONNECTIONS: u32 = 80;
const SERVICE: u64 = 50 * MILLISECOND;
/// Of the server, for a connection that it accepts or refuses: a process, TLS, the login.
const CONNECT: u64 = 50 * MILLISECOND;
const PATIENCE: u64 = SECOND;
const MIN_IDLE: u32 = 2;

enum Event {
    Arrive,
    /// A connect begins, after so many failures.
    Connect(u32),
    Connected(u32),
    Done(u64),
    Tick,
}

/// How the size changes.
enum Rule {
    Policy(AdaptiveSize),
    /// As the policy by numbers, but whatever the server says.
    Waits(SizePolicy),
}

#[derive(Default)]
struct Pool {
    size: u32,
    open: u32,
    idle: u32,
    connecting: u32,
    waiting: VecDeque<u64>,
    /// Since the last tick.
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    connected: u64,
    failed: u64,
    waits: u64,
    gets: u64,
    most_in_use: u32,
}

pub(super) fn play() -> Scenario {
    let policy = SizePolicy::default();
    Scenario {
        name: "load step",
        text: "Ten times the load, for which the server has just enough connections and refuses more.",
        trouble: BEGIN..SECONDS,
        from: BEGIN,
        level: "size of the pool",
        changes: "turns of the size",
        reports: vec![
            run("policies", Rule::Policy(AdaptiveSize::new(policy))),
            run("growth by waits alone", Rule::Waits(policy)),
        ],
    }
}

fn run(name: &'static str, mut rule: Rule) -> Report {
    let (mut events, mut arrivals, mut random) = (Events::new(), Random(3), Random(4));
    let mut report = Report::new(name, SECONDS);
    let mut pool = Pool { size: 10, ..Pool::default() };
    // Connects that the server works on, and the direction in which the size went last.
    let (mut handshakes, mut direction) = (0_u32, None);
    events.enter(0, Event::Arrive);
    events.enter(10 * SECOND, Event::Tick);
    while let Some((now, event)) = events.next() {
        match event {
            Event::Arrive => {
                pool.waiting.push_back(now);
                let gap = if now < BEGIN as u64 * SECOND { GAP } else { GAP / 10 };
                let next = now + arrivals.around(gap, 90);
                if next < SECONDS as u64 * SECOND {
                    events.enter(next, Event::Arrive);
                }
            }
            Event::Connect(failures) => {
                report.connects += 1;
                handshakes += 1;
                events.enter(now + random.around(CONNECT, 20), Event::Connected(failures));
            }
            Event::Connected(failures) => {
                handshakes -= 1;
                if pool.open >= SERVER_CONNECTIONS {
                    pool.seen.failed += 1;
                    let delay = Backoff::default().nth(failures).as_micros() as u64;
                    let delay = delay + random.number() % (delay / 10);
                    events.enter(now + delay, Event::Connect(failures + 1));
                } else {
                    pool.seen.connected += 1;
                    pool.connecting -= 1;
                    pool.open += 1;
                    pool.idle += 1;
                }
            }
            Event::Done(came) => {
                report.end(came, true);
                if pool.open > pool.size { pool.open -= 1 } else { pool.idle += 1 }
            }
            Event::Tick => {
                let size = pool.tick(&mut rule);
                if size != pool.size {
                    let grows = size > pool.size;
                    report.changes += u32::from(direction.is_some_and(|before| before != grows));
                    direction = Some(grows);
                    pool.resize(size);
                }
                if now < SECONDS as u64 * SECOND {
                    events.enter(now + 10 * SECOND, Event::Tick);
                }
            }
        }
        for came in pool.serve(now, &mut report) {
            let load = f64::from(pool.open - pool.idle + handshakes) / f64::from(SERVER_CONNECTIONS);
            let time = (random.around(SERVICE, 20) as f64 * load.max(1.0)) as u64;
            events.enter(now + time, Event::Done(came));
        }
        while pool.wants_connect() {
            pool.connecting += 1;
            events.enter(now, Event::Connect(0));
        }
        if let Some(level) = report.level.get_mut((now / SECOND) as usize) {
            *level = f64::from(pool.size);
        }
        if now >= SECONDS as u64 * SECOND && pool.waiting.is_empty() && pool.open == pool.idle {
            break;
        }
    }
    report
}

impl Pool {
    /// Gives idle connections to those that wait, and sends away those that have waited too long.
    fn serve(&mut self, now: u64, report: &mut Report) -> Vec<u64> {
        let mut served = Vec::new();
        while let Some(&came) = self.waiting.front() {
            let is_late = now - came >= PATIENCE;
            if !is_late && self.idle == 0 {
                break;
            }
            self.waiting.pop_front();
            self.seen.gets += 1;
            self.seen.waits += now - came;
            if is_late {
                report.end(came, false);
            } else {
                self.idle -= 1;
                served.push(came);
            }
        }
        self.seen.most_in_use = self.seen.most_in_use.max(self.open - self.idle);
        served
    }

    fn wants_connect(&self) -> bool {
        let wanted = self.waiting.len() as u32 + MIN_IDLE;
        self.open + self.connecting < self.size && self.idle + self.connecting < wanted
    }

    fn tick(&mut self, rule: &mut Rule) -> u32 {
        let seen = std::mem::take(&mut self.seen);
        let mean_wait = Duration::from_micros(seen.waits / seen.gets.max(1));
        match rule {
            Rule::Policy(adaptive) => {
                let observation = SizeObservation::default()
                    .size(self.size)
                    .in_use(seen.most_in_use)
                    .min_idle(MIN_IDLE)
                    .connecting(self.connecting)
                    .connected(seen.connected)
                    .connect_failures(seen.failed)
                    .mean_wait(mean_wait);
                match adaptive.tick(&observation) {
                    SizeDecision::Grow(size) | SizeDecision::Shrink(size) => size,
                    SizeDecision::Keep | SizeDecision::Hold => self.size,
                }
            }
            Rule::Waits(policy) => {
                let size = if mean_wait > policy.max_wait {
                    (self.size * policy.grow_percent).div_ceil(100)
                } else if seen.most_in_use * 100 < self.size * policy.idle_percent {
                    self.size * policy.shrink_percent / 100
                } else {
                    self.size
                };
                size.clamp(policy.min, policy.max)
            }
        }
    }

    fn resize(&mut self, size: u32) {
        self.size = size;
        let surplus = self.open.saturating_sub(size).min(self.idle);
        self.open -= surplus;
        self.idle -= surplus;
    }
}
