//! The task that exports: spans as they come, and a snapshot of the metrics at intervals.

use std::time::{Duration, SystemTime};

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
use super::config::OtlpConfig;
use super::points;
use super::queue::Queue;
use crate::observe::registry::Registry;
use crate::sync::Arc;

pub(super) struct Exporter {
    collector: Collector,
    queue: Arc<Queue>,
    resource: ResourceAttributesWithSchema,
    endpoint: String,
    span_interval: Duration,
    metric_interval: Duration,
    begun: SystemTime,
    /// A batch that the collector may take later, and its spans.
    unsent: Option<(Bytes, usize)>,
    /// Whether the last request with traces failed, and that with metrics.
    is_failing: [bool; 2],
}

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
            endpoint: config.endpoint_or_default().to_owned(),
            span_interval: config.span_interval,
            metric_interval: config.metric_interval,
            begun: SystemTime::now(),
            unsent: None,
            is_failing: [false; 2],
        }
    }

    pub(super) async fn run(mut self, registry: Registry, stopping: CancellationToken) {
        let (mut spans, mut metrics) = (ticks(self.span_interval), ticks(self.metric_interval));
        let queue = Arc::clone(&self.queue);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                _ = metrics.tick() => self.export_metrics(&registry).await,
                _ = spans.tick() => self.export_spans().await,
                // A collector that fails is asked at intervals.
                () = queue.full.notified(), if self.unsent.is_none() => self.export_spans().await,
            }
        }
        self.export_spans().await;
        self.export_metrics(&registry).await;
        queue.close();
    }

    /// Exports until nothing waits, or the collector fails.
    async fn export_spans(&mut self) {
        loop {
            let (body, spans) = match self.unsent.take() {
                Some(unsent) => unsent,
                None => {
                    let batch = self.queue.take();
                    let spans = batch.len();
                    if spans == 0 {
                        return;
                    }
                    let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
                    (self.collector.encode(&ExportTraceServiceRequest { resource_spans }), spans)
                }
            };
            let sent = self.send(Signal::Traces, body.clone()).await;
            let (exported, lost) = match sent {
                Ok(answer) => {
                    let refused = refused(answer).min(spans);
                    (spans - refused, refused)
                }
                Err(error) if error.may_retry => {
                    self.unsent = Some((body, spans));
                    return;
                }
                Err(_) => (0, spans),
            };
            self.queue.settle(exported, lost);
        }
    }

    async fn export_metrics(&mut self, registry: &Registry) {
        for request in points::requests(registry, &self.resource, self.begun) {
            let body = self.collector.encode(&request);
            if self.send(Signal::Metrics, body).await.is_err() {
                return; // The next snapshot has all that this one has.
            }
        }
    }

    /// Sends, and logs if it fails and has not failed before, or the other way round.
    async fn send(&mut self, signal: Signal, body: Bytes) -> Result<Bytes, ExportError> {
        let sent = self.collector.export(signal, body).await;
        self.queue.on_request(sent.is_ok());
        let [traces, metrics] = &mut self.is_failing;
        let is_failing = match signal {
            Signal::Traces => traces,
            Signal::Metrics => metrics,
        };
        let was_failing = std::mem::replace(is_failing, sent.is_err());
        let (collector, signal, lost_spans) = (&self.endpoint, signal.name(), self.queue.stats().lost);
        match &sent {
            Err(error) if !was_failing => {
                warn!(collector, signal, %error, lost_spans, "the collector fails: spans wait, and further ones are lost");
            }
            Ok(_) if was_failing => info!(collector, signal, lost_spans, "the collector works again"),
            _ => {}
        }
        sent
    }
}

/// Ticks, of which the first comes after a period.
fn ticks(period: Duration) -> Interval {
    // Beyond a year tokio's clock may end.
    let period = period.min(Duration::from_secs(365 * 86_400));
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How many spans of a message the collector has refused.
fn refused(answer: Bytes) -> usize {
    let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.and_then(|partial| usize::try_from(partial.rejected_spans).ok()).unwrap_or_default()
}
