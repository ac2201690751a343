//! The leak report: a sampling detector of call sites that hold or pin buffers.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::num::NonZeroU32;
use core::panic::Location;
use core::time::Duration;

use super::random;
use super::request::Request;
use crate::metric::{Row, VisitRow};
use crate::sync::statistic::{AtomicU32, Ordering};
use crate::sync::{Mutex, Stopwatch};

/// Samples each acquire with the probability 1/`every`.
pub(in crate::pool) struct Detector {
    every: NonZeroU32,
    samples: Mutex<Samples>,
}

/// Acquires that no countdown counts, of all pools: if each pool began with the same number, it would sample the same ones.
static ACQUIRES: AtomicU32 = AtomicU32::new(0);

#[derive(Default)]
struct Samples {
    /// Indexed by mark - 1.
    sampled: Vec<Option<Sample>>,
    free: Vec<NonZeroU32>,
}

struct Sample {
    caller: &'static Location<'static>,
    since: Stopwatch,
    class: usize,
    requested: usize,
    label: Option<&'static str>,
    /// Bytes that handles show; unknown while a buffer is written to.
    shows: Option<usize>,
}

impl Detector {
    pub(in crate::pool) fn new(every: NonZeroU32) -> Self {
        Self { every, samples: Mutex::default() }
    }

    #[cfg(feature = "std")]
    pub(super) fn every(&self) -> NonZeroU32 {
        self.every
    }

    /// Whether an acquire that no countdown counts is sampled.
    pub(super) fn draw(&self) -> bool {
        // Ordering: Relaxed. A read-modify-write gives each acquire its own number; it guards no memory.
        let acquire = ACQUIRES.fetch_add(1, Ordering::Relaxed);
        random::is_sampled(random::seed(self), acquire, self.every.get())
    }

    /// Keeps a sample of this acquire, and returns its mark.
    pub(super) fn sample(&self, request: Request) -> Option<NonZeroU32> {
        let sample = Sample {
            caller: request.caller,
            since: Stopwatch::start(),
            class: request.class,
            requested: request.bytes,
            label: None,
            shows: None,
        };
        let mut samples = self.samples.lock();
        let mark = samples.free.pop().or_else(|| {
            let next = u32::try_from(samples.sampled.len() + 1).ok().and_then(NonZeroU32::new)?;
            samples.sampled.push(None);
            Some(next)
        })?;
        *samples.of(mark)? = Some(sample);
        Some(mark)
    }

    pub(in crate::pool) fn on_return(&self, mark: NonZeroU32) {
        let mut samples = self.samples.lock();
        if let Some(sample) = samples.of(mark) {
            *sample = None;
            samples.free.push(mark);
        }
    }

    pub(super) fn label(&self, mark: NonZeroU32, label: &'static str) {
        if let Some(Some(sample)) = self.samples.lock().of(mark) {
            sample.label = Some(label);
        }
    }

    pub(super) fn shrinks(&self, mark: NonZeroU32, class: usize) {
        if let Some(Some(sample)) = self.samples.lock().of(mark) {
            (sample.class, sample.requested) = (class, 0);
        }
    }

    pub(in crate::pool) fn shows(
        &self,
        mark: NonZeroU32,
        bytes: impl FnOnce(Option<usize>) -> Option<usize>,
    ) {
        if let Some(Some(sample)) = self.samples.lock().of(mark) {
            sample.shows = bytes(sample.shows);
        }
    }

    /// `size` maps a class to the bytes of its buffers, and the heap to 0.
    pub(in crate::pool) fn report(&self, size: impl Fn(usize) -> usize) -> HolderReport {
        let mut sites: BTreeMap<_, Holder> = BTreeMap::new();
        for sample in self.samples.lock().sampled.iter().flatten() {
            let caller = sample.caller;
            let storage = size(sample.class).max(sample.requested);
            let held = sample.since.elapsed();
            let site = (caller.file(), caller.line(), caller.column(), sample.label);
            let site = sites.entry(site).or_insert(Holder {
                caller,
                label: sample.label,
                samples: 0,
                storage_bytes: 0,
                pinned_bytes: 0,
                longest: held,
            });
            site.samples += 1;
            site.storage_bytes += storage as u64;
            site.pinned_bytes += sample.shows.map_or(0, |shows| storage.saturating_sub(shows)) as u64;
            site.longest = site.longest.max(held);
        }
        let mut holders: Vec<_> = sites.into_values().collect();
        holders.sort_by_key(|holder| Reverse(holder.longest));
        HolderReport { every: self.every.get(), holders }
    }
}

impl Samples {
    fn of(&mut self, mark: NonZeroU32) -> Option<&mut Option<Sample>> {
        self.sampled.get_mut(mark.get() as usize - 1)
    }
}

/// A leak report: the call sites that hold buffers of a [`BufferPool`](crate::BufferPool), the longest held first.
///
/// Each acquire is sampled with the same probability, so an estimate `samples * every` is right on average. One standard
/// deviation of it is at most `every * sqrt(samples)`: of 1000 samples 3 %, of 100 samples 10 %. A site that holds k
/// buffers is missing with the probability (1 - 1/every)^k: after 7 times `every` buffers 1 in 1000, after 21 times 1 in
/// 10^9.
///
/// It displays as a table, one line per call site and label.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HolderReport {
    /// One acquire in this many was sampled: multiply by it to estimate the total.
    pub every: u32,
    /// One per call site and label that hold a sampled buffer.
    pub holders: Vec<Holder>,
}

/// A call site whose buffers are still held, in a [`HolderReport`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Holder {
    /// Where the buffers were acquired.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub caller: &'static Location<'static>,
    /// What [`PooledBuffer::set_label`](crate::PooledBuffer::set_label) said of them.
    pub label: Option<&'static str>,
    /// The number of sampled buffers held.
    pub samples: u64,
    /// Bytes of their storage.
    pub storage_bytes: u64,
    /// Bytes of their storage that no handle shows, but that small slices keep in use.
    ///
    /// Known for [`PooledBytes`](crate::PooledBytes) once they were cloned or sliced; bytes that several handles show count
    /// more than once. For frozen buffers it is the part that was not written, as the pool cannot see slices of plain
    /// `Bytes`.
    pub pinned_bytes: u64,
    /// How long the oldest buffer has been held.
    pub longest: Duration,
}

impl HolderReport {
    pub(in crate::pool) fn show(&self, visit: &mut VisitRow<'_>) {
        for holder in &self.holders {
            visit(Row::new(
                &[("caller", holder.caller), ("label", &holder.label.unwrap_or_default())],
                &[
                    ("storage_bytes", holder.storage_bytes as f64),
                    ("pinned_bytes", holder.pinned_bytes as f64),
                    ("samples", holder.samples as f64),
                    ("sampled_one_in", self.every.into()),
                    ("longest_seconds", holder.longest.as_secs_f64()),
                ],
            ));
        }
    }
}

/// As `file:line:column`.
#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(caller: &Location<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(caller)
}

#[cfg(feature = "tracing")]
impl HolderReport {
    /// Emits one `tracing` event per call site, at level INFO, with the target `millpond::pool`. (Feature `tracing`.)
    pub fn trace(&self) {
        for holder in &self.holders {
            tracing::info!(
                target: "millpond::pool",
                caller = %holder.caller,
                label = holder.label,
                sampled_one_in = self.every,
                samples = holder.samples,
                storage_bytes = holder.storage_bytes,
                pinned_bytes = holder.pinned_bytes,
                longest_ms = u64::try_from(holder.longest.as_millis()).unwrap_or(u64::MAX),
                "buffers held",
            );
        }
    }
}

impl fmt::Display for HolderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} call sites hold buffers; one acquire in {} was sampled",
            self.holders.len(),
            self.every
        )?;
        for holder in &self.holders {
            write!(
                f,
                "\n  {:>10.3?} longest, {} held, {} B of storage, {} B pinned: {}",
                holder.longest, holder.samples, holder.storage_bytes, holder.pinned_bytes, holder.caller
            )?;
            if let Some(label) = holder.label {
                write!(f, " ({label})")?;
            }
        }
        Ok(())
    }
}
