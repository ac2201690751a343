//! The trace of a client that a server continues, and the ids of traces for logs.

use http::{HeaderMap, Request, StatusCode};
use opentelemetry::global::set_text_map_propagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::span::Id;
use tracing::{Span, debug_span, dispatcher};
use tracing_opentelemetry::{OpenTelemetrySpanExt, get_otel_context};

use crate::connection::https::{extract, method_name};
use crate::net::{SPAN_TARGET, span_failed};

/// From now on, requests tell the server which trace they belong to, in the headers `traceparent` and `tracestate` of the [W3C].
///
/// A request that has a valid context of another trace keeps it. Headers that are no context are replaced. It is the same as a call of
/// `opentelemetry::global::set_text_map_propagator`, with which a program may choose other headers.
///
/// [W3C]: https://www.w3.org/TR/trace-context/
pub fn propagate_context() {
    set_text_map_propagator(TraceContextPropagator::new());
}

/// A span for a request that a server answers. It continues the trace of the client, if the request has one.
///
/// Do all work for the request [within it](tracing::Instrument), and [say](set_status) at the end what the answer was. Its name
/// is `serve`; its fields are those that OpenTelemetry has for HTTP servers, without the query, which may be secret.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use millpond::observe::otlp::{server_span, set_status};
/// use tracing::Instrument;
///
/// async fn answer(request: Request<()>) -> Response<&'static str> {
///     let span = server_span(&request);
///     let response = async { Response::new("flour") }.instrument(span.clone()).await;
///     set_status(&span, response.status());
///     response
/// }
/// ```
pub fn server_span<B>(request: &Request<B>) -> Span {
    let method = method_name(request.method().as_str());
    let span = debug_span!(
        target: SPAN_TARGET,
        "serve",
        "otel.kind" = "server",
        "otel.name" = if method == "_OTHER" { "HTTP" } else { method },
        "http.request.method" = method,
        "url.path" = request.uri().path(),
        "http.response.status_code" = Empty,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    );
    continue_trace(&span, request.headers());
    span
}

fn continue_trace(span: &Span, headers: &HeaderMap) {
    let context = extract(headers);
    if context.span().span_context().is_valid() {
        // It fails if the span is disabled, or has begun without it.
        let _ = span.set_parent(context);
    }
}

/// Says in a [`server_span`] with which status the request was answered.
pub fn set_status(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span_failed(span, status.as_str());
    }
}

/// The id of the trace that a span belongs to, in 32 hexadecimal digits. None if the span is not part of one that is exported.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    trace_id_of(&span.id()?)
}

/// The id of the trace that the span with this id belongs to, in the current subscriber.
#[must_use]
pub fn trace_id_of(span: &Id) -> Option<String> {
    let context = dispatcher::get_default(|dispatch| get_otel_context(span, dispatch))?;
    let span = context.span();
    let context = span.span_context();
    context.is_sampled().then(|| context.trace_id().to_string())
}
