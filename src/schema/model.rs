//! What a contract file says, once it is checked.

use std::fmt;

use super::diagnostics::Diagnostics;
use super::layout::{Layout, MessageLayout};
use super::{names, read};

/// How a contract file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `messages:` is a map of name → `{tlv_type, domain, description, fields}`.
    Map,
    /// `messages:` is a list of `{name, fields: [{name, type}]}`.
    List,
}

/// The messages of a contract file. It is valid because it exists: names and ids are unique and allowed, and every
/// message has a layout of at most 16 MiB.
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
    /// Reads a contract file in the dialect that it is written in. `file` is the name that errors give.
    ///
    /// The text is UTF-8, at most 1 MiB of it with lines of at most 16 KiB and 200 000 values, so that any input ends
    /// within bounded time and memory.
    ///
    /// # Errors
    ///
    /// All that is wrong with the file; the first alone if it is not YAML.
    pub fn parse(file: &str, text: impl AsRef<[u8]>) -> Result<Self, Diagnostics> {
        read::schema(file, text.as_ref(), None)
    }

    /// Like [`parse`](Self::parse), but a file of the other dialect is an error.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_as(dialect: Dialect, file: &str, text: impl AsRef<[u8]>) -> Result<Self, Diagnostics> {
        read::schema(file, text.as_ref(), Some(dialect))
    }

    /// The dialect it is written in.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// `schema: id`, which tells protocols apart.
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

    /// At least one, in the order of the file.
    #[must_use]
    pub fn messages(&self) -> &[MessageDef] {
        &self.messages
    }

    /// The SHA-256 of the file's text, as the [handshake](crate::frame::tlv::handshake) sends it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What is doubtful, but no error.
    #[must_use]
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
}

/// A type of messages.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MessageDef {
    /// A Rust identifier, whose [`constant_name`](Self::constant_name) no other message has.
    pub name: String,
    /// What stands in the header of its frames.
    pub type_id: u16,
    /// As the file has it; `Default` where it has none.
    pub domain: String,
    /// The domain in lower case.
    pub topic: String,
    /// In the words of the file; empty where it has none.
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

    /// The name as constants have it: `TEXT_MESSAGE` for `TextMessage`.
    #[must_use]
    pub fn constant_name(&self) -> String {
        names::constant(&self.name)
    }
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldDef {
    /// A Rust identifier.
    pub name: String,
    /// How it is encoded.
    pub ty: Type,
    /// In the words of the file; empty where it has none.
    pub description: String,
    /// Whether it need not be set. It is encoded all the same, as zeros then.
    pub optional: bool,
    /// What its values must hold.
    pub validation: Validation,
}

/// How a field is encoded, little-endian.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// `u8`, `uint8`: 1 byte.
    U8,
    /// `u16`, `uint16`: 2 bytes.
    U16,
    /// `u32`, `uint32`: 4 bytes.
    U32,
    /// `u64`, `uint64`: 8 bytes.
    U64,
    /// `u128`, `uint128`: 16 bytes.
    U128,
    /// `i8`: 1 byte.
    I8,
    /// `i16`: 2 bytes.
    I16,
    /// `i32`: 4 bytes.
    I32,
    /// `i64`: 8 bytes.
    I64,
    /// `i128`: 16 bytes.
    I128,
    /// `f32`: 4 bytes.
    F32,
    /// `f64`: 8 bytes.
    F64,
    /// `bool`: 1 byte, 0 or 1.
    Bool,
    /// `Address`: 20 bytes.
    Address,
    /// `U256`, `uint256`: 32 bytes.
    U256,
    /// `[T; N]`: N of T, no length before them. T is of fixed size.
    Array(Box<Type>, usize),
    /// `String`, `FixedStr<N>`: UTF-8 of at most `slots` bytes. A `u16` count, 6 zero bytes, then all the slots, of
    /// which those beyond the count are zero.
    FixedStr {
        /// From 1 to 65535.
        slots: u16,
    },
    /// `Vec<T>`, `FixedVec<T, N>`: at most `slots` of T, which is of fixed size, encoded like
    /// [`FixedStr`](Self::FixedStr).
    FixedVec {
        /// T.
        element: Box<Type>,
        /// From 1 to 65535.
        slots: u16,
    },
}

impl Type {
    /// Whether all of its bytes mean something, whatever they hold: what an array or a list may be of.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        !matches!(self, Self::FixedStr { .. } | Self::FixedVec { .. })
    }
}

/// As the map dialect spells it, with the list dialect's `FixedStr<N>` and `FixedVec<T, N>` for what is bounded.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U8 => f.write_str("u8"),
            Self::U16 => f.write_str("u16"),
            Self::U32 => f.write_str("u32"),
            Self::U64 => f.write_str("u64"),
            Self::U128 => f.write_str("u128"),
            Self::I8 => f.write_str("i8"),
            Self::I16 => f.write_str("i16"),
            Self::I32 => f.write_str("i32"),
            Self::I64 => f.write_str("i64"),
            Self::I128 => f.write_str("i128"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Bool => f.write_str("bool"),
            Self::Address => f.write_str("Address"),
            Self::U256 => f.write_str("U256"),
            Self::Array(element, count) => write!(f, "[{element}; {count}]"),
            Self::FixedStr { slots } => write!(f, "FixedStr<{slots}>"),
            Self::FixedVec { element, slots } => write!(f, "FixedVec<{element}, {slots}>"),
        }
    }
}

/// What the values of a field must hold beside their type.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Validation {
    /// `not_empty: true`, of text and lists.
    pub not_empty: bool,
    /// `not_zero: true`, of numbers, arrays and addresses: not every byte is zero.
    pub not_zero: bool,
    /// `min_length`, in bytes of text, or elements.
    pub min_length: Option<u16>,
    /// `max_length`, in bytes of text, or elements; at most the slots, which it sets for `String` and `Vec<T>`.
    pub max_length: Option<u16>,
    /// `min`, of numbers, that value included.
    pub min: Option<Bound>,
    /// `max`, of numbers, that value included.
    pub max: Option<Bound>,
    /// Those that only applications know, `known_chain: true` for one, as they are written.
    pub other: Vec<(String, String)>,
}

/// The least or the largest value of a field.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Bound {
    /// Of an integer, and one of its type. Of a `u128` or `U256` only up to `i128::MAX`.
    Integer(i128),
    /// Of an `f32` or `f64`: finite. An `f32` is compared with the nearest that it can be.
    Float(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            // Not 300 digits.
            Self::Float(value) => write!(f, "{value:?}"),
        }
    }
}
