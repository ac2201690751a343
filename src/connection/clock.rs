//! The clock of pools: milliseconds, read in a few nanoseconds.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The kernel updates it every 1 to 10 ms, and a read takes a fifth of that of the exact clock, which would be most of a
/// checkout.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::MonotonicCoarse;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Never.
pub(super) const NEVER: u64 = u64::MAX;

/// Now, in milliseconds.
#[inline]
pub(super) fn now() -> u64 {
    let now = clock_gettime(CLOCK);
    now.tv_sec.cast_unsigned().saturating_mul(1_000).saturating_add(now.tv_nsec.cast_unsigned() / 1_000_000)
}

/// Rounded up, so that no limit is 0, which nothing could keep.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
