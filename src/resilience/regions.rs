//! Several regions that serve the same, under one name.

use std::fmt;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::task::{Context, Poll};
use std::time::Instant;

use tower_service::Service;

use super::{BoxError, BoxFuture, ByStatus, Classify, now};
use crate::connection::https::outcome_of_drop;
use crate::policy::{Outcome, Pick, RegionPolicy, RegionState, Regions};
use crate::sync::{Arc, Mutex};

/// One service for several regions: each request goes to the one that serves best, as [`Regions`] decides.
///
/// A request that fails is not sent to another region here: a retry outside of this service is, once the region was
/// ejected. The latency is the time until the head of the response, connects included. Each ejection is logged as a warning.
///
/// It is always ready, as it is not yet known which region will serve. A request waits for its region in its future.
///
/// # Cancel safety
///
/// A request that is dropped before its end says nothing about its region, unless a
/// [`DeadlineLayer`](super::DeadlineLayer) drops it.
///
/// # Examples
///
/// ```
/// use millpond::connection::https::{HttpsConfig, Upstreams, UpstreamsConfig};
/// use millpond::net::Endpoint;
/// use millpond::policy::RegionPolicy;
/// use millpond::resilience::RegionService;
///
/// // The name in the request's URI is the same, and so is the certificate. Only the address differs.
/// let region = |address: &str| -> Result<_, Box<dyn std::error::Error>> {
///     let https = HttpsConfig::default().endpoint(Some(address.parse::<Endpoint>()?));
///     Ok(Upstreams::new(UpstreamsConfig::default().https(https))?)
/// };
/// let regions = [("north", region("tcp://192.0.2.1:443")?), ("south", region("tcp://198.51.100.1:443")?)];
/// let service = RegionService::new(RegionPolicy::default(), regions);
/// assert_eq!(service.state().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RegionService<S, C = ByStatus> {
    services: Vec<S>,
    shared: Arc<Shared>,
    classify: C,
}

struct Shared {
    names: Vec<String>,
    regions: Mutex<Regions>,
}

impl<S> RegionService<S> {
    /// These regions, each with a name for the log, the preferred one first. It judges by the status of responses.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn new<N: Into<String>>(policy: RegionPolicy, regions: impl IntoIterator<Item = (N, S)>) -> Self {
        let (names, services): (Vec<_>, Vec<_>) =
            regions.into_iter().map(|(name, service)| (name.into(), service)).unzip();
        assert!(!services.is_empty(), "a service needs at least one region");
        let regions = Mutex::new(Regions::new(policy, services.len()));
        Self { services, shared: Arc::new(Shared { names, regions }), classify: ByStatus }
    }
}

impl<S, C> RegionService<S, C> {
    /// The same regions, judged in another way.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> RegionService<S, D> {
        RegionService { services: self.services, shared: self.shared, classify }
    }

    /// What is known of the regions.
    #[must_use]
    pub fn state(&self) -> Vec<RegionState> {
        self.shared.regions.lock().state(now(), &self.shared.names)
    }
}

impl<S, C> fmt::Debug for RegionService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionService").field("regions", &self.state()).finish_non_exhaustive()
    }
}

impl<S, C, R> Service<R> for RegionService<S, C>
where
    S: Service<R> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    S::Response: Send,
    R: Send + 'static,
    C: Classify<S::Response> + Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<S::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (shared, classify) = (Arc::clone(&self.shared), self.classify.clone());
        let since = now();
        let Pick { region, .. } = shared.regions.lock().pick(since, None, RandomState::new().hash_one(0));
        let service = self.services.get(region).cloned();
        let sent = Sent { shared, region, since, outcome: None };
        Box::pin(async move {
            let mut sent = sent;
            let Some(mut service) = service else { return Err("there is no such region".into()) };
            let result = match poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into) {
                Ok(()) => service.call(request).await.map_err(Into::into),
                Err(error) => Err(error),
            };
            sent.outcome = Some(classify.classify(&result));
            result
        })
    }
}

/// A request on its way to a region.
struct Sent {
    shared: Arc<Shared>,
    region: usize,
    since: Instant,
    outcome: Option<Outcome>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or_else(outcome_of_drop);
        self.shared.record(self.region, self.since, outcome);
    }
}

impl Shared {
    fn record(&self, region: usize, since: Instant, outcome: Outcome) {
        let now = now();
        let latency = now.saturating_duration_since(since);
        let ejection = self.regions.lock().record(now, region, latency, outcome);
        if let (Some(ejection), Some(name)) = (ejection, self.names.get(region)) {
            tracing::warn!(region = name, duration = ?ejection.duration, "the region fails, and gets no requests");
        }
    }
}
