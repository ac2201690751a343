//! The span of a get that has to wait for a connection. One that is served at once has none.

use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Span, debug_span};

use super::statistics::Ended;
use crate::net::{SPAN_TARGET, span_failed};

/// The span of a wait that begins.
pub(super) fn acquire() -> Span {
    debug_span!(
        target: SPAN_TARGET,
        "acquire",
        wait_seconds = Empty,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// Says in a span how the wait has ended.
pub(super) fn acquired(span: &Span, ended: Ended, waits_since: Option<Instant>) {
    let waited = waits_since.map(|since| since.elapsed().as_secs_f64());
    span.record("wait_seconds", waited.unwrap_or_default());
    match ended {
        Ended::Served => {}
        Ended::Refused => span_failed(span, "refused"),
        Ended::BreakerOpen => span_failed(span, "breaker_open"),
        Ended::TimedOut => span_failed(span, "pool_timeout"),
        Ended::Cancelled => span_failed(span, "cancelled"),
    }
}
