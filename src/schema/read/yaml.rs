//! A YAML file as a tree in which every node knows its place.
//!
//! Of the parsers that give every event its place, only `granit-parser` is maintained, borrows from the text, supports YAML
//! 1.2, has its own limits, and contains no unsafe code. serde's YAML crates are archived, or give places for errors only.
//! The parser emits events and builds nothing, so the tree is bounded here. Contracts need no anchors, aliases, tags,
//! directives or second documents: all of them are refused, and so is every alias bomb.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle};

use super::report::{Draft, Report, Span, shown};

/// The most nodes of a file: scalars, keys, lists and mappings. The most compact contracts take 8 bytes per node, so a file
/// of the largest size has fewer.
pub(super) const MAX_NODES: usize = 200_000;

/// The deepest nesting of lists and mappings, in each of YAML's two styles. A validation, the deepest part of a contract,
/// is 8 deep.
const MAX_DEPTH: usize = 24;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) span: Span,
    pub(super) value: Value<'a>,
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    Scalar {
        text: Cow<'a, str>,
        /// Written without quotes: only such a scalar can be a number, a bool or null.
        plain: bool,
    },
    Sequence(Vec<Node<'a>>),
    Mapping(Mapping<'a>),
}

impl Node<'_> {
    /// Null, or a text of spaces only.
    pub(super) fn is_empty(&self) -> bool {
        self.kind() == "nothing"
            || matches!(&self.value, Value::Scalar { text, .. } if text.trim().is_empty())
    }

    /// What it is, with an article, for error messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { text, plain: true } if is_null(text) => "nothing",
            Value::Scalar { plain: true, .. } => "a value",
            Value::Scalar { plain: false, .. } => "text in quotes",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Entries in the order of the file, keys unique.
#[derive(Debug, Default)]
pub(super) struct Mapping<'a>(pub(super) Vec<Entry<'a>>);

#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) key_span: Span,
    pub(super) value: Node<'a>,
}

impl<'a> Mapping<'a> {
    pub(super) fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        self.0.iter().find(|entry| entry.key == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.entry(key).map(|entry| &entry.value)
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The tree of the only document; `None` after an error, which is in the report.
pub(super) fn read<'a>(report: &mut Report<'a>) -> Option<Node<'a>> {
    let mut options = Options::default();
    options.disallow_directives = true;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    options.set_emit_comments(false);
    let mut tree = Tree { open: Vec::new(), root: None, nodes: 0 };
    for event in Parser::new_from_str_with_options(report.text(), options) {
        let step = match event {
            Ok((event, span)) => {
                let span = Span { start: byte(&span.start), end: byte(&span.end) };
                tree.take(event, span, report)
            }
            Err(error) => {
                let at = byte(error.marker());
                Err(Draft::new(Span { start: at, end: at }, format!("not YAML: {}", error.kind())))
            }
        };
        if let Err(draft) = step {
            report.error(draft);
            return None;
        }
    }
    if tree.root.is_none() {
        report.error(Draft::new(Span { start: 0, end: 0 }, "an empty file"));
    }
    tree.root
}

fn byte(marker: &Marker) -> usize {
    marker.byte_offset().unwrap_or(0)
}

/// The tree as far as it is built.
struct Tree<'a> {
    open: Vec<Open<'a>>,
    root: Option<Node<'a>>,
    nodes: usize,
}

/// A list or mapping before its end.
struct Open<'a> {
    start: usize,
    value: Value<'a>,
    /// A mapping's key whose value is the next node.
    key: Option<(Cow<'a, str>, Span)>,
}

impl<'a> Tree<'a> {
    fn take(&mut self, event: Event<'a>, span: Span, report: &mut Report<'a>) -> Result<(), Draft> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Draft::new(span, "a second document is not allowed in a contract file"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.admit(span, anchor, tag.is_some())?;
                let plain = style == ScalarStyle::Plain;
                self.put(Node { span, value: Value::Scalar { text, plain } })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.admit(span, anchor, tag.is_some())?;
                self.open(span, Value::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.admit(span, anchor, tag.is_some())?;
                self.open(span, Value::Mapping(Mapping::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut closed) = self.open.pop() else { return Ok(()) };
                if let Value::Mapping(mapping) = &mut closed.value {
                    without_duplicates(mapping, report);
                }
                self.put(Node { span: Span { start: closed.start, end: span.end }, value: closed.value })
            }
            Event::Alias(_) => Err(Draft::new(span, "aliases are not allowed in a contract file")),
            _ => Ok(()),
        }
    }

    fn admit(&mut self, span: Span, anchor: usize, tagged: bool) -> Result<(), Draft> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Draft::new(span, format!("more than {MAX_NODES} values")));
        }
        if anchor > 0 {
            return Err(Draft::new(span, "anchors are not allowed in a contract file"));
        }
        if tagged {
            return Err(Draft::new(span, "YAML tags are not allowed in a contract file"));
        }
        Ok(())
    }

    fn open(&mut self, span: Span, value: Value<'a>) -> Result<(), Draft> {
        if self.open.last().is_some_and(|open| matches!(open.value, Value::Mapping(_)) && open.key.is_none())
        {
            return Err(Draft::new(span, "a key must be a name"));
        }
        self.open.push(Open { start: span.start, value, key: None });
        Ok(())
    }

    /// Adds a complete node to the open list or mapping.
    fn put(&mut self, node: Node<'a>) -> Result<(), Draft> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.value, open.key.take(), node) {
            (Value::Sequence(items), _, node) => items.push(node),
            (Value::Mapping(mapping), Some((key, key_span)), value) => {
                mapping.0.push(Entry { key, key_span, value });
            }
            (_, None, Node { span, value: Value::Scalar { text, .. } }) => open.key = Some((text, span)),
            (_, _, node) => return Err(Draft::new(node.span, "a key must be a name")),
        }
        Ok(())
    }
}

/// Reports every repeated key and keeps the first.
fn without_duplicates<'a>(mapping: &mut Mapping<'a>, report: &mut Report<'a>) {
    let mut first: BTreeMap<Cow<'a, str>, Span> = BTreeMap::new();
    mapping.0.retain(|entry| {
        let Some(&before) = first.get(&entry.key) else {
            first.insert(entry.key.clone(), entry.key_span);
            return true;
        };
        let draft = Draft::new(entry.key_span, format!("{} is given twice", shown(&entry.key)));
        report.error(draft.label("again here").related(before, "first here"));
        false
    });
}
