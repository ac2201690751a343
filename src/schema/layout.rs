//! Where the fields of a message lie in its payload.

#[cfg(test)]
mod tests;

use std::fmt;

use super::field::{FieldDef, Type};
use crate::frame::tlv::DEFAULT_MAX_PAYLOAD;

/// Bytes before the slots of a [`FixedStr`](Type::FixedStr) or [`FixedVec`](Type::FixedVec): a `u16` count and 6 bytes
/// without a value.
const SLOTS_OFFSET: usize = 8;

/// The largest payload of a message in bytes: what the framing takes unless configured otherwise.
pub(super) const MAX_MESSAGE_SIZE: usize = DEFAULT_MAX_PAYLOAD;

/// Where a payload has padding. Both peers must use the same layout.
///
/// Bytes that carry no value are padding, the 6 bytes after the count of text and lists, and the slots after the used ones.
/// They are written as zeros. When read they are ignored, because peers that send structs from their memory may send
/// anything there. [`Options::strict_padding`](super::Options::strict_padding) refuses all but zeros.
///
/// It displays as `packed` or `repr(C)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// No padding.
    Packed,
    /// As in a `#[repr(C)]` struct: the offset of each field is a multiple of its alignment, and the size is a multiple
    /// of the largest one. The default of both dialects.
    #[default]
    ReprC,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packed => "packed",
            Self::ReprC => "repr(C)",
        })
    }
}

/// A message's fields in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageLayout {
    /// Bytes of the payload with the tail padding, without the frame's header. At most
    /// [`DEFAULT_MAX_PAYLOAD`], 16 MiB.
    pub size: usize,
    /// The alignment in bytes; 1 when packed.
    pub align: usize,
    /// Bytes of padding after the last field.
    pub tail_padding: usize,
    /// In the order of the message's fields.
    pub fields: Vec<FieldLayout>,
}

/// A field in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldLayout {
    /// Its first byte's offset in the payload.
    pub offset: usize,
    /// Its size in bytes; for text and lists with the unused slots.
    pub size: usize,
    /// The alignment in bytes; 1 when packed.
    pub align: usize,
    /// Bytes of padding before it.
    pub padding: usize,
}

/// A message is larger than [`MAX_MESSAGE_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// Index of the first field that ends after the limit.
    pub(super) field: usize,
}

impl Layout {
    /// The places of the fields, in their order.
    pub(super) fn place(self, fields: &[FieldDef]) -> Result<MessageLayout, TooLarge> {
        let mut message = MessageLayout { size: 0, align: 1, tail_padding: 0, fields: Vec::new() };
        for (index, field) in fields.iter().enumerate() {
            let too_large = TooLarge { field: index };
            let size = field.ty.size().ok_or(too_large)?;
            let align = match self {
                Self::Packed => 1,
                Self::ReprC => field.ty.align(),
            };
            let end = message.size;
            let offset = end.next_multiple_of(align);
            message.size =
                offset.checked_add(size).filter(|&end| end <= MAX_MESSAGE_SIZE).ok_or(too_large)?;
            message.align = message.align.max(align);
            message.fields.push(FieldLayout { offset, size, align, padding: offset - end });
        }
        // Stays within the limit, which is a multiple of every alignment.
        let end = message.size;
        message.size = end.next_multiple_of(message.align);
        message.tail_padding = message.size - end;
        Ok(message)
    }
}

impl Type {
    /// Bytes of a value; `None` if that is more than a `usize` holds.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::U128 | Self::I128 => Some(16),
            Self::Address => Some(20),
            Self::U256 => Some(32),
            Self::Array(element, count) => element.size()?.checked_mul(*count),
            Self::FixedStr { slots } => Some(SLOTS_OFFSET + usize::from(*slots)),
            Self::FixedVec { element, slots } => {
                element.size()?.checked_mul(usize::from(*slots))?.checked_add(SLOTS_OFFSET)
            }
        }
    }

    /// The alignment in bytes that [`Layout::ReprC`] gives it.
    ///
    /// Addresses and 256-bit numbers are arrays of bytes: 1. 128-bit integers have 16, as Rust has on every 64-bit
    /// machine. A list has the larger alignment of its `u16` count and its elements, but at most 8, because its slots
    /// always begin 8 bytes after its start.
    ///
    /// The [size](Self::size) of text and lists need not be a multiple of the alignment: the protocol counts 8 bytes
    /// and the slots, and no padding after them. A compiler would round up: `#[repr(C)] struct { count: u16, zeros:
    /// [u8; 6], slots: [u8; 7] }` takes 16 bytes in Rust, and 15 here.
    #[must_use]
    pub fn align(&self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool | Self::Address | Self::U256 => 1,
            Self::U16 | Self::I16 | Self::FixedStr { .. } => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::U128 | Self::I128 => 16,
            Self::Array(element, _) => element.align(),
            Self::FixedVec { element, .. } => element.align().clamp(2, SLOTS_OFFSET),
        }
    }
}
