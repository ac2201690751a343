//! As many requests at once as a server serves well.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use tokio::sync::oneshot;
use tower_service::Service;

use super::layered::Handle;
use super::refusal::Unsent;
use super::{BoxError, BoxFuture, ByStatus, Classify, Refusal, now, watch};
use crate::connection::https::{drop_unsent, outcome_of_drop};
use crate::metric::Source;
use crate::policy::{AdaptiveLimit, Arrival, LimitPolicy, Outcome, QueuePolicy};
use crate::sync::{Arc, Mutex};

/// An [`AdaptiveLimit`] and a queue in front of a service. One per server.
///
/// It is ready as soon as the inner service is, as a queue that sheds must see who comes. A request waits in its future, and
/// is in flight until the head of its response has come: bodies do not count.
///
/// After a [`DeadlineLayer`](super::DeadlineLayer), use [`Shed::Oldest`](crate::policy::Shed::Oldest), or a queue that is served
/// well within the deadline. Otherwise requests of an overload reach the server just before their deadlines.
///
/// # Cancel safety
///
/// A request that is dropped leaves the queue, or frees its place, at once. If a deadline drops it in the queue, that says
/// nothing about the server.
#[derive(Clone)]
pub struct LimitLayer<C = ByStatus> {
    shared: Arc<Shared>,
    classify: C,
}

/// How many requests there are, and how many were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitState {
    /// The most that may be in flight now.
    pub limit: u32,
    /// Those that are.
    pub in_flight: u32,
    /// Those that wait.
    pub waiting: usize,
    /// Those that were refused, because the queue was full when they came.
    pub queue_full: u64,
    /// Those that were refused, because they had waited for longest when another one came.
    pub shed: u64,
}

struct Shared {
    queue: QueuePolicy,
    state: Mutex<State>,
}

struct State {
    limit: AdaptiveLimit,
    in_flight: u32,
    /// Each is sent its place. One that is dropped is shed.
    waiting: VecDeque<oneshot::Sender<Place>>,
    queue_full: u64,
    shed: u64,
}

/// A request in the queue.
struct Waiting(oneshot::Receiver<Place>);

/// One of the requests in flight.
struct Place {
    shared: Option<Arc<Shared>>,
    since: Instant,
}

impl LimitLayer {
    /// With the initial limit, and judging by the status of responses.
    #[must_use]
    pub fn new(limit: LimitPolicy, queue: QueuePolicy) -> Self {
        let limit = AdaptiveLimit::new(limit);
        let state = State { limit, in_flight: 0, waiting: VecDeque::new(), queue_full: 0, shed: 0 };
        Self { shared: Arc::new(Shared { queue, state: Mutex::new(state) }), classify: ByStatus }
    }
}

impl<C> LimitLayer<C> {
    /// The same limit, which judges in another way.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> LimitLayer<D> {
        LimitLayer { shared: self.shared, classify }
    }

    /// How many requests there are now.
    #[must_use]
    pub fn state(&self) -> LimitState {
        self.shared.state()
    }
}

impl<C> fmt::Debug for LimitLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLayer").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl<C> Source for LimitLayer<C> {
    type Snapshot = LimitState;

    fn watch(&self) -> impl Fn() -> Option<LimitState> + Send + Sync + 'static {
        watch(&self.shared, Shared::state)
    }
}

impl<S, C, R> Handle<S, R> for LimitLayer<C>
where
    S: Service<R> + Clone + Send + 'static,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    R: Send + 'static,
    C: Classify<S::Response> + Clone + Send + Sync + 'static,
{
    type Response = S::Response;

    fn handle(&self, inner: &mut S, request: R) -> BoxFuture<S::Response> {
        // The one that is ready is called, and its clone stays.
        let clone = inner.clone();
        let mut inner = std::mem::replace(inner, clone);
        let Self { shared, classify } = self.clone();
        let place = shared.arrive();
        Box::pin(async move {
            let place = match place {
                Ok(Err(mut waiting)) => (&mut waiting.0).await.map(Place::begin).map_err(|_| Refusal::Shed),
                Ok(Ok(place)) => Ok(place),
                Err(refusal) => Err(refusal),
            };
            let place = match place {
                Ok(place) => place,
                Err(refusal) => return Err(Unsent::new(refusal, request).into()),
            };
            let result = inner.call(request).await.map_err(Into::into);
            place.end(classify.classify(&result));
            result
        })
    }
}

impl Shared {
    fn state(&self) -> LimitState {
        let state = self.state.lock();
        let waiting = state.waiting.iter().filter(|waiter| !waiter.is_closed()).count();
        let State { ref limit, in_flight, queue_full, shed, .. } = *state;
        LimitState { limit: limit.limit(), in_flight, waiting, queue_full, shed }
    }

    /// A place, or the promise of one.
    fn arrive(self: &Arc<Self>) -> Result<Result<Place, Waiting>, Refusal> {
        let mut state = self.state.lock();
        if state.in_flight < state.limit.limit() {
            state.in_flight += 1;
            return Ok(Ok(self.place()));
        }
        state.waiting.retain(|waiter| !waiter.is_closed());
        let shed = match self.queue.on_arrival(state.waiting.len()) {
            Arrival::Joins => None,
            Arrival::ReplacesOldest => {
                state.shed += 1;
                state.waiting.pop_front()
            }
            Arrival::IsRefused => {
                state.queue_full += 1;
                return Err(Refusal::QueueFull);
            }
        };
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        drop(state);
        drop(shed); // wakes it
        Ok(Err(Waiting(receiver)))
    }

    fn place(self: &Arc<Self>) -> Place {
        Place { shared: Some(Arc::clone(self)), since: now() }
    }

    fn leave(self: &Arc<Self>, since: Instant, outcome: Outcome) {
        let mut state = self.state.lock();
        let (now, in_flight) = (now(), state.in_flight);
        state.limit.record(now, now.saturating_duration_since(since), in_flight, outcome);
        state.in_flight -= 1;
        let mut served = Vec::new();
        while state.in_flight < state.limit.limit() {
            let Some(waiter) = self.queue.take_next(&mut state.waiting) else { break };
            if !waiter.is_closed() {
                state.in_flight += 1;
                served.push(waiter);
            }
        }
        drop(state);
        // Where one has left in the meantime, its place is dropped, and goes on to the next.
        served.into_iter().for_each(|waiter| drop(waiter.send(self.place())));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop_unsent();
    }
}

impl Place {
    /// The time in the queue is not the server's.
    fn begin(mut self) -> Self {
        self.since = now();
        self
    }

    fn end(mut self, outcome: Outcome) {
        self.leave(outcome);
    }

    fn leave(&mut self, outcome: Outcome) {
        if let Some(shared) = self.shared.take() {
            shared.leave(self.since, outcome);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave(outcome_of_drop());
    }
}
