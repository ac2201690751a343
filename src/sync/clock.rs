//! Elapsed time, which is always zero without std.

use core::time::Duration;

#[cfg(feature = "std")]
pub(crate) struct Stopwatch(std::time::Instant);

/// Without std there is no clock.
#[cfg(not(feature = "std"))]
pub(crate) struct Stopwatch;

#[cfg(not(feature = "std"))]
impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

#[cfg(feature = "std")]
impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
