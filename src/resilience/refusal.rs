//! Why a layer did not send a request.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::connection::https::{HttpsError, HttpsErrorKind};

/// Why a layer did not send a request, or no longer waits for its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The server fails, so its breaker is open.
    BreakerOpen {
        /// The time after which it makes sense to ask again.
        retry_in: Duration,
    },
    /// As many requests as the server serves well are under way, and as many as may wait do so.
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
    /// The breaker of its region is open, so that the region was ejected just now. Another one serves the next attempt.
    RegionEjected,
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
            if let Some(refusal) = error.downcast_ref() {
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
            Self::RegionEjected => Some(Duration::ZERO),
            Self::QueueFull | Self::Shed | Self::TooManyBytes | Self::DeadlineOver => None,
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
            Self::RegionEjected => f.write_str("the region fails, and another one serves (ask again)"),
            Self::DeadlineOver => f.write_str("there was no response before the deadline"),
        }
    }
}

impl Error for Refusal {}

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
