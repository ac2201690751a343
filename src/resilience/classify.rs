//! How a request ended, seen from a layer.

use http::Response;

use super::refusal::is_refused;
use super::{BoxError, Refusal};
use crate::connection::https::{HttpsError, outcome_of_status};
use crate::policy::Outcome;

/// Says how a request ended. A closure does, too.
pub trait Classify<T> {
    /// How it ended.
    fn classify(&self, result: &Result<T, BoxError>) -> Outcome;
}

/// By the status of the response. A status above 499 is a failure, but for 501 and 505, which say something about the
/// request. So is each error but two kinds, which say nothing about the server: a refusal of this side, by a layer, by a limit of
/// `Upstreams` or because these are closed; and a mistake of the client, such as a URL that is none or an upload that breaks off.
///
/// 429 is no failure: the server is well, and says that this client is not to ask as often.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl<B> Classify<Response<B>> for ByStatus {
    fn classify(&self, result: &Result<Response<B>, BoxError>) -> Outcome {
        let error = match result {
            Ok(response) => return outcome_of_status(response.status()),
            Err(error) => error,
        };
        match Refusal::of(&**error) {
            Some(Refusal::DeadlineOver) => return Outcome::Timeout,
            _ if is_refused(error) => return Outcome::Refused,
            _ => {}
        }
        error.downcast_ref::<HttpsError>().map_or(Outcome::Failure, HttpsError::outcome)
    }
}

impl<F, T> Classify<T> for F
where
    F: Fn(&Result<T, BoxError>) -> Outcome,
{
    fn classify(&self, result: &Result<T, BoxError>) -> Outcome {
        self(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_status(status: u16) -> Outcome {
        ByStatus.classify(&Ok(Response::builder().status(status).body(()).unwrap()))
    }

    fn of_error(error: impl Into<BoxError>) -> Outcome {
        ByStatus.classify(&Err::<Response<()>, _>(error.into()))
    }

    #[test]
    fn a_failing_server_has_failed() {
        assert_eq!([500, 502, 503, 504].map(of_status), [Outcome::Failure; 4]);
    }

    #[test]
    fn what_the_request_has_caused_is_no_failure() {
        assert_eq!([200, 304, 404, 429, 501, 505].map(of_status), [Outcome::Success; 6]);
    }

    #[test]
    fn an_error_is_a_failure() {
        assert_eq!(of_error("broken"), Outcome::Failure);
    }

    #[test]
    fn a_deadline_is_a_timeout() {
        assert_eq!(of_error(Refusal::DeadlineOver), Outcome::Timeout);
    }

    #[test]
    fn what_another_layer_refused_says_nothing() {
        assert_eq!(of_error(Refusal::QueueFull), Outcome::Refused);
    }
}
