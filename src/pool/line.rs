use alloc::collections::VecDeque;
use core::cmp::min;
use core::{iter, mem};

use super::slot::{Parked, Slot};
use crate::sync::Unique;

/// Looks behind the first, at most, before storage is made: where buffers come back in no order, a line is about so
/// much longer than it must be that one in this many is free.
const LOOKS: usize = 32;

/// Frozen buffers in the order in which they were frozen: the first is the likeliest to be free.
///
/// The first stands apart, so that a thread with one frozen buffer at a time, the most common case, does
/// not turn a ring for it.
#[derive(Default)]
pub(super) struct Line {
    first: Option<Parked>,
    others: VecDeque<Parked>,
    /// Of the others, where the next look behind the first begins.
    cursor: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    #[inline]
    pub(super) fn push(&mut self, parked: Parked) {
        if self.first.is_none() {
            self.first = Some(parked); // the others are empty then
        } else {
            self.others.push_back(parked);
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Parked> {
        let next = if self.others.is_empty() { None } else { self.others.pop_front() };
        mem::replace(&mut self.first, next)
    }

    /// The first, if it is free again. Where buffers come back in the order in which they went, it is, or none; so the
    /// order is left as it is.
    #[inline]
    pub(super) fn reclaim(&mut self, size: usize) -> Option<Unique<Slot>> {
        if self.first.as_mut()?.is_free(size) { self.pop().map(|parked| parked.0) } else { None }
    }

    /// A free one among the next few behind the first, for who would have to make storage: each time from where the
    /// last look ended, so that all are looked at in time. If there is one, the first is in its way, and goes to the back.
    pub(super) fn reclaim_behind(&mut self, size: usize) -> Option<Unique<Slot>> {
        for _ in 0..min(self.others.len(), LOOKS) {
            let at = if self.cursor < self.others.len() { self.cursor } else { 0 };
            self.cursor = at + 1;
            if self.others.get_mut(at)?.is_free(size) {
                let free = self.others.remove(at);
                self.cursor = at;
                if let Some(first) = self.pop() {
                    self.push(first);
                }
                return free.map(|parked| parked.0);
            }
        }
        None
    }

    /// Hands over the `count` oldest, of at least so many, the latest first.
    pub(super) fn give_oldest(
        &mut self,
        count: usize,
        to: impl FnOnce(&mut dyn Iterator<Item = Unique<Slot>>),
    ) {
        if count > 0 {
            let behind = self.others.drain(..count - 1).rev();
            to(&mut behind.chain(iter::once_with(|| self.first.take()).flatten()).map(|parked| parked.0));
            self.first = self.others.pop_front();
        }
    }
}
