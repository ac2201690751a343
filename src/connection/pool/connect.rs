//! A connect: a task of the pool's, which no cancelled get aborts.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use bb8::ManageConnection;
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument, Span};

use super::shared::{Customizer, Shared};
use crate::connection::core::Attempt;
use crate::connection::statistics::ConnectFailure;
use crate::net::SmallSpan;
use crate::policy::{self, Backoff, Outcome};
use crate::sync::{Arc, Weak, contain};

impl<M: ManageConnection> Shared<M> {
    /// Opens a connection, and tries again while it fails and somebody needs it.
    pub(super) fn connect(self: &Arc<Self>, attempt: Attempt) -> impl Future<Output = ()> + Send + use<M> {
        let permit = Permit { shared: Arc::downgrade(self), attempt: Some(attempt), asked: None };
        let (manager, customizer) = (Arc::clone(&self.manager), self.customizer.clone());
        let closing = self.closing.clone();
        let limit = self.config.connection_timeout;
        // The first attempt belongs to what asks for it, which need not wait for the others.
        let asks = SmallSpan::from(Span::current());
        async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = permit.use_up(&manager, customizer.as_deref(), limit, asks) => {}
            }
        }
    }

    /// The delays between connects that fail.
    pub(super) fn backoff(&self) -> Backoff {
        let backoff = Backoff::default();
        // So that a get sees more than one attempt.
        let max = backoff.max.min(self.config.connection_timeout / 2);
        self.config.backoff.unwrap_or(backoff.max(max))
    }

    /// A new connection, outside of the pool.
    pub(super) async fn connect_once(
        &self,
        connect: impl Future<Output = Result<M::Connection, M::Error>>,
    ) -> Result<M::Connection, M::Error> {
        customized::<M>(connect, self.customizer.as_deref()).await
    }
}

/// The permission to connect. Dropped, it gives its slot back, and lets the waiters ask for another attempt.
struct Permit<M: ManageConnection> {
    shared: Weak<Shared<M>>,
    attempt: Option<Attempt>,
    /// The breaker's permission, while the connect is under way.
    asked: Option<policy::Permit>,
}

impl<M: ManageConnection> Permit<M> {
    async fn use_up(
        mut self,
        manager: &M,
        customizer: Option<&Customizer<M>>,
        limit: Duration,
        mut asks: SmallSpan,
    ) {
        let mut delay = None;
        while self.may_begin() {
            let started = Instant::now();
            // A manager may panic before it returns a future.
            let connect = async { manager.connect().await };
            let connect = customized::<M>(connect, customizer).instrument(asks.take());
            let outcome = caught(timeout(limit, connect)).await;
            // The pool may be gone: then the connection is, too.
            let Some(shared) = self.shared.upgrade() else { return };
            let ended = match &outcome {
                Some(Ok(Ok(_))) => Outcome::Success,
                Some(Err(_)) => Outcome::Timeout,
                Some(Ok(Err(error))) => (shared.outcome_of)(error),
                None => Outcome::Failure,
            };
            shared.tell_breaker(self.asked.take(), ended);
            if let Some(rank) = &shared.rank {
                rank.on_connect_ended(started.elapsed(), ended);
            }
            match outcome {
                Some(Ok(Ok(connection))) => {
                    let Some(attempt) = self.attempt.take() else { return };
                    shared.on_connected(started.elapsed());
                    if let Some(conn) = shared.core.connected(attempt, shared.conn(connection)) {
                        shared.close_surplus(conn);
                    }
                    shared.drive();
                    shared.progress.notify_waiters();
                    return;
                }
                Some(Ok(Err(error))) => shared.on_connect_error(error),
                Some(Err(_)) => {
                    let text = format!("no answer within {limit:?}");
                    shared.on_connect_failed(ConnectFailure::TimedOut, text, None);
                }
                None => {
                    let text = "the manager panicked".to_owned();
                    shared.on_connect_failed(ConnectFailure::Panicked, text, None);
                }
            }
            let Some(attempt) = self.attempt.take() else { return };
            self.attempt = shared.core.failed(attempt, shared.config.retry_connection);
            if self.attempt.is_none() {
                // Not also for the idle connections, which would be tried again without a pause.
                if shared.core.lacks_attempts() {
                    shared.drive();
                }
                shared.emptied.notify_waiters();
                return;
            }
            if shared.holds_connects() {
                break;
            }
            let pause = shared.backoff().after(delay);
            drop(shared);
            delay = Some(pause);
            sleep(Backoff::with_jitter(pause)).await;
            let Some(shared) = self.shared.upgrade() else { return };
            if !shared.core.is_connect_wanted() {
                break;
            }
        }
        let Some(shared) = self.shared.upgrade() else { return };
        drop(self);
        // One that began to wait in the meantime was refused an attempt.
        shared.drive();
    }

    fn may_begin(&mut self) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        let Some(breaker) = &shared.breaker else { return true };
        self.asked = breaker.ask();
        self.asked.is_some()
    }
}

impl<M: ManageConnection> Drop for Permit<M> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.tell_breaker(self.asked.take(), Outcome::Cancelled);
        let Some(attempt) = self.attempt.take() else { return };
        shared.core.abandon(attempt);
        shared.core.wake_waiters();
        shared.emptied.notify_waiters();
    }
}

async fn customized<M: ManageConnection>(
    connect: impl Future<Output = Result<M::Connection, M::Error>>,
    customizer: Option<&Customizer<M>>,
) -> Result<M::Connection, M::Error> {
    let mut connection = connect.await?;
    if let Some(customizer) = customizer {
        customizer.on_acquire(&mut connection).await?;
    }
    Ok(connection)
}

/// The output of a future, or `None` if it panics. The panic hook has reported it.
pub(in crate::connection) async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let output = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(payload) => {
            // Its drop may panic again.
            contain(|| drop(payload));
            Poll::Ready(None)
        }
    })
    .await;
    // The connect that has taken too long is dropped here, not where it would end the task.
    contain(|| drop(future));
    output
}
