//! A service with a layer in front of it: what all layers have in common.

use std::task::{Context, Poll};

use tower_service::Service;

use super::refusal::Unsent;
use super::{BoxError, BoxFuture, Refusal};

/// A service with a layer in front of it. It is ready when the service is.
#[derive(Clone, Debug)]
pub struct Layered<S, L> {
    inner: S,
    layer: L,
}

/// What a layer does with a request.
pub trait Handle<S, R> {
    /// The response, which may be another one than the service's.
    type Response;

    /// Calls the service, which is ready, or answers without it.
    fn handle(&self, inner: &mut S, request: R) -> BoxFuture<Self::Response>;
}

impl<S, L> Layered<S, L> {
    pub(super) fn new(inner: S, layer: L) -> Self {
        Self { inner, layer }
    }
}

impl<S, L, R> Service<R> for Layered<S, L>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
    L: Handle<S, R>,
{
    type Response = L::Response;
    type Error = BoxError;
    type Future = BoxFuture<L::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.layer.handle(&mut self.inner, request)
    }
}

/// The answer to a request that is not sent.
pub(super) fn refused<T: Send + 'static>(refusal: Refusal, request: impl Send + 'static) -> BoxFuture<T> {
    let error = Unsent::new(refusal, request);
    Box::pin(async move { Err(error.into()) })
}

/// Lets types be layers that have [`Handle`], and whose clones share their state.
macro_rules! layers {
    ($($layer:ident $(<$($of:ident),+>)?,)+) => {$(
        impl<S $($(, $of)+)?> tower_layer::Layer<S> for $layer $(<$($of),+>)?
        where
            Self: Clone,
        {
            type Service = Layered<S, Self>;

            fn layer(&self, inner: S) -> Self::Service {
                Layered::new(inner, self.clone())
            }
        }
    )+};
}
pub(super) use layers;
