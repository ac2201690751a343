//! What users run: std's primitives, and crossbeam's bounded lock-free queue.

use std::sync::{MutexGuard, PoisonError};

pub(crate) use std::sync::Arc;
pub(crate) use std::thread_local;

pub(crate) use crossbeam_queue::ArrayQueue as ClassQueue;

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
}

/// A mutex without poisoning: every critical section of this crate leaves its data whole at each point
/// where it could unwind.
#[derive(Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Access without a lock, proven exclusive by `&mut`.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}
