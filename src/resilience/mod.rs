//! The [policies](crate::policy) as tower layers: what a client puts in front of its servers.
//!
//! ```text
//!  request ─▶ Deadline ─▶ Fallback ─▶ Retry ─▶ RateLimit ─▶ Breaker ─▶ Limit ─▶ Upstreams, or any other service
//!             ends what    another     while    refuses      none       as many
//!             takes too    answer      it       what comes   while it   as it
//!             long                     helps    too fast     fails      serves well
//! ```
//!
//! Each layer is of use alone, in any order. This one has its reasons: each attempt of a retry is counted by the limits and by
//! the breaker; the breaker stands before the limit, so that nobody queues for a server that is down; a deadline ends all of it.
//!
//! [`RegionService`] stands in the place of `Upstreams` where several regions serve the same.
//!
//! A layer refuses by a [`Refusal`], in the boxed error of tower: [`Refusal::of`] finds it there. A refused request was not
//! sent, unless its deadline has come. No layer starts a task. All clones of a service share one state, so make one layer per server.
//!
//! # Examples
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use http::Request;
//! use millpond::connection::https::{RequestBody, Upstreams, UpstreamsConfig};
//! use millpond::policy::{BreakerPolicy, BudgetPolicy, LimitPolicy, QueuePolicy, RetryPolicy};
//! use millpond::resilience::{BreakerLayer, DeadlineLayer, LimitLayer, Retries};
//! use tower::retry::RetryLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let mut client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(5)))
//!     .layer(RetryLayer::new(Retries::new(RetryPolicy::default(), BudgetPolicy::default())))
//!     .layer(BreakerLayer::new("mill", BreakerPolicy::default()))
//!     .layer(LimitLayer::new(LimitPolicy::default(), QueuePolicy::default()))
//!     .service(Upstreams::new(UpstreamsConfig::default())?);
//! let request = Request::get("https://mill.example/").body(RequestBody::empty())?;
//! let response = client.ready().await?.call(request).await?;
//! # Ok(()) }
//! # use tower::Service;
//! ```

mod breaker;
mod classify;
mod deadline;
mod fallback;
mod layered;
mod limit;
mod rate;
mod refusal;
mod regions;
mod retry;

use std::error::Error;
use std::pin::Pin;

pub use self::breaker::BreakerLayer;
pub use self::classify::{ByStatus, Classify};
pub use self::deadline::DeadlineLayer;
pub use self::fallback::FallbackLayer;
pub use self::layered::Layered;
use self::layered::layers;
pub use self::limit::{LimitLayer, LimitState};
pub use self::rate::RateLimitLayer;
pub use self::refusal::Refusal;
pub use self::regions::{Anywhere, RegionService, Stay};
pub use self::retry::Retries;
pub use governor::Quota;

use crate::sync::Arc;

layers! {
    BreakerLayer<C>,
    DeadlineLayer,
    FallbackLayer<N, A>,
    LimitLayer<C>,
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
