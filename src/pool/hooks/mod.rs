//! Optional work on every buffer: wiping, sampling, recording sizes, debug switches.
//!
//! A pool without any has no `Hooks`, and its fast paths do not check for them. Sampling and recording see few acquires,
//! which take the slow paths: a [`Countdown`] tells the thread's cache which. Wiping and the debug switches see them all.

#[cfg(feature = "std")]
mod countdown;
mod random;
mod request;
mod sampling;
#[cfg_attr(not(feature = "pool-debug"), path = "switches_off.rs")]
mod switches;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint;
use core::num::NonZeroU32;

use bytes::BytesMut;

#[cfg(feature = "std")]
pub(in crate::pool) use self::countdown::Countdown;
#[cfg(feature = "std")]
use self::random::Random;
pub(in crate::pool) use self::request::Request;
use self::sampling::Detector;
pub use self::sampling::{Holder, HolderReport};
pub(in crate::pool) use self::switches::Switches;
use crate::pool::config::BufferPoolConfig;
use crate::pool::stats::RequestedSize;
use crate::sync::Count;
#[cfg(feature = "std")]
use crate::sync::statistic::AtomicU32;
use crate::sync::statistic::{AtomicUsize, Ordering};

pub(in crate::pool) struct Hooks {
    switches: Option<Switches>,
    pub(in crate::pool) wipe: bool,
    pub(in crate::pool) detector: Option<Detector>,
    sizes: Option<Sizes>,
}

/// Countdowns so far, of all pools: if each pool began with the same numbers, those that live for a few acquires would all
/// sample the same ones, or none.
#[cfg(feature = "std")]
static COUNTDOWNS: AtomicU32 = AtomicU32::new(0);

impl Hooks {
    pub(in crate::pool) fn new(config: &BufferPoolConfig, switches: Option<Switches>) -> Option<Self> {
        let hooks = Self {
            switches,
            wipe: config.wipes_on_return(),
            detector: config.sampled_one_in().map(Detector::new),
            sizes: config.records_sizes().then(Sizes::new),
        };
        (hooks.switches.is_some() || hooks.wipe || hooks.detector.is_some() || hooks.sizes.is_some())
            .then_some(hooks)
    }

    /// The countdown of one class and thread.
    #[cfg(feature = "std")]
    pub(in crate::pool) fn countdown(&self) -> Countdown {
        // Ordering: Relaxed. A read-modify-write gives each countdown its own number; it guards no memory.
        let number = COUNTDOWNS.fetch_add(1, Ordering::Relaxed);
        let random = Random::new(random::seed(self), number);
        let one_in = self.detector.as_ref().map(Detector::every);
        Countdown::new(random, one_in, self.sizes.is_some(), self.sees_all())
    }

    /// Whether every buffer takes the slow paths.
    #[cfg(feature = "std")]
    pub(in crate::pool) fn sees_all(&self) -> bool {
        self.wipe || self.switches.is_some()
    }

    /// A buffer is handed out, in an acquire for which the countdown has no permit.
    #[cfg(feature = "std")]
    pub(in crate::pool) fn on_due(
        &self,
        countdown: &mut Countdown,
        storage: &mut BytesMut,
        sample: &mut Option<NonZeroU32>,
        request: Request,
    ) {
        let due = countdown.pass();
        self.see(storage, sample, request, due.weight, due.sampled);
    }

    /// A buffer is handed out, in an acquire that no countdown counts.
    pub(in crate::pool) fn on_acquire(
        &self,
        storage: &mut BytesMut,
        sample: &mut Option<NonZeroU32>,
        request: Request,
    ) {
        let sampled = self.detector.as_ref().is_some_and(Detector::draw);
        self.see(storage, sample, request, 1, sampled);
    }

    fn see(
        &self,
        storage: &mut BytesMut,
        sample: &mut Option<NonZeroU32>,
        request: Request,
        weight: u32,
        sampled: bool,
    ) {
        if let Some(switches) = &self.switches {
            switches.check(storage);
        }
        if let Some(sizes) = &self.sizes {
            sizes.record(request.bytes, weight);
        }
        if let Some(detector) = &self.detector
            && sampled
        {
            *sample = detector.sample(request);
        }
    }

    /// A buffer is returned.
    pub(in crate::pool) fn on_return(&self, storage: &mut BytesMut, sample: &mut Option<NonZeroU32>) {
        if self.wipe {
            storage.clear();
            storage.resize(storage.capacity(), 0);
            // The zeros must be written even if the storage is freed next: this keeps the optimiser from removing
            // the write.
            hint::black_box(&storage[..]);
            storage.clear();
        }
        if let Some(switches) = &self.switches {
            switches.fill(storage);
        }
        if let (Some(detector), Some(sample)) = (&self.detector, sample.take()) {
            detector.on_return(sample);
        }
    }

    /// Whether a debug switch keeps the shared queues empty.
    pub(in crate::pool) fn keeps_nothing_shared(&self) -> bool {
        self.switches.as_ref().is_some_and(Switches::keeps_nothing_shared)
    }

    /// Whether a debug switch makes this acquire fail.
    pub(in crate::pool) fn must_fail(&self) -> bool {
        self.switches.as_ref().is_some_and(Switches::must_fail)
    }

    /// Whether a debug switch drops the buffer returned to the pool at `here`.
    pub(in crate::pool) fn must_drop<T>(&self, home: *const T, here: *const T, whole: bool) -> bool {
        self.switches.as_ref().is_some_and(|switches| {
            switches.check_home(home, here, whole);
            switches.must_drop()
        })
    }

    /// Views of a sampled buffer were made or dropped: `shown` maps the bytes shown before to those shown now.
    pub(in crate::pool) fn shows(
        &self,
        sample: NonZeroU32,
        shown: impl FnOnce(Option<usize>) -> Option<usize>,
    ) {
        if let Some(detector) = &self.detector {
            detector.shows(sample, shown);
        }
    }

    /// A sampled buffer was shrunk to a smaller class.
    pub(in crate::pool) fn shrinks(&self, sample: NonZeroU32, class: usize) {
        if let Some(detector) = &self.detector {
            detector.shrinks(sample, class);
        }
    }

    /// A sampled buffer gets a label.
    pub(in crate::pool) fn label(&self, sample: NonZeroU32, label: &'static str) {
        if let Some(detector) = &self.detector {
            detector.label(sample, label);
        }
    }

    /// The value of [`BufferPoolStats::requested`](crate::BufferPoolStats::requested).
    pub(in crate::pool) fn requested(&self) -> Vec<RequestedSize> {
        self.sizes.as_ref().map_or_else(Vec::new, Sizes::snapshot)
    }
}

/// How often each size was requested, in eighths of powers of two.
struct Sizes {
    buckets: Box<[Bucket]>,
}

#[derive(Default)]
struct Bucket {
    acquires: Count,
    largest: AtomicUsize,
}

const BUCKETS: usize = 8 * usize::BITS as usize;

impl Sizes {
    fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Bucket::default()).collect() }
    }

    /// Records `weight` acquires of this many bytes, if any.
    fn record(&self, bytes: usize, weight: u32) {
        if weight > 0
            && let Some(bucket) = self.buckets.get(eighth(bytes))
        {
            bucket.acquires.add(weight.into());
            // Ordering: Relaxed. A number for the stats; it guards no memory.
            bucket.largest.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    fn snapshot(&self) -> Vec<RequestedSize> {
        let load = |bucket: &Bucket| RequestedSize {
            // Ordering: Relaxed, as in `record`.
            bytes: bucket.largest.load(Ordering::Relaxed),
            acquires: bucket.acquires.get(),
        };
        self.buckets.iter().map(load).filter(|size| size.acquires > 0).collect()
    }
}

/// The index of the eighth of a power of two that contains `bytes`; below 16 each size has its own.
fn eighth(bytes: usize) -> usize {
    let exponent = bytes.checked_ilog2().unwrap_or(0).max(3) as usize;
    8 * (exponent - 3) + (bytes >> (exponent - 3))
}
