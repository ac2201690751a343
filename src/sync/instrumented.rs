//! std's mutex as the thread sanitizer can see it: std is not instrumented, so the order of two owners is shown by an atomic.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Default)]
pub(crate) struct Mutex<T> {
    mutex: std::sync::Mutex<T>,
    unlocks: AtomicUsize,
}

pub(crate) struct MutexGuard<'a, T> {
    guard: std::sync::MutexGuard<'a, T>,
    unlocks: &'a AtomicUsize,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { mutex: std::sync::Mutex::new(value), unlocks: AtomicUsize::new(0) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.unlocks.load(Ordering::Acquire);
        MutexGuard { guard, unlocks: &self.unlocks }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.unlocks.store(1, Ordering::Release); // before the field unlocks
    }
}
