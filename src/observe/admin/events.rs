//! The stream of the live page: all samples and the reports once a second, as server-sent events, while somebody looks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::rows::Question;
use crate::frame::sse::Event;
use crate::frame::{Encoder, Sse};
use crate::metric::Report;
use crate::observe::format::Format;
use crate::observe::registry::Registry;

const EVERY: Duration = Duration::from_secs(1);

/// The body of `/events`. It ends by itself, and browsers connect again.
pub(super) struct Events {
    registry: Registry,
    questions: [Question; 2],
    ticks: Interval,
    end: Instant,
    /// One of those who may look at once.
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// `connections` is the report of those.
    pub(super) fn new(
        registry: Registry,
        connections: Question,
        lifetime: Duration,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let questions = [connections, Question::new(Report::Holders)];
        let mut ticks = interval(EVERY);
        // Who has missed some, as a browser that sleeps, wants the present only.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { registry, questions, ticks, end: Instant::now() + lifetime, _place: place }
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
        let mut events = Vec::with_capacity(stats.len() + 8192);
        // A vector has room for all.
        for question in self.questions {
            let rows = question.answer(&self.registry);
            let event = Event::new(rows.as_bytes()).with_type(question.report.name().as_bytes());
            let _ = Sse::default().encode(event, &mut events);
        }
        let _ = Sse::default().encode(Event::new(stats.as_bytes()).with_retry(EVERY), &mut events);
        Poll::Ready(Some(Ok(Frame::data(events.into()))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;
    use tokio::time::advance;

    use super::*;
    use crate::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_stalls_gets_one_look_and_not_all_that_it_missed() {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let connections = Question::new(Report::Connections);
        let mut events = Events::new(Registry::new(), connections, 60 * EVERY, place);
        assert!(events.frame().await.is_some());
        advance(20 * EVERY).await;
        assert!(events.frame().await.is_some());
        assert!(events.frame().now_or_never().is_none());
    }
}
