//! The same names from loom, whose scheduler explores every interleaving of their operations.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use loom::sync::MutexGuard;

pub(crate) use loom::sync::Arc;

/// Loom's thread locals are made when they are first used, so its macro knows no `const` blocks.
macro_rules! model_thread_local {
    (static $name:ident: $type:ty = const { $init:expr };) => {
        loom::thread_local! { static $name: $type = $init; }
    };
}
pub(crate) use model_thread_local as thread_local;

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering, fence};
}

#[derive(Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loom ends a thread's locals in an order of its own, so here each must look after itself.
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

/// A counted reference, as triomphe's: whether it is the only one is an Acquire load.
pub(crate) struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    pub(crate) fn is_unique(this: &Self) -> bool {
        Arc::strong_count(&this.0) == 1
    }

    pub(crate) fn get_mut(this: &mut Self) -> Option<&mut T> {
        Arc::get_mut(&mut this.0)
    }

    pub(crate) fn try_unique(mut this: Self) -> Result<Unique<T>, Self> {
        if Self::get_mut(&mut this).is_some() { Ok(Unique(this)) } else { Err(this) }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The only reference.
pub(crate) struct Unique<T>(Shared<T>);

impl<T> Unique<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Shared(Arc::new(value)))
    }

    pub(crate) fn shareable(self) -> Shared<T> {
        self.0
    }
}

impl<T> Deref for Unique<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Unique<T> {
    fn deref_mut(&mut self) -> &mut T {
        match Shared::get_mut(&mut self.0) {
            Some(value) => value,
            None => unreachable!("it is the only reference"),
        }
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
