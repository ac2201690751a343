//! The connection limit of one or several accept loops.

use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::sync::Notify;

use crate::sync::statistic::{AtomicUsize, Ordering};

/// Places for connections. Each open one has one, whichever accept loop it came through.
///
/// Ordering: Relaxed throughout. The number guards no memory, and both operations on it are atomic. A loop that finds no
/// place waits for `freed`, whose lock orders the two.
#[derive(Debug)]
pub(crate) struct Places {
    most: AtomicUsize,
    taken: AtomicUsize,
    freed: Notify,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: AtomicUsize::new(most), taken: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Changes the limit. Connections beyond a lower one stay open.
    #[cfg(feature = "relay")]
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    pub(super) fn try_take(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let take = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    pub(super) fn give_back(&self, places: usize) {
        if places > 0 {
            self.taken.fetch_sub(places, Ordering::Relaxed);
            // All of them: the first loop with a client for it takes the place.
            self.freed.notify_waiters();
        }
    }

    /// Takes a place for what `poll` returns. While `poll` is pending it holds none, so that no loop without clients keeps a
    /// place from one with some.
    pub(super) async fn take_for<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let mut freed = pin!(self.freed.notified());
        std::future::poll_fn(|cx| {
            loop {
                if self.try_take() {
                    let polled = poll(cx);
                    if polled.is_pending() {
                        self.give_back(1);
                    }
                    return polled;
                }
                ready!(freed.as_mut().poll(cx));
                // Before the next look at the number: it learns of each place that is freed after this line.
                freed.set(self.freed.notified());
            }
        })
        .await
    }

    /// Waits until a place is taken.
    pub(super) async fn take(&self) {
        self.take_for(|_| Poll::Ready(())).await;
    }
}
