//! A get that the hit path does not serve: it tests a connection, or waits for one.

use std::future::poll_fn;
use std::panic::Location;
use std::task::{Context, Poll};
use std::time::Duration;

use bb8::ManageConnection;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{Instrument, Span};

use super::failures::text_of;
use super::guard::PooledConnection;
use super::shared::Shared;
use crate::connection::clock::now;
use crate::connection::core::{Joined, Joins, Polled, Refusal, Ticket};
use crate::connection::error::{ConnectFailing, Failure, RunError};
use crate::connection::span::{acquire, acquired};
use crate::connection::statistics::{Closed, Ended};
use crate::net::{Backoff, SmallSpan};
use crate::sync::Arc;

/// The longest that a test of a connection takes, so that one dead connection does not cost a get its whole time. HikariCP
/// gives it 5 s; a round trip takes less than 1 s anywhere.
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(2);

/// The reason of a timeout while the first connect is still under way.
pub(in crate::connection) const UNFINISHED: &str = "the connect attempt has not finished";

/// Why a get that waited has no connection.
enum Unserved {
    Refused(Refusal),
    /// For this time.
    BreakerOpen(Duration),
    Overdue,
}

/// What a look at an idle connection found.
enum Looked<'a, M: ManageConnection> {
    /// It is checked out.
    Good(PooledConnection<'a, M>),
    NeedsTest(PooledConnection<'a, M>),
    Closed {
        /// Whether it had just been opened.
        was_new: bool,
    },
}

impl<M: ManageConnection> Shared<M> {
    /// Serves a get within its time, if need be with `first`, which needs a look.
    pub(super) async fn get_slowly<'a>(
        self: &'a Arc<Self>,
        first: Option<PooledConnection<'a, M>>,
        caller: &'static Location<'static>,
    ) -> Result<PooledConnection<'a, M>, RunError<M::Error>> {
        let started = Instant::now();
        let deadline = started.checked_add(self.config.connection_timeout);
        let mut record =
            Record { shared: self, waits_since: None, ended: Ended::Cancelled, span: SmallSpan::NONE };
        let found = match first {
            Some(first) => {
                self.counters.on_slow_get();
                self.settle();
                Ok(first)
            }
            None => {
                record.waits_since = Some(started);
                record.span = acquire().into();
                let mut waiter = Waiter {
                    shared: self,
                    ticket: None,
                    joins: Joins::New { deadline: deadline.map(Instant::into_std) },
                };
                poll_fn(|cx| record.span.in_scope(|| waiter.poll(cx))).await
            }
        };
        let found = match found.map(|guard| self.look_at(guard, caller)) {
            Ok(Looked::Good(guard)) => Ok(guard),
            // On the heap, so that the future of a get that only waits is small.
            Ok(looked) => {
                if record.span.get().is_none() {
                    record.span = acquire().into();
                }
                let span = record.span.get().cloned().unwrap_or_else(Span::none);
                let find = self.find(looked, caller, deadline, &mut record.waits_since);
                Box::pin(find.instrument(span)).await
            }
            Err(unserved) => Err(unserved),
        };
        match &found {
            Ok(guard) => record.serve(guard),
            Err(Unserved::Refused(_)) => record.ended = Ended::Refused,
            Err(Unserved::BreakerOpen(_)) => record.ended = Ended::BreakerOpen,
            Err(Unserved::Overdue) => record.ended = Ended::TimedOut,
        }
        found.map_err(|unserved| {
            let last = match unserved {
                Unserved::Refused(Refusal::QueueFull) => return RunError::PoolFull,
                Unserved::Refused(Refusal::Closed) => return RunError::Closed,
                Unserved::Refused(Refusal::Failed) => self.last_failure(),
                Unserved::BreakerOpen(retry_in) => return RunError::BreakerOpen { retry_in },
                Unserved::Overdue => self
                    .failure_since(started)
                    .or_else(|| self.core.waits_for_first().then(|| Failure::without_error(UNFINISHED)))
                    .or_else(|| self.test_failure_since(started)),
            };
            last.map_or(RunError::TimedOut, |last| {
                RunError::ConnectFailing(ConnectFailing { after: started.elapsed(), last })
            })
        })
    }

    /// Hands out what is at hand, unless it needs a test.
    pub(super) fn try_get_untested(
        self: &Arc<Self>,
        caller: &'static Location<'static>,
    ) -> Option<PooledConnection<'_, M>> {
        loop {
            let guard = match self.try_get(caller) {
                Ok(guard) => return Some(guard),
                Err(first) => first?,
            };
            match self.look_at(guard, caller) {
                Looked::Good(guard) => {
                    self.counters.on_slow_get();
                    self.counters.on_direct_get();
                    return Some(guard);
                }
                // Not by a drop, which would make it look fresh.
                Looked::NeedsTest(guard) => {
                    self.put(guard.into_held());
                    return None;
                }
                Looked::Closed { .. } => {}
            }
        }
    }

    /// Checks an idle connection out, unless it needs a test, or closes it if it is at its end.
    fn look_at<'a>(
        self: &Arc<Self>,
        mut guard: PooledConnection<'a, M>,
        caller: &'static Location<'static>,
    ) -> Looked<'a, M> {
        let now = now();
        let was_new = guard.conn().is_new(now);
        if let Some(reason) = self.reason_to_close(guard.conn(), now) {
            self.close_held(guard.into_held(), reason);
            return Looked::Closed { was_new };
        }
        if self.needs_test(now.saturating_sub(guard.conn().idle_since)) {
            return Looked::NeedsTest(guard);
        }
        self.on_checkout(&mut guard, caller, now);
        Looked::Good(guard)
    }

    /// Finds a connection that may be handed out, before the deadline.
    async fn find<'a>(
        self: &'a Arc<Self>,
        looked: Looked<'a, M>,
        caller: &'static Location<'static>,
        deadline: Option<Instant>,
        waits_since: &mut Option<Instant>,
    ) -> Result<PooledConnection<'a, M>, Unserved> {
        self.settle();
        let search = self.search(looked, caller, waits_since);
        match deadline {
            Some(deadline) => timeout_at(deadline, search).await.unwrap_or(Err(Unserved::Overdue)),
            None => search.await,
        }
    }

    async fn search<'a>(
        self: &'a Arc<Self>,
        mut looked: Looked<'a, M>,
        caller: &'static Location<'static>,
        waits_since: &mut Option<Instant>,
    ) -> Result<PooledConnection<'a, M>, Unserved> {
        let mut delay = None;
        loop {
            let was_new = match looked {
                Looked::Good(guard) => return Ok(guard),
                Looked::NeedsTest(mut guard) => {
                    let is_new = guard.conn().is_new(now());
                    match self.test(guard, caller).await {
                        Some(guard) => return Ok(guard),
                        None => is_new,
                    }
                }
                Looked::Closed { was_new } => was_new,
            };
            if was_new {
                // As after a failed connect: the server accepts connections and does not serve them.
                let pause = self.backoff().after(delay);
                delay = Some(pause);
                sleep(Backoff::with_jitter(pause)).await;
            }
            let guard = match self.core.try_get() {
                Some((held, _)) => PooledConnection::new(self, held),
                None => {
                    // One that was given a dead connection has waited its turn.
                    let joins = if waits_since.is_some() { Joins::Again } else { Joins::Late };
                    waits_since.get_or_insert_with(Instant::now);
                    let mut waiter = Waiter { shared: self, ticket: None, joins };
                    poll_fn(|cx| waiter.poll(cx)).await?
                }
            };
            looked = self.look_at(guard, caller);
        }
    }

    /// Asks the manager whether a connection is valid, and closes it if not.
    async fn test<'a>(
        self: &Arc<Self>,
        mut guard: PooledConnection<'a, M>,
        caller: &'static Location<'static>,
    ) -> Option<PooledConnection<'a, M>> {
        let now = now();
        // Cancel safety: a connection whose test has not ended is closed, since the answer may still come.
        guard.conn().is_in_doubt = true;
        let limit = VALIDATION_TIMEOUT.min(self.config.connection_timeout / 2);
        let tested = timeout(limit, self.manager.is_valid(&mut guard.conn().connection)).await;
        if let Ok(Ok(())) = tested {
            guard.conn().is_in_doubt = false;
            self.on_checkout(&mut guard, caller, now);
            return Some(guard);
        }
        self.close_held(guard.into_held(), Closed::Invalid);
        match tested {
            Ok(Err(error)) => {
                self.on_test_failed(&text_of(&error));
                self.sink(error);
            }
            _ => self.on_test_failed(&format!("no answer within {limit:?}")),
        }
        None
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
    span: SmallSpan,
}

impl<M: ManageConnection> Record<'_, M> {
    fn serve(&mut self, guard: &PooledConnection<'_, M>) {
        self.ended = Ended::Served;
        match self.waits_since {
            Some(since) => {
                let waited = since.elapsed();
                self.shared.counters.on_waited(waited);
                if let Some(facts) = self.shared.core.facts(guard.held()) {
                    facts.on_waited(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
                }
            }
            None => self.shared.counters.on_direct_get(),
        }
    }
}

impl<M: ManageConnection> Drop for Record<'_, M> {
    fn drop(&mut self) {
        self.shared.counters.on_get_ended(self.ended, self.waits_since);
        if let Some(span) = self.span.get() {
            acquired(span, self.ended, self.waits_since);
        }
    }
}

/// A place in the queue, which is left when this is dropped. Nothing that was granted to it is lost.
struct Waiter<'a, M: ManageConnection> {
    shared: &'a Arc<Shared<M>>,
    ticket: Option<Ticket>,
    joins: Joins,
}

impl<'a, M: ManageConnection> Waiter<'a, M> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<PooledConnection<'a, M>, Unserved>> {
        let (shared, waker) = (self.shared, cx.waker());
        let is_new = self.ticket.is_none();
        let polled = match &self.ticket {
            Some(ticket) => shared.core.poll(ticket, waker),
            None => match shared.core.join(waker.clone(), self.joins) {
                Ok(Joined { ticket, has_served, wants_connect }) => {
                    let ticket = self.ticket.insert(ticket);
                    let waits = Polled::Waiting { wants_connect };
                    if has_served { shared.core.poll(ticket, waker) } else { waits }
                }
                Err(refusal) => {
                    if matches!(self.joins, Joins::New { .. }) {
                        shared.counters.on_slow_get();
                    }
                    return Poll::Ready(Err(Unserved::Refused(refusal)));
                }
            },
        };
        match polled {
            Polled::Granted(held) => {
                self.ticket = None;
                Poll::Ready(Ok(PooledConnection::new(shared, held)))
            }
            Polled::Waiting { wants_connect } => self.wait(is_new, wants_connect),
            Polled::Closed => Poll::Ready(Err(Unserved::Refused(Refusal::Closed))),
            Polled::Failed => Poll::Ready(Err(Unserved::Refused(Refusal::Failed))),
        }
    }

    /// Sees to what it waits for: a connect, if one is wanted for it, and its deadline.
    fn wait<T>(&mut self, is_new: bool, wants_connect: bool) -> Poll<Result<T, Unserved>> {
        if let Some(retry_in) = self.shared.refuses_waiters_for() {
            return Poll::Ready(Err(Unserved::BreakerOpen(retry_in)));
        }
        // It was woken, perhaps because a runtime has ended: that of the pool, or of the alarm. While its own is being shut
        // down, each attempt to start a task there would wake it again.
        if !is_new && !self.shared.settle() {
            return Poll::Ready(Err(Unserved::Overdue));
        }
        if let Joins::New { deadline: Some(deadline) } = self.joins {
            if !is_new && Instant::now().into_std() >= deadline {
                return Poll::Ready(Err(Unserved::Overdue));
            }
            if !self.shared.set_alarm(Instant::from_std(deadline)) {
                // Its runtime is being shut down, and nothing would wake it in time.
                return Poll::Ready(Err(Unserved::Overdue));
            }
        }
        if wants_connect {
            self.shared.drive();
        }
        Poll::Pending
    }
}

impl<M: ManageConnection> Drop for Waiter<'_, M> {
    fn drop(&mut self) {
        if let Some(conn) = self.ticket.take().and_then(|ticket| self.shared.core.leave(ticket)) {
            self.shared.close_surplus(conn);
        }
    }
}
