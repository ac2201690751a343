//! The type of a field in the owned struct and in the view.

use super::super::field::{FieldDef, Type};
use super::names::Names;

/// The largest owned struct without a heap, in bytes: a fraction of any thread's stack.
pub(super) const MAX_IN_PLACE: usize = 64 * 1024;

/// In a larger struct, arrays above this size are on the heap.
const MAX_ARRAY: usize = 256;

/// How a field is held and passed on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A number, or an array of numbers: the same type in both.
    Value,
    /// An array of bytes, borrowed in the view.
    ByteArray,
    /// Text.
    Text,
    /// A list of bytes or arrays of them, borrowed in the view.
    BytesList,
    /// A list of numbers.
    List,
    /// An array of bytes on the heap, borrowed in the view.
    HeapByteArray,
    /// An array of numbers on the heap.
    HeapArray,
}

impl Form {
    pub(super) fn of(field: &FieldDef, on_heap: bool) -> Self {
        let is_long = on_heap && field.ty.size().is_none_or(|size| size > MAX_ARRAY);
        match &field.ty {
            Type::FixedStr { .. } => Self::Text,
            Type::FixedVec { element, .. } if *element.as_ref() == Type::U8 || is_bytes(element) => {
                Self::BytesList
            }
            Type::FixedVec { .. } => Self::List,
            ty if is_bytes(ty) => {
                if is_long {
                    Self::HeapByteArray
                } else {
                    Self::ByteArray
                }
            }
            Type::Array(..) if is_long => Self::HeapArray,
            _ => Self::Value,
        }
    }
}

/// Whether it is an array of bytes, under any name.
fn is_bytes(ty: &Type) -> bool {
    match ty {
        Type::Address | Type::U256 => true,
        Type::Array(element, _) => **element == Type::U8 || is_bytes(element),
        _ => false,
    }
}

/// Whether serde does not support it.
pub(super) fn has_long_array(ty: &Type) -> bool {
    match ty {
        Type::Array(element, count) => *count > 32 || has_long_array(element),
        Type::FixedVec { element, .. } => has_long_array(element),
        _ => false,
    }
}

/// The type in the owned struct.
pub(super) fn owned(ty: &Type, form: Form, on_heap: bool, names: &Names<'_>) -> String {
    let runtime = &names.runtime;
    match (ty, form) {
        (Type::FixedStr { .. }, _) if on_heap => format!("{runtime}::HeapString"),
        (Type::FixedStr { slots }, _) => format!("{runtime}::ArrayString<{slots}>"),
        (Type::FixedVec { element, .. }, _) if on_heap => {
            format!("{runtime}::HeapVec<{}>", value(element, names))
        }
        (Type::FixedVec { element, slots }, _) => {
            format!("{runtime}::ArrayVec<{}, {slots}>", value(element, names))
        }
        (Type::Array(element, _), Form::HeapByteArray | Form::HeapArray) => {
            format!("{runtime}::HeapVec<{}>", value(element, names))
        }
        (ty, _) => value(ty, names),
    }
}

/// The type in the view.
pub(super) fn viewed(ty: &Type, form: Form, names: &Names<'_>) -> String {
    let runtime = &names.runtime;
    match (ty, form) {
        (Type::FixedStr { .. }, _) => format!("&'a {}", names.primitive("str")),
        (Type::FixedVec { element, .. }, Form::BytesList) => format!("&'a [{}]", value(element, names)),
        (Type::FixedVec { element, .. }, _) | (Type::Array(element, _), Form::HeapArray) => {
            format!("{runtime}::List<'a, {}>", value(element, names))
        }
        (ty, Form::Value) => value(ty, names),
        (ty, _) => format!("&'a {}", value(ty, names)),
    }
}

/// The type of a value with a fixed size.
fn value(ty: &Type, names: &Names<'_>) -> String {
    match ty {
        Type::Address => format!("[{}; 20]", names.primitive("u8")),
        Type::U256 => format!("[{}; 32]", names.primitive("u8")),
        Type::Array(element, count) => format!("[{}; {count}]", value(element, names)),
        // All others display as Rust spells them.
        ty => names.primitive(&ty.to_string()),
    }
}
