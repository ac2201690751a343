//! A limit of the bytes that bodies hold.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use super::layered::{Handle, refused};
use super::{BoxError, BoxFuture, Refusal, watch};
use crate::connection::https::RequestBody;
use crate::metric::Source;
use crate::sync::Arc;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// Refuses requests while the bodies of others hold more bytes than allowed.
///
/// What counts is the data of request bodies from the call on, or for those that stream from when it is read; and that of
/// response bodies from when it is read. It counts until the program and the connection have dropped it, so also while it waits
/// in a slow client's queue, or in a page that was collected from a body.
///
/// It is a threshold: what is under way may hold more, as nothing is taken from it. What a server has sent and nobody has read
/// yet does not count, but is [bounded](crate::connection::https::Http2Windows) per connection. A program whose bodies are in a
/// [`BufferPool`](crate::BufferPool) has a hard limit in its `memory_limit`, and needs no layer for it.
///
/// Each piece of data costs one small allocation more.
///
/// # Examples
///
/// ```
/// use millpond::connection::https::{Upstreams, UpstreamsConfig};
/// use millpond::resilience::ByteLimitLayer;
/// use tower::ServiceBuilder;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = ByteLimitLayer::new(256 * 1024 * 1024);
/// let client = ServiceBuilder::new().layer(limit.clone()).service(Upstreams::new(UpstreamsConfig::default())?);
/// assert_eq!(limit.state().held, 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ByteLimitLayer {
    shared: Arc<Shared>,
}

/// What bodies hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByteLimitState {
    /// The bytes that they may hold.
    pub limit: usize,
    /// The bytes that they hold.
    pub held: usize,
    /// Requests that were refused.
    pub refused: u64,
}

struct Shared {
    limit: usize,
    held: AtomicUsize,
    refused: AtomicUsize,
}

impl ByteLimitLayer {
    /// Refuses requests while bodies hold more bytes than this.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (held, refused) = Default::default();
        Self { shared: Arc::new(Shared { limit, held, refused }) }
    }

    /// What bodies hold now.
    #[must_use]
    pub fn state(&self) -> ByteLimitState {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> ByteLimitState {
        // Ordering: Relaxed, counts.
        ByteLimitState {
            limit: self.limit,
            held: self.held.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed) as u64,
        }
    }

    fn admits(&self) -> bool {
        // Ordering: Relaxed, the limit is a threshold.
        let admits = self.held.load(Ordering::Relaxed) <= self.limit;
        if !admits {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admits
    }
}

/// Data that counts until its last clone is dropped.
fn count(shared: &Arc<Shared>, data: Bytes) -> Bytes {
    if data.is_empty() {
        return data;
    }
    // Ordering: Relaxed, a count.
    shared.held.fetch_add(data.len(), Ordering::Relaxed);
    Bytes::from_owner(Held { data, shared: Arc::clone(shared) })
}

struct Held {
    data: Bytes,
    shared: Arc<Shared>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Ordering: Relaxed, a count. What was added is taken away.
        self.shared.held.fetch_sub(self.data.len(), Ordering::Relaxed);
    }
}

impl fmt::Debug for ByteLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteLimitLayer").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Source for ByteLimitLayer {
    type Snapshot = ByteLimitState;

    fn watch(&self) -> impl Fn() -> Option<ByteLimitState> + Send + Sync + 'static {
        watch(&self.shared, Shared::state)
    }
}

impl<S, B> Handle<S, Request<RequestBody>> for ByteLimitLayer
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<CountedBody<B>>;

    fn handle(&self, inner: &mut S, request: Request<RequestBody>) -> BoxFuture<Self::Response> {
        if !self.shared.admits() {
            return refused(Refusal::TooManyBytes, request);
        }
        let (of_request, shared) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let answer = inner.call(request.map(|body| body.map_data(move |data| count(&of_request, data))));
        Box::pin(async move {
            let response = answer.await.map_err(Into::into)?;
            Ok(response.map(|body| CountedBody { body, shared }))
        })
    }
}

/// The body of a response behind a [`ByteLimitLayer`]: the same data, which counts until it is dropped.
pub struct CountedBody<B> {
    body: B,
    shared: Arc<Shared>,
}

impl<B> CountedBody<B> {
    /// The body itself.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        &self.body
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CountedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)?);
        Poll::Ready(frame.map(|frame| Ok(frame.map_data(|data| count(&self.shared, data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for CountedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CountedBody").field(&self.body).finish()
    }
}
