//! The frozen buffers of one class that one thread follows.

use alloc::collections::VecDeque;
use core::cmp::min;
use core::{iter, mem};

use crate::pool::shared::{Frozen, Slot};
use crate::sync::Unique;

/// The most buffers looked at after the first, before storage is allocated. Where views are dropped in no order, the
/// queue grows until about one buffer in this many is free.
const MAX_SCAN: usize = 32;

/// Frozen buffers in the order in which they were frozen: the first is the most likely to be free.
///
/// The first is kept apart, so that a thread with one frozen buffer at a time, the most common case, does not touch the
/// ring buffer.
#[derive(Default)]
pub(in crate::pool) struct FrozenQueue {
    first: Option<Frozen>,
    others: VecDeque<Frozen>,
    /// Index in `others` where the next scan starts.
    cursor: usize,
}

impl FrozenQueue {
    pub(in crate::pool) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    #[inline]
    pub(in crate::pool) fn push(&mut self, frozen: Frozen) {
        if self.first.is_none() {
            self.first = Some(frozen); // the others are empty then
        } else {
            self.others.push_back(frozen);
        }
    }

    #[inline]
    pub(in crate::pool) fn pop(&mut self) -> Option<Frozen> {
        let next = if self.others.is_empty() { None } else { self.others.pop_front() };
        mem::replace(&mut self.first, next)
    }

    /// Pops the first if it is free. Where views are dropped in order, either the first is free or none is, so the order
    /// stays.
    #[inline]
    pub(in crate::pool) fn reclaim(&mut self, size: usize) -> Option<Unique<Slot>> {
        if self.first.as_mut()?.is_free(size) { self.pop().map(|frozen| frozen.0) } else { None }
    }

    /// Pops a free one among the next [`MAX_SCAN`] after the first, for a caller that would allocate otherwise.
    ///
    /// Each scan continues where the last one ended, so that all are looked at in time. If one is free, the first is
    /// held for longer than it, and moves to the back.
    pub(in crate::pool) fn reclaim_after_first(&mut self, size: usize) -> Option<Unique<Slot>> {
        for _ in 0..min(self.others.len(), MAX_SCAN) {
            let at = if self.cursor < self.others.len() { self.cursor } else { 0 };
            self.cursor = at + 1;
            if self.others.get_mut(at)?.is_free(size) {
                let free = self.others.remove(at);
                self.cursor = at;
                if let Some(first) = self.pop() {
                    self.push(first);
                }
                return free.map(|frozen| frozen.0);
            }
        }
        None
    }

    /// Passes the `count` oldest to `to`, the latest of them first. There must be at least that many.
    pub(in crate::pool) fn drain_oldest(
        &mut self,
        count: usize,
        to: impl FnOnce(&mut dyn Iterator<Item = Unique<Slot>>),
    ) {
        if count > 0 {
            let rest = self.others.drain(..count - 1).rev();
            to(&mut rest.chain(iter::once_with(|| self.first.take()).flatten()).map(|frozen| frozen.0));
            self.first = self.others.pop_front();
        }
    }
}
