use alloc::collections::VecDeque;
use core::mem;

use super::slot::Parked;

/// Frozen buffers in the order in which they were frozen: the first is the likeliest to be free.
///
/// The first stands apart, so that a thread with one frozen buffer at a time, the most common case, does
/// not turn a ring for it.
#[derive(Default)]
pub(super) struct Line {
    first: Option<Parked>,
    others: VecDeque<Parked>,
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
}
