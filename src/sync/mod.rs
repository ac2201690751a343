//! The only module that names atomics, `Arc`, `Mutex`, thread locals and the class queue.
//!
//! ```text
//!                 ┌─ real.rs   std, crossbeam and triomphe: what users run
//!  crate::sync ───┼─ bare.rs   the same without std: alloc and a spin lock
//!                 └─ model.rs  the same names for a checker: `--cfg millpond_loom`, `--cfg millpond_shuttle`
//! ```
//!
//! All other layers name these types through this module only. So the models in `loom-tests` check the code that ships,
//! together with copies of `bytes`, `crossbeam-queue` and `triomphe` whose atomics are loom's. `tests/layering.rs` checks
//! the rule. Clippy's `disallowed-types` cannot: it looks through re-exports, and would reject these as well.
//!
//! Absent on purpose: unsafe code, logic of the pools.

#[cfg(any(feature = "connection", millpond_loom, millpond_shuttle, millpond_tsan))]
mod cell;
mod clock;
mod count;
mod queue;
#[cfg(any(feature = "connection", millpond_loom, millpond_shuttle, millpond_tsan))]
pub(crate) use cell::UnsafeCell;
pub(crate) use clock::Stopwatch;
pub(crate) use count::Count;
pub(crate) use queue::ClassQueue;

/// Atomics for reported numbers and for hints that may be stale. They guard no memory, or a lock does as well, so the models do
/// not explore their orders.
pub(crate) mod statistic {
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
    /// Without read-modify-write: for numbers that one thread at a time writes. Some targets have no 64-bit atomics.
    #[cfg(any(
        feature = "connection",
        feature = "relay",
        millpond_loom,
        millpond_shuttle,
        millpond_tsan
    ))]
    pub(crate) use crossbeam_utils::atomic::AtomicCell;
}

#[cfg(all(not(any(millpond_loom, millpond_shuttle)), not(feature = "std")))]
mod bare;
#[cfg(all(not(any(millpond_loom, millpond_shuttle)), not(feature = "std")))]
pub(crate) use bare::{Arc, Mutex, OnceLock, Shared, Unique, atomic, contain};

#[cfg(millpond_tsan)]
mod instrumented;
#[cfg(all(not(any(millpond_loom, millpond_shuttle)), feature = "std"))]
mod real;
#[cfg(all(not(any(millpond_loom, millpond_shuttle)), any(feature = "connection", feature = "relay")))]
pub(crate) use real::Weak;
#[cfg(all(not(any(millpond_loom, millpond_shuttle)), any(feature = "connection", millpond_tsan)))]
pub(crate) use real::order_store_before_load;
#[cfg(all(not(any(millpond_loom, millpond_shuttle)), feature = "std"))]
pub(crate) use real::{Arc, Mutex, OnceLock, Shared, Undropped, Unique, atomic, contain, thread_local};

#[cfg(any(millpond_loom, millpond_shuttle))]
mod model;
#[cfg(any(millpond_loom, millpond_shuttle))]
pub(crate) use model::{
    Arc, Mutex, OnceLock, Shared, Undropped, Unique, atomic, checker, contain, order_store_before_load,
    thread_local,
};
