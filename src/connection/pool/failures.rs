//! What is known of failed connects and tests: for gets, for `build`, and for the log.

use std::fmt;
use std::time::Duration;

use bb8::ManageConnection;
use tokio::time::Instant;
use tracing::{info, warn};

use super::shared::Shared;
use crate::connection::error::Failure;
use crate::connection::statistics::ConnectFailure;
use crate::sync::{Arc, Mutex, contain};

/// What is known of failed connects.
pub(super) struct Failures<E> {
    /// Kept after a connect succeeds, for gets that it has failed and that have not been polled since.
    last: Option<Failure<E>>,
    /// Whether no connect has succeeded since the last one failed.
    is_failing: bool,
    failed_at: Option<Instant>,
    /// The last failed test, and when it failed.
    test: Option<(Failure<E>, Instant)>,
    /// Present while `build` waits; then the last error is for it and not for the sink.
    start: Option<Option<E>>,
}

impl<E> Default for Failures<E> {
    fn default() -> Self {
        Self { last: None, is_failing: false, failed_at: None, test: None, start: None }
    }
}

impl<M: ManageConnection> Shared<M> {
    pub(super) fn begin_start(self: &Arc<Self>) {
        self.failures.lock().start = Some(None);
        self.settle();
        self.drive();
    }

    pub(super) fn has_start_error(&self) -> bool {
        matches!(self.failures.lock().start, Some(Some(_)))
    }

    pub(super) fn end_start(&self) -> Option<M::Error> {
        self.failures.lock().start.take().flatten()
    }

    /// An error that belongs to no get.
    pub(super) fn sink(&self, error: M::Error) {
        match &self.error_sink {
            Some(sink) => contain(|| sink.sink(error)),
            None => contain(|| drop(error)),
        }
    }

    /// The manager's error of a failed connect.
    pub(super) fn on_connect_error(&self, error: M::Error) {
        let text = text_of(&error);
        let (kept, others) = match &mut self.failures.lock().start {
            Some(start) => (None, start.replace(error)),
            None if self.error_sink.is_some() => (None, Some(error)),
            None => (Some(error), None),
        };
        self.on_connect_failed(ConnectFailure::Error, text, kept);
        if let Some(error) = others {
            self.sink(error);
        }
        self.progress.notify_waiters();
    }

    /// Logs a failure if it differs from the last.
    pub(super) fn on_connect_failed(&self, failure: ConnectFailure, text: String, error: Option<M::Error>) {
        self.counters.on_connect_failed(failure);
        let mut failures = self.failures.lock();
        failures.failed_at = Some(Instant::now());
        let was_failing = std::mem::replace(&mut failures.is_failing, true);
        let is_news = !was_failing || failures.last.as_ref().is_none_or(|last| *last.text != *text);
        let error = error.map(|error| Arc::new(Mutex::new(error)));
        let last =
            failures.last.replace(Failure { is_of_test: false, text: Arc::from(text.as_str()), error });
        drop(failures);
        contain(|| drop(last));
        if is_news {
            warn!("could not connect: {text}");
        }
    }

    /// Logs the failure of a test if it differs from the last one.
    pub(super) fn on_test_failed(&self, text: &str) {
        let now = Instant::now();
        let mut failures = self.failures.lock();
        let is_news = failures.test.as_ref().is_none_or(|(last, _)| *last.text != *text);
        let failure = Failure { is_of_test: true, text: Arc::from(text), error: None };
        failures.test = Some((failure, now));
        drop(failures);
        if is_news {
            info!("closed a connection that failed its test: {text}");
        }
    }

    pub(super) fn on_connected(&self, took: Duration) {
        self.counters.on_created(Some(took));
        if std::mem::replace(&mut self.failures.lock().is_failing, false) {
            info!("connecting succeeds again");
        }
    }

    /// Why the most recent failed connect failed.
    pub(super) fn last_failure(&self) -> Option<Failure<M::Error>> {
        self.failures.lock().last.clone()
    }

    /// Why connecting fails, if it has failed since then or is about to be tried again.
    pub(super) fn failure_since(&self, since: Instant) -> Option<Failure<M::Error>> {
        let is_retrying = self.core.is_retrying();
        let failures = self.failures.lock();
        let is_current = is_retrying || failures.failed_at.is_some_and(|at| at >= since);
        failures.last.clone().filter(|_| failures.is_failing && is_current)
    }

    /// Why a connection was closed by its test, if one was since then.
    pub(super) fn test_failure_since(&self, since: Instant) -> Option<Failure<M::Error>> {
        let failures = self.failures.lock();
        failures.test.as_ref().filter(|(_, at)| *at >= since).map(|(failure, _)| failure.clone())
    }

    pub(super) fn forget_failures(&self) {
        let last = self.failures.lock().last.take();
        contain(|| drop(last));
    }
}

/// A manager's error as its `Debug` writes it.
pub(super) fn text_of(error: &impl fmt::Debug) -> String {
    let mut text = "an error whose Debug panics".to_owned();
    contain(|| text = format!("{error:?}"));
    text
}
