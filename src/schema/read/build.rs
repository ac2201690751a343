//! From messages as they are written to messages that are checked.

use std::collections::{BTreeMap, BTreeSet};

use super::super::field::FieldDef;
use super::super::layout::{Layout, MAX_MESSAGE_SIZE, TooLarge};
use super::super::model::MessageDef;
use super::super::names;
use super::constraints;
use super::head::Ranges;
use super::raw::RawMessage;
use super::report::{Draft, Report, Span, named, shown};
use super::types::{self, Spelled};
use super::values::{fitting, integer, required, text, truth, warn_of_misspelt};
use super::yaml::{Mapping, Node, Value};

/// The domain of a message that has none.
const DEFAULT_DOMAIN: &str = "Default";

const FIELD_KEYS: &[&str] = &["type", "description", "optional", "validation"];

/// Checks all messages. Those without an id are numbered from `first_id`, or are an error if there is none.
pub(super) fn build(
    report: &mut Report<'_>,
    ranges: &Ranges,
    first_id: Option<u16>,
    raw: &[RawMessage<'_, '_>],
) -> Vec<MessageDef> {
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    let mut ids: BTreeMap<u16, Span> = BTreeMap::new();
    let known: BTreeSet<&str> = raw.iter().map(|message| message.name).collect();
    let mut built = Vec::new();
    for (index, message) in raw.iter().enumerate() {
        check_name(report, message.name, message.name_span);
        let who = named(message.name);
        let constant = names::constant(message.name);
        if let Some(&first) = names.get(&constant) {
            let draft = Draft::new(message.name_span, format!("two messages {}", shown(message.name)));
            report
                .error(draft.label(format!("both are {constant} in constants")).related(first, "first here"));
        } else {
            names.insert(constant, message.name_span);
        }
        let (id, id_span) = match message.id {
            Some(node) => {
                let what = format!("the type id of {}", shown(message.name));
                (integer(report, node, &what, 0, u16::MAX), node.span)
            }
            None => (numbered(first_id, index), message.name_span),
        };
        if id.is_none() && message.id.is_none() && first_id.is_some() {
            report.error(Draft::new(id_span, format!("{who}: no type id is left for it")));
        }
        if let Some(id) = id {
            ranges.check(report, &who, id, id_span);
            if let Some(&first) = ids.get(&id) {
                let draft = Draft::new(id_span, format!("{who}: type id {id} is taken"));
                report.error(draft.related(first, "by this message"));
            } else {
                ids.insert(id, id_span);
            }
        }
        let domain = match message.body.get("domain") {
            Some(node) => text(report, node, &format!("{who}: `domain`")),
            None => Some(DEFAULT_DOMAIN),
        };
        let description = description(report, message.body, &who);
        let Some(fields) = fields(report, message, &who, &known) else { continue };
        let layouts = Layout::Packed.place(&fields).and_then(|packed| {
            let repr_c = Layout::ReprC.place(&fields)?;
            Ok((packed, repr_c))
        });
        let (packed, repr_c) = match layouts {
            Ok(layouts) => layouts,
            Err(TooLarge { field }) => {
                let field = message.fields.get(field);
                let what = field.map_or_else(String::new, |field| format!(".{}", named(field.name)));
                let draft = Draft::new(
                    field.map_or(message.name_span, |field| field.name_span),
                    format!("{who}{what} ends beyond {MAX_MESSAGE_SIZE} bytes"),
                );
                report.error(draft.label("a message must fit the largest payload"));
                continue;
            }
        };
        if let (Some(type_id), Some(domain)) = (id, domain) {
            built.push(MessageDef {
                name: message.name.to_owned(),
                type_id,
                domain: domain.to_owned(),
                topic: domain.to_lowercase(),
                description,
                fields,
                packed,
                repr_c,
            });
        }
    }
    built
}

fn numbered(first_id: Option<u16>, index: usize) -> Option<u16> {
    first_id?.checked_add(u16::try_from(index).ok()?)
}

/// All fields of a message, or `None` if one is wrong.
fn fields(
    report: &mut Report<'_>,
    message: &RawMessage<'_, '_>,
    who: &str,
    known: &BTreeSet<&str>,
) -> Option<Vec<FieldDef>> {
    let mut names: BTreeMap<&str, Span> = BTreeMap::new();
    let mut built = Vec::new();
    for raw in &message.fields {
        let who = format!("{who}.{}", named(raw.name));
        check_name(report, raw.name, raw.name_span);
        if let Some(&first) = names.get(raw.name) {
            let draft = Draft::new(raw.name_span, format!("{who} is given twice"));
            report.error(draft.label("again here").related(first, "first here"));
        } else {
            names.insert(raw.name, raw.name_span);
        }
        warn_of_misspelt(report, raw.body, FIELD_KEYS);
        let description = description(report, raw.body, &who);
        let optional = raw
            .body
            .get("optional")
            .and_then(|node| truth(report, node, &format!("{who}: `optional`")))
            .unwrap_or(false);
        let spelled = required(report, raw.body, raw.name_span, "type", &who)
            .and_then(|node| field_type(report, node, &who, message.name, known));
        let Some(spelled) = spelled else { continue };
        if let Some((ty, constraints)) =
            constraints::read(report, raw.body.get("validation"), spelled, raw, &who)
        {
            built.push(FieldDef { name: raw.name.to_owned(), ty, description, optional, constraints });
        }
    }
    (built.len() == message.fields.len()).then_some(built)
}

fn field_type(
    report: &mut Report<'_>,
    node: &Node<'_>,
    who: &str,
    message: &str,
    known: &BTreeSet<&str>,
) -> Option<Spelled> {
    if let Value::Sequence(_) = node.value {
        let draft = fitting(node, &format!("{who}: `type`"), "a text");
        report.error(draft.help(Some("put the array in quotes: YAML reads it as a list".to_owned())));
        return None;
    }
    let spelling = text(report, node, &format!("{who}: `type`"))?;
    let error = match types::read(spelling) {
        Ok(spelled) => return Some(spelled),
        Err(error) => error,
    };
    // The place within the file's text, if the type is written there as is, with or without a quote before it.
    let stands_at = |start: usize| report.text().get(start..).is_some_and(|rest| rest.starts_with(spelling));
    let start = [node.span.start, node.span.start + 1].into_iter().find(|&start| stands_at(start));
    let span = start
        .map_or(node.span, |start| Span { start: start + error.range.start, end: start + error.range.end });
    let help = match error.unknown {
        Some(word) if word == message => Some("a message cannot contain itself".to_owned()),
        Some(word) if known.contains(word) => Some("a message cannot contain another".to_owned()),
        Some(word) if report.shows_errors() => types::suggestion(word),
        _ => None,
    };
    report.error(Draft::new(span, format!("{who}: {}", error.message)).help(help));
    None
}

/// Unlike other texts, it may be empty.
fn description(report: &mut Report<'_>, body: &Mapping<'_>, who: &str) -> String {
    match body.get("description") {
        Some(node) if node.is_empty() => String::new(),
        Some(node) => text(report, node, &format!("{who}: `description`")).unwrap_or_default().to_owned(),
        None => String::new(),
    }
}

fn check_name(report: &mut Report<'_>, name: &str, span: Span) {
    if !names::is_allowed(name) {
        let help = "use ASCII letters, digits and underscores, and no digit first";
        let draft = Draft::new(span, format!("{} is not an identifier", shown(name)));
        report.error(draft.help(Some(help.to_owned())));
    }
}
