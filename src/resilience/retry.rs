//! Requests that failed are sent again, within a budget.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::SystemTime;

use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use tokio::time::{Sleep, sleep};
use tower::retry::Policy;

use super::refusal::is_refused;
use super::regions::{FailedIn, last_region};
use super::{BoxError, now, watch};
use crate::connection::https::{HttpsError, RequestBody, copy, copy_head};
use crate::metric::Source;
use crate::policy::{
    BudgetPolicy, Deadline, Failed, RetryBudget, RetryDecision, RetryPolicy, RetryStats, retry_after,
};
use crate::sync::{Arc, Mutex};

/// A [`RetryPolicy`] and its [`RetryBudget`] for tower's
/// [`RetryLayer`](https://docs.rs/tower/latest/tower/retry/struct.RetryLayer.html). One per server.
///
/// A request is sent again after an error, and after 429, 502, 503 and 504. If the response says by `Retry-After` how long
/// to wait, it waits that long. Two kinds of requests qualify: those whose method is idempotent, and those that were
/// certainly not processed. One whose body streams is never sent again, and neither is one that the deadline in its
/// extensions leaves no time for (see [`DeadlineLayer`](super::DeadlineLayer)). If one whose body streams fails, it counts as
/// [`not_replayable`](RetryStats::not_replayable). Around a [`RegionService`](super::RegionService), a retry goes to another
/// region.
///
/// A refusal of this side, by a layer or a limit of `Upstreams`, is not tried again, as that would be more load for what is
/// full. Neither is a mistake of the client, which would come again.
///
/// A response counts as soon as its head is there, so a body that breaks off later is not asked for again.
#[derive(Clone)]
pub struct Retries {
    policy: RetryPolicy,
    budget: Arc<Mutex<RetryBudget>>,
    /// Of this request.
    attempts: u32,
    /// Whether its copy has a body.
    is_whole: bool,
}

impl Retries {
    /// With a budget that has seen nothing.
    #[must_use]
    pub fn new(policy: RetryPolicy, budget: BudgetPolicy) -> Self {
        Self { policy, budget: Arc::new(Mutex::new(RetryBudget::new(budget))), attempts: 0, is_whole: false }
    }

    /// What was done with requests that failed and might be sent again.
    #[must_use]
    pub fn stats(&self) -> RetryStats {
        self.budget.lock().stats()
    }
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retries")
            .field("policy", &self.policy)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Source for Retries {
    type Snapshot = RetryStats;

    fn watch(&self) -> impl Fn() -> Option<RetryStats> + Send + Sync + 'static {
        watch(&self.budget, |budget| budget.lock().stats())
    }
}

impl<B> Policy<Request<RequestBody>, Response<B>, BoxError> for Retries {
    type Future = Pin<Box<Sleep>>;

    fn retry(
        &mut self,
        request: &mut Request<RequestBody>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        self.attempts += 1;
        let region = last_region();
        let failed = self.failed(request, result)?;
        let random = RandomState::new().hash_one(self.attempts);
        match self.policy.decide(&mut self.budget.lock(), now(), &failed, random) {
            RetryDecision::After(delay) => {
                if let Some(region) = region {
                    request.extensions_mut().get_or_insert_default::<FailedIn>().0.push(region);
                }
                Some(Box::pin(sleep(delay)))
            }
            RetryDecision::GiveUp(why) => {
                // Not the URI: its query and its user may be secret.
                tracing::debug!(
                    attempts = self.attempts,
                    ?why,
                    host = request.uri().host(),
                    "no further attempt"
                );
                None
            }
        }
    }

    fn clone_request(&mut self, request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
        if self.attempts == 0 {
            self.budget.lock().on_request(now());
        }
        let copy = copy(request);
        self.is_whole = copy.is_some();
        // A head is not sent, but a failure without it would not be counted.
        Some(copy.unwrap_or_else(|| copy_head(request, RequestBody::empty())))
    }
}

impl Retries {
    fn failed<B>(
        &self,
        request: &Request<RequestBody>,
        result: &Result<Response<B>, BoxError>,
    ) -> Option<Failed> {
        let mut failed = Failed::default().attempts(self.attempts);
        failed.deadline = request.extensions().get::<Deadline>().copied().unwrap_or_default();
        let mut is_harmless = request.method().is_idempotent();
        match result {
            Ok(response) => {
                let is_failure = [
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::BAD_GATEWAY,
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::GATEWAY_TIMEOUT,
                ]
                .contains(&response.status());
                let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                failed.retry_after = asked.and_then(|value| retry_after(value, SystemTime::now()));
                if !is_failure {
                    return None;
                }
            }
            Err(error) => {
                if is_refused(error) {
                    return None;
                }
                if let Some(error) = error.downcast_ref::<HttpsError>() {
                    if error.is_of_the_client() {
                        return None;
                    }
                    is_harmless |= error.is_unprocessed();
                }
            }
        }
        failed.replayable = is_harmless && self.is_whole;
        Some(failed)
    }
}
