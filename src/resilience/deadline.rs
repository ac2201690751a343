//! As long as a request may take.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use tokio::time::timeout_at;
use tower_service::Service;

use super::layered::Handle;
use super::{BoxError, BoxFuture, Refusal, now, watch};
use crate::connection::https::expire;
use crate::metric::Source;
use crate::policy::Deadline;
use crate::sync::Arc;
use crate::sync::statistic::{AtomicUsize, Ordering};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A deadline for each request, which the layers and services after it know.
///
/// It is the earliest of three: the layer's own time from now on, the [`Deadline`] in the extensions of the request, and
/// gRPC's header `grpc-timeout`. It is put back into the extensions, where [`Retries`](super::Retries) looks for it; and into
/// the header if it was there, so that the server knows it, too.
///
/// It ends the wait for the head of the response, not for its body. Layers within it take the end for a time-out of the server,
/// wherever they stand, unless the request still waits in the queue of a [`LimitLayer`](super::LimitLayer).
#[derive(Clone, Debug)]
pub struct DeadlineLayer {
    time: Duration,
    expired: Arc<AtomicUsize>,
}

/// What a [`DeadlineLayer`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlineStats {
    /// Requests whose deadline came before their response, also those that came too late to be sent.
    pub expired: u64,
}

impl DeadlineLayer {
    /// At most this time for each request.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self { time, expired: Arc::default() }
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> DeadlineStats {
        stats(&self.expired)
    }
}

fn stats(expired: &AtomicUsize) -> DeadlineStats {
    // Ordering: Relaxed, a count.
    DeadlineStats { expired: expired.load(Ordering::Relaxed) as u64 }
}

/// The error of a request whose deadline has come.
fn count(expired: &AtomicUsize) -> Refusal {
    // Ordering: Relaxed, a count.
    expired.fetch_add(1, Ordering::Relaxed);
    Refusal::DeadlineOver
}

impl Source for DeadlineLayer {
    type Snapshot = DeadlineStats;

    fn watch(&self) -> impl Fn() -> Option<DeadlineStats> + Send + Sync + 'static {
        watch(&self.expired, stats)
    }
}

impl<S, B> Handle<S, Request<B>> for DeadlineLayer
where
    S: Service<Request<B>>,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;

    fn handle(&self, inner: &mut S, mut request: Request<B>) -> BoxFuture<S::Response> {
        let now = now();
        let deadline = deadline_of(&mut request, now, self.time);
        if deadline.is_over(now) {
            let over = count(&self.expired);
            return Box::pin(async move { Err(over.into()) });
        }
        let (answer, expired) = (inner.call(request), Arc::clone(&self.expired));
        Box::pin(async move {
            let Some(at) = deadline.instant() else { return answer.await.map_err(Into::into) };
            let mut answer = Box::pin(answer);
            match timeout_at(at.into(), &mut answer).await {
                Ok(result) => result.map_err(Into::into),
                Err(_) => {
                    expire(answer);
                    Err(count(&expired).into())
                }
            }
        })
    }
}

/// Finds the deadline, and notes it in the request.
fn deadline_of<B>(request: &mut Request<B>, now: std::time::Instant, time: Duration) -> Deadline {
    let mut deadline = request.extensions().get::<Deadline>().copied().unwrap_or_default().at_most(now, time);
    let header = request.headers().get(GRPC_TIMEOUT).and_then(|value| value.to_str().ok());
    if let Some(asked) = header.and_then(|value| Deadline::from_grpc_timeout(now, value)) {
        if let Some(remaining) = asked.remaining(now) {
            deadline = deadline.at_most(now, remaining);
        }
        let value = deadline.to_grpc_timeout(now).and_then(|value| HeaderValue::try_from(value).ok());
        if let Some(value) = value {
            request.headers_mut().insert(GRPC_TIMEOUT, value);
        }
    }
    request.extensions_mut().insert(deadline);
    deadline
}
