//! Counters of each thread, the snapshot that users read, and the classes that it suggests.
//!
//! A metric exporter would read these snapshots, and those of `net`, `bus` and `relay`, in a layer above all of them:
//! see `lib.rs`.

mod counters;
mod snapshot;
mod suggest;

#[cfg(feature = "std")]
pub(in crate::pool) use self::counters::ClassCounters;
pub(in crate::pool) use self::counters::{ClassTotals, Counters, Totals};
pub use self::snapshot::{BufferPoolStats, ClassStats, RequestedSize};
pub use self::suggest::Suggestion;
