//! The context of a trace in the headers of a request: `traceparent` and `tracestate`, or what the program's propagator writes.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::global::get_text_map_propagator;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Tells the server which span sends the request.
///
/// Headers of another trace stay: who has set them wants the server to continue that one.
pub(super) fn inject(span: &Span, headers: &mut HeaderMap) {
    // Without its own span, as by a filter, the request belongs to the program's.
    let context = if span.is_disabled() { Span::current().context() } else { span.context() };
    let current = context.span().span_context().clone();
    if !current.is_valid() {
        return;
    }
    get_text_map_propagator(|propagator| {
        let set = propagator.extract_with_context(&Context::new(), &Headers(headers));
        // A header that is no context is the user's, too.
        let is_other = set.span().span_context().trace_id() != current.trace_id();
        if is_other && propagator.fields().any(|field| headers.contains_key(field)) {
            return;
        }
        propagator.inject_context(&context, &mut HeadersMut(headers));
    });
}

/// What the headers of a client say, or an empty context.
pub(crate) fn extract(headers: &HeaderMap) -> Context {
    get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &Headers(headers)))
}

/// Headers that a propagator reads.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            if value.is_empty() {
                self.0.remove(name);
            } else {
                self.0.insert(name, value);
            }
        }
    }
}
