//! The same names for a checker that schedules the threads itself: loom explores every interleaving of their operations,
//! shuttle runs random ones.
//!
//! The queue and the counted references are those that ship, and so is `bytes`: `loom-tests` builds all three from copies
//! whose atomics are loom's. For shuttle, each of their operations is one step.

use std::mem;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

#[cfg(millpond_loom)]
pub(crate) use loom as checker;
#[cfg(not(millpond_loom))]
pub(crate) use shuttle as checker;

use checker::sync::MutexGuard;

pub(crate) use checker::sync::Arc;
pub(crate) use crossbeam_queue::ArrayQueue as ClassQueue;
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

/// As std's, which the checkers do not see: a flag of theirs publishes the value, and a lock of theirs blocks.
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_set: atomic::AtomicUsize,
    making: Mutex<()>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        let is_set = atomic::AtomicUsize::new(0);
        Self { value: std::sync::OnceLock::new(), is_set, making: Mutex::default() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        // Ordering: Acquire, as in std, with the Release of `get_or_init`.
        if self.is_set.load(atomic::Ordering::Acquire) == 0 { None } else { self.value.get() }
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            let _making = self.making.lock();
            self.value.get_or_init(make);
            // Ordering: Release, as in std.
            self.is_set.store(1, atomic::Ordering::Release);
        }
        self.value.get_or_init(|| unreachable!("it is set"))
    }
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

/// Calls foreign code. Loom reports its panic; for shuttle there are wakers that panic.
pub(crate) fn contain(f: impl FnOnce()) {
    if cfg!(millpond_loom) {
        f();
    } else if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        mem::forget(payload); // as in `real`
    }
}
