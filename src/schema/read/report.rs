//! Collects the errors and warnings of a file while it is read.

use std::borrow::Cow;

use super::super::diagnostics::{Diagnostic, Diagnostics, Place, Severity};
use super::super::names;

/// The most errors, and the most warnings, that are shown for one file.
pub(super) const MAX_SHOWN: usize = 50;

/// The longest line of a file in bytes: generous for a description. It bounds what is kept for each error.
pub(super) const MAX_LINE: usize = 16 * 1024;

/// The most characters of the file that a message quotes.
const MAX_QUOTED: usize = 48;

/// A range of the file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// An error or warning at a place.
pub(super) struct Draft {
    message: String,
    span: Span,
    label: Option<String>,
    related: Option<(Span, &'static str)>,
    help: Option<String>,
}

impl Draft {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, label: None, related: None, help: None }
    }

    /// The text beside the marked place.
    pub(super) fn label(self, label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// Another place that is part of the problem.
    pub(super) fn related(self, span: Span, label: &'static str) -> Self {
        Self { related: Some((span, label)), ..self }
    }

    pub(super) fn help(self, help: impl Into<Option<String>>) -> Self {
        Self { help: help.into(), ..self }
    }
}

/// A file, and the errors and warnings found in it so far.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    errors: Vec<Draft>,
    warnings: Vec<Draft>,
    left_out: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, errors: Vec::new(), warnings: Vec::new(), left_out: 0 }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn error(&mut self, draft: Draft) {
        if self.errors.len() < MAX_SHOWN {
            self.errors.push(draft);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn warning(&mut self, draft: Draft) {
        if self.warnings.len() < MAX_SHOWN {
            self.warnings.push(draft);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether another error would be shown. If not, it needs no help text.
    pub(super) fn shows_errors(&self) -> bool {
        self.errors.len() < MAX_SHOWN
    }

    /// Whether another warning would be shown, or be the first that is left out. If not, it need not be looked for.
    pub(super) fn wants_warnings(&self) -> bool {
        self.warnings.len() < MAX_SHOWN || self.left_out == 0
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// All of them, in the order of the file.
    pub(super) fn finish(self) -> Diagnostics {
        let Self { file, text, errors, warnings, left_out } = self;
        let errors = errors.into_iter().map(|draft| (Severity::Error, draft));
        let mut drafts: Vec<_> =
            errors.chain(warnings.into_iter().map(|draft| (Severity::Warning, draft))).collect();
        drafts.sort_by_key(|(_, draft)| draft.span.start);
        let list = drafts.into_iter().map(|(severity, draft)| Diagnostic {
            severity,
            message: draft.message,
            place: Some(place(text, draft.span)),
            label: draft.label,
            related: draft.related.map(|(span, label)| (place(text, span), label)),
            help: draft.help,
        });
        Diagnostics { file: file.to_owned(), list: list.collect(), left_out }
    }
}

/// The line in which the span begins, and the span's part of it.
fn place(text: &str, span: Span) -> Place {
    let start = text.floor_char_boundary(span.start);
    let (before, rest) = text.split_at(start);
    let (above, beginning) = before.rsplit_once('\n').unwrap_or(("", before));
    let rest = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let marked = rest.floor_char_boundary(span.end.saturating_sub(start));
    let line_start = start - beginning.len();
    Place {
        line: 1 + memchr::memchr_iter(b'\n', above.as_bytes()).count() + usize::from(line_start > 0),
        column: 1 + beginning.chars().count(),
        text: (beginning.len() + rest.len() <= MAX_LINE).then(|| format!("{beginning}{rest}")),
        marked: beginning.len()..beginning.len() + marked,
    }
}

/// A quote from the file for a message: shortened, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(MAX_QUOTED).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("`{}{dots}`", short.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

/// A name from the file for a message: as it is if it is a valid name, else quoted like any other text.
pub(super) fn named(name: &str) -> Cow<'_, str> {
    if names::is_allowed(name) && name.len() <= MAX_QUOTED { name.into() } else { shown(name).into() }
}

/// The candidate closest to a misspelt word: at most one letter in three may be wrong, and one of two.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// No candidate is this long, whatever is misspelt.
    const MAX: usize = 32;
    let letters = word.chars().count();
    if letters > MAX {
        return None;
    }
    let most = if letters == 2 { 1 } else { letters / 3 };
    let word = word.to_lowercase();
    let near = candidates.into_iter().filter(|candidate| candidate.len().abs_diff(letters) <= most);
    let near = near.map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate));
    let (_, candidate) = near.filter(|&(wrong, _)| wrong <= most).min_by_key(|&(wrong, _)| wrong)?;
    Some(candidate)
}
