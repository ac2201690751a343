//! Sends nothing to a server that fails.

use std::fmt;

use tower_service::Service;

use super::deadline::outcome_of_drop;
use super::layered::{Handle, refused};
use super::{BoxError, BoxFuture, ByStatus, Classify, Refusal, now};
use crate::policy::{Breaker, BreakerChange, BreakerPolicy, BreakerState, Outcome, Permit, Refused};
use crate::sync::{Arc, Mutex};

/// A [`Breaker`] in front of a service. One per server.
///
/// Each change of its state is logged as a `tracing` event with the breaker's name, an opening one as a warning.
///
/// # Cancel safety
///
/// A request that is dropped before its end counts neither as a success nor as a failure, unless a
/// [`DeadlineLayer`](super::DeadlineLayer) drops it.
#[derive(Clone)]
pub struct BreakerLayer<C = ByStatus> {
    shared: Arc<Shared>,
    classify: C,
}

struct Shared {
    name: Box<str>,
    breaker: Mutex<Breaker>,
}

impl BreakerLayer {
    /// A closed breaker, which judges by the status of responses.
    #[must_use]
    pub fn new(name: &str, policy: BreakerPolicy) -> Self {
        let breaker = Mutex::new(Breaker::new(policy));
        Self { shared: Arc::new(Shared { name: name.into(), breaker }), classify: ByStatus }
    }
}

impl<C> BreakerLayer<C> {
    /// The same breaker, which judges in another way.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> BreakerLayer<D> {
        BreakerLayer { shared: self.shared, classify }
    }

    /// The state that the last request has left: an open breaker becomes half-open with the next one.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.shared.breaker.lock().state()
    }
}

impl<C> fmt::Debug for BreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer")
            .field("name", &self.shared.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl<S, C, R> Handle<S, R> for BreakerLayer<C>
where
    S: Service<R>,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    C: Classify<S::Response> + Clone + Send + 'static,
{
    type Response = S::Response;

    fn handle(&self, inner: &mut S, request: R) -> BoxFuture<S::Response> {
        let Self { shared, classify } = self.clone();
        let (permit, change) = shared.breaker.lock().ask(now());
        shared.log(change);
        let permit = match permit {
            Ok(permit) => Asked { shared, permit: Some(permit) },
            Err(Refused { retry_in }) => return refused(Refusal::BreakerOpen { retry_in }),
        };
        let answer = inner.call(request);
        Box::pin(async move {
            let result = answer.await.map_err(Into::into);
            permit.end(classify.classify(&result));
            result
        })
    }
}

/// A request that was sent.
struct Asked {
    shared: Arc<Shared>,
    permit: Option<Permit>,
}

impl Asked {
    fn end(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            let change = self.shared.breaker.lock().record(now(), permit, outcome);
            self.shared.log(change);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.record(outcome_of_drop());
    }
}

impl Shared {
    fn log(&self, change: Option<BreakerChange>) {
        let Some(BreakerChange { from, to, reason, .. }) = change else { return };
        let breaker = &*self.name;
        if to == BreakerState::Open {
            tracing::warn!(breaker, ?from, ?reason, "the breaker is open: no requests are sent");
        } else {
            tracing::info!(breaker, ?from, ?to, ?reason, "the breaker has changed its state");
        }
    }
}
