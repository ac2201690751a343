//! A counter for the stats, of 64 bits where the target has such atomics.

#[cfg(not(target_has_atomic = "64"))]
use core::sync::atomic::AtomicU32 as Atomic;
#[cfg(target_has_atomic = "64")]
use core::sync::atomic::AtomicU64 as Atomic;
use core::sync::atomic::Ordering;

/// Ordering: Relaxed throughout. It guards no memory, and no decision depends on it. Stats are exact if the writes happen
/// before the read by other means: a join, a channel, a lock.
#[derive(Debug, Default)]
pub(crate) struct Count(Atomic);

impl Count {
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        // Widens a counter of 32 bits.
        #[allow(clippy::useless_conversion, clippy::allow_attributes, reason = "64 bits on most machines")]
        self.0.load(Ordering::Relaxed).into()
    }

    /// Adds 1, as the only writer: a plain load and store, no locked instruction.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "no thread has counters of its own"))]
    #[inline]
    pub(crate) fn bump(&self) {
        if cfg!(millpond_uncounted) {
            return;
        }
        self.set(self.get().wrapping_add(1));
    }

    /// Sets the count, as the only writer.
    #[inline]
    pub(crate) fn set(&self, count: u64) {
        self.0.store(count as _, Ordering::Relaxed);
    }

    /// The count after `more`, as the only writer: less than the count if it wraps.
    #[cfg(feature = "std")]
    pub(crate) fn after(&self, more: u64) -> u64 {
        wrapped(self.get().wrapping_add(more))
    }

    /// How much is missing until the count is `later`, a result of [`after`](Self::after).
    #[cfg(feature = "std")]
    pub(crate) fn until(&self, later: u64) -> u64 {
        wrapped(later.wrapping_sub(self.get()))
    }

    /// Adds `count`, as one of several writers.
    pub(crate) fn add(&self, count: u64) {
        if cfg!(millpond_uncounted) {
            return;
        }
        self.0.fetch_add(count as _, Ordering::Relaxed);
    }

    /// Adds 1, as one of several writers. Returns the count after it.
    #[cfg(feature = "relay")]
    pub(crate) fn next(&self) -> u64 {
        #[allow(clippy::useless_conversion, clippy::allow_attributes, reason = "64 bits on most machines")]
        (self.0.fetch_add(1, Ordering::Relaxed) + 1).into()
    }

    /// Raises the count to `count` if it is lower, as one of several writers.
    pub(crate) fn raise_to(&self, count: u64) {
        self.0.fetch_max(count as _, Ordering::Relaxed);
    }
}

/// The bits that a counter has.
#[cfg(feature = "std")]
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    clippy::allow_attributes,
    reason = "64 bits on most machines"
)]
fn wrapped(count: u64) -> u64 {
    #[cfg(not(target_has_atomic = "64"))]
    let count = count as u32;
    count.into()
}
