//! Several regions that serve the same, under one name.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::task::{Context, Poll};
use std::time::Instant;

use http::Request;
use tower_service::Service;

use super::refusal::{has_request, is_refused, take_request};
use super::{BoxError, BoxFuture, ByStatus, Classify, now, watch};
use crate::connection::https::{RequestBody, outcome_of_drop};
use crate::metric::Source;
use crate::policy::{Ejection, Outcome, Pick, RegionPolicy, RegionState, Regions};
use crate::sync::{Arc, Mutex, thread_local};

/// One service for several regions: each request goes to the one that serves best, as [`Regions`] decides.
///
/// The latency is the time until the head of the response, connects included. A request that fails is not sent to another
/// region here. If [`Retries`](super::Retries) outside of this service send it again, it goes to another region that is not
/// ejected, as long as there is one that has not failed it. `Retries` learn of the region only in the task that polls this
/// service: if tower's `Buffer` is between, a retry goes where any request goes.
///
/// A request that a region refuses goes on to the next best region at once, as it was not sent: by a
/// [layer](super), such as one whose breaker is open, by a limit or a breaker of
/// [`Upstreams`](crate::connection::https::Upstreams), or because these are closed. Regions that are ejected are asked after
/// the others. If all refuse, the error is the last region's, and has the request in it. Refusals count as errors of the region,
/// so that one that refuses many is left. They eject none: they may be about one of several servers, and when a breaker closes,
/// its region serves at once. Neither does a failure of a request that another region has refused, as its server may fail
/// everywhere.
///
/// While all are ejected, requests go to each in turn, so that one that serves again is found by the next few.
///
/// Each ejection is logged as a warning with its reason; the end of one, and that another region serves, for information.
///
/// It is always ready, as it is not yet known which region will serve. A request waits for its region in its future.
///
/// # Cancel safety
///
/// A request that is dropped before its end says nothing about its region, unless a
/// [`DeadlineLayer`](super::DeadlineLayer) drops it.
///
/// # Layers
///
/// Those that know one server stand within, once per region: limits and breakers. Deadlines, fallbacks and retries stand before
/// it, so that a retry may go to another region. The [module](super) says more.
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
///
/// A client that should stay in its region: each region sets a cookie with its name, and [`stay`](Self::stay) reads it.
///
/// ```
/// use http::{HeaderValue, Request, Response};
/// use millpond::connection::https::{RequestBody, UpstreamBody, Upstreams, UpstreamsConfig};
/// use millpond::policy::RegionPolicy;
/// use millpond::resilience::RegionService;
/// use tower::ServiceExt;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let upstreams = Upstreams::new(UpstreamsConfig::default())?;
/// let regions = ["north", "south"].map(|name| {
///     let named = move |mut response: Response<UpstreamBody>| {
///         response.headers_mut().insert("set-cookie", HeaderValue::try_from(format!("region={name}")).unwrap());
///         response
///     };
///     (name, upstreams.clone().map_response(named)) // with the pools of the region
/// });
/// let service = RegionService::new(RegionPolicy::default(), regions)
///     .stay(|request: &Request<RequestBody>| request.headers().get("cookie")?.to_str().ok()?.strip_prefix("region="));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RegionService<S, C = ByStatus, K = Anywhere> {
    services: Arc<Vec<Mutex<S>>>,
    shared: Arc<Shared>,
    classify: C,
    stay: K,
}

/// Says in which region a request should be served. A closure does, too.
pub trait Stay<R> {
    /// The name of the region. `None`, or a name that is none: in the best.
    fn region<'a>(&self, request: &'a R) -> Option<&'a str>;
}

/// Each request goes to the best region.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anywhere;

struct Shared {
    names: Vec<String>,
    state: Mutex<State>,
}

struct State {
    regions: Regions,
    /// Those that were ejected when a request was last sent.
    ejected: Vec<bool>,
}

impl<R> Stay<R> for Anywhere {
    fn region<'a>(&self, _: &'a R) -> Option<&'a str> {
        None
    }
}

impl<F, R> Stay<R> for F
where
    F: for<'a> Fn(&'a R) -> Option<&'a str>,
{
    fn region<'a>(&self, request: &'a R) -> Option<&'a str> {
        self(request)
    }
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
            regions.into_iter().map(|(name, service)| (name.into(), Mutex::new(service))).unzip();
        assert!(!services.is_empty(), "a service needs at least one region");
        let regions = Regions::new(policy, services.len());
        let state = Mutex::new(State { regions, ejected: vec![false; services.len()] });
        let (services, shared) = (Arc::new(services), Arc::new(Shared { names, state }));
        Self { services, shared, classify: ByStatus, stay: Anywhere }
    }
}

impl<S, C, K> RegionService<S, C, K> {
    /// The same regions, judged in another way.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> RegionService<S, D, K> {
        let Self { services, shared, stay, .. } = self;
        RegionService { services, shared, classify, stay }
    }

    /// The same regions, of which a request may name the one to be served in: by a cookie, for example. It is served there
    /// unless that is ejected.
    #[must_use]
    pub fn stay<R, F>(self, region: F) -> RegionService<S, C, F>
    where
        F: for<'a> Fn(&'a R) -> Option<&'a str>,
    {
        let Self { services, shared, classify, .. } = self;
        RegionService { services, shared, classify, stay: region }
    }

    /// What is known of the regions.
    #[must_use]
    pub fn state(&self) -> Vec<RegionState> {
        self.shared.state()
    }
}

impl<S, C, K> Source for RegionService<S, C, K> {
    type Snapshot = Vec<RegionState>;

    fn watch(&self) -> impl Fn() -> Option<Vec<RegionState>> + Send + Sync + 'static {
        watch(&self.shared, Shared::state)
    }
}

impl<S, C, K> fmt::Debug for RegionService<S, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionService").field("regions", &self.state()).finish_non_exhaustive()
    }
}

impl<S, C, K, R> Service<R> for RegionService<S, C, K>
where
    S: Service<R> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    S::Response: Send,
    R: Send + 'static,
    C: Classify<S::Response> + Clone + Send + Sync + 'static,
    K: Stay<R>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<S::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let Self { services, shared, .. } = self;
        let (services, shared, classify) = (Arc::clone(services), Arc::clone(shared), self.classify.clone());
        let failed = failed_in(&request, shared.id());
        let again = if failed.is_empty() { None } else { shared.fall_back(&failed) };
        let region = again.unwrap_or_else(|| shared.pick(now(), self.stay.region(&request)));
        let mut sent = Sent { shared, region, since: now(), was_refused: false, ended: None };
        Box::pin(async move {
            let mut refused = Vec::new();
            loop {
                let service = services.get(sent.region).map(|service| service.lock().clone());
                let Some(mut service) = service else { return Err("there is no such region".into()) };
                let result = match poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into) {
                    Ok(()) => service.call(request).await.map_err(Into::into),
                    Err(error) => Err(error),
                };
                let mut error = match result {
                    Err(error) if is_refused(&error) => error,
                    result => {
                        sent.ended = Some(classify.classify(&result));
                        return result;
                    }
                };
                let (region, shared) = (sent.region, Arc::clone(&sent.shared));
                sent.ended = Some(Outcome::Refused);
                drop(sent);
                refused.push(region);
                let next = if has_request::<R>(&error) { shared.next(&refused) } else { None };
                let Some(next) = next else { return Err(error) };
                let Some(unsent) = take_request(&mut error) else { return Err(error) };
                sent = Sent { shared, region: next, since: now(), was_refused: true, ended: None };
                request = unsent;
            }
        })
    }
}

/// A request on its way to a region.
struct Sent {
    shared: Arc<Shared>,
    region: usize,
    since: Instant,
    /// By another region.
    was_refused: bool,
    ended: Option<Outcome>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        LAST.set(Some(InRegion { service: self.shared.id(), region: self.region }));
        let outcome = self.ended.unwrap_or_else(outcome_of_drop);
        // If the breaker of a server has refused it, that server may fail in this region, too. So it ejects none.
        let ejects = !(self.was_refused && outcome.is_failure());
        self.shared.record(self.region, self.since, if ejects { outcome } else { Outcome::Refused });
    }
}

thread_local! {
    /// A request is not `Retries`' to change before it fails, and neither are errors and responses of any type. But they look at
    /// the answer as soon as it is there.
    static LAST: Cell<Option<InRegion>> = const { Cell::new(None) };
}

/// The region of a service that has served a request, or failed it.
#[derive(Clone, Copy)]
pub(super) struct InRegion {
    /// Its address. If another service has it later, a retry there may miss the best region, and no more.
    service: usize,
    region: usize,
}

/// Those that have failed a request, in its extensions.
#[derive(Clone, Default)]
pub(super) struct FailedIn(pub(super) Vec<InRegion>);

/// The region whose answer has just come in this thread.
pub(super) fn last_region() -> Option<InRegion> {
    LAST.take()
}

fn failed_in<R: 'static>(request: &R, service: usize) -> Vec<usize> {
    let request = (request as &dyn Any).downcast_ref::<Request<RequestBody>>();
    let failed = request.and_then(|request| request.extensions().get::<FailedIn>());
    let failed = failed.into_iter().flat_map(|FailedIn(failed)| failed);
    failed.filter(|failed| failed.service == service).map(|failed| failed.region).collect()
}

impl Shared {
    fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    fn state(&self) -> Vec<RegionState> {
        self.state.lock().regions.state(now(), &self.names)
    }

    /// The region for a request that these have failed.
    fn fall_back(&self, failed: &[usize]) -> Option<usize> {
        Some(self.state.lock().regions.fall_back(now(), failed)?.region)
    }

    /// The region for a request that these have refused.
    fn next(&self, refused: &[usize]) -> Option<usize> {
        let regions = &mut self.state.lock().regions;
        let next = regions.fall_back(now(), refused).or_else(|| regions.last_resort(refused));
        Some(next?.region)
    }

    /// The region for a request, which may name one.
    fn pick(&self, now: Instant, stay: Option<&str>) -> usize {
        let stay = stay.and_then(|stay| self.names.iter().position(|name| name == stay));
        let mut state = self.state.lock();
        let State { regions, ejected } = &mut *state;
        let before = regions.current();
        let Pick { region, .. } = regions.pick(now, stay, RandomState::new().hash_one(0));
        let after = regions.current();
        let mut returned = Vec::new();
        for (index, was_ejected) in ejected.iter_mut().enumerate() {
            let is_ejected = regions.is_ejected(index, now);
            if mem::replace(was_ejected, is_ejected) && !is_ejected {
                returned.push(index);
            }
        }
        drop(state);
        for region in returned.into_iter().filter_map(|index| self.names.get(index)) {
            tracing::info!(region, "the region is no longer ejected, and is tried again");
        }
        if let (true, Some(from), Some(to)) = (before != after, self.names.get(before), self.names.get(after))
        {
            tracing::info!(from, to, "another region serves");
        }
        region
    }

    fn record(&self, region: usize, since: Instant, outcome: Outcome) {
        let now = now();
        let latency = now.saturating_duration_since(since);
        let mut state = self.state.lock();
        let ejection = state.regions.record(now, region, latency, outcome);
        if let Some(was_ejected) = state.ejected.get_mut(region) {
            *was_ejected |= ejection.is_some();
        }
        drop(state);
        if let (Some(Ejection { duration, .. }), Some(name)) = (ejection, self.names.get(region)) {
            let last = if outcome == Outcome::Timeout { "timeout" } else { "failure" };
            let reason = "failures_in_a_row";
            tracing::warn!(
                region = name,
                ?duration,
                reason,
                last,
                "the region is ejected, and gets no requests"
            );
        }
    }
}
