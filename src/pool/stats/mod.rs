//! Counters of each thread, the snapshot that users read, its metrics, and the classes that it suggests.

mod counters;
mod metrics;
mod snapshot;
mod suggest;

#[cfg(feature = "std")]
pub(in crate::pool) use self::counters::ClassCounters;
pub(in crate::pool) use self::counters::{ClassTotals, Counters, Totals};
pub use self::snapshot::{BufferPoolStats, ClassStats, RequestedSize};
pub use self::suggest::Suggestion;
