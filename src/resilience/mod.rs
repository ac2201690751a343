//! The [policies](crate::policy) as tower layers: what a client puts in front of its servers.
//!
//! ```text
//!  request ─▶ Fallback ─▶ Deadline ─▶ Retry ─▶ RateLimit ─▶ Breaker ─▶ Limit ─▶ Upstreams, or any other service
//!             another     ends what   while    refuses      none       as many
//!             answer      takes too   it       what comes   while it   as it
//!                         long        helps    too fast     fails      serves well
//! ```
//!
//! Each layer is of use alone, in any order. This one has its reasons: each attempt of a retry is counted by the limits and by
//! the breaker; the breaker stands before the limit, so that nobody queues for a server that is down; a deadline ends all of it;
//! and a fallback answers for a server that hangs, too, as it sees the deadline's error.
//!
//! [`RegionService`] stands in the place of `Upstreams` where several regions serve the same. What knows one server then stands
//! within it, once per region: the breaker, the limit, and a [`PerServerLayer`], which would see a single server from outside. What
//! is about the request stands before it: the deadline, the fallback and the retries. A [`ByteLimitLayer`] before all others refuses
//! requests while bodies hold too much memory. The program "A resilient proxy" of the [cookbook](crate::cookbook) has the whole.
//!
//! A layer refuses by a [`Refusal`], in the boxed error of tower: [`Refusal::of`] finds it there. A refused request was not
//! sent, unless its deadline has come. A [`RegionService`] sends it to another region. No layer starts a task.
//!
//! All clones of a service share one state, so make one layer per server, or let a [`PerServerLayer`] make them. `Upstreams` have
//! limits of their own: [`breaker`](field@crate::connection::https::UpstreamsConfig::breaker), one per server, and
//! [`max_connections`](field@crate::connection::https::UpstreamsConfig::max_connections) to all servers together.
//!
//! Each layer counts what it does. `stats()` returns the counts, and `state()` also what is under way now. It is a
//! [`Source`](crate::metric::Source) of metrics, so that a registry of `observe` shows it: `registry.add("api", &layer)`.
//!
//! # Examples
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::combinators::UnsyncBoxBody;
//! use http_body_util::{BodyExt, Full};
//! use millpond::connection::https::{HttpsError, RequestBody, UpstreamBody, Upstreams, UpstreamsConfig};
//! use millpond::policy::{BreakerPolicy, BudgetPolicy, LimitPolicy, QueuePolicy, RetryPolicy, Shed};
//! use millpond::resilience::{BreakerLayer, DeadlineLayer, FallbackLayer, LimitLayer, Retries};
//! use tower::retry::RetryLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! type Body = UnsyncBoxBody<Bytes, HttpsError>;
//!
//! let no_news = || Full::from("No news today.").map_err(|never| match never {}).boxed_unsync();
//! let fallback = FallbackLayer::new(
//!     |request: &Request<RequestBody>| request.uri().path() == "/news",
//!     move |is_news: &bool, result: &Result<Response<Body>, _>| {
//!         (*is_news && result.is_err()).then(|| Response::new(no_news()))
//!     },
//! );
//! let mut client = ServiceBuilder::new()
//!     .layer(fallback)
//!     .map_response(|response: Response<UpstreamBody>| response.map(BodyExt::boxed_unsync))
//!     .layer(DeadlineLayer::new(Duration::from_secs(5)))
//!     .layer(RetryLayer::new(Retries::new(RetryPolicy::default(), BudgetPolicy::default())))
//!     .layer(BreakerLayer::new("mill", BreakerPolicy::default()))
//!     .layer(LimitLayer::new(LimitPolicy::default(), QueuePolicy::default().shed(Shed::Oldest)))
//!     .service(Upstreams::new(UpstreamsConfig::default())?);
//! let request = Request::get("https://mill.example/news").body(RequestBody::empty())?;
//! let response = client.ready().await?.call(request).await?;
//! # Ok(()) }
//! # use tower::Service;
//! ```

// | file | idea |
// |---|---|
// | `layered` | a service with a layer in front of it: what all layers have in common |
// | `classify` | how a request ended |
// | `refusal` | why a request was not sent |
// | `deadline`, `fallback`, `retry`, `rate`, `breaker`, `limit`, `bytes` | a layer each |
// | `per_server` | a layer of its own for each server |
// | `regions` | one service for several regions |
// | `metrics` | the tables of their metrics |

mod breaker;
mod bytes;
mod classify;
mod deadline;
mod fallback;
mod layered;
mod limit;
mod metrics;
mod per_server;
mod rate;
mod refusal;
mod regions;
mod retry;

use std::error::Error;
use std::pin::Pin;

pub use self::breaker::BreakerLayer;
pub use self::bytes::{ByteLimitLayer, ByteLimitState, CountedBody};
pub use self::classify::{ByStatus, Classify};
pub use self::deadline::{DeadlineLayer, DeadlineStats};
pub use self::fallback::{FallbackLayer, FallbackStats};
pub use self::layered::Layered;
use self::layered::layers;
pub use self::limit::{LimitLayer, LimitState};
pub use self::per_server::{PerServer, PerServerLayer};
pub use self::rate::{RateLimitLayer, RateLimitStats};
pub use self::refusal::Refusal;
pub use self::regions::{Anywhere, RegionService, Stay};
pub use self::retry::Retries;
pub use governor::Quota;

use crate::sync::Arc;

layers! {
    BreakerLayer<C>,
    ByteLimitLayer,
    DeadlineLayer,
    FallbackLayer<N, A>,
    LimitLayer<C>,
    PerServerLayer<L>,
    RateLimitLayer<R>,
}

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// What [`Source::watch`](crate::metric::Source::watch) returns for a layer: snapshots as long as it is used.
fn watch<T: Send + Sync + 'static, N>(
    shared: &Arc<T>,
    snapshot: impl Fn(&T) -> N + Send + Sync + 'static,
) -> impl Fn() -> Option<N> + Send + Sync + 'static {
    let shared = Arc::downgrade(shared);
    move || Some(snapshot(&*shared.upgrade()?))
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
