//! Servers that slow down, fail and come back, in virtual time, and clients with the policies or with simpler rules.
//!
//! A fixed seed, and no clock but the events': the same on any machine. All clients are open loops: requests come whether
//! or not the last ones were answered, as those of many users do.
//!
//! | file | idea |
//! |---|---|
//! | `events` | the queue of events, and random numbers |
//! | `regions` | one client, three regions |
//! | `herd` | retries, and a server that was down |
//! | `step` | a pool, and ten times the load |

use std::fmt::Write as _;
use std::ops::Range;

mod events;
mod herd;
mod regions;
mod step;

/// Seconds at the begin of which trouble begins, in all scenarios.
pub(crate) const BEGIN: usize = 60;

/// A scenario, played by several rules. The policies are the first.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) text: &'static str,
    /// The seconds of trouble.
    pub(crate) trouble: Range<usize>,
    /// The second from which the reaction counts.
    pub(crate) from: usize,
    /// What `level` and `changes` of the reports are.
    pub(crate) level: &'static str,
    pub(crate) changes: &'static str,
    pub(crate) reports: Vec<Report>,
}

/// What came of a rule. All vectors have one entry per second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) rule: &'static str,
    /// By the second in which the request came.
    pub(crate) served: Vec<u32>,
    pub(crate) lost: Vec<u32>,
    pub(crate) level: Vec<f64>,
    pub(crate) changes: u32,
    pub(crate) connects: u64,
}

impl Report {
    fn new(rule: &'static str, seconds: usize) -> Self {
        let (served, lost, level) = (vec![0; seconds], vec![0; seconds], vec![0.0; seconds]);
        Self { rule, served, lost, level, changes: 0, connects: 0 }
    }

    fn end(&mut self, came: u64, is_served: bool) {
        let counts = if is_served { &mut self.served } else { &mut self.lost };
        // Beyond the end, requests only keep the load up until the last ones that count are answered.
        if let Some(count) = counts.get_mut((came / events::SECOND) as usize) {
            *count += 1;
        }
    }

    pub(crate) fn lost_share(&self, second: usize) -> f64 {
        f64::from(self.lost[second]) / f64::from(self.served[second] + self.lost[second]).max(1.0)
    }

    pub(crate) fn lost(&self) -> u32 {
        self.lost.iter().sum()
    }

    /// The seconds until less than one request in a hundred is lost for ten seconds, if that ever happens.
    pub(crate) fn reaction(&self, from: usize) -> Option<usize> {
        let seconds: Vec<usize> = (from..self.lost.len()).collect();
        seconds.windows(10).position(|ten| {
            let (lost, served) = ten.iter().fold((0, 0), |(lost, served), &second| {
                (lost + self.lost[second], served + self.served[second])
            });
            self.lost_share(ten[0]) <= 0.01 && lost * 99 < served
        })
    }
}

const HEADING: &str = "\
| scenario | rule | reaction, s | requests lost | of | connections opened | changes | of what |
|---|---|---|---|---|---|---|---|
";

/// The figures of all scenarios, in Markdown.
pub(crate) fn table(scenarios: &[Scenario]) -> String {
    let mut table = HEADING.to_owned();
    for scenario in scenarios {
        for report in &scenario.reports {
            let reaction =
                report.reaction(scenario.from).map_or("never".to_owned(), |seconds| seconds.to_string());
            let (lost, connects) = (report.lost(), report.connects);
            let all = lost + report.served.iter().sum::<u32>();
            let _ = writeln!(
                table,
                "| {} | {} | {reaction} | {lost} | {all} | {connects} | {} | {} |",
                scenario.name, report.rule, report.changes, scenario.changes
            );
        }
    }
    table
}

/// All of them.
pub(crate) fn play() -> Vec<Scenario> {
    let mut all = regions::play();
    all.extend(herd::play());
    all.push(step::play());
    all
}
