//! A layer of its own for each server.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::time::Instant;

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::layered::Handle;
use super::{BoxError, BoxFuture, now, watch};
use crate::connection::https::{HttpsError, ServerKey};
use crate::metric::{Label, Metrics, Source, Visit, each_labelled};
use crate::sync::{Arc, Mutex};

/// A layer of its own for each server that the URIs of requests name: limits, rates and budgets of retries per host.
///
/// A server is a scheme, a host and a port, as for [`Upstreams`](crate::connection::https::Upstreams). A request whose URI names
/// none fails with [`InvalidUri`](crate::connection::https::HttpsErrorKind::InvalidUri).
///
/// For a breaker per server, [`UpstreamsConfig::breaker`](field@crate::connection::https::UpstreamsConfig::breaker) is enough. With
/// this layer, a [`BreakerLayer`](super::BreakerLayer) may judge by other means than the status, or stand before another service.
///
/// # Memory
///
/// There are at most as many layers as [given](Self::new). A further server takes the place of the one that was asked least
/// recently, whose layer is forgotten: a limit begins anew, and requests in flight do not count for it.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
///
/// use http::Request;
/// use millpond::connection::https::{RequestBody, Upstreams, UpstreamsConfig};
/// use millpond::policy::{LimitPolicy, QueuePolicy};
/// use millpond::resilience::{LimitLayer, PerServerLayer, Quota, RateLimitLayer};
/// use tower::ServiceBuilder;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = PerServerLayer::new(1024, |_server| LimitLayer::new(LimitPolicy::default(), QueuePolicy::default()));
/// let rates = PerServerLayer::new(1024, |server| {
///     let per_second = if server == "https://slow.example" { 10 } else { 100 };
///     RateLimitLayer::<Request<RequestBody>>::new(Quota::per_second(NonZeroU32::new(per_second).unwrap()))
/// });
/// let client = ServiceBuilder::new().layer(rates).layer(limits).service(Upstreams::new(UpstreamsConfig::default())?);
/// # Ok(()) }
/// ```
pub struct PerServerLayer<L> {
    shared: Arc<Shared<L>>,
}

struct Shared<L> {
    make: Box<dyn Fn(&str) -> L + Send + Sync>,
    max_servers: usize,
    servers: Mutex<HashMap<ServerKey, Entry<L>>>,
}

struct Entry<L> {
    layer: L,
    last_used: Instant,
}

/// What the layer of one server reports. Its samples have the label `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerServer<T> {
    /// Scheme, host and port, such as `https://mill.example:8443`.
    pub server: String,
    /// Its layer's report.
    pub report: T,
}

impl<L> PerServerLayer<L> {
    /// At most that many layers, and at least one. `make` makes that of a server, such as `https://mill.example` or
    /// `http://10.0.0.1:8080`.
    #[must_use]
    pub fn new(max_servers: usize, make: impl Fn(&str) -> L + Send + Sync + 'static) -> Self {
        let servers = Mutex::new(HashMap::new());
        Self { shared: Arc::new(Shared { make: Box::new(make), max_servers: max_servers.max(1), servers }) }
    }
}

impl<L: Clone> Shared<L> {
    fn layer_of(&self, server: ServerKey) -> L {
        if let Some(layer) = self.find(&server) {
            return layer;
        }
        // Without the lock, as it is foreign code.
        let layer = (self.make)(&server.to_string());
        let mut servers = self.servers.lock();
        // Another request may have been faster.
        let is_full = servers.len() >= self.max_servers && !servers.contains_key(&server);
        let oldest = servers.iter().filter(|_| is_full).min_by_key(|(_, entry)| entry.last_used);
        let oldest = oldest.map(|(key, _)| key.clone());
        let forgotten = oldest.and_then(|oldest| servers.remove(&oldest));
        let entry = servers.entry(server).or_insert(Entry { layer, last_used: now() });
        let layer = entry.layer.clone();
        drop(servers);
        drop(forgotten);
        layer
    }

    fn find(&self, server: &ServerKey) -> Option<L> {
        let mut servers = self.servers.lock();
        let entry = servers.get_mut(server)?;
        entry.last_used = now();
        Some(entry.layer.clone())
    }
}

impl<L> Clone for PerServerLayer<L> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<L: fmt::Debug> fmt::Debug for PerServerLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.shared.servers.lock();
        let layers = servers.iter().map(|(server, entry)| (server.to_string(), &entry.layer));
        f.debug_map().entries(layers).finish()
    }
}

impl<L: Source + Send + 'static> Source for PerServerLayer<L> {
    type Snapshot = Vec<PerServer<L::Snapshot>>;

    fn watch(&self) -> impl Fn() -> Option<Self::Snapshot> + Send + Sync + 'static {
        watch(&self.shared, Shared::report)
    }
}

impl<L: Source> Shared<L> {
    fn report(&self) -> Vec<PerServer<L::Snapshot>> {
        let servers = self.servers.lock();
        let watches: Vec<_> =
            servers.iter().map(|(server, entry)| (server.to_string(), entry.layer.watch())).collect();
        drop(servers);
        let reports = watches.into_iter();
        reports.filter_map(|(server, watch)| Some(PerServer { server, report: watch()? })).collect()
    }
}

impl<T: Metrics> Metrics for PerServer<T> {
    fn each(&self, visit: &mut Visit<'_>) {
        each_labelled(Label::new("server", self.server.as_str()), &self.report, visit);
    }
}

impl<S, L, B> Handle<S, Request<B>> for PerServerLayer<L>
where
    S: Clone,
    L: Layer<S> + Clone,
    L::Service: Service<Request<B>> + Send + 'static,
    <L::Service as Service<Request<B>>>::Response: Send + 'static,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
    <L::Service as Service<Request<B>>>::Future: Send,
    B: Send + 'static,
{
    type Response = <L::Service as Service<Request<B>>>::Response;

    fn handle(&self, inner: &mut S, request: Request<B>) -> BoxFuture<Self::Response> {
        let server = match ServerKey::of(request.uri()) {
            Ok(server) => server,
            Err(error) => return Box::pin(async move { Err(HttpsError::into(error)) }),
        };
        // The one that is ready is called, and its clone stays.
        let clone = inner.clone();
        let mut service = self.shared.layer_of(server).layer(mem::replace(inner, clone));
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            service.call(request).await.map_err(Into::into)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::OnceLock;
    use crate::sync::statistic::{AtomicBool, Ordering};

    #[test]
    fn two_first_requests_to_a_server_forget_no_other() {
        let key = |uri: &'static str| ServerKey::of(&http::Uri::from_static(uri)).unwrap();
        let faster = Arc::new(OnceLock::<PerServerLayer<()>>::new());
        let (other, is_first) = (Arc::clone(&faster), AtomicBool::new(true));
        let layer = PerServerLayer::new(2, move |server| {
            // Ordering: Relaxed, one thread.
            if server == "http://grist" && is_first.swap(false, Ordering::Relaxed) {
                other.get().unwrap().shared.layer_of(key("http://grist"));
            }
        });
        assert!(faster.set(layer.clone()).is_ok());
        for uri in ["http://mill", "http://grist"] {
            layer.shared.layer_of(key(uri));
        }
        assert!(layer.shared.find(&key("http://mill")).is_some());
    }
}
