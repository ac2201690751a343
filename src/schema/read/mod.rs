//! The parser: from the text of a file to a [`Schema`], with all checks of both dialects.
//!
//! ```text
//!  text ─ yaml ─▶ tree with places ─ map | list ─▶ raw messages ─ build (types, constraints) ─▶ Schema
//!            │                          │                            │
//!            └──────────────────────────┴── report ──────────────────┴─▶ Diagnostics
//! ```

mod build;
mod constraints;
mod head;
mod list;
mod map;
mod raw;
mod report;
#[cfg(test)]
mod tests;
mod types;
mod values;
mod yaml;

use sha2::{Digest, Sha256};

use self::head::{Head, Ranges};
use self::report::{Draft, MAX_LINE, Report, Span};
use self::values::{fitting, mapping, required, warn_of_misspelt};
use self::yaml::Value;
use super::diagnostics::Diagnostics;
use super::model::{Dialect, MessageDef, Schema};

/// The largest file in bytes: 1 MiB, 500 to 1900 messages of the usual size. A larger file is refused unread. The slowest
/// known file of this size takes half a second, and 4 s in a build script, which is not optimised.
const MAX_FILE: usize = 1024 * 1024;

/// The id of a list's first message if neither ids nor a range `app` are given: where applications' ids usually begin.
const FIRST_ID: u16 = 1000;

const TOP_KEYS: &[&str] = &["schema", "tag_ranges", "messages"];

impl Schema {
    /// Reads a contract file in either dialect. `file` is the name that errors show.
    ///
    /// The text must be UTF-8 of at most 1 MiB, with lines of at most 16 KiB and at most 200 000 values, so that any
    /// input takes bounded time and memory.
    ///
    /// # Errors
    ///
    /// All errors of the file, at most 50; if it is not YAML, the first one only.
    pub fn parse(file: &str, text: impl AsRef<[u8]>) -> Result<Self, Diagnostics> {
        schema(file, text.as_ref(), None)
    }

    /// Like [`parse`](Self::parse), but a file in another dialect is an error.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_as(dialect: Dialect, file: &str, text: impl AsRef<[u8]>) -> Result<Self, Diagnostics> {
        schema(file, text.as_ref(), Some(dialect))
    }
}

fn schema(file: &str, bytes: &[u8], wanted: Option<Dialect>) -> Result<Schema, Diagnostics> {
    if bytes.len() > MAX_FILE {
        let message = format!("a file of {} bytes: contracts have at most {MAX_FILE}", bytes.len());
        return Err(Diagnostics::of_file(file, message));
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let before = bytes.get(..at).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default();
            let mut report = Report::new(file, before);
            report.error(Draft::new(Span { start: at, end: at }, "the text from here on is not UTF-8"));
            return Err(report.finish());
        }
    };
    let mut report = Report::new(file, text);
    let contents = if lines_can_be_shown(&mut report) { read(&mut report, wanted) } else { None };
    let failed = report.has_errors();
    let diagnostics = report.finish();
    match contents {
        Some((dialect, head, messages)) if !failed => Ok(Schema {
            dialect,
            id: head.id,
            version: head.version,
            min_compatible: head.min_compatible,
            messages,
            digest: Sha256::digest(bytes).into(),
            warnings: diagnostics,
        }),
        _ => Err(diagnostics),
    }
}

fn lines_can_be_shown(report: &mut Report<'_>) -> bool {
    let mut start = 0;
    for line in report.text().split('\n') {
        let at = |at: usize| Span { start: start + at, end: start + at };
        if line.len() > MAX_LINE {
            let message = format!("a line of {} bytes: contracts have at most {MAX_LINE}", line.len());
            report.error(Draft::new(at(0), message));
            return false;
        }
        // YAML ends a line here, but the line as it is shown does not.
        if let Some(place) = line.strip_suffix('\r').unwrap_or(line).find('\r') {
            let draft = Draft::new(at(place), "a carriage return alone");
            report.error(draft.help(Some("end lines with LF, or with CR and LF".to_owned())));
            return false;
        }
        start += line.len() + 1;
    }
    true
}

fn read(report: &mut Report<'_>, wanted: Option<Dialect>) -> Option<(Dialect, Head, Vec<MessageDef>)> {
    let root = yaml::read(report)?;
    let top = mapping(report, &root, "a contract file")?;
    warn_of_misspelt(report, top, TOP_KEYS);
    let head = Head::read(report, top);
    let ranges = Ranges::read(report, top);
    let messages = required(report, top, root.span, "messages", "the file")?;
    let (dialect, first_id, raw) = match (wanted, &messages.value) {
        (None | Some(Dialect::Map), Value::Mapping(entries)) => {
            (Dialect::Map, None, map::messages(report, entries))
        }
        (None | Some(Dialect::List), Value::Sequence(items)) => {
            let first_id = ranges.app.map_or(FIRST_ID, |(first, _, _)| first);
            (Dialect::List, Some(first_id), list::messages(report, items))
        }
        (wanted, _) => {
            let expected = match wanted {
                None => "a mapping or a list",
                Some(Dialect::Map) => "a mapping in the map dialect",
                Some(Dialect::List) => "a list in the list dialect",
            };
            report.error(fitting(messages, "`messages`", expected));
            return None;
        }
    };
    if raw.is_empty() && !report.has_errors() {
        report.error(Draft::new(messages.span, "a file without messages"));
    }
    Some((dialect, head, build::build(report, &ranges, first_id, &raw)))
}
