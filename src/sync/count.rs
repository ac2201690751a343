//! A number for the stats, which counts in 64 bits where the machine can.

#[cfg(not(target_has_atomic = "64"))]
use core::sync::atomic::AtomicU32 as Atomic;
#[cfg(target_has_atomic = "64")]
use core::sync::atomic::AtomicU64 as Atomic;
use core::sync::atomic::Ordering;

/// Ordering: Relaxed throughout. No decision and no memory hangs on it. Stats are exact once their reader has
/// synchronised with the writers by other means (a join, a channel, a lock), which orders these writes as well.
#[derive(Debug, Default)]
pub(crate) struct Count(Atomic);

impl Count {
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        // Of 32 bits this widens.
        #[allow(clippy::useless_conversion, clippy::allow_attributes, reason = "64 bits on most machines")]
        self.0.load(Ordering::Relaxed).into()
    }

    /// By the only writer there is: a plain load and store, no locked instruction.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "no thread has counters of its own"))]
    #[inline]
    pub(crate) fn bump(&self) {
        self.set(self.get().wrapping_add(1));
    }

    /// By the only writer there is.
    #[inline]
    pub(crate) fn set(&self, count: u64) {
        self.0.store(count as _, Ordering::Relaxed);
    }

    /// By one of several writers.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count as _, Ordering::Relaxed);
    }

    /// By one of several writers.
    pub(crate) fn raise_to(&self, count: u64) {
        self.0.fetch_max(count as _, Ordering::Relaxed);
    }
}
