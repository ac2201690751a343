//! Messages and fields as their dialect writes them, unchecked.

use super::report::Span;
use super::yaml::{Mapping, Node};

/// The keys of a message in both dialects.
pub(super) const MESSAGE_KEYS: &[&str] = &["tlv_type", "type_id", "domain", "description", "fields"];

/// A message as its dialect writes it.
pub(super) struct RawMessage<'n, 'a> {
    pub(super) name: &'n str,
    pub(super) name_span: Span,
    pub(super) body: &'n Mapping<'a>,
    pub(super) id: Option<&'n Node<'a>>,
    pub(super) fields: Vec<RawField<'n, 'a>>,
}

/// A field as its dialect writes it.
pub(super) struct RawField<'n, 'a> {
    pub(super) name: &'n str,
    pub(super) name_span: Span,
    pub(super) body: &'n Mapping<'a>,
}
