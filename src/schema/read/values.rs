//! Values of the expected kind, or an error at their place.

use std::fmt;

use super::report::{Draft, Report, Span, nearest, shown};
use super::yaml::{Mapping, Node, Value};

pub(super) fn mapping<'n, 'a>(
    report: &mut Report<'_>,
    node: &'n Node<'a>,
    what: &str,
) -> Option<&'n Mapping<'a>> {
    match &node.value {
        Value::Mapping(mapping) => Some(mapping),
        _ => {
            report.error(fitting(node, what, "a mapping"));
            None
        }
    }
}

pub(super) fn sequence<'n, 'a>(
    report: &mut Report<'_>,
    node: &'n Node<'a>,
    what: &str,
) -> Option<&'n [Node<'a>]> {
    match &node.value {
        Value::Sequence(items) => Some(items),
        _ => {
            report.error(fitting(node, what, "a list"));
            None
        }
    }
}

/// A scalar that is not empty.
pub(super) fn text<'n>(report: &mut Report<'_>, node: &'n Node<'_>, what: &str) -> Option<&'n str> {
    match &node.value {
        Value::Scalar { text, .. } if !node.is_empty() => Some(text),
        _ => {
            let draft = match &node.value {
                Value::Scalar { plain: false, .. } if node.is_empty() => {
                    Draft::new(node.span, format!("{what} is empty"))
                }
                _ => fitting(node, what, "a text"),
            };
            report.error(draft);
            None
        }
    }
}

pub(super) fn truth(report: &mut Report<'_>, node: &Node<'_>, what: &str) -> Option<bool> {
    match &node.value {
        Value::Scalar { text, plain: true } if text == "true" => Some(true),
        Value::Scalar { text, plain: true } if text == "false" => Some(false),
        _ => {
            report.error(fitting(node, what, "`true` or `false`"));
            None
        }
    }
}

/// A whole number from `least` to `largest`.
pub(super) fn integer<T>(
    report: &mut Report<'_>,
    node: &Node<'_>,
    what: &str,
    least: T,
    largest: T,
) -> Option<T>
where
    T: TryFrom<i128> + PartialOrd + fmt::Display,
{
    let value = number(node).and_then(|value| T::try_from(value).ok());
    let value = value.filter(|value| (&least..=&largest).contains(&value));
    if value.is_none() {
        report.error(fitting(node, what, &format!("a whole number from {least} to {largest}")));
    }
    value
}

/// The number in an unquoted scalar, in any of YAML's three bases.
pub(super) fn number(node: &Node<'_>) -> Option<i128> {
    let Value::Scalar { text, plain: true } = &node.value else { return None };
    let (digits, radix) = match text.split_at_checked(2) {
        Some(("0x", digits)) => (digits, 16),
        Some(("0o", digits)) => (digits, 8),
        _ => (text.as_ref(), 10),
    };
    if radix != 10 && digits.starts_with(['-', '+']) {
        return None;
    }
    i128::from_str_radix(digits, radix).ok()
}

/// An error: the node is not what was expected.
pub(super) fn fitting(node: &Node<'_>, what: &str, expected: &str) -> Draft {
    let found = match &node.value {
        Value::Scalar { text, plain: true } if node.kind() != "nothing" => shown(text),
        _ => node.kind().to_owned(),
    };
    let first_line = Draft::new(node.span, format!("{what} must be {expected}, not {found}"));
    match &node.value {
        Value::Scalar { plain: false, .. } if expected.contains("number") || expected.contains("true") => {
            first_line.help(Some("without quotes".to_owned()))
        }
        _ => first_line,
    }
}

/// The value of a required key; an error about a missing one is shown at `near`.
pub(super) fn required<'n, 'a>(
    report: &mut Report<'_>,
    mapping: &'n Mapping<'a>,
    near: Span,
    key: &str,
    who: &str,
) -> Option<&'n Node<'a>> {
    let value = mapping.get(key);
    if value.is_none() {
        report.error(Draft::new(near, format!("{who}: `{key}` is missing")));
    }
    value
}

/// Ignores unknown keys, but warns of those that look like a misspelt one of ours.
pub(super) fn warn_of_misspelt(report: &mut Report<'_>, mapping: &Mapping<'_>, known: &[&str]) {
    if !report.wants_warnings() {
        return;
    }
    let absent: Vec<&str> = known.iter().copied().filter(|key| mapping.get(key).is_none()).collect();
    for entry in &mapping.0 {
        if known.contains(&entry.key.as_ref()) {
            continue;
        }
        if let Some(meant) = nearest(&entry.key, absent.iter().copied()) {
            let draft = Draft::new(entry.key_span, format!("the key {} is ignored", shown(&entry.key)));
            report.warning(draft.help(Some(format!("did you mean `{meant}`?"))));
        }
    }
}
