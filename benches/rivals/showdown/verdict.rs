//! What the pool must reach, and where somebody else is ahead. Both are worked out from the numbers.

use crate::Group;
use crate::contestants::heap;
use crate::options;
use crate::outcome::{Outcome, Role, Row};
use crate::threads::THREADS;

/// The rows of all groups that ran.
pub(crate) type Results = [(Group, Vec<Row>)];

/// `ours` may take at most so much of what `against` takes. Among the threads' rows it is the time of
/// `ours` on that many threads against its own on one.
pub(crate) struct Bar {
    pub(crate) group: Group,
    pub(crate) label: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) against: &'static str,
    pub(crate) at_most: f64,
}

const fn bar(
    group: Group,
    label: &'static str,
    ours: &'static str,
    against: &'static str,
    at_most: f64,
) -> Bar {
    Bar { group, label, ours, against, at_most }
}

const BARS: [Bar; 18] = [
    bar(Group::Drop, "1 KiB", "millpond", "limit", 2.0),
    bar(Group::Drop, "1 KiB", "millpond", "malloc, glibc", 0.8),
    bar(Group::Drop, "1 KiB", "millpond", "zeropool", 1.0),
    bar(Group::Drop, "1 KiB", "millpond", "opool", 0.5),
    bar(Group::Drop, "1 KiB", "millpond", "object-pool", 0.3),
    bar(Group::Drop, "64 KiB", "millpond", "malloc, glibc", 0.5),
    bar(Group::Freeze, "1 KiB", "freeze", "BytesMut", 1.0),
    bar(Group::Freeze, "1 KiB", "into_shared", "BytesMut", 0.6),
    bar(Group::Freeze, "64 KiB", "freeze", "BytesMut", 0.8),
    bar(Group::Freeze, "64 KiB", "into_shared", "BytesMut", 0.6),
    bar(Group::Across, "1 KiB", "freeze", "BytesMut", 0.4),
    bar(Group::Across, "1 KiB", "into_shared", "BytesMut", 0.4),
    bar(Group::Across, "16 KiB", "freeze", "BytesMut", 0.3),
    bar(Group::Across, "16 KiB", "into_shared", "BytesMut", 0.3),
    bar(Group::Options, "1 KiB", "sample_one_in(1000)", options::PLAIN, 1.1),
    bar(Group::Options, "1 KiB", "record_sizes", options::PLAIN, 1.1),
    bar(Group::Threads, "2 threads", "millpond", "1 thread", 0.6),
    bar(Group::Threads, "8 threads", "millpond", "1 thread", 0.7),
];

/// Each bar whose row ran, with what was measured.
pub(crate) fn measured(results: &Results) -> Vec<(&'static Bar, f64)> {
    let measure = |bar: &Bar| {
        let (_, rows) = results.iter().find(|(group, _)| *group == bar.group)?;
        let row = rows.iter().find(|row| row.label == bar.label)?;
        if bar.group == Group::Threads {
            return scaling(rows, bar.label, bar.ours);
        }
        Some(outcome(row, bar.ours)?.over(outcome(row, bar.against)?))
    };
    BARS.iter().filter_map(|bar| Some((bar, measure(bar)?))).collect()
}

/// The time on that many threads over the time on one.
pub(crate) fn scaling(rows: &[Row], label: &str, name: &str) -> Option<f64> {
    let time = |label: &str| outcome(rows.iter().find(|row| row.label == label)?, name);
    Some(time(label)?.over(time(THREADS[0].1)?))
}

/// With this name, or with it and the global allocator's.
fn outcome<'a>(row: &'a Row, name: &str) -> Option<&'a Outcome> {
    row.outcomes.iter().find(|outcome| {
        outcome
            .name
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(", ") == Some(heap::NAME))
    })
}

/// A rival whose median is below ours.
pub(crate) struct Win {
    pub(crate) group: Group,
    pub(crate) label: &'static str,
    pub(crate) rival: &'static str,
    pub(crate) ours: &'static str,
    /// The rival's median over ours.
    pub(crate) share: f64,
}

pub(crate) fn wins(results: &Results) -> Vec<Win> {
    let mut wins = Vec::new();
    for (group, rows) in results {
        for row in rows {
            for ours in row.ours() {
                let rivals = row.outcomes.iter().filter(|other| other.role == Role::Rival);
                wins.extend(rivals.filter(|rival| rival.median() < ours.median()).map(|rival| Win {
                    group: *group,
                    label: row.label,
                    rival: rival.name,
                    ours: ours.name,
                    share: rival.median() / ours.median(),
                }));
            }
        }
    }
    wins
}
