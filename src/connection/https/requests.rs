//! How the requests to a server ended, and how long the heads of their responses took.

use std::time::Instant;

use http::{Response, StatusCode};

use super::error::HttpsError;
use crate::connection::Histogram;
use crate::connection::histogram::Recorder;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// The requests to a server: how many ended in which way, and how long those that were answered took.
///
/// A request counts once, with all that was sent again for it, at the head of its response or at its error. A body that fails
/// later is in [`RequestErrors`](super::RequestErrors).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestStats {
    /// Responses with a status below 200, such as 101.
    pub informational: u64,
    /// Responses with a status from 200 to 299.
    pub successes: u64,
    /// Responses with a status from 300 to 399.
    pub redirections: u64,
    /// Responses with a status from 400 to 499.
    pub client_errors: u64,
    /// Responses with a status from 500 on.
    pub server_errors: u64,
    /// Requests without a response, because of an error.
    pub failed: u64,
    /// Requests that a breaker or a limit of this side has kept back: [`HttpsError::is_refusal`].
    pub refused: u64,
    /// Requests whose future was dropped before the head of the response, as by a timeout.
    pub cancelled: u64,
    /// The time from the request to the head of the response, the wait for a connection included. It has the responses of all
    /// statuses, and no others.
    pub head_times: Histogram,
}

/// The counters. All connections to a server share them.
#[derive(Default)]
pub(super) struct Requests {
    informational: AtomicUsize,
    successes: AtomicUsize,
    redirections: AtomicUsize,
    client_errors: AtomicUsize,
    server_errors: AtomicUsize,
    failed: AtomicUsize,
    refused: AtomicUsize,
    cancelled: AtomicUsize,
    head_times: Recorder,
}

impl Requests {
    pub(super) fn begin(&self) -> Pending<'_> {
        Pending { requests: self, began: Instant::now(), end: &self.cancelled }
    }

    pub(super) fn snapshot(&self) -> RequestStats {
        // Ordering: Relaxed, counts.
        let get = |count: &AtomicUsize| count.load(Ordering::Relaxed) as u64;
        RequestStats {
            informational: get(&self.informational),
            successes: get(&self.successes),
            redirections: get(&self.redirections),
            client_errors: get(&self.client_errors),
            server_errors: get(&self.server_errors),
            failed: get(&self.failed),
            refused: get(&self.refused),
            cancelled: get(&self.cancelled),
            head_times: self.head_times.snapshot(),
        }
    }

    fn with(&self, status: StatusCode) -> &AtomicUsize {
        match status.as_u16() {
            ..200 => &self.informational,
            200..300 => &self.successes,
            300..400 => &self.redirections,
            400..500 => &self.client_errors,
            500.. => &self.server_errors,
        }
    }
}

/// A request without a response so far. It counts when it is dropped.
pub(super) struct Pending<'a> {
    requests: &'a Requests,
    pub(super) began: Instant,
    end: &'a AtomicUsize,
}

impl Pending<'_> {
    pub(super) fn end<B>(mut self, result: &Result<Response<B>, HttpsError>) {
        self.end = match result {
            Ok(response) => {
                self.requests.head_times.record(self.began.elapsed());
                self.requests.with(response.status())
            }
            Err(error) if error.is_refusal() => &self.requests.refused,
            Err(_) => &self.requests.failed,
        };
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed, a count.
        self.end.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::error::HttpsErrorKind;
    use super::*;

    fn counts(stats: &RequestStats) -> [u64; 8] {
        let RequestStats { informational, successes, redirections, client_errors, .. } = *stats;
        let RequestStats { server_errors, failed, refused, cancelled, .. } = *stats;
        [informational, successes, redirections, client_errors, server_errors, failed, refused, cancelled]
    }

    #[test]
    fn responses_are_counted_by_the_class_of_their_status() {
        let requests = Requests::default();
        for status in [101, 200, 299, 304, 404, 418, 499, 500, 599, 999] {
            requests.begin().end(&Ok(Response::builder().status(status).body(()).unwrap()));
        }
        assert_eq!(counts(&requests.snapshot()), [1, 2, 1, 3, 3, 0, 0, 0]);
        assert_eq!(requests.snapshot().head_times.count(), 10);
    }

    #[test]
    fn requests_without_a_response_are_counted_by_why() {
        let requests = Requests::default();
        let retry_in = Duration::from_secs(1);
        for kind in [HttpsErrorKind::Closed, HttpsErrorKind::BreakerOpen { retry_in }] {
            requests.begin().end::<()>(&Err(HttpsError::new(kind)));
        }
        drop(requests.begin());
        assert_eq!(counts(&requests.snapshot()), [0, 0, 0, 0, 0, 1, 1, 1]);
        assert_eq!(requests.snapshot().head_times.count(), 0);
    }
}
