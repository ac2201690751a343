//! The list dialect: names are values.
//!
//! A type id may be given as `type_id`, `tlv_type` or `id`. A message without one is numbered by its place in the list,
//! starting at the first id of the range `app`, or at 1000.

use super::raw::{MESSAGE_KEYS, RawField, RawMessage};
use super::report::{Draft, Report, named};
use super::values::{mapping, required, sequence, text, warn_of_misspelt};
use super::yaml::{Mapping, Node};

pub(super) fn messages<'n, 'a>(report: &mut Report<'_>, items: &'n [Node<'a>]) -> Vec<RawMessage<'n, 'a>> {
    let mut messages = Vec::new();
    for item in items {
        let Some((name, name_node, body)) = with_name(report, item, "a message") else { continue };
        let who = named(name);
        warn_of_misspelt(report, body, MESSAGE_KEYS);
        let mut ids = body.0.iter().filter(|entry| ["type_id", "tlv_type", "id"].contains(&&*entry.key));
        let id = ids.next();
        if let (Some(first), Some(second)) = (id, ids.next()) {
            let draft = Draft::new(second.key_span, format!("{who}: a second type id"));
            report.error(draft.related(first.key_span, "the first"));
        }
        let fields = required(report, body, name_node.span, "fields", &who)
            .and_then(|node| sequence(report, node, &format!("{who}: `fields`")));
        let mut raw = Vec::new();
        for field in fields.unwrap_or_default() {
            if let Some((name, node, body)) = with_name(report, field, &format!("a field of {who}")) {
                raw.push(RawField { name, name_span: node.span, body });
            }
        }
        messages.push(RawMessage {
            name,
            name_span: name_node.span,
            body,
            id: id.map(|id| &id.value),
            fields: raw,
        });
    }
    messages
}

fn with_name<'n, 'a>(
    report: &mut Report<'_>,
    item: &'n Node<'a>,
    what: &str,
) -> Option<(&'n str, &'n Node<'a>, &'n Mapping<'a>)> {
    let body = mapping(report, item, what)?;
    let node = required(report, body, item.span, "name", what)?;
    let name = text(report, node, &format!("the name of {what}"))?;
    Some((name, node, body))
}
