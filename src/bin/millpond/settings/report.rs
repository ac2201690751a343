//! What is wrong with a configuration, each with its line.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, normalize_untrusted_str};

/// All that is wrong. It displays like rustc's messages.
#[derive(Debug)]
pub(crate) struct Report {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

/// Something that is wrong at a place of the file.
#[derive(Debug)]
pub(super) struct Problem {
    /// In bytes.
    pub(super) place: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Report {
    /// Without a file.
    pub(super) fn of(message: String) -> Self {
        Self {
            file: String::new(),
            text: String::new(),
            problems: vec![Problem { place: 0..0, message, help: None }],
        }
    }

    pub(super) fn new(file: String, text: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.start);
        Self { file, text, problems }
    }
}

impl Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if self.file.is_empty() {
                f.write_str(&problem.message)?;
                continue;
            }
            let message = normalize_untrusted_str(&problem.message);
            let mark = AnnotationKind::Primary.span(problem.place.clone());
            let mut group = Level::ERROR
                .primary_title(message)
                .element(Snippet::source(&self.text).path(&self.file).annotation(mark));
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
            }
            f.write_str(&Renderer::plain().render(&[group]))?;
        }
        Ok(())
    }
}
