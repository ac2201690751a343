//! Frozen buffers of one class in the order in which they were frozen.

use alloc::collections::VecDeque;
use core::cmp::min;
use core::{iter, mem};

use crate::pool::shared::{Frozen, Slot};
use crate::sync::Unique;

/// Looks behind the first, at most, before storage is made: where buffers come back in no order, a line is about so
/// much longer than it must be that one in this many is free.
const MAX_SCAN: usize = 32;

/// Frozen buffers in the order in which they were frozen: the first is the likeliest to be free.
///
/// The first stands apart, so that a thread with one frozen buffer at a time, the most common case, does
/// not turn a ring for it.
#[derive(Default)]
pub(in crate::pool) struct FrozenQueue {
    first: Option<Frozen>,
    others: VecDeque<Frozen>,
    /// Of the others, where the next look behind the first begins.
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

    /// The first, if it is free again. Where buffers come back in the order in which they went, it is, or none; so the
    /// order is left as it is.
    #[inline]
    pub(in crate::pool) fn reclaim(&mut self, size: usize) -> Option<Unique<Slot>> {
        if self.first.as_mut()?.is_free(size) { self.pop().map(|frozen| frozen.0) } else { None }
    }

    /// A free one among the next few behind the first, for who would have to make storage: each time from where the
    /// last look ended, so that all are looked at in time. If there is one, the first is in its way, and goes to the back.
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

    /// Hands over the `count` oldest, of at least so many, the latest first.
    pub(in crate::pool) fn drain_oldest(
        &mut self,
        count: usize,
        to: impl FnOnce(&mut dyn Iterator<Item = Unique<Slot>>),
    ) {
        if count > 0 {
            let behind = self.others.drain(..count - 1).rev();
            to(&mut behind.chain(iter::once_with(|| self.first.take()).flatten()).map(|frozen| frozen.0));
            self.first = self.others.pop_front();
        }
    }
}
