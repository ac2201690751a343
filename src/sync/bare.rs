//! Without std: alloc's `Arc` and a spin lock. There are no thread locals.

pub(crate) use alloc::sync::Arc;

pub(crate) use triomphe::{Arc as Shared, UniqueArc as Unique};

pub(crate) mod atomic {
    pub(crate) use core::sync::atomic::{AtomicUsize, Ordering, fence};
}

/// A value that is made when it is first needed.
pub(crate) struct OnceLock<T>(spin::Once<T>);

impl<T> OnceLock<T> {
    pub(crate) const fn new() -> Self {
        Self(spin::Once::new())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get()
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.0.call_once(make)
    }
}

/// A spin lock. Every critical section is short and bounded; only the queue of waiters allocates in one.
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

/// Calls foreign code. Without std no panic can be caught.
pub(crate) fn contain(f: impl FnOnce()) {
    f();
}
