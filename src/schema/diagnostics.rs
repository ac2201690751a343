//! What is wrong with a file, as it is shown: with its line, and the place in it marked.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

/// Errors and warnings of one contract file, in its order; at most 50 of each.
///
/// It displays as text, with [`to_string_colored`](Self::to_string_colored) in colours, in the manner of rustc.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostics {
    pub(super) file: String,
    pub(super) list: Vec<Diagnostic>,
    pub(super) left_out: usize,
}

impl Diagnostics {
    /// An error of a file as a whole.
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

    /// The file's name, as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// How many there were beyond those that are shown, at least: misspelt keys are not looked for behind the first
    /// of them.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// As it displays, with the escape sequences of ANSI terminals.
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

/// As it displays: a `main` that returns it, a build script's for one, shows an error so.
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
    /// `None`: the file as a whole.
    pub(super) place: Option<Place>,
    pub(super) label: Option<String>,
    pub(super) related: Option<(Place, &'static str)>,
    pub(super) help: Option<String>,
}

/// Whether a file can be used nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can.
    Warning,
}

/// A place in a file, with its line, so that nobody has to keep the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// `None` of a line that is too long to be shown.
    pub(super) text: Option<String>,
    /// Bytes of the line.
    pub(super) marked: Range<usize>,
}

impl Diagnostic {
    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, with the names of message and field if it is about one; a line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line, from 1; `None`: the file as a whole.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The column, from 1, in characters; `None`: the file as a whole.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.column)
    }

    /// What could be done about it.
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
