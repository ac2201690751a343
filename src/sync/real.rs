//! The primitives that users run: std's, and crossbeam's bounded lock-free queue.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(not(millpond_tsan))]
use std::sync::{MutexGuard, PoisonError};

#[cfg(millpond_tsan)]
pub(crate) use super::instrumented::Mutex;

/// A thread local of this type has no destructor, so an access need not check whether it was destroyed. Another thread
/// local must empty it when the thread exits.
pub(crate) use std::mem::ManuallyDrop as Undropped;
#[cfg(any(feature = "connection", feature = "relay"))]
pub(crate) use std::sync::Weak;
pub(crate) use std::sync::{Arc, OnceLock};
pub(crate) use std::thread_local;

/// A counted reference without weak ones, so that the check for the only reference takes a load, not a locked
/// instruction. And the same when it is known to be the only one, which allows writing.
pub(crate) use triomphe::{Arc as Shared, UniqueArc as Unique};

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicUsize, Ordering, fence};
}

/// A mutex without poisoning: every critical section of this crate keeps its data valid at each point where it could
/// unwind.
#[cfg(not(millpond_tsan))]
#[derive(Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

#[cfg(not(millpond_tsan))]
impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls foreign code whose panic must not pass through the pool. The panic hook has reported it.
pub(crate) fn contain(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // Its drop may panic again.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(payload);
        }
    }
}

/// Stands between a `SeqCst` write and a `SeqCst` load of another place. Nothing is to do: all threads agree on the order of
/// these accesses.
#[cfg(any(feature = "connection", millpond_tsan))]
#[inline(always)]
pub(crate) fn order_store_before_load() {}
