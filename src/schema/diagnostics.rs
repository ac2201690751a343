//! The errors and warnings of a file, shown with their lines and the place marked.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

/// Errors and warnings of one contract file, in the order of the file; at most 50 of each.
///
/// It displays like rustc's messages: plain, or in colour with [`to_string_colored`](Self::to_string_colored).
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostics {
    pub(super) file: String,
    pub(super) list: Vec<Diagnostic>,
    pub(super) left_out: usize,
}

impl Diagnostics {
    /// One error about the file as a whole.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        let error = Diagnostic {
            severity: Severity::Error,
            message,
            place: None,
            label: None,
            related: None,
            help: None,
        };
        Self { file: file.to_owned(), list: vec![error], left_out: 0 }
    }

    /// The file's name as it was passed to [`Schema::parse`](super::Schema::parse).
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Iterates over all of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// How many were left out, at least: after the first warning that is left out, misspelt keys are not looked for.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The displayed text in colour, with ANSI escape sequences.
    #[must_use]
    pub fn to_string_colored(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let mut texts: Vec<_> =
            self.list.iter().map(|diagnostic| diagnostic.render(&self.file, renderer)).collect();
        if self.left_out > 0 {
            texts.push(format!("... and at least {} more", self.left_out));
        }
        texts.join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

/// The same as `Display`, so that a `main` that returns it, such as a build script's, shows readable errors.
impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Diagnostics {}

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub(super) severity: Severity,
    pub(super) message: String,
    /// `None` for the file as a whole.
    pub(super) place: Option<Place>,
    pub(super) label: Option<String>,
    pub(super) related: Option<(Place, &'static str)>,
    pub(super) help: Option<String>,
}

/// How serious a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but may not say what its author meant.
    Warning,
}

/// A place in a file with the text of its line, so that the file itself need not be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// `None` if the line is too long to be shown.
    pub(super) text: Option<String>,
    /// The marked bytes of the line.
    pub(super) marked: Range<usize>,
}

impl Diagnostic {
    /// Whether it is an error or a warning.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, in one line, with the names of the message and the field that it is about.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line, from 1; `None` if it is about the file as a whole.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The column in characters, from 1; `None` if it is about the file as a whole.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.column)
    }

    /// A suggestion how to fix it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    fn render(&self, file: &str, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&self.message));
        group = match &self.place {
            Some(place) => place.show(group, file, AnnotationKind::Primary, self.label.as_deref()),
            None => group.element(Origin::path(file)),
        };
        if let Some((place, label)) = &self.related {
            group = place.show(group, file, AnnotationKind::Context, Some(label));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
        }
        renderer.render(&[group])
    }
}

impl Place {
    fn show<'a>(
        &'a self,
        group: Group<'a>,
        file: &'a str,
        kind: AnnotationKind,
        label: Option<&'a str>,
    ) -> Group<'a> {
        match &self.text {
            Some(text) => {
                let annotation = kind.span(self.marked.clone()).label(label);
                group.element(Snippet::source(text).path(file).line_start(self.line).annotation(annotation))
            }
            None => group.element(Origin::path(file).line(self.line).char_column(self.column)),
        }
    }
}
