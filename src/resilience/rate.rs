//! A limit of requests per second, minute or hour.

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use tower_service::Service;

use super::layered::{Handle, refused};
use super::{BoxError, BoxFuture, Refusal, watch};
use crate::metric::Source;
use crate::sync::Arc;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// From this many keys on, and then from twice as many as were left, those that have used nothing of late are forgotten.
const MANY_KEYS: usize = 10_000;
/// To count the keys takes all of their locks, so it is done once per 1024 requests.
const LOOK: usize = 1024;

/// A limit of requests per second, minute or hour in front of a service, in total, or for each peer, connection or tenant.
///
/// A request above it is refused with the time after which it is allowed. It does not wait: a queue of requests that come too
/// fast grows without an end. The count is [governor](https://docs.rs/governor)'s.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
///
/// use http::Request;
/// use millpond::resilience::{Quota, RateLimitLayer};
///
/// let quota = Quota::per_second(NonZeroU32::new(100).unwrap()).allow_burst(NonZeroU32::new(20).unwrap());
/// let per_tenant = RateLimitLayer::per_key(quota, |request: &Request<()>| request.headers().get("tenant").cloned());
/// ```
///
/// # Memory
///
/// A key takes about 100 bytes. From 10 000 keys on, those whose burst is whole again are forgotten now and then. Nothing bounds
/// the others: with a quota per hour, all keys of the last hour are kept.
pub struct RateLimitLayer<R> {
    shared: Arc<Shared<R>>,
}

/// What a [`RateLimitLayer`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitStats {
    /// Requests that it has let through.
    pub allowed: u64,
    /// Requests that it refused.
    pub refused: u64,
}

struct Shared<R> {
    check: Box<Check<R>>,
    allowed: AtomicUsize,
    refused: AtomicUsize,
}

type Check<R> = dyn Fn(&R) -> Result<(), Duration> + Send + Sync;

impl<R: 'static> RateLimitLayer<R> {
    /// For all requests together.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let limiter: DefaultDirectRateLimiter = RateLimiter::direct(quota);
        let clock = DefaultClock::default();
        let check = move |_: &R| limiter.check().map_err(|until| until.wait_time_from(clock.now()));
        Self::with(check)
    }

    /// For the requests of each key by itself, such as the address of the peer.
    #[must_use]
    pub fn per_key<K, F>(quota: Quota, key: F) -> Self
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        F: Fn(&R) -> K + Send + Sync + 'static,
    {
        let limiter: DefaultKeyedRateLimiter<K> = RateLimiter::keyed(quota);
        let clock = DefaultClock::default();
        let (requests, many) = (AtomicUsize::new(1), AtomicUsize::new(MANY_KEYS));
        let check = move |request: &R| {
            let checked = limiter.check_key(&key(request));
            // Ordering: Relaxed, both are hints.
            if requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK)
                && limiter.len() >= many.load(Ordering::Relaxed)
            {
                limiter.retain_recent();
                many.store(MANY_KEYS.max(2 * limiter.len()), Ordering::Relaxed);
            }
            checked.map_err(|until| until.wait_time_from(clock.now()))
        };
        Self::with(check)
    }

    fn with(check: impl Fn(&R) -> Result<(), Duration> + Send + Sync + 'static) -> Self {
        let (allowed, refused) = Default::default();
        Self { shared: Arc::new(Shared { check: Box::new(check), allowed, refused }) }
    }
}

impl<R> RateLimitLayer<R> {
    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> RateLimitStats {
        self.shared.stats()
    }
}

impl<R> Shared<R> {
    fn check(&self, request: &R) -> Result<(), Duration> {
        let checked = (self.check)(request);
        let count = if checked.is_ok() { &self.allowed } else { &self.refused };
        // Ordering: Relaxed, a count.
        count.fetch_add(1, Ordering::Relaxed);
        checked
    }

    fn stats(&self) -> RateLimitStats {
        // Ordering: Relaxed, counts.
        let get = |count: &AtomicUsize| count.load(Ordering::Relaxed) as u64;
        RateLimitStats { allowed: get(&self.allowed), refused: get(&self.refused) }
    }
}

impl<R: 'static> Source for RateLimitLayer<R> {
    type Snapshot = RateLimitStats;

    fn watch(&self) -> impl Fn() -> Option<RateLimitStats> + Send + Sync + 'static {
        watch(&self.shared, Shared::stats)
    }
}

impl<R> Clone for RateLimitLayer<R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<R> fmt::Debug for RateLimitLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<S, R> Handle<S, R> for RateLimitLayer<R>
where
    S: Service<R>,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;

    fn handle(&self, inner: &mut S, request: R) -> BoxFuture<S::Response> {
        if let Err(retry_in) = self.shared.check(&request) {
            return refused(Refusal::RateLimited { retry_in }, request);
        }
        let answer = inner.call(request);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}
