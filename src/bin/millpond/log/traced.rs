//! Lines with the id of the trace, so that a failed connection can be looked up where traces are.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Format;
use crate::export::trace_id;

/// Adds the id to the lines of another format, if the event belongs to a trace.
pub(super) struct Traced<E> {
    pub(super) lines: E,
    pub(super) format: Format,
}

impl<S, N, E> FormatEvent<S, N> for Traced<E>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    E: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        cx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(trace_id) = trace_id(event) else { return self.lines.format_event(cx, writer, event) };
        let mut line = String::new();
        self.lines.format_event(cx, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        match (self.format, line.strip_suffix('}')) {
            (Format::Json, Some(object)) => writeln!(writer, "{object},\"trace_id\":\"{trace_id}\"}}"),
            _ => writeln!(writer, "{line} trace_id={trace_id}"),
        }
    }
}
