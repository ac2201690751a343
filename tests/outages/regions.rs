//! One client, three regions. There are no retries: what is lost is what the choice of the region lost.

use std::time::Duration;

use millpond::policy::{Outcome, PickReason, RegionPolicy, Regions};

use super::events::{Events, MILLISECOND, Random, SECOND};
use super::{BEGIN, Report, Scenario};

const SECONDS: usize = 240;
/// The first and the second are as good as equal.
const LATENCIES: [u64; 3] = [20 * MILLISECOND, 22 * MILLISECOND, 60 * MILLISECOND];
const GAP: u64 = 5 * MILLISECOND;
const TIMEOUT: u64 = SECOND;
/// An answer that comes later is lost.
const LATE: u64 = 100 * MILLISECOND;
const PROBE_INTERVAL: u64 = 2 * SECOND;
/// After which the idle connections to a region are closed.
const IDLE: u64 = 30 * SECOND;

/// What is the matter with the first region for a minute.
#[derive(Clone, Copy)]
enum Trouble {
    Silent,
    Slow,
    FailsFast,
}

enum Event {
    Arrive,
    End { region: usize, came: u64, latency: u64, outcome: Outcome },
}

/// Who chooses.
enum Chooser {
    Policy(Regions),
    /// The lowest mean latency, with the same probes.
    Latency {
        means: [Option<f64>; 3],
        probed: [u64; 3],
        failures_count: bool,
        current: usize,
    },
}

pub(super) fn play() -> Vec<Scenario> {
    let troubles = [
        (Trouble::Silent, "outage", "The first of three regions does not answer for a minute."),
        (Trouble::Slow, "slow region", "The first of three regions takes ten times as long for a minute."),
        (Trouble::FailsFast, "fast failures", "The first of three regions fails within 2 ms for a minute."),
    ];
    let scenario = |(trouble, name, text)| Scenario {
        name,
        text,
        trouble: BEGIN..BEGIN + 60,
        from: BEGIN,
        level: "requests to the first region, %",
        changes: "changes of the region",
        reports: rules().map(|(rule, chooser)| run(trouble, rule, chooser)).into(),
    };
    troubles.map(scenario).into()
}

fn rules() -> [(&'static str, Chooser); 3] {
    let latency =
        |failures_count| Chooser::Latency { means: [None; 3], probed: [0; 3], failures_count, current: 0 };
    [
        ("policies", Chooser::Policy(Regions::new(RegionPolicy::default(), 3))),
        ("latency of answers", latency(false)),
        ("latency of all attempts", latency(true)),
    ]
}

fn run(trouble: Trouble, rule: &'static str, mut chooser: Chooser) -> Report {
    let (mut events, mut arrivals, mut random) = (Events::new(), Random(3), Random(4));
    let mut report = Report::new(rule, SECONDS);
    let mut picked = vec![[0.0; 2]; SECONDS];
    let (mut idle, mut used) = ([0_u32; 3], [0; 3]);
    let mut current = 0;
    events.enter(0, Event::Arrive);
    while let Some((now, event)) = events.next() {
        match event {
            Event::Arrive => {
                let (region, serves) = chooser.pick(now, &events, &mut random);
                report.changes += u32::from(serves != current);
                current = serves;
                let second = (now / SECOND) as usize;
                picked[second][0] += f64::from(u8::from(region == 0));
                picked[second][1] += 1.0;
                if now - used[region] > IDLE {
                    idle[region] = 0;
                }
                used[region] = now;
                report.connects += u64::from(idle[region] == 0);
                idle[region] = idle[region].saturating_sub(1);
                let (latency, outcome) = serve(trouble, region, now, &mut random);
                events.enter(now + latency, Event::End { region, came: now, latency, outcome });
                let next = now + arrivals.around(GAP, 90);
                if next < SECONDS as u64 * SECOND {
                    events.enter(next, Event::Arrive);
                }
            }
            Event::End { region, came, latency, outcome } => {
                idle[region] += u32::from(outcome == Outcome::Success);
                report.end(came, outcome == Outcome::Success && latency < LATE);
                chooser.record(now, &events, region, latency, outcome);
            }
        }
    }
    report.level = picked.iter().map(|[first, all]| 100.0 * first / all).collect();
    report
}

fn serve(trouble: Trouble, region: usize, now: u64, random: &mut Random) -> (u64, Outcome) {
    let latency = random.around(LATENCIES[region], 30);
    let begin = BEGIN as u64 * SECOND;
    if region != 0 || !(begin..begin + 60 * SECOND).contains(&now) {
        return (latency, Outcome::Success);
    }
    match trouble {
        Trouble::Silent => (TIMEOUT, Outcome::Timeout),
        Trouble::Slow => (latency * 10, Outcome::Success),
        Trouble::FailsFast => (2 * MILLISECOND, Outcome::Failure),
    }
}

impl Chooser {
    /// Where to send a request, and which region serves those that are no probes.
    fn pick(&mut self, now: u64, events: &Events<Event>, random: &mut Random) -> (usize, usize) {
        match self {
            Self::Policy(regions) => {
                let pick = regions.pick(events.instant(now), None, random.number());
                assert_ne!(pick.reason, PickReason::Sticky);
                (pick.region, regions.current())
            }
            Self::Latency { means, probed, current, .. } => {
                let known = |region: usize| means[region].unwrap_or(f64::MAX);
                *current = (0..3).min_by(|&a, &b| known(a).total_cmp(&known(b))).unwrap();
                let due = (0..3).find(|&region| region != *current && now >= probed[region] + PROBE_INTERVAL);
                if let Some(region) = due {
                    probed[region] = now;
                }
                (due.unwrap_or(*current), *current)
            }
        }
    }

    fn record(&mut self, now: u64, events: &Events<Event>, region: usize, latency: u64, outcome: Outcome) {
        match self {
            Self::Policy(regions) => {
                regions.record(events.instant(now), region, Duration::from_micros(latency), outcome);
            }
            Self::Latency { means, failures_count, .. } => {
                if *failures_count || outcome == Outcome::Success {
                    let mean = means[region].get_or_insert(latency as f64);
                    *mean += (latency as f64 - *mean) * 0.1;
                }
            }
        }
    }
}
