//! Without std: alloc's `Arc`, and a spin lock where a lock is needed. There are no threads' own caches here.

pub(crate) use alloc::sync::Arc;

pub(crate) use triomphe::{Arc as Shared, UniqueArc as Unique};

pub(crate) use crossbeam_queue::ArrayQueue as ClassQueue;

pub(crate) mod atomic {
    pub(crate) use core::sync::atomic::{AtomicUsize, Ordering, fence};
}

/// Every critical section under it is short and bounded; none allocates but the line of waiters.
#[derive(Default)]
pub(crate) struct Mutex<T>(spin::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> spin::MutexGuard<'_, T> {
        self.0.lock()
    }
}
