//! Where the fields of a message lie in its payload.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;

use super::model::{FieldDef, Type};
use crate::frame::tlv::DEFAULT_MAX_PAYLOAD;

/// Bytes in front of the slots of a [`FixedStr`](Type::FixedStr) or [`FixedVec`](Type::FixedVec): a `u16` count, and
/// 6 that are zero.
pub const SLOTS_OFFSET: usize = 8;

/// The largest payload of a message in bytes: what the framing takes unless configured otherwise, 16 MiB.
pub const MAX_MESSAGE_SIZE: usize = DEFAULT_MAX_PAYLOAD;

/// Where padding is. Both are in use; what is encoded by one is not read by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// None anywhere.
    Packed,
    /// As `#[repr(C)]` has it: each field at a multiple of its alignment, and the whole a multiple of the
    /// largest; padding bytes are zero. The default of both dialects, which spell the same structs.
    #[default]
    ReprC,
}

/// A message's fields in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageLayout {
    /// Bytes of the payload, the tail padding counted; the frame's header is not. At most
    /// [`MAX_MESSAGE_SIZE`].
    pub size: usize,
    /// Bytes; 1 when packed.
    pub align: usize,
    /// Zero bytes behind the last field.
    pub tail_padding: usize,
    /// In the order of the message's.
    pub fields: Vec<FieldLayout>,
}

/// A field in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldLayout {
    /// Where it begins, in bytes.
    pub offset: usize,
    /// Its bytes, a list's unused slots included.
    pub size: usize,
    /// Bytes; 1 when packed.
    pub align: usize,
    /// Zero bytes in front of it.
    pub padding: usize,
}

impl Layout {
    /// Lays the fields out, in their order.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if they take more than [`MAX_MESSAGE_SIZE`].
    pub fn lay_out(self, fields: &[FieldDef]) -> Result<MessageLayout, LayoutError> {
        let mut laid_out = MessageLayout { size: 0, align: 1, tail_padding: 0, fields: Vec::new() };
        for (index, field) in fields.iter().enumerate() {
            let too_large = LayoutError { field: index };
            let size = field.ty.size().ok_or(too_large)?;
            let align = match self {
                Self::Packed => 1,
                Self::ReprC => field.ty.align(),
            };
            let end = laid_out.size;
            let offset = end.next_multiple_of(align);
            laid_out.size =
                offset.checked_add(size).filter(|&end| end <= MAX_MESSAGE_SIZE).ok_or(too_large)?;
            laid_out.align = laid_out.align.max(align);
            laid_out.fields.push(FieldLayout { offset, size, align, padding: offset - end });
        }
        // The limit is a multiple of every alignment.
        let end = laid_out.size;
        laid_out.size = end.next_multiple_of(laid_out.align);
        laid_out.tail_padding = laid_out.size - end;
        Ok(laid_out)
    }
}

impl Type {
    /// Bytes of a value; `None`: more than the address space has.
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

    /// The alignment that `repr(C)` gives it, in bytes.
    ///
    /// Addresses and 256-bit numbers are arrays of bytes: 1. A list has that of its `u16` count or of its elements; but
    /// 8 at most, as its slots begin 8 bytes behind its start, whatever they are. 128-bit integers have 16, as in Rust on
    /// every 64-bit machine.
    ///
    /// The [size](Self::size) of text and lists is no multiple of it where their slots are not: the protocol counts
    /// 8 bytes and the slots. A compiler rounds such a struct up, so that `#[repr(C)] struct { count: u16, zeros: [u8; 6],
    /// slots: [u8; 7] }` takes 16 bytes there, and 15 here.
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

/// A message takes more than [`MAX_MESSAGE_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayoutError {
    /// Index of the first field that ends beyond it.
    pub field: usize,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field {} ends beyond {MAX_MESSAGE_SIZE} bytes", self.field)
    }
}

impl Error for LayoutError {}
