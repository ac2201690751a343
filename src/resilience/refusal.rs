//! Why a layer did not send a request.

use std::any::{Any, TypeId};
use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::{Request, StatusCode};

use super::BoxError;
use crate::connection::https::{HttpsError, HttpsErrorKind, RequestBody};
use crate::sync::Mutex;

/// Why a layer did not send a request, or no longer waits for its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The server fails, so its breaker is open.
    BreakerOpen {
        /// The time after which it makes sense to ask again.
        retry_in: Duration,
    },
    /// The server has as many requests as it serves well, and the queue for it is full.
    QueueFull,
    /// It waited for longest when the queue was full.
    Shed,
    /// There were too many requests in a short time.
    RateLimited {
        /// The time after which the next one is allowed.
        retry_in: Duration,
    },
    /// The bodies of other requests hold too many bytes.
    TooManyBytes,
    /// Its deadline has come. It may have been sent.
    DeadlineOver,
}

impl Refusal {
    /// The refusal in an error of a service, or in one of its sources. An open breaker of
    /// [`Upstreams`](crate::connection::https::Upstreams) is one, too.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::resilience::Refusal;
    ///
    /// let error: Box<dyn std::error::Error + Send + Sync> = Refusal::QueueFull.into();
    /// assert_eq!(Refusal::of(&*error), Some(Refusal::QueueFull));
    /// ```
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let unsent = error.downcast_ref().map(|unsent: &Unsent| &unsent.refusal);
            if let Some(refusal) = error.downcast_ref().or(unsent) {
                return Some(*refusal);
            }
            if let Some(HttpsErrorKind::BreakerOpen { retry_in }) = error.downcast_ref().map(HttpsError::kind)
            {
                return Some(Self::BreakerOpen { retry_in: *retry_in });
            }
            next = error.source();
        }
        None
    }

    /// The time after which it makes sense to ask again, if that is known: the value of a `Retry-After` header.
    #[must_use]
    pub fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::BreakerOpen { retry_in } | Self::RateLimited { retry_in } => Some(*retry_in),
            Self::QueueFull | Self::Shed | Self::TooManyBytes | Self::DeadlineOver => None,
        }
    }

    /// The status with which a proxy answers its client: 504 if there was no time left, and 503 otherwise.
    ///
    /// A proxy's client did not cause any of them: a proxy that limits each of its clients answers
    /// [`RateLimited`](Self::RateLimited) with 429 instead. The answer to an error that is no refusal is 502.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::DeadlineOver => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the request was certainly not sent.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        !matches!(self, Self::DeadlineOver)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BreakerOpen { retry_in } => {
                write!(f, "the server failed, so its breaker is open (ask again in {retry_in:.1?})")
            }
            Self::QueueFull => f.write_str(
                "the server is busy, and the queue for it is full (send fewer requests, or allow a longer queue)",
            ),
            Self::Shed => f.write_str(
                "the server is busy, and this request waited for longest in a full queue (send fewer requests)",
            ),
            Self::RateLimited { retry_in } => {
                write!(f, "there were too many requests (the next one is allowed in {retry_in:.1?})")
            }
            Self::TooManyBytes => f.write_str(
                "the bodies of other requests hold too many bytes (try later, or raise the limit)",
            ),
            Self::DeadlineOver => f.write_str("there was no response before the deadline"),
        }
    }
}

impl Error for Refusal {}

/// A refusal, and the request that was not sent.
pub(super) struct Unsent {
    refusal: Refusal,
    request: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Unsent {
    pub(super) fn new<R: Send + 'static>(refusal: Refusal, request: R) -> Self {
        Self { refusal, request: Mutex::new(Some(Box::new(request))) }
    }
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.refusal, f)
    }
}

impl Error for Unsent {}

/// Whether this side has kept a request back, so that no server knows of it.
pub(super) fn is_refused(error: &BoxError) -> bool {
    let refusal = Refusal::of(&**error).is_some_and(|refusal| refusal.is_unprocessed());
    refusal
        || error.downcast_ref::<HttpsError>().is_some_and(|error| {
            let is_closed = matches!(error.kind(), HttpsErrorKind::PoolClosed | HttpsErrorKind::TlsConfig);
            is_closed || error.is_refusal()
        })
}

/// Whether the error has the request that was refused.
pub(super) fn has_request<R: 'static>(error: &BoxError) -> bool {
    match error.downcast_ref::<Unsent>() {
        Some(unsent) => unsent.request.lock().as_ref().is_some_and(|request| request.is::<R>()),
        None => {
            let is_of_https = TypeId::of::<R>() == TypeId::of::<Request<RequestBody>>();
            is_of_https && error.downcast_ref().is_some_and(HttpsError::has_request)
        }
    }
}

pub(super) fn take_request<R: 'static>(error: &mut BoxError) -> Option<R> {
    if let Some(unsent) = error.downcast_ref::<Unsent>() {
        return unsent.request.lock().take()?.downcast().ok().map(|request| *request);
    }
    let mut request = error.downcast_mut::<HttpsError>()?.take_request();
    (&mut request as &mut dyn Any).downcast_mut::<Option<R>>()?.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(Refusal);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no answer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_refusal_is_found_in_a_source() {
        let outer = Outer(Refusal::Shed);
        assert_eq!(Refusal::of(&outer), Some(Refusal::Shed));
    }

    #[test]
    fn an_error_of_another_kind_is_no_refusal() {
        assert_eq!(Refusal::of(&fmt::Error), None);
    }

    #[test]
    fn only_a_request_that_is_over_may_have_been_sent() {
        assert!(!Refusal::DeadlineOver.is_unprocessed());
        assert!(Refusal::Shed.is_unprocessed());
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_is_refused_may_learn_when_to_ask_again() {
        let known = [Refusal::BreakerOpen { retry_in: SECOND }, Refusal::RateLimited { retry_in: SECOND }];
        for refusal in known {
            assert_eq!(refusal.retry_in(), Some(SECOND));
            assert!(refusal.to_string().contains("1.0s"), "{refusal}");
        }
        for refusal in [Refusal::QueueFull, Refusal::Shed, Refusal::TooManyBytes, Refusal::DeadlineOver] {
            assert_eq!(refusal.retry_in(), None);
        }
    }

    #[test]
    fn a_proxy_answers_that_it_is_busy_unless_the_time_is_over() {
        assert_eq!(Refusal::DeadlineOver.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(Refusal::Shed.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn each_refusal_names_its_cause() {
        for (refusal, cause) in [
            (Refusal::BreakerOpen { retry_in: SECOND }, "breaker"),
            (Refusal::QueueFull, "queue for it is full"),
            (Refusal::Shed, "waited for longest"),
            (Refusal::RateLimited { retry_in: SECOND }, "too many requests"),
            (Refusal::TooManyBytes, "too many bytes"),
            (Refusal::DeadlineOver, "deadline"),
        ] {
            assert!(refusal.to_string().contains(cause), "{refusal}");
        }
    }
}
