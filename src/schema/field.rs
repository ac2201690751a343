//! A field of a message: its type and its constraints.

use std::fmt;

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldDef {
    /// ASCII letters, digits and underscores, and no digit first; possibly a Rust keyword.
    pub name: String,
    /// How it is encoded.
    pub ty: Type,
    /// The file's text; empty if the file has none.
    pub description: String,
    /// Whether it may be left unset. An unset field is encoded as zeros.
    pub optional: bool,
    /// What its values must satisfy. The file's key is `validation`.
    pub constraints: Constraints,
}

/// How a field is encoded, little-endian.
///
/// It displays as the map dialect spells it; bounded text and lists as `FixedStr<N>` and `FixedVec<T, N>`.
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
    /// `[T; N]`: N values of T without a length prefix. T has a fixed size.
    Array(Box<Type>, usize),
    /// `String`, `FixedStr<N>`: UTF-8 of at most `slots` bytes. A `u16` count, 6 bytes without a value, then all
    /// slots.
    FixedStr {
        /// From 1 to 65535.
        slots: u16,
    },
    /// `Vec<T>`, `FixedVec<T, N>`: at most `slots` values of T, which has a fixed size; encoded like
    /// [`FixedStr`](Self::FixedStr).
    FixedVec {
        /// T.
        element: Box<Type>,
        /// From 1 to 65535.
        slots: u16,
    },
}

impl Type {
    /// Whether every value uses all of its bytes: only such a type can be an element of an array or a list.
    pub(super) fn is_fixed(&self) -> bool {
        !matches!(self, Self::FixedStr { .. } | Self::FixedVec { .. })
    }
}

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

/// What the values of a field must satisfy, in addition to their type.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Constraints {
    /// `not_empty: true`, for text and lists.
    pub not_empty: bool,
    /// `not_zero: true`, for numbers, arrays and addresses: at least one byte is not zero.
    pub not_zero: bool,
    /// `min_length`, in bytes of text or in elements.
    pub min_length: Option<u16>,
    /// `max_length`, in bytes of text or in elements. At most the slots; of `String` and `Vec<T>` it is the slots.
    pub max_length: Option<u16>,
    /// `min`, for numbers, inclusive.
    pub min: Option<Bound>,
    /// `max`, for numbers, inclusive.
    pub max: Option<Bound>,
    /// Constraints that only the application can check, such as `known_chain: true`: key and value as written.
    pub other: Vec<(String, String)>,
}

/// The smallest or the largest value of a field.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Bound {
    /// For an integer, within its type. For `u128` and `U256` at most `i128::MAX`.
    Integer(i128),
    /// For `f32` and `f64`, finite. An `f32` is compared with the nearest `f32`.
    Float(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            // `Display` would write 300 digits for 1e300.
            Self::Float(value) => write!(f, "{value:?}"),
        }
    }
}
