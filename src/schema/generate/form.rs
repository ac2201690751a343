//! What a field is in the owned form and in the view.

use super::super::model::{FieldDef, Type};
use super::Names;

/// The largest owned form, in bytes, that lies in one piece: a fraction of any thread's stack.
pub(super) const MAX_IN_PLACE: usize = 64 * 1024;

/// In a larger one, arrays above this are on the heap.
const MAX_ARRAY: usize = 256;

/// How a field is held and passed on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A number, or an array of numbers: the same in both.
    Value,
    /// An array of bytes, borrowed in the view.
    Bytes,
    /// Text.
    Text,
    /// A list of bytes or arrays of them, borrowed in the view.
    BytesList,
    /// A list of numbers.
    List,
    /// An array of bytes on the heap, borrowed in the view.
    HeapBytes,
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
                    Self::HeapBytes
                } else {
                    Self::Bytes
                }
            }
            Type::Array(..) if is_long => Self::HeapArray,
            _ => Self::Value,
        }
    }
}

/// Arrays of bytes, whatever they are called.
fn is_bytes(ty: &Type) -> bool {
    match ty {
        Type::Address | Type::U256 => true,
        Type::Array(element, _) => **element == Type::U8 || is_bytes(element),
        _ => false,
    }
}

/// Whether serde has no form for it.
pub(super) fn has_long_array(ty: &Type) -> bool {
    match ty {
        Type::Array(element, count) => *count > 32 || has_long_array(element),
        Type::FixedVec { element, .. } => has_long_array(element),
        _ => false,
    }
}

/// The type in the owned form.
pub(super) fn owned(ty: &Type, form: Form, on_heap: bool, names: &Names<'_>) -> String {
    let fields = &names.fields;
    match (ty, form) {
        (Type::FixedStr { .. }, _) if on_heap => format!("{fields}::HeapString"),
        (Type::FixedStr { slots }, _) => format!("{fields}::ArrayString<{slots}>"),
        (Type::FixedVec { element, .. }, _) if on_heap => {
            format!("{fields}::HeapVec<{}>", value(element, names))
        }
        (Type::FixedVec { element, slots }, _) => {
            format!("{fields}::ArrayVec<{}, {slots}>", value(element, names))
        }
        (Type::Array(element, _), Form::HeapBytes | Form::HeapArray) => {
            format!("{fields}::HeapVec<{}>", value(element, names))
        }
        (ty, _) => value(ty, names),
    }
}

/// The type in the view.
pub(super) fn viewed(ty: &Type, form: Form, names: &Names<'_>) -> String {
    let fields = &names.fields;
    match (ty, form) {
        (Type::FixedStr { .. }, _) => format!("&'a {}", names.primitive("str")),
        (Type::FixedVec { element, .. }, Form::BytesList) => format!("&'a [{}]", value(element, names)),
        (Type::FixedVec { element, .. }, _) | (Type::Array(element, _), Form::HeapArray) => {
            format!("{fields}::List<'a, {}>", value(element, names))
        }
        (ty, Form::Value) => value(ty, names),
        (ty, _) => format!("&'a {}", value(ty, names)),
    }
}

/// The type of a value of fixed size.
fn value(ty: &Type, names: &Names<'_>) -> String {
    match ty {
        Type::Address => format!("[{}; 20]", names.primitive("u8")),
        Type::U256 => format!("[{}; 32]", names.primitive("u8")),
        Type::Array(element, count) => format!("[{}; {count}]", value(element, names)),
        // The rest is spelled as Rust spells it.
        ty => names.primitive(&ty.to_string()),
    }
}
