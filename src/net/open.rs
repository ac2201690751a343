//! The tasks of the connections of one accept loop.

use std::task::{Context, Poll};

use tokio::task::JoinSet;

use super::places::Places;
use super::runtimes::Runtimes;
use crate::sync::Arc;

/// Open connections, each with a place, and on one of the runtimes. Dropped, it aborts them.
pub(super) struct OpenConnections {
    places: Arc<Places>,
    runtimes: Runtimes,
    /// By runtime.
    tasks: Vec<JoinSet<()>>,
    open: usize,
    aborted: u64,
}

impl OpenConnections {
    pub(super) fn new(places: Arc<Places>, runtimes: Runtimes) -> Self {
        let tasks = (0..runtimes.len()).map(|_| JoinSet::new()).collect();
        Self { places, runtimes, tasks, open: 0, aborted: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// Runs a connection for which a place was taken.
    pub(super) fn spawn(&mut self, index: usize, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(tasks) = self.tasks.get_mut(index) else { return };
        match self.runtimes.handle(index) {
            Some(handle) => tasks.spawn_on(connection, handle),
            None => tasks.spawn(connection),
        };
        self.runtimes.add(index);
        self.open += 1;
    }

    /// Waits until one ends. Never, if there is none.
    pub(super) async fn ended(&mut self) {
        std::future::poll_fn(|cx| self.poll_ended(cx)).await;
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for (index, tasks) in self.tasks.iter_mut().enumerate() {
            if let Poll::Ready(Some(ended)) = tasks.poll_join_next(cx) {
                self.aborted += u64::from(ended.is_err_and(|error| error.is_cancelled()));
                self.open -= 1;
                self.runtimes.remove(index, 1);
                self.places.give_back(1);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    pub(super) async fn all_ended(&mut self) {
        while self.open > 0 {
            self.ended().await;
        }
    }

    /// Aborts all. Returns how many were aborted: one may still end by itself.
    pub(super) async fn abort(mut self) -> u64 {
        self.tasks.iter_mut().for_each(JoinSet::abort_all);
        self.all_ended().await;
        self.aborted
    }
}

impl Drop for OpenConnections {
    fn drop(&mut self) {
        for (index, tasks) in self.tasks.iter().enumerate() {
            self.runtimes.remove(index, tasks.len());
        }
        self.places.give_back(self.open);
    }
}
