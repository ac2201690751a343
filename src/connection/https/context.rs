//! The context of a trace in the headers of a request: `traceparent` and `tracestate`, or what the program's propagator writes.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::global::get_text_map_propagator;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The most bytes of a `tracestate`: what the W3C asks for at least.
const MAX_STATE: usize = 512;

const STATE: &str = "tracestate";

/// Tells the server which span sends the request.
///
/// A context of another trace stays: who has set it wants the server to continue that one. Headers that are no context are
/// replaced, as the W3C says: otherwise any client could keep requests out of their trace.
pub(in super::super) fn inject(span: &Span, headers: &mut HeaderMap) {
    // Without its own span, as by a filter, the request belongs to the program's.
    let context = if span.is_disabled() { Span::current().context() } else { span.context() };
    let current = context.span().span_context().clone();
    if !current.is_valid() {
        return;
    }
    let set = extract(headers);
    let set = set.span().span_context().clone();
    if set.is_valid() && set.trace_id() != current.trace_id() {
        return;
    }
    get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut HeadersMut(headers)));
}

/// What the headers of a client say, or an empty context.
pub(crate) fn extract(headers: &HeaderMap) -> Context {
    let headers = Headers { headers, state: state_of(headers) };
    get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &headers))
}

/// The members of all `tracestate` headers, without those that make it too long.
fn state_of(headers: &HeaderMap) -> String {
    let mut state = String::new();
    let values = headers.get_all(STATE).iter().filter_map(|value| value.to_str().ok());
    for member in values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
    {
        if state.len() + 1 + member.len() <= MAX_STATE {
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
        }
    }
    state
}

/// Headers that a propagator reads.
struct Headers<'a> {
    headers: &'a HeaderMap,
    state: String,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == STATE {
            return Some(&self.state).filter(|state| !state.is_empty()).map(String::as_str);
        }
        let mut values = self.headers.get_all(key).iter();
        let value = values.next()?.to_str().ok()?;
        // Of two parents it is not known which is right.
        (values.next().is_none() || key != "traceparent").then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.headers.keys().map(HeaderName::as_str).collect()
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
