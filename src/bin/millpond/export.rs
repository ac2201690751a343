//! `--otlp`: traces and metrics of the proxy to an OpenTelemetry collector.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millpond::observe::Registry;
use millpond::observe::otlp::{Otlp, OtlpConfig, OtlpProtocol, trace_id_of};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Span, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::chain::Chain;
use crate::log::StartError;

/// How long the last export may take: with the default of `--drain-timeout`, all ends within 10 seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) const HELP: &str = "

Traces and metrics: `--otlp http://10.0.0.9:4317` exports both. A connection is a trace, with the spans accept, relay, \
connect, dns and tcp, and lines of the log about it have its trace_id if it is exported. The metrics are those of --admin. Variables set the rest, \
such as OTEL_TRACES_SAMPLER=traceidratio with OTEL_TRACES_SAMPLER_ARG=0.1 (one trace in ten), OTEL_SDK_DISABLED, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, \
OTEL_EXPORTER_OTLP_HEADERS (a token, for example) and OTEL_METRIC_EXPORT_INTERVAL (in milliseconds). A collector that fails \
delays nobody: at most 2048 spans wait for it, and further ones are lost and counted.";

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// Exports traces and metrics to this OpenTelemetry collector, http://HOST:PORT or https://HOST:PORT. Without a URL it is
    /// that of OTEL_EXPORTER_OTLP_ENDPOINT, or http://localhost:4317 (over HTTP 4318). Off by default
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    otlp: Option<String>,

    /// How to export. The default is that of OTEL_EXPORTER_OTLP_PROTOCOL, or else grpc
    #[arg(long, value_name = "PROTOCOL", value_enum, requires = "otlp")]
    otlp_protocol: Option<Protocol>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    /// gRPC, usually at port 4317
    Grpc,
    /// Protobuf over HTTP, usually at port 4318
    Http,
}

impl ExportArgs {
    /// The most descriptors that it takes: its connection, and another one while a name has several addresses.
    pub(crate) fn descriptors(&self) -> u64 {
        if self.otlp.is_some() { 2 } else { 0 }
    }
}

/// The export and its collector, if it is on.
pub(crate) struct Export(Option<(Otlp, String)>);

impl Export {
    pub(crate) fn new(args: &ExportArgs) -> Result<Self, StartError> {
        let Some(endpoint) = &args.otlp else { return Ok(Self(None)) };
        let otlp = OtlpConfig::from_env().and_then(|mut config| {
            if !endpoint.is_empty() {
                config = config.endpoint(endpoint);
            }
            config = match args.otlp_protocol {
                None => config,
                Some(Protocol::Grpc) => config.protocol(OtlpProtocol::Grpc),
                Some(Protocol::Http) => config.protocol(OtlpProtocol::HttpProtobuf),
            };
            let collector = config.endpoint_or_default().to_owned();
            Ok(Self(Some((Otlp::new(config)?, collector))))
        });
        let wrong =
            |error| StartError { text: format!("--otlp: {}", Chain(&error)), code: ExitCode::from(2) };
        otlp.map_err(wrong)
    }

    /// What the log's subscriber must have for it.
    pub(crate) fn layer<S>(&self) -> Option<Box<dyn Layer<S> + Send + Sync>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let spans = Targets::new().with_target("millpond::span", LevelFilter::DEBUG);
        self.0.as_ref().map(|(otlp, _)| otlp.layer().with_filter(spans).boxed())
    }

    pub(crate) fn start(&self, registry: &Registry) {
        if let Some((otlp, _)) = &self.0 {
            registry.add(crate::proxy::NAME, otlp);
            otlp.start(registry.clone());
        }
    }

    pub(crate) fn collector(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, collector)| &**collector)
    }

    /// Exports what is left.
    pub(crate) async fn stop(&self) {
        let Some((otlp, _)) = &self.0 else { return };
        let lost = otlp.shutdown(STOP_TIMEOUT).await.lost;
        if lost > 0 {
            warn!(lost, "spans were lost");
        }
    }
}

/// The trace that an event belongs to.
pub(crate) fn trace_id(event: &Event<'_>) -> Option<String> {
    let span = event.parent().cloned().or_else(|| Span::current().id())?;
    trace_id_of(&span)
}
