//! The twin of `coop` without tokio: no task has a budget.

use core::task::{Context, Poll};

pub(super) struct Proceed;

impl Proceed {
    pub(super) fn made_progress(&self) {}
}

pub(super) fn poll_proceed(_context: &mut Context<'_>) -> Poll<Proceed> {
    Poll::Ready(Proceed)
}
