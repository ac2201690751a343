//! The same names for a checker that schedules the threads itself: loom explores every interleaving of their operations,
//! shuttle runs random ones.
//!
//! The queue and the counted references are those that ship, and so is `bytes`: `loom-tests` builds all three from copies
//! whose atomics are loom's. For shuttle, each of their operations is one step.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

#[cfg(millpond_loom)]
pub(crate) use loom as checker;
#[cfg(not(millpond_loom))]
pub(crate) use shuttle as checker;

use checker::sync::MutexGuard;

pub(crate) use checker::sync::Arc;
pub(crate) use std::sync::OnceLock;
pub(crate) use triomphe::{Arc as Shared, UniqueArc as Unique};

/// Loom creates thread locals at their first use, so its macro does not accept `const` blocks.
macro_rules! model_thread_local {
    (static $name:ident: $type:ty = const { $init:expr };) => {
        $crate::sync::checker::thread_local! { static $name: $type = $init; }
    };
}
pub(crate) use model_thread_local as thread_local;

pub(crate) mod atomic {
    pub(crate) use super::checker::sync::atomic::{AtomicUsize, Ordering, fence};
}

#[derive(Default)]
pub(crate) struct Mutex<T>(checker::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(checker::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A checker destroys thread locals in its own order, so here each has its destructor.
pub(crate) struct Undropped<T>(T);

impl<T> Undropped<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Undropped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Loom treats `SeqCst` accesses as acquire and release ones, but knows the fence.
pub(crate) fn order_store_before_load() {
    atomic::fence(atomic::Ordering::SeqCst);
}

/// Calls foreign code. Loom reports its panic; for shuttle there are wakers that panic.
pub(crate) fn contain(f: impl FnOnce()) {
    if cfg!(millpond_loom) {
        f();
    } else if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        drop(payload);
    }
}
