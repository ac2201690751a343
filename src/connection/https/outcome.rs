//! How a request ended, as far as policies care: by its error, by the status of its response, or because it was dropped.

use std::cell::Cell;
use std::error::Error;

use http::StatusCode;

use super::error::{HttpsError, HttpsErrorKind};
use crate::policy::Outcome;
use crate::sync::thread_local;

impl HttpsError {
    /// How the request ended, for a [policy](crate::policy).
    ///
    /// It is a failure of the server, except where it says nothing about the server: a mistake of the client, such as a URL that
    /// is none or an upload that breaks off, a [refusal](Self::is_refusal) by a limit or a breaker of this side, and a response
    /// that this side does not read.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.kind() {
            _ if self.is_refusal() => Outcome::Refused,
            HttpsErrorKind::ReaderStalled { .. } => Outcome::Cancelled,
            _ if self.is_of_the_client() => Outcome::Cancelled,
            _ if self.is_timeout() => Outcome::Timeout,
            _ => Outcome::Failure,
        }
    }

    /// Whether it is the client's own, so that it would come again.
    pub(crate) fn is_of_the_client(&self) -> bool {
        matches!(
            self.kind(),
            HttpsErrorKind::InvalidUri
                | HttpsErrorKind::InvalidHead
                | HttpsErrorKind::InvalidRequest
                | HttpsErrorKind::OutOfRange(_)
                | HttpsErrorKind::PoolClosed
                | HttpsErrorKind::TlsConfig
                | HttpsErrorKind::TooManyServers
                | HttpsErrorKind::UnlimitedSpill
        )
    }

    /// Whether a limit or a breaker of this side has kept the request back: the server does not know of it. A proxy answers with
    /// 503 then, and not with 502.
    ///
    /// [`HttpsErrorKind::PoolTimeout`] is one if all connections were in use, as by clients that read slowly, and not if a connect
    /// has failed or has not ended. Then it has a [`source`](Error::source).
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self.kind() {
            HttpsErrorKind::PoolFull
            | HttpsErrorKind::TooManyConnections
            | HttpsErrorKind::TooManyServers
            | HttpsErrorKind::BreakerOpen { .. } => true,
            HttpsErrorKind::PoolTimeout { .. } => self.source().is_none(),
            _ => false,
        }
    }
}

/// A status above 499 is a failure, but for 501 and 505, which say something about the request.
pub(crate) fn outcome_of_status(status: StatusCode) -> Outcome {
    let is_about_the_request =
        [StatusCode::NOT_IMPLEMENTED, StatusCode::HTTP_VERSION_NOT_SUPPORTED].contains(&status);
    if status.is_server_error() && !is_about_the_request { Outcome::Failure } else { Outcome::Success }
}

thread_local! {
    static ON_DROP: Cell<Outcome> = const { Cell::new(Outcome::Cancelled) };
}

/// Drops a request whose deadline has come, and lets those within know why.
#[cfg_attr(not(feature = "resilience"), expect(dead_code, reason = "only layers have deadlines"))]
pub(crate) fn expire<T>(request: T) {
    struct Until;
    impl Drop for Until {
        fn drop(&mut self) {
            ON_DROP.set(Outcome::Cancelled);
        }
    }
    ON_DROP.set(Outcome::Timeout);
    let _until = Until;
    drop(request);
}

/// Lets those that drop a request know that it was not sent: if its deadline has come, that is not the server's fault.
#[cfg_attr(not(feature = "resilience"), expect(dead_code, reason = "only layers have queues"))]
pub(crate) fn drop_unsent() {
    if ON_DROP.get() == Outcome::Timeout {
        ON_DROP.set(Outcome::Refused);
    }
}

/// How a request ended that is being dropped: its deadline has come, or nobody waits for it any more.
pub(crate) fn outcome_of_drop() -> Outcome {
    ON_DROP.get()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    #[test]
    fn an_error_of_the_server_is_a_failure() {
        for kind in [HttpsErrorKind::Closed, HttpsErrorKind::Incomplete, HttpsErrorKind::Reset(2)] {
            assert_eq!(HttpsError::new(kind.clone()).outcome(), Outcome::Failure, "{kind:?}");
        }
    }

    #[test]
    fn an_answer_that_did_not_come_is_a_timeout() {
        for kind in [HttpsErrorKind::PingTimeout, HttpsErrorKind::HandshakeTimeout { after: LIMIT }] {
            assert_eq!(HttpsError::new(kind.clone()).outcome(), Outcome::Timeout, "{kind:?}");
        }
    }

    #[test]
    fn a_refusal_of_this_side_says_nothing_about_the_server() {
        for kind in [
            HttpsErrorKind::PoolFull,
            HttpsErrorKind::TooManyConnections,
            HttpsErrorKind::TooManyServers,
            HttpsErrorKind::PoolTimeout { after: LIMIT },
            HttpsErrorKind::BreakerOpen { retry_in: LIMIT },
        ] {
            let error = HttpsError::new(kind.clone());
            assert_eq!((error.is_refusal(), error.outcome()), (true, Outcome::Refused), "{kind:?}");
        }
    }

    #[test]
    fn a_connect_that_has_not_ended_in_time_is_a_timeout() {
        let error = HttpsError::new(HttpsErrorKind::PoolTimeout { after: LIMIT }).because("no end yet");
        assert_eq!((error.is_refusal(), error.outcome()), (false, Outcome::Timeout));
    }

    #[test]
    fn a_response_that_nobody_reads_says_nothing_about_the_server() {
        let error = HttpsError::new(HttpsErrorKind::ReaderStalled { after: LIMIT });
        assert_eq!((error.is_refusal(), error.outcome()), (false, Outcome::Cancelled));
    }

    #[test]
    fn a_mistake_of_the_client_is_no_refusal() {
        let error = HttpsError::new(HttpsErrorKind::InvalidHead);
        assert_eq!((error.is_refusal(), error.outcome()), (false, Outcome::Cancelled));
    }
}
