//! A contract file after its checks: the messages and what the file says about itself.

use std::fmt;

use super::diagnostics::Diagnostics;
use super::field::FieldDef;
use super::layout::{Layout, MessageLayout};
use super::names;

/// How a contract file is written. It displays as `map` or `list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// `messages:` is a map of name → `{tlv_type, domain, description, fields}`.
    Map,
    /// `messages:` is a list of `{name, fields: [{name, type}]}`.
    List,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::List => "list",
        })
    }
}

/// The messages of a contract file.
///
/// A `Schema` is always valid: names and ids are unique and allowed, and every message has a layout of at most 16 MiB.
///
/// # Examples
///
/// ```
/// use millpond::schema::{Layout, Plan, Schema};
///
/// let schema = Schema::parse("contracts.yaml", "
/// messages:
///   CounterUpdate:
///     tlv_type: 1002
///     domain: Examples
///     fields:
///       counter_id: {type: u64}
///       value: {type: i32}
/// ")?;
/// let counter = &schema.messages()[0];
/// assert_eq!((counter.type_id, counter.topic.as_str()), (1002, "examples"));
/// assert_eq!((counter.layout(Layout::Packed).size, counter.layout(Layout::ReprC).size), (12, 16));
/// assert_eq!(Plan::of_schema(&schema, Layout::ReprC)?.config().max_idle_bytes(), 128 * 512);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub(super) dialect: Dialect,
    pub(super) id: Option<u64>,
    pub(super) version: Option<u32>,
    pub(super) min_compatible: Option<u32>,
    pub(super) messages: Vec<MessageDef>,
    pub(super) digest: [u8; 32],
    pub(super) warnings: Diagnostics,
}

impl Schema {
    /// The dialect of the file.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// `schema: id`, which distinguishes protocols.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// `schema: version`.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// `schema: min_compatible`, at most the version.
    #[must_use]
    pub fn min_compatible(&self) -> Option<u32> {
        self.min_compatible
    }

    /// The messages in the order of the file; at least one.
    #[must_use]
    pub fn messages(&self) -> &[MessageDef] {
        &self.messages
    }

    /// The SHA-256 of the file's bytes, line ends included, as the [handshake](crate::frame::tlv::handshake) sends it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What is doubtful in the file, but no error.
    #[must_use]
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
}

/// A message type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MessageDef {
    /// ASCII letters, digits and underscores, and no digit first; possibly a Rust keyword. No other message
    /// has the same [`constant_name`](Self::constant_name).
    pub name: String,
    /// The type id in the header of its frames.
    pub type_id: u16,
    /// As the file has it; `Default` if the file has none.
    pub domain: String,
    /// The domain in lower case.
    pub topic: String,
    /// The file's text; empty if the file has none.
    pub description: String,
    /// In the order of the file; a message without fields is a payload of 0 bytes.
    pub fields: Vec<FieldDef>,
    pub(super) packed: MessageLayout,
    pub(super) repr_c: MessageLayout,
}

impl MessageDef {
    /// Where its fields lie in a payload.
    #[must_use]
    pub fn layout(&self, layout: Layout) -> &MessageLayout {
        match layout {
            Layout::Packed => &self.packed,
            Layout::ReprC => &self.repr_c,
        }
    }

    /// The name in the style of constants: `TEXT_MESSAGE` for `TextMessage`.
    #[must_use]
    pub fn constant_name(&self) -> String {
        names::constant(&self.name)
    }
}
