//! Another answer where there is none.

use std::fmt;

use tower_service::Service;

use super::layered::Handle;
use super::{BoxError, BoxFuture, watch};
use crate::metric::Source;
use crate::sync::Arc;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// Degradation: an answer in the place of one that failed, such as a stale one, or a fixed one.
///
/// `note` takes from each request what `answer` needs, such as its path. `answer` sees how each request ended, so it may
/// also keep good answers for later. If it returns `None`, the result stays as it is.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use millpond::connection::https::RequestBody;
/// use millpond::resilience::FallbackLayer;
///
/// let note = |request: &Request<RequestBody>| request.uri().path() == "/news";
/// FallbackLayer::new(note, |is_news: &bool, result| {
///     let has_failed = result.as_ref().map_or(true, |response: &Response<String>| response.status().is_server_error());
///     (has_failed && *is_news).then(|| Response::new("No news today.".to_owned()))
/// });
/// ```
pub struct FallbackLayer<N, A> {
    note: N,
    answer: Arc<A>,
    answers: Arc<AtomicUsize>,
}

/// What a [`FallbackLayer`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackStats {
    /// Answers that took the place of others.
    pub answers: u64,
}

impl<N, A> FallbackLayer<N, A> {
    /// With these two closures.
    #[must_use]
    pub fn new<R, T, K>(note: N, answer: A) -> Self
    where
        N: Fn(&R) -> K,
        A: Fn(&K, &Result<T, BoxError>) -> Option<T>,
    {
        Self { note, answer: Arc::new(answer), answers: Arc::default() }
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> FallbackStats {
        stats(&self.answers)
    }
}

fn stats(answers: &AtomicUsize) -> FallbackStats {
    // Ordering: Relaxed, a count.
    FallbackStats { answers: answers.load(Ordering::Relaxed) as u64 }
}

impl<N, A> Source for FallbackLayer<N, A> {
    type Snapshot = FallbackStats;

    fn watch(&self) -> impl Fn() -> Option<FallbackStats> + Send + Sync + 'static {
        watch(&self.answers, stats)
    }
}

impl<N: Clone, A> Clone for FallbackLayer<N, A> {
    fn clone(&self) -> Self {
        Self { note: self.note.clone(), answer: Arc::clone(&self.answer), answers: Arc::clone(&self.answers) }
    }
}

impl<N, A> fmt::Debug for FallbackLayer<N, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<S, R, N, A, K> Handle<S, R> for FallbackLayer<N, A>
where
    S: Service<R>,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    N: Fn(&R) -> K,
    K: Send + Sync + 'static,
    A: Fn(&K, &Result<S::Response, BoxError>) -> Option<S::Response> + Send + Sync + 'static,
{
    type Response = S::Response;

    fn handle(&self, inner: &mut S, request: R) -> BoxFuture<S::Response> {
        let (note, answer) = ((self.note)(&request), Arc::clone(&self.answer));
        let answers = Arc::clone(&self.answers);
        let response = inner.call(request);
        Box::pin(async move {
            let result = response.await.map_err(Into::into);
            match answer(&note, &result) {
                Some(other) => {
                    // Ordering: Relaxed, a count.
                    answers.fetch_add(1, Ordering::Relaxed);
                    Ok(other)
                }
                None => result,
            }
        })
    }
}
