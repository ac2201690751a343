//! The map dialect: names are keys.

use super::raw::{MESSAGE_KEYS, RawField, RawMessage};
use super::report::{Draft, Report, named};
use super::values::{mapping, required, warn_of_misspelt};
use super::yaml::Mapping;

pub(super) fn messages<'n, 'a>(report: &mut Report<'_>, entries: &'n Mapping<'a>) -> Vec<RawMessage<'n, 'a>> {
    let mut messages = Vec::new();
    for entry in &entries.0 {
        let (name, name_span) = (entry.key.as_ref(), entry.key_span);
        let who = named(name);
        let Some(body) = mapping(report, &entry.value, &format!("the message {who}")) else { continue };
        warn_of_misspelt(report, body, MESSAGE_KEYS);
        if body.get("domain").is_none() {
            let draft = Draft::new(name_span, format!("{who}: `domain` is missing"));
            report.warning(draft.label("its topic is `default`"));
        }
        let id = required(report, body, name_span, "tlv_type", &who);
        let fields = required(report, body, name_span, "fields", &who)
            .and_then(|node| mapping(report, node, &format!("{who}: `fields`")));
        let mut raw = Vec::new();
        for field in fields.map_or(&[][..], |fields| &fields.0) {
            if let Some(body) =
                mapping(report, &field.value, &format!("the field {who}.{}", named(&field.key)))
            {
                raw.push(RawField { name: &field.key, name_span: field.key_span, body });
            }
        }
        // A message without an id is kept, so that its fields are checked, too.
        messages.push(RawMessage { name, name_span, body, id, fields: raw });
    }
    messages
}
