//! Who holds buffers, and how long: a sampling detector of leaks and pins.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::num::NonZeroU32;
use core::panic::Location;
use core::time::Duration;

use super::request::Request;
use crate::sync::statistic::{AtomicU32, Ordering};
use crate::sync::{Mutex, Stopwatch};

/// Follows one acquire in `every`.
pub(in crate::pool) struct Detector {
    every: u32,
    acquires: AtomicU32,
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Samples {
    /// By mark, less 1.
    sampled: Vec<Option<Sample>>,
    free: Vec<NonZeroU32>,
}

struct Sample {
    caller: &'static Location<'static>,
    since: Stopwatch,
    class: usize,
    requested: usize,
    /// Bytes that can be seen; unknown while a buffer is written to.
    shows: Option<usize>,
}

impl Detector {
    pub(in crate::pool) fn new(every: NonZeroU32) -> Self {
        Self { every: every.get(), acquires: AtomicU32::new(0), samples: Mutex::default() }
    }

    /// The mark of this acquire, if it is one to follow.
    pub(in crate::pool) fn on_acquire(&self, request: Request) -> Option<NonZeroU32> {
        // Ordering: Relaxed. Each acquire gets a number of its own, whatever the order.
        if !self.acquires.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every) {
            return None;
        }
        let sample = Sample {
            caller: request.caller,
            since: Stopwatch::start(),
            class: request.class,
            requested: request.bytes,
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

    pub(in crate::pool) fn shows(
        &self,
        mark: NonZeroU32,
        bytes: impl FnOnce(Option<usize>) -> Option<usize>,
    ) {
        if let Some(Some(sample)) = self.samples.lock().of(mark) {
            sample.shows = bytes(sample.shows);
        }
    }

    /// `size`: bytes of a buffer of a class; 0 for the heap.
    pub(in crate::pool) fn report(&self, size: impl Fn(usize) -> usize) -> HolderReport {
        let mut sites: BTreeMap<(&str, u32, u32), Holder> = BTreeMap::new();
        for sample in self.samples.lock().sampled.iter().flatten() {
            let caller = sample.caller;
            let storage = size(sample.class).max(sample.requested);
            let held = sample.since.elapsed();
            let site = sites.entry((caller.file(), caller.line(), caller.column())).or_insert(Holder {
                caller,
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
        HolderReport { every: self.every, holders }
    }
}

impl Samples {
    fn of(&mut self, mark: NonZeroU32) -> Option<&mut Option<Sample>> {
        self.sampled.get_mut(mark.get() as usize - 1)
    }
}

/// The call sites that hold buffers of a [`BufferPool`](crate::pool::BufferPool), those that hold one longest first.
///
/// It displays as a table, one line a call site.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HolderReport {
    /// One acquire in so many was sampled: multiply by it to estimate the whole.
    pub every: u32,
    /// One for each call site that holds a followed buffer.
    pub holders: Vec<Holder>,
}

/// A line of code that acquired buffers which are still held.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Holder {
    /// Where `acquire` was called.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub caller: &'static Location<'static>,
    /// Followed buffers that are held.
    pub samples: u64,
    /// Their storage in bytes.
    pub storage_bytes: u64,
    /// What of it no handle shows: bytes that small slices keep from the pool. Known for
    /// [`PooledBytes`](crate::pool::PooledBytes) once they were cloned or sliced; views that overlap count twice. Of
    /// frozen buffers it is what was not written: slices of plain `Bytes` cannot be seen.
    pub pinned_bytes: u64,
    /// How long the oldest of them has been held.
    pub longest: Duration,
}

/// As `file:line:column`.
#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(caller: &Location<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(caller)
}

#[cfg(feature = "tracing")]
impl HolderReport {
    /// Emits one `tracing` event a call site, at level INFO, under the target `millpond::pool`.
    pub fn trace(&self) {
        for holder in &self.holders {
            tracing::info!(
                target: "millpond::pool",
                caller = %holder.caller,
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
            "{} call sites hold buffers; one acquire in {} was followed",
            self.holders.len(),
            self.every
        )?;
        for holder in &self.holders {
            write!(
                f,
                "\n  {:>10.3?} longest, {} held, {} B of storage, {} B pinned: {}",
                holder.longest, holder.samples, holder.storage_bytes, holder.pinned_bytes, holder.caller
            )?;
        }
        Ok(())
    }
}
