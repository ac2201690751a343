//! Retries, and a server that was down: it is up again, but its queue is full of requests whose clients have left.

use std::collections::VecDeque;
use std::time::Duration;

use millpond::policy::{
    Backoff, Breaker, BreakerPolicy, BreakerState, BudgetPolicy, Deadline, Failed, Outcome, Permit,
    RetryBudget, RetryDecision, RetryPolicy,
};

use super::events::{Events, MILLISECOND, Random, SECOND};
use super::{BEGIN, Report, Scenario};

const SECONDS: usize = 300;
/// 200 requests per second, for a server that serves 340.
const GAP: u64 = SECOND / 200;
const WORKERS: usize = 17;
const SERVICE: u64 = 50 * MILLISECOND;
const QUEUE: usize = 510;
const REFUSED: u64 = MILLISECOND;
const TIMEOUT: u64 = SECOND;
/// For the request with all its retries.
const PATIENCE: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 10;

enum Event {
    Arrive,
    Attempt(usize),
    /// What the client learns of an attempt.
    Learn(usize, u32, Outcome),
    /// The server is done with an attempt.
    Done(usize, u32),
}

struct Request {
    came: u64,
    attempts: u32,
    /// Of the attempt that is on its way.
    permit: Option<Permit>,
}

struct Client {
    retry: RetryPolicy,
    budget: RetryBudget,
    breaker: Breaker,
}

struct Server {
    busy: usize,
    queue: VecDeque<(usize, u32)>,
}

/// A rule, and what its clients do.
type Rule = (&'static str, fn() -> Client);

const POLICIES: Rule = ("policies", || client(BudgetPolicy::default(), BreakerPolicy::default()));
const BUDGET: Rule = ("budget alone", || client(BudgetPolicy::default(), never()));
const ENDLESS: Rule =
    ("unbudgeted retries", || client(BudgetPolicy::default().min_per_second(1_000_000), never()));
const SHORT_AT_FIRST: Rule = ("open 5 s at first", || {
    let breaker = BreakerPolicy::default().first_open_for(Some(Duration::from_secs(5)));
    client(BudgetPolicy::default(), breaker)
});

pub(super) fn play() -> [Scenario; 2] {
    let scenario = |name, text, recovery, rules: &[Rule]| Scenario {
        name,
        text,
        trouble: BEGIN..recovery,
        from: recovery,
        level: "attempts per second",
        changes: "times that the breaker opened",
        reports: rules.iter().map(|(rule, client)| run(rule, recovery, client())).collect(),
    };
    [
        scenario(
            "herd",
            "A server refuses all for 90 s, and is back at once, with room for 1.7 times the load.",
            BEGIN + 90,
            &[POLICIES, BUDGET, ENDLESS, SHORT_AT_FIRST],
        ),
        scenario(
            "restart",
            "A server refuses all for 10 s, and is back at once, with room for 1.7 times the load.",
            BEGIN + 10,
            &[POLICIES, BUDGET, SHORT_AT_FIRST],
        ),
    ]
}

fn client(budget: BudgetPolicy, breaker: BreakerPolicy) -> Client {
    // 50 ms to 2 s, with jitter, for all.
    let retry = RetryPolicy::default()
        .attempts(ATTEMPTS)
        .backoff(Backoff::default().initial(Duration::from_millis(50)).max(Duration::from_secs(2)));
    Client { retry, budget: RetryBudget::new(budget), breaker: Breaker::new(breaker) }
}

/// No breaker.
fn never() -> BreakerPolicy {
    BreakerPolicy::default().failures(u32::MAX).error_percent(101)
}

fn run(rule: &'static str, recovery: usize, mut client: Client) -> Report {
    let (mut events, mut arrivals, mut random) = (Events::new(), Random(3), Random(4));
    let mut report = Report::new(rule, SECONDS);
    let mut requests: Vec<Request> = Vec::new();
    let mut server = Server { busy: 0, queue: VecDeque::new() };
    let mut idle = 0_u32;
    events.enter(0, Event::Arrive);
    while let Some((now, event)) = events.next() {
        let instant = events.instant(now);
        match event {
            Event::Arrive => {
                client.budget.on_request(instant);
                events.enter(now, Event::Attempt(requests.len()));
                requests.push(Request { came: now, attempts: 0, permit: None });
                let next = now + arrivals.around(GAP, 90);
                if next < (SECONDS as u64 + PATIENCE.as_secs()) * SECOND {
                    events.enter(next, Event::Arrive);
                }
            }
            Event::Attempt(number) => {
                let (verdict, change) = client.breaker.ask(instant);
                report.changes += u32::from(change.is_some_and(|change| change.to == BreakerState::Open));
                let request = &mut requests[number];
                request.attempts += 1;
                let attempt = request.attempts;
                let Ok(permit) = verdict else {
                    report.end(request.came, false);
                    continue;
                };
                request.permit = Some(permit);
                if let Some(level) = report.level.get_mut((now / SECOND) as usize) {
                    *level += 1.0;
                }
                report.connects += u64::from(idle == 0 && now < SECONDS as u64 * SECOND);
                idle = idle.saturating_sub(1);
                let is_down = (BEGIN..recovery).contains(&((now / SECOND) as usize));
                if is_down || server.queue.len() == QUEUE {
                    events.enter(now + REFUSED, Event::Learn(number, attempt, Outcome::Failure));
                } else {
                    events.enter(now + TIMEOUT, Event::Learn(number, attempt, Outcome::Timeout));
                    server.queue.push_back((number, attempt));
                }
            }
            Event::Done(number, attempt) => {
                server.busy -= 1;
                events.enter(now, Event::Learn(number, attempt, Outcome::Success));
            }
            Event::Learn(number, attempt, outcome) => {
                let request = &mut requests[number];
                // It has learnt of it before, by the timeout.
                if request.attempts != attempt {
                    continue;
                }
                let Some(permit) = request.permit.take() else { continue };
                let change = client.breaker.record(instant, permit, outcome);
                report.changes += u32::from(change.is_some_and(|change| change.to == BreakerState::Open));
                if outcome == Outcome::Success {
                    idle += 1;
                    report.end(request.came, true);
                    continue;
                }
                let failed = Failed::default()
                    .attempts(attempt)
                    .replayable(true)
                    .deadline(Deadline::after(events.instant(request.came), PATIENCE));
                match client.retry.decide(&mut client.budget, instant, &failed, random.number()) {
                    RetryDecision::After(delay) => {
                        events.enter(now + delay.as_micros() as u64, Event::Attempt(number));
                    }
                    RetryDecision::GiveUp(_) => report.end(request.came, false),
                }
            }
        }
        while server.busy < WORKERS
            && let Some((number, attempt)) = server.queue.pop_front()
        {
            server.busy += 1;
            events.enter(now + random.around(SERVICE, 20), Event::Done(number, attempt));
        }
    }
    report
}
