//! The stream of the live page: all samples once a second, as server-sent events, while somebody looks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, interval};

use crate::frame::sse::Event;
use crate::frame::{Encoder, Sse};
use crate::observe::format::Format;
use crate::observe::registry::Registry;

const EVERY: Duration = Duration::from_secs(1);

/// The body of `/events`. It ends by itself, and browsers connect again.
pub(super) struct Events {
    registry: Registry,
    ticks: Interval,
    end: Instant,
    /// One of those who may look at once.
    _place: OwnedSemaphorePermit,
}

impl Events {
    pub(super) fn new(registry: Registry, lifetime: Duration, place: OwnedSemaphorePermit) -> Self {
        Self { registry, ticks: interval(EVERY), end: Instant::now() + lifetime, _place: place }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let now = ready!(self.ticks.poll_tick(cx));
        if now >= self.end {
            return Poll::Ready(None);
        }
        let stats = Format::Json.encode(&self.registry);
        let mut event = Vec::with_capacity(stats.len() + 1024);
        // A vector has room for all.
        let _ = Sse::default().encode(Event::new(stats.as_bytes()).with_retry(EVERY), &mut event);
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
