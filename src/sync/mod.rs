//! The only door to atomics, `Arc`, `Mutex`, thread locals and the class queue.
//!
//! ```text
//!                 ┌─ real.rs   std, crossbeam and triomphe, what users run
//!  crate::sync ───┼─ bare.rs   the same without std: alloc and a spin lock
//!                 └─ model.rs  the same names from a checker: `--cfg millpond_loom`, `--cfg millpond_shuttle`
//! ```
//!
//! Everything above names these types only through this module, so the models in `loom-tests` check
//! the very code that ships, and with it copies of `bytes`, `crossbeam-queue` and `triomphe` whose atomics are
//! loom's. `tests/layering.rs` keeps the rule; clippy's `disallowed-types` cannot, as it looks through
//! re-exports and would refuse these as well.
//!
//! Absent on purpose: any unsafe code, and any logic of the pool.

mod clock;
mod count;
pub(crate) use clock::Stopwatch;
pub(crate) use count::Count;

/// Atomics of numbers that are reported, and of hints that may be late: no memory and no count hangs on them, so the
/// models do not explore their orders.
pub(crate) mod statistic {
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
}

#[cfg(all(not(any(millpond_loom, millpond_shuttle)), not(feature = "std")))]
mod bare;
#[cfg(all(not(any(millpond_loom, millpond_shuttle)), not(feature = "std")))]
pub(crate) use bare::{Arc, ClassQueue, Mutex, Shared, Unique, atomic};

#[cfg(all(not(any(millpond_loom, millpond_shuttle)), feature = "std"))]
mod real;
#[cfg(all(not(any(millpond_loom, millpond_shuttle)), feature = "std"))]
pub(crate) use real::{Arc, ClassQueue, Mutex, Shared, Undropped, Unique, atomic, thread_local};

#[cfg(any(millpond_loom, millpond_shuttle))]
mod model;
#[cfg(any(millpond_loom, millpond_shuttle))]
pub(crate) use model::{Arc, ClassQueue, Mutex, Shared, Undropped, Unique, atomic, checker, thread_local};
