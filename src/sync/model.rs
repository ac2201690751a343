//! The same names from loom, whose scheduler explores every interleaving of their operations.

use std::collections::VecDeque;
use std::sync::PoisonError;

use loom::sync::MutexGuard;

pub(crate) use loom::sync::Arc;
pub(crate) use loom::thread_local;

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
}

pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands in for `crossbeam_queue::ArrayQueue`, whose atomics loom cannot see: a bounded queue whose
/// operations are atomic, which is what the real one promises.
pub(crate) struct ClassQueue<T> {
    items: Mutex<VecDeque<T>>,
    capacity: usize,
}

impl<T> ClassQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { items: Mutex::new(VecDeque::new()), capacity }
    }

    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock();
        if items.len() == self.capacity {
            return Err(item);
        }
        items.push_back(item);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.items.lock().pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.lock().len()
    }
}
