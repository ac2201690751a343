//! Traces and metrics to an OpenTelemetry collector, by OTLP over gRPC or HTTP.
//!
//! ```text
//!  spans of tracing ── layer ─▶ queue, bounded ──┐
//!                                                ├─▶ one task ── protobuf ─▶ one connection ─▶ collector
//!  Registry ────── a snapshot at intervals ──────┘
//! ```
//!
//! * **Spans** are those of `tracing`: the program's, and this crate's, which the page [`spans`](crate::spans) lists. Their level
//!   is DEBUG. A client's trace is exported if the client says that it is sampled. Of those that begin here, the share
//!   [`sample_ratio`](field@OtlpConfig::sample_ratio) is. Of each text in a span, 1 KiB is kept.
//! * **Metrics** are those of the [`Registry`], under their own names, cumulative. There is no second set of counters. Their start
//!   time is that of the [`Otlp`], or of the last snapshot before they came or began anew.
//! * **A dead collector stops nobody.** Nothing waits for it. Spans wait in a queue, of
//!   [`max_spans`](field@OtlpConfig::max_spans), and further ones are lost and [counted](OtlpStats). A batch that has failed ten times is lost,
//!   too. The log says when the collector fails, and when it works again, once each.
//! * **The trace goes on.** After [`propagate_context`], the requests of [`https`](crate::connection::https) have the headers
//!   `traceparent` and `tracestate`, and a [`server_span`] continues the trace of a client.
//!
//! Both protocols go over a connection of `https`, so there is one TLS stack, and no other HTTP client.
//!
//! # Examples
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use millpond::observe::Registry;
//! use millpond::observe::otlp::{Otlp, OtlpConfig, propagate_context};
//! use millpond::{BufferPool, BufferPoolConfig};
//! use tracing_subscriber::filter::{LevelFilter, Targets};
//! use tracing_subscriber::layer::{Layer, SubscriberExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = BufferPool::new(BufferPoolConfig::proxy());
//! let registry = Registry::new();
//! registry.add("clients", &pool);
//!
//! let config = OtlpConfig::default().endpoint("http://collector:4317").service_name("mill").sample_ratio(0.1);
//! let otlp = Otlp::new(config)?;
//! registry.add("collector", &otlp); // what was exported, and what was lost
//! let traced = Targets::new().with_default(LevelFilter::INFO).with_target("millpond", LevelFilter::DEBUG);
//! let subscriber = tracing_subscriber::registry().with(otlp.layer().with_filter(traced));
//! tracing::subscriber::set_global_default(subscriber)?;
//! propagate_context();
//! otlp.start(registry);
//!
//! // ...
//! let stats = otlp.shutdown(Duration::from_secs(2)).await;
//! println!("{stats}");
//! # Ok(())
//! # }
//! ```
//!
//! Absent on purpose: logs over OTLP, compression, and a file of what could not be sent.

mod collector;
mod config;
mod context;
mod export;
mod points;
mod queue;

use std::fmt;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use self::collector::Collector;
use self::export::Exporter;
use self::queue::{Queue, Spans};
use super::registry::Registry;
use crate::metric::Source;
use crate::sync::{Arc, Mutex};

pub use self::config::{OtlpConfig, OtlpError, OtlpProtocol};
pub use self::context::{propagate_context, server_span, set_status, trace_id, trace_id_of};
pub use self::queue::OtlpStats;

/// Exports traces and metrics. The [module documentation](self) has an example.
///
/// Dropped, it exports what waits, in its task, and then no more.
pub struct Otlp {
    provider: SdkTracerProvider,
    queue: Arc<Queue>,
    is_enabled: bool,
    /// Taken by the start.
    exporter: Mutex<Option<Exporter>>,
    task: Mutex<Option<JoinHandle<()>>>,
    stopping: CancellationToken,
}

impl Otlp {
    /// Takes spans from now on, and exports nothing until the [start](Self::start). It needs no runtime.
    ///
    /// It may block for milliseconds if the endpoint is `https://` and [`tls`](field@OtlpConfig::tls) is not set: the system's
    /// roots are read.
    ///
    /// # Errors
    ///
    /// Which setting is wrong.
    pub fn new(config: OtlpConfig) -> Result<Self, OtlpError> {
        config.check()?;
        let collector = Collector::new(&config)?;
        let queue = Arc::new(Queue::new(config.max_spans));
        let resource = Resource::builder().with_service_name(config.service_name.clone()).build();
        let sampler = Sampler::TraceIdRatioBased(config.sample_ratio);
        let sampler = if config.follows_parent { Sampler::ParentBased(Box::new(sampler)) } else { sampler };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Spans(Arc::clone(&queue)))
            .with_sampler(sampler)
            .with_resource(resource.clone())
            .build();
        let exporter = Exporter::new(collector, &config, &resource, Arc::clone(&queue));
        Ok(Self {
            provider,
            queue,
            exporter: Mutex::new(config.is_enabled.then_some(exporter)),
            is_enabled: config.is_enabled,
            task: Mutex::default(),
            stopping: CancellationToken::new(),
        })
    }

    /// The layer for the program's subscriber. It takes all spans but those of the `h2` crate: give it a filter.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        // Those of HTTP/2 are for each frame. An export has some, too, and would so cause the next.
        let is_enabled = self.is_enabled;
        let wanted = filter_fn(move |metadata| is_enabled && !metadata.target().starts_with("h2::"));
        let layer = tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("millpond"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            // What it costs is paid per poll.
            .with_tracked_inactivity(false);
        layer.with_filter(wanted)
    }

    /// Begins to export, in a task of the current runtime. A second call does nothing.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn start(&self, registry: Registry) {
        if let Some(exporter) = self.exporter.lock().take() {
            let task = tokio::spawn(exporter.run(registry, self.stopping.clone()));
            *self.task.lock() = Some(task);
        }
    }

    /// What has become of the spans so far.
    #[must_use]
    pub fn stats(&self) -> OtlpStats {
        self.queue.stats()
    }

    /// Exports what waits, and the metrics once more, for as long as `limit` at most. What remains is lost.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it goes on in its task, without a limit but that of each request.
    pub async fn shutdown(&self, limit: Duration) -> OtlpStats {
        self.stopping.cancel();
        let task = self.task.lock().take();
        if let Some(mut task) = task
            && timeout(limit, &mut task).await.is_err()
        {
            task.abort();
            // Soon: it ends where it waits for the collector.
            let _ = task.await;
        }
        self.queue.close();
        self.stats()
    }
}

impl Source for Otlp {
    type Snapshot = OtlpStats;

    fn watch(&self) -> impl Fn() -> Option<OtlpStats> + Send + Sync + 'static {
        let queue = Arc::downgrade(&self.queue);
        move || Some(queue.upgrade()?.stats())
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
