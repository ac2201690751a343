//! The spans that wait, and what has become of the others.

use std::fmt;
use std::mem;
use std::time::Duration;

use opentelemetry::trace::Status;
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::Notify;

use crate::metric::metrics;
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex};

/// The most spans of a message.
pub(super) const BATCH: usize = 512;

/// The most bytes of a message with several spans. Servers of gRPC refuse those of 4 MiB.
const MAX_BYTES: usize = 1_000_000;

/// The most bytes of a text in a span. A client may choose a path, for example.
pub(super) const MAX_TEXT: usize = 1024;

/// What has become of the spans of an [`Otlp`](super::Otlp), and of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpStats {
    /// Spans that the collector has taken.
    pub exported: u64,
    /// Spans that are lost: there was no room, the collector refused them, or the program ended.
    pub lost: u64,
    /// Spans that wait, or are on their way.
    pub waiting: u64,
    /// Requests that succeeded, those with metrics included.
    pub requests: u64,
    /// Requests that failed.
    pub failed_requests: u64,
}

metrics! {
    "millpond_otlp": OtlpStats as stats {
        Counter "spans_total" [outcome]
            "Spans that were exported, and those that are lost."
            {
                ["exported"] = stats.exported,
                ["lost"] = stats.lost,
            }
        Gauge "waiting_spans" []
            "Spans that wait for the collector, or are on their way to it."
            { [] = stats.waiting }
        Counter "requests_total" [outcome]
            "Requests to the collector, by how they ended."
            {
                ["succeeded"] = stats.requests,
                ["failed"] = stats.failed_requests,
            }
    }
}

/// A single line, for logs.
impl fmt::Display for OtlpStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exported, lost, waiting, requests, failed_requests } = self;
        write!(
            f,
            "spans {exported} exported, {lost} lost, {waiting} waiting; requests {requests} succeeded, {failed_requests} failed"
        )
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    max: usize,
    /// A batch is there.
    pub(super) full: Notify,
    requests: AtomicUsize,
    failed_requests: AtomicUsize,
}

#[derive(Default)]
struct State {
    spans: Vec<SpanData>,
    in_flight: usize,
    exported: u64,
    lost: u64,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self {
            state: Mutex::default(),
            max,
            full: Notify::new(),
            requests: AtomicUsize::default(),
            failed_requests: AtomicUsize::default(),
        }
    }

    fn push(&self, span: SpanData) {
        let mut state = self.state.lock();
        if state.is_closed || state.spans.len() >= self.max {
            state.lost += 1;
            return;
        }
        state.spans.push(span);
        let is_batch = state.spans.len() == BATCH.min(self.max);
        drop(state);
        if is_batch {
            self.full.notify_one();
        }
    }

    /// The oldest spans that fit in a message, which are then in flight.
    pub(super) fn take(&self) -> Vec<SpanData> {
        let mut state = self.state.lock();
        let mut bytes = 0;
        let fits = |span: &&SpanData| {
            bytes += size(span);
            bytes <= MAX_BYTES
        };
        // One alone may be too large: the collector decides.
        let at = state.spans.iter().take(BATCH).take_while(fits).count().max(1).min(state.spans.len());
        let rest = state.spans.split_off(at);
        let batch = mem::replace(&mut state.spans, rest);
        state.in_flight += batch.len();
        batch
    }

    /// Counts how many of the spans in flight have arrived, and how many are lost.
    pub(super) fn settle(&self, exported: usize, lost: usize) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(exported + lost);
        state.exported += exported as u64;
        state.lost += lost as u64;
    }

    /// What waits, and what comes, is lost.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let left = mem::take(&mut state.spans);
        state.lost += (left.len() + mem::take(&mut state.in_flight)) as u64;
        drop(state);
    }

    pub(super) fn on_request(&self, succeeded: bool) {
        // Ordering: Relaxed, counts.
        if succeeded { &self.requests } else { &self.failed_requests }.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> OtlpStats {
        let state = self.state.lock();
        // Ordering: Relaxed, counts.
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed) as u64;
        OtlpStats {
            exported: state.exported,
            lost: state.lost,
            waiting: (state.spans.len() + state.in_flight) as u64,
            requests: count(&self.requests),
            failed_requests: count(&self.failed_requests),
        }
    }
}

/// The beginning of a long text.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// The bytes of a span in a message, or some more.
fn size(span: &SpanData) -> usize {
    /// Ids, times, kind, flags and status; and the tags and lengths of an attribute.
    const SPAN: usize = 128;
    const ATTRIBUTE: usize = 16;
    let all = |attributes: &[KeyValue]| -> usize {
        let sizes = attributes.iter().map(|KeyValue { key, value, .. }| {
            let value =
                if let Value::String(text) = value { text.as_str().len() } else { value.as_str().len() };
            ATTRIBUTE + key.as_str().len() + value
        });
        sizes.sum()
    };
    let status = if let Status::Error { description } = &span.status { description.len() } else { 0 };
    let events = span.events.iter().map(|event| SPAN + event.name.len() + all(&event.attributes));
    let links = span
        .links
        .iter()
        .map(|link| SPAN + link.span_context.trace_state().header().len() + all(&link.attributes));
    let state = span.span_context.trace_state().header().len();
    SPAN + span.name.len()
        + status
        + state
        + all(&span.attributes)
        + events.sum::<usize>()
        + links.sum::<usize>()
}

/// Takes the spans that end.
pub(super) struct Spans(pub(super) Arc<Queue>);

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.0.stats()).finish()
    }
}

impl SpanProcessor for Spans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        let events = span.events.events.iter_mut().flat_map(|event| &mut event.attributes);
        for KeyValue { value, .. } in span.attributes.iter_mut().chain(events) {
            if let Value::String(text) = value
                && text.as_str().len() > MAX_TEXT
            {
                *text = cut(text.as_str()).to_owned().into();
            }
        }
        if let Status::Error { description } = &mut span.status
            && description.len() > MAX_TEXT
        {
            *description = cut(description).to_owned().into();
        }
        self.0.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.full.notify_one();
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
