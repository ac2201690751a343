//! The spans that wait, and what has become of the others.

use std::fmt;
use std::mem;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::Notify;

use crate::metric::metrics;
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex};

/// The most spans of a message.
pub(super) const BATCH: usize = 512;

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

    /// The oldest spans, which are then in flight.
    pub(super) fn take(&self) -> Vec<SpanData> {
        let mut state = self.state.lock();
        let at = state.spans.len().min(BATCH);
        let rest = state.spans.split_off(at);
        let batch = mem::replace(&mut state.spans, rest);
        state.in_flight += batch.len();
        batch
    }

    /// Of the spans in flight, so many have arrived, and so many are lost.
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

/// Takes the spans that end.
pub(super) struct Spans(pub(super) Arc<Queue>);

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.0.stats()).finish()
    }
}

impl SpanProcessor for Spans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
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
