//! From the tree of a file to what it says: all checks of both dialects.

mod list;
mod map;
#[cfg(test)]
mod tests;
mod validation;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use self::values::{fitting, integer, mapping, required, text, truth, warn_of_misspelt};
use super::diagnostics::Diagnostics;
use super::layout::{Layout, LayoutError, MAX_MESSAGE_SIZE};
use super::model::{Dialect, FieldDef, MessageDef, Schema, Type};
use super::names;
use super::report::{Draft, MAX_LINE, Report, Span, named, shown};
use super::types::{self, Spelled};
use super::yaml::{self, Mapping, Node, Value};

/// The largest file in bytes: 1 MiB, 500 to 1900 messages like those of real files. Beyond it nothing is looked at; up to it the
/// worst that is known takes half a second, and 4 s in a build script, which is not optimised.
const MAX_FILE: usize = 1024 * 1024;

/// The domain of a message that has none.
const DEFAULT_DOMAIN: &str = "Default";

/// A list's first message has this id if neither ids nor a range `app` are given: where the range of applications
/// begins in the files of the field.
const FIRST_ID: u16 = 1000;

const TOP_KEYS: &[&str] = &["schema", "tag_ranges", "messages"];
const SCHEMA_KEYS: &[&str] = &["id", "version", "min_compatible"];
const RANGE_KEYS: &[&str] = &["core", "app", "experimental"];
const MESSAGE_KEYS: &[&str] = &["tlv_type", "type_id", "domain", "description", "fields"];
const FIELD_KEYS: &[&str] = &["type", "description", "optional", "validation"];

/// A message as its dialect has it.
struct RawMessage<'n, 'a> {
    name: &'n str,
    name_span: Span,
    body: &'n Mapping<'a>,
    id: Option<&'n Node<'a>>,
    fields: Vec<RawField<'n, 'a>>,
}

/// A field as its dialect has it.
struct RawField<'n, 'a> {
    name: &'n str,
    name_span: Span,
    body: &'n Mapping<'a>,
}

pub(super) fn schema(file: &str, bytes: &[u8], wanted: Option<Dialect>) -> Result<Schema, Diagnostics> {
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
            report.error(Draft::new(Span { start: at, end: at }, "what follows is no UTF-8"));
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
        // To YAML an end of a line, to who is shown the line none.
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
    let root = yaml::read(report)?; // which is there, or the report says why not
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
    Some((dialect, head, build(report, &ranges, first_id, &raw)))
}

/// The section `schema`.
#[derive(Default)]
struct Head {
    id: Option<u64>,
    version: Option<u32>,
    min_compatible: Option<u32>,
}

impl Head {
    fn read(report: &mut Report<'_>, top: &Mapping<'_>) -> Self {
        let Some(section) = top.get("schema").and_then(|node| mapping(report, node, "`schema`")) else {
            return Self::default();
        };
        warn_of_misspelt(report, section, SCHEMA_KEYS);
        let id = section.get("id").and_then(|node| integer(report, node, "`schema: id`", 0, u64::MAX));
        let [version, min_compatible] = ["version", "min_compatible"].map(|key| {
            let node = section.get(key)?;
            integer(report, node, &format!("`schema: {key}`"), 0, u32::MAX)
        });
        if let (Some(version), Some(least), Some(node)) =
            (version, min_compatible, section.get("min_compatible"))
            && least > version
        {
            let message = format!("`min_compatible` {least} is above the version, {version}");
            report.error(Draft::new(node.span, message));
        }
        Self { id, version, min_compatible }
    }
}

/// The section `tag_ranges`: first id, last id, and where it is said.
#[derive(Default)]
struct Ranges {
    core: Option<(u16, u16, Span)>,
    app: Option<(u16, u16, Span)>,
    experimental: Option<(u16, u16, Span)>,
}

impl Ranges {
    fn read(report: &mut Report<'_>, top: &Mapping<'_>) -> Self {
        let Some(section) = top.get("tag_ranges").and_then(|node| mapping(report, node, "`tag_ranges`"))
        else {
            return Self::default();
        };
        warn_of_misspelt(report, section, RANGE_KEYS);
        let [core, app, experimental] = ["core", "app", "experimental"].map(|key| {
            let node = section.get(key)?;
            let what = format!("`tag_ranges: {key}`");
            let text = text(report, node, &what)?;
            let ends = text.split_once('-').map(|(first, last)| (first.trim().parse(), last.trim().parse()));
            match ends {
                Some((Ok(first), Ok(last))) if first <= last => Some((first, last, node.span)),
                _ => {
                    let message = format!("{what} is no range of ids: {}", shown(text));
                    report
                        .error(Draft::new(node.span, message).help(Some("such as `1000-49999`".to_owned())));
                    None
                }
            }
        });
        Self { core, app, experimental }
    }

    fn check(&self, report: &mut Report<'_>, name: &str, id: u16, span: Span) {
        let within = |range: Option<(u16, u16, Span)>| {
            range.filter(|&(first, last, _)| (first..=last).contains(&id)).map(|(_, _, span)| span)
        };
        if let Some(core) = within(self.core) {
            let draft = Draft::new(span, format!("{name}: type id {id} is in the range of the core"));
            report.error(draft.related(core, "reserved here"));
        } else if let Some(experimental) = within(self.experimental) {
            let draft = Draft::new(span, format!("{name}: type id {id} is experimental"));
            report.warning(draft.related(experimental, "may change without a new version"));
        } else if let (Some((_, _, app)), None) = (self.app, within(self.app)) {
            let draft = Draft::new(span, format!("{name}: type id {id} is in no range"));
            report.error(draft.related(app, "the range of applications"));
        }
    }
}

/// Messages without an id are numbered from `first_id`, or wrong.
fn build(
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
        let laid_out = Layout::Packed.lay_out(&fields).and_then(|packed| {
            let repr_c = Layout::ReprC.lay_out(&fields)?;
            Ok((packed, repr_c))
        });
        let (packed, repr_c) = match laid_out {
            Ok(layouts) => layouts,
            Err(LayoutError { field }) => {
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

/// All fields, or `None` if one is wrong.
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
            let draft = Draft::new(raw.name_span, format!("{who} is there twice"));
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
        if let Some((ty, validation)) =
            validation::read(report, raw.body.get("validation"), spelled, raw, &who)
        {
            built.push(FieldDef { name: raw.name.to_owned(), ty, description, optional, validation });
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
        report.error(draft.help(Some("an array in quotes: to YAML it is a list".to_owned())));
        return None;
    }
    let spelling = text(report, node, &format!("{who}: `type`"))?;
    let error = match types::read(spelling) {
        Ok(spelled) => return Some(spelled),
        Err(error) => error,
    };
    // The place within the text, if it stands there as it was written, with or without a quote before it.
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

/// It may be empty, unlike other texts.
fn description(report: &mut Report<'_>, body: &Mapping<'_>, who: &str) -> String {
    match body.get("description") {
        Some(node) if node.is_empty() => String::new(),
        Some(node) => text(report, node, &format!("{who}: `description`")).unwrap_or_default().to_owned(),
        None => String::new(),
    }
}

fn check_name(report: &mut Report<'_>, name: &str, span: Span) {
    if let Some((why, help)) = names::refuse(name) {
        report.error(Draft::new(span, format!("{} {why}", shown(name))).help(Some(help)));
    }
}

/// What a bound of `String` or `Vec<T>` is without `max_length`; `None`: it has to be given.
fn default_slots(spelled: &Spelled) -> Option<u16> {
    match spelled {
        Spelled::Text => Some(32),
        Spelled::List(Type::U8) => Some(16),
        Spelled::List(Type::Address | Type::U256) => Some(4),
        Spelled::List(Type::Array(element, _)) if **element == Type::U8 => Some(4),
        _ => None,
    }
}
