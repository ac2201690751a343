//! The task that exports: spans as they come, and a snapshot of the metrics at intervals.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use prost::Message;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::collector::{Collector, ExportError, Signal};
use super::config::{OtlpConfig, place};
use super::points::Starts;
use super::queue::{Queue, cut};
use crate::observe::registry::Registry;
use crate::sync::Arc;

pub(super) struct Exporter {
    collector: Collector,
    queue: Arc<Queue>,
    resource: ResourceAttributesWithSchema,
    /// Where the collector is, for the log.
    endpoint: String,
    span_interval: Duration,
    metric_interval: Duration,
    starts: Starts,
    /// A batch that the collector may take later.
    unsent: Option<Unsent>,
    /// Until then the collector wants to be left alone.
    resting: Option<Instant>,
    /// What the log said last of traces, and of metrics, if they fail.
    said: [Option<&'static str>; 2],
}

struct Unsent {
    body: Bytes,
    spans: usize,
    tries: u32,
}

/// The collector works, but has refused some spans or points of a message.
const PARTLY: &str = "the collector refuses a part";

/// A batch that has failed this often is lost: it may be what the collector, or a proxy on the way to it, fails at.
const MAX_TRIES: u32 = 10;

impl Exporter {
    pub(super) fn new(
        collector: Collector,
        config: &OtlpConfig,
        resource: &Resource,
        queue: Arc<Queue>,
    ) -> Self {
        Self {
            collector,
            queue,
            resource: resource.into(),
            endpoint: place(config.endpoint_or_default()),
            span_interval: config.span_interval,
            metric_interval: config.metric_interval,
            starts: Starts::new(),
            unsent: None,
            resting: None,
            said: [None; 2],
        }
    }

    pub(super) async fn run(mut self, registry: Registry, stopping: CancellationToken) {
        let (mut spans, mut metrics) = (ticks(self.span_interval), ticks(self.metric_interval));
        let queue = Arc::clone(&self.queue);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                _ = metrics.tick() => if !self.rests() { self.export_metrics(&registry).await },
                _ = spans.tick() => if !self.rests() { self.export_spans().await },
                // A collector that fails is asked at intervals.
                () = queue.full.notified(), if self.said[0].is_none_or(|said| said == PARTLY) => self.export_spans().await,
            }
        }
        self.export_spans().await;
        self.export_metrics(&registry).await;
        queue.close();
    }

    fn rests(&self) -> bool {
        self.resting.is_some_and(|until| Instant::now() < until)
    }

    /// Exports until nothing waits, or the collector fails.
    async fn export_spans(&mut self) {
        loop {
            let Some(Unsent { body, spans, tries }) = self.unsent.take().or_else(|| self.next()) else {
                return;
            };
            let sent = self.send(Signal::Traces, body.clone()).await;
            let (exported, lost) = match &sent {
                Ok(answer) => {
                    let refused = refused(answer).min(spans);
                    (spans - refused, refused)
                }
                Err(error) if error.may_retry && tries + 1 < MAX_TRIES => {
                    self.unsent = Some(Unsent { body, spans, tries: tries + 1 });
                    (0, 0)
                }
                Err(_) => (0, spans),
            };
            self.queue.settle(exported, lost);
            self.log(Signal::Traces, &sent);
            if sent.is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Unsent> {
        let batch = self.queue.take();
        let spans = batch.len();
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = self.collector.encode(&ExportTraceServiceRequest { resource_spans });
        (spans > 0).then_some(Unsent { body, spans, tries: 0 })
    }

    async fn export_metrics(&mut self, registry: &Registry) {
        for request in self.starts.requests(registry, &self.resource) {
            let body = self.collector.encode(&request);
            let sent = self.send(Signal::Metrics, body).await;
            self.log(Signal::Metrics, &sent);
            if sent.is_err() {
                return; // The next snapshot has all that this one has.
            }
        }
    }

    async fn send(&mut self, signal: Signal, body: Bytes) -> Result<Answer, ExportError> {
        let sent = self.collector.export(signal, body).await;
        self.queue.on_request(sent.is_ok());
        let pause = sent.as_ref().err().map(|error| error.pause).filter(|pause| !pause.is_zero());
        self.resting = pause.map(|pause| Instant::now() + pause);
        // The answer for metrics has the same fields, with points for spans.
        sent.map(|answer| Answer::decode(answer).unwrap_or_default())
    }

    /// Logs how a request ended, unless the last one ended in the same way.
    fn log(&mut self, signal: Signal, sent: &Result<Answer, ExportError>) {
        let says = match (sent, signal) {
            (Ok(answer), _) if refused(answer) > 0 => Some(PARTLY),
            (Ok(_), _) => None,
            (Err(_), Signal::Metrics) => {
                Some("the collector does not take the metrics: the next snapshot has them, too")
            }
            (Err(error), Signal::Traces) if error.may_retry => {
                Some("the collector fails: spans wait, and further ones are lost")
            }
            (Err(_), Signal::Traces) => Some("the collector refuses the spans, and they are lost"),
        };
        let [traces, metrics] = &mut self.said;
        let said = if signal == Signal::Traces { traces } else { metrics };
        if *said == says {
            return;
        }
        *said = says;
        let (collector, signal, lost_spans) = (&self.endpoint, signal.name(), self.queue.stats().lost);
        match (says, sent) {
            (Some(says), Err(error)) => warn!(collector, signal, %error, lost_spans, "{says}"),
            (Some(says), Ok(answer)) => {
                let error = cut(answer.partial_success.as_ref().map_or("", |partial| &partial.error_message));
                warn!(collector, signal, refused = refused(answer), error, lost_spans, "{says}");
            }
            (None, _) => info!(collector, signal, lost_spans, "the collector works again"),
        }
    }
}

type Answer = ExportTraceServiceResponse;

/// Ticks, of which the first comes after a period.
fn ticks(period: Duration) -> Interval {
    // Beyond a year tokio's clock may end.
    let period = period.min(Duration::from_secs(365 * 86_400));
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How many spans or points of a message the collector has refused.
fn refused(answer: &Answer) -> usize {
    let partial = answer.partial_success.as_ref();
    partial.and_then(|partial| usize::try_from(partial.rejected_spans).ok()).unwrap_or_default()
}
