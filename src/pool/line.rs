use alloc::collections::VecDeque;
use core::cmp::min;
use core::{iter, mem};

use super::core::PARKED_SCAN;
use super::slot::{Parked, Slot};
use crate::sync::Unique;

/// Misses until those in front are taken to be kept for long.
const STUCK: u8 = 16;

/// Frozen buffers in the order in which they were frozen: the first is the likeliest to be free.
///
/// The first stands apart, so that a thread with one frozen buffer at a time, the most common case, does
/// not turn a ring for it.
#[derive(Default)]
pub(super) struct Line {
    first: Option<Parked>,
    others: VecDeque<Parked>,
    /// Since a free one was found.
    misses: u8,
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

    /// One that is free again. Where buffers come back in the order in which they went, the first is, or none: so after
    /// a look at a few more it alone is looked at, until somebody deals with those [in the way](Self::in_the_way).
    #[inline]
    pub(super) fn reclaim(&mut self, size: usize) -> Option<Unique<Slot>> {
        if self.first.as_mut()?.is_free(size) {
            self.misses = 0;
            return self.pop().map(|parked| parked.0);
        }
        self.look_further(size)
    }

    #[cold]
    fn look_further(&mut self, size: usize) -> Option<Unique<Slot>> {
        if self.misses == 0 {
            let free = self.others.iter_mut().take(PARKED_SCAN).position(|parked| parked.is_free(size));
            if let Some(at) = free {
                return self.others.remove(at).map(|parked| parked.0);
            }
        }
        self.misses = min(self.misses + 1, STUCK);
        None
    }

    /// How many of the oldest hide the others, as they are kept for long. To be asked once for each time they are.
    pub(super) fn in_the_way(&mut self) -> usize {
        if self.misses < STUCK {
            return 0;
        }
        self.misses = 0;
        min(self.len(), PARKED_SCAN)
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
