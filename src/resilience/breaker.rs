//! Sends nothing to a server that fails.

use std::fmt;

use tower_service::Service;

use super::layered::{Handle, refused};
use super::{BoxError, BoxFuture, ByStatus, Classify, Refusal, watch};
use crate::connection::https::SharedBreaker;
use crate::metric::Source;
use crate::policy::{BreakerPolicy, BreakerState, BreakerStats, Refused};
use crate::sync::Arc;

/// A [`Breaker`](crate::policy::Breaker) in front of a service. One per server.
///
/// Each change of its state is logged as a `tracing` event with the breaker's name. It warns when it opens, and not after each
/// probe that fails.
///
/// # Cancel safety
///
/// A request that is dropped before its end counts neither as a success nor as a failure, unless a
/// [`DeadlineLayer`](super::DeadlineLayer) drops it.
#[derive(Clone)]
pub struct BreakerLayer<C = ByStatus> {
    shared: Arc<SharedBreaker>,
    classify: C,
}

impl BreakerLayer {
    /// A closed breaker, which judges by the status of responses.
    #[must_use]
    pub fn new(name: &str, policy: BreakerPolicy) -> Self {
        Self { shared: SharedBreaker::new(name, policy), classify: ByStatus }
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
        self.stats().state
    }

    /// The state, and what it has done.
    #[must_use]
    pub fn stats(&self) -> BreakerStats {
        self.shared.stats()
    }
}

impl<C> fmt::Debug for BreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer")
            .field("name", &self.shared.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl<C> Source for BreakerLayer<C> {
    type Snapshot = BreakerStats;

    fn watch(&self) -> impl Fn() -> Option<BreakerStats> + Send + Sync + 'static {
        watch(&self.shared, SharedBreaker::stats)
    }
}

impl<S, C, R> Handle<S, R> for BreakerLayer<C>
where
    S: Service<R>,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Send + 'static,
    C: Classify<S::Response> + Clone + Send + 'static,
{
    type Response = S::Response;

    fn handle(&self, inner: &mut S, request: R) -> BoxFuture<S::Response> {
        let Self { shared, classify } = self.clone();
        let asked = match shared.ask() {
            Ok(asked) => asked,
            Err(Refused { retry_in }) => return refused(Refusal::BreakerOpen { retry_in }, request),
        };
        let answer = inner.call(request);
        Box::pin(async move {
            let result = answer.await.map_err(Into::into);
            asked.end(classify.classify(&result));
            result
        })
    }
}
