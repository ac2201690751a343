//! A get that the hit path does not serve: it tests a connection, or waits for one.

use std::borrow::Cow;
use std::future::poll_fn;
use std::panic::Location;
use std::task::{Context, Poll};
use std::time::Duration;

use bb8::ManageConnection;
use tokio::time::{Instant, sleep, timeout};

use super::guard::PooledConnection;
use super::shared::{Conn, Shared};
use crate::connection::clock::now;
use crate::connection::core::{Held, Polled, Refusal, Ticket};
use crate::connection::error::{ConnectFailing, RunError};
use crate::connection::statistics::{Closed, Ended};
use crate::net::Backoff;
use crate::sync::Arc;

/// The longest that a test of a connection takes, so that one dead connection does not cost a get its whole time. HikariCP
/// gives it 5 s; a round trip takes less than 1 s anywhere.
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(2);

impl<M: ManageConnection> Shared<M> {
    /// Serves a get within its time, if need be with `first`, which needs a look.
    pub(super) async fn get_slowly<'a>(
        self: &'a Arc<Self>,
        first: Option<PooledConnection<'a, M>>,
        caller: &'static Location<'static>,
    ) -> Result<PooledConnection<'a, M>, RunError<M::Error>> {
        self.counters.on_slow_get();
        self.settle();
        let mut record = Record { shared: self, waits_since: None, ended: Ended::Cancelled };
        let limit = self.config.connection_timeout;
        let started = Instant::now();
        let outcome = timeout(limit, self.find(first, caller, &mut record.waits_since)).await;
        record.ended = match &outcome {
            Ok(Ok(_)) if record.waits_since.is_some() => Ended::Waited,
            Ok(Ok(_)) => Ended::Direct,
            Ok(Err(_)) => Ended::Refused,
            Err(_) => Ended::TimedOut,
        };
        match outcome {
            Ok(Ok(guard)) => Ok(guard),
            Ok(Err(Refusal::QueueFull)) => Err(RunError::PoolFull),
            Ok(Err(Refusal::Closed)) => Err(RunError::Closed),
            Ok(Err(Refusal::Failed)) | Err(_) => Err(match self.failure_since(started) {
                Some(last) => RunError::ConnectFailing(ConnectFailing { after: started.elapsed(), last }),
                None => RunError::TimedOut,
            }),
        }
    }

    /// Hands out what is at hand, unless it needs a test.
    pub(super) fn try_get_untested(
        self: &Arc<Self>,
        caller: &'static Location<'static>,
    ) -> Option<PooledConnection<'_, M>> {
        loop {
            let mut guard = match self.try_get(caller) {
                Ok(guard) => return Some(guard),
                Err(first) => first?,
            };
            let now = now();
            if let Some(reason) = self.reason_to_close(guard.conn(), now) {
                self.close_held(guard.into_held(), reason);
            } else if self.needs_test(now.saturating_sub(guard.conn().idle_since)) {
                // Not by a drop, which would make it look fresh.
                self.put(guard.into_held());
                return None;
            } else {
                self.counters.on_slow_get();
                self.counters.on_get_ended(Ended::Direct, None);
                self.on_checkout(&mut guard, caller, now);
                return Some(guard);
            }
        }
    }

    /// Finds a connection that may be handed out.
    async fn find<'a>(
        self: &'a Arc<Self>,
        first: Option<PooledConnection<'a, M>>,
        caller: &'static Location<'static>,
        waits_since: &mut Option<Instant>,
    ) -> Result<PooledConnection<'a, M>, Refusal> {
        let mut candidate = first;
        let mut delay = None;
        loop {
            let mut guard = match candidate.take() {
                Some(guard) => guard,
                None => {
                    let held = match self.core.try_get() {
                        Some((held, _)) => held,
                        None => {
                            // One that was given a dead connection has waited its turn.
                            let is_first = waits_since.is_some();
                            waits_since.get_or_insert_with(Instant::now);
                            Waiter { shared: self, ticket: None, is_first }.held().await?
                        }
                    };
                    PooledConnection::new(Cow::Borrowed(self), held)
                }
            };
            let is_new = guard.conn().is_new(now());
            if let Some(guard) = self.examine(guard, caller).await {
                return Ok(guard);
            }
            if is_new {
                // As after a failed connect: the server accepts connections and does not serve them.
                let pause = Backoff::default().after(delay);
                delay = Some(pause);
                sleep(Backoff::with_jitter(pause)).await;
            }
        }
    }

    /// Looks whether a connection may be handed out, and closes it if not.
    async fn examine<'a>(
        self: &Arc<Self>,
        mut guard: PooledConnection<'a, M>,
        caller: &'static Location<'static>,
    ) -> Option<PooledConnection<'a, M>> {
        let now = now();
        if let Some(reason) = self.reason_to_close(guard.conn(), now) {
            self.close_held(guard.into_held(), reason);
            return None;
        }
        if self.needs_test(now.saturating_sub(guard.conn().idle_since)) {
            // Cancel safety: a connection whose test has not ended is closed, since the answer may still come.
            guard.set_in_doubt(true);
            let limit = VALIDATION_TIMEOUT.min(self.config.connection_timeout / 2);
            match timeout(limit, self.manager.is_valid(&mut guard.conn().connection)).await {
                Ok(Ok(())) => guard.set_in_doubt(false),
                Ok(Err(error)) => {
                    self.close_held(guard.into_held(), Closed::Invalid);
                    self.sink(error);
                    return None;
                }
                Err(_) => {
                    self.close_held(guard.into_held(), Closed::Invalid);
                    return None;
                }
            }
        }
        self.on_checkout(&mut guard, caller, now);
        Some(guard)
    }

    /// What follows when a connection that was looked at is handed out.
    fn on_checkout(
        self: &Arc<Self>,
        guard: &mut PooledConnection<'_, M>,
        caller: &'static Location<'static>,
        now: u64,
    ) {
        if !guard.conn().was_used {
            guard.conn().was_used = true;
            self.counters.on_new();
        }
        if let Some(facts) = self.core.facts(guard.held()) {
            facts.on_checkout(caller, now);
        }
        if self.core.may_want_connect() {
            self.drive();
        }
    }
}

/// Counts how a get ended, also if it is cancelled.
struct Record<'a, M: ManageConnection> {
    shared: &'a Shared<M>,
    waits_since: Option<Instant>,
    ended: Ended,
}

impl<M: ManageConnection> Drop for Record<'_, M> {
    fn drop(&mut self) {
        self.shared.counters.on_get_ended(self.ended, self.waits_since.map(|since| since.elapsed()));
    }
}

/// A place in the queue, which is left when this is dropped. Nothing that was granted to it is lost.
struct Waiter<'a, M: ManageConnection> {
    shared: &'a Arc<Shared<M>>,
    ticket: Option<Ticket>,
    is_first: bool,
}

impl<M: ManageConnection> Waiter<'_, M> {
    async fn held(mut self) -> Result<Held<Conn<M::Connection>>, Refusal> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Held<Conn<M::Connection>>, Refusal>> {
        let ticket = match &mut self.ticket {
            Some(ticket) => ticket,
            None => match self.shared.core.join(cx.waker().clone(), self.is_first) {
                Ok(ticket) => self.ticket.insert(ticket),
                Err(refusal) => return Poll::Ready(Err(refusal)),
            },
        };
        match self.shared.core.poll(ticket, cx.waker()) {
            Polled::Granted(held) => {
                self.ticket = None;
                Poll::Ready(Ok(held))
            }
            Polled::Closed => Poll::Ready(Err(Refusal::Closed)),
            Polled::Failed => Poll::Ready(Err(Refusal::Failed)),
            Polled::Waiting => {
                // Each time, since the runtime that connected for this waiter may be gone.
                self.shared.drive();
                Poll::Pending
            }
        }
    }
}

impl<M: ManageConnection> Drop for Waiter<'_, M> {
    fn drop(&mut self) {
        if let Some(conn) = self.ticket.take().and_then(|ticket| self.shared.core.leave(ticket)) {
            self.shared.close_surplus(conn);
        }
    }
}
