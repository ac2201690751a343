//! Typed messages: what is in the payload of a frame.

use core::error::Error;
use core::fmt;

use bytes::BufMut;

use crate::pool::{BufferPool, PooledBuffer};

/// A message type: how its fields are encoded in a payload.
///
/// The implementing type owns its fields and encodes itself. [`View`](Self::View) borrows them from a payload without a
/// copy.
///
/// # Examples
///
/// ```
/// use bytes::{Buf, BufMut};
/// use millpond::frame::{Message, MessageError};
///
/// /// 8 bytes: a counter's number and its value, little-endian.
/// struct Counter { id: u32, value: u32 }
///
/// impl Message for Counter {
///     const TYPE_ID: u16 = 7;
///     const TOPIC: &'static str = "counters";
///     const MAX_SIZE: usize = 8;
///     type View<'a> = Self;
///
///     fn encode(&self, out: &mut impl BufMut) {
///         out.put_u32_le(self.id);
///         out.put_u32_le(self.value);
///     }
///
///     fn view(mut payload: &[u8]) -> Result<Self, MessageError> {
///         MessageError::check_len(payload, Self::MAX_SIZE)?;
///         Ok(Self { id: payload.get_u32_le(), value: payload.get_u32_le() })
///     }
/// }
/// ```
pub trait Message {
    /// The type id in the header of its frames.
    const TYPE_ID: u16;
    /// The topic that it belongs to: its domain in lower case.
    const TOPIC: &'static str;
    /// The longest payload in bytes, without the header.
    const MAX_SIZE: usize;
    /// The fields of a payload. Long ones are borrowed from it.
    type View<'a>;

    /// Length of this message's payload in bytes, at most [`MAX_SIZE`](Self::MAX_SIZE), which is the default.
    fn encoded_len(&self) -> usize {
        Self::MAX_SIZE
    }

    /// Checks the constraints of the fields, such as a length. Publishers call it before they encode. By default every
    /// message is valid.
    ///
    /// # Errors
    ///
    /// [`MessageError::Constraint`] if a field breaks one; [`view`](Self::view) would refuse the encoded message.
    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }

    /// Writes the payload: exactly [`encoded_len`](Self::encoded_len) bytes, for which `out` must have room.
    fn encode(&self, out: &mut impl BufMut);

    /// Encodes the payload into a buffer of the pool, which [always serves](BufferPool::acquire).
    ///
    /// # Panics
    ///
    /// As [`encode_in`](Self::encode_in).
    fn encode_pooled(&self, pool: &BufferPool) -> PooledBuffer {
        self.encode_in(pool.acquire(self.encoded_len()))
    }

    /// Encodes the payload into this buffer, which is empty and has room for [`encoded_len`](Self::encoded_len) bytes.
    ///
    /// # Panics
    ///
    /// If [`encode`](Self::encode) writes more than [`encoded_len`](Self::encoded_len) bytes.
    fn encode_in(&self, mut payload: PooledBuffer) -> PooledBuffer {
        /// Writing fields to a slice takes a third of the instructions of writing to a buffer that grows
        /// (`cargo bench -p rivals --bench instructions`). But the slice has to be filled with zeros first, which
        /// costs a pass over all of a long payload.
        const MAX_SLICE: usize = 2048;
        let len = self.encoded_len();
        if len > MAX_SLICE {
            self.encode(&mut (&mut payload).limit(len));
            return payload;
        }
        payload.resize(len, 0);
        let mut room = &mut payload[..];
        self.encode(&mut room);
        let left = room.len();
        payload.truncate(len - left);
        payload
    }

    /// Checks a payload and borrows its fields. Never panics, whatever the bytes are.
    ///
    /// # Errors
    ///
    /// [`MessageError`] for bytes that are not a message of this type.
    fn view(payload: &[u8]) -> Result<Self::View<'_>, MessageError>;
}

/// Why bytes are not a message of a type, or a message is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload has another length than messages of this type.
    Length {
        /// Bytes of the payload.
        received: usize,
        /// Bytes of any payload of this type.
        expected: usize,
    },
    /// The bytes of a field are no value of its type.
    Field {
        /// The field's name.
        field: &'static str,
        /// The field's offset in the payload, in bytes.
        offset: usize,
    },
    /// Padding between two fields, or after the last, is not zero. Only messages generated with `strict_padding` check it.
    Padding {
        /// The padding's offset in the payload, in bytes.
        offset: usize,
    },
    /// The value of a field breaks a constraint.
    Constraint {
        /// The field's name.
        field: &'static str,
        /// The constraint.
        constraint: Constraint,
    },
}

/// A condition on the value of a field, in addition to its type. It displays as contract files spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Constraint {
    /// Text or a list is not empty.
    NotEmpty,
    /// Not every byte is zero.
    NotZero,
    /// Text or a list has a smallest number of bytes or elements.
    MinLength,
    /// Text or a list has a largest number of bytes or elements.
    MaxLength,
    /// A number has a smallest value.
    Min,
    /// A number has a largest value.
    Max,
}

impl MessageError {
    /// Checks that a payload has the length of its type.
    ///
    /// # Errors
    ///
    /// [`MessageError::Length`] if not.
    pub fn check_len(payload: &[u8], expected: usize) -> Result<(), Self> {
        match payload.len() {
            received if received != expected => Err(Self::Length { received, expected }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { received, expected } => {
                write!(f, "the payload has {received} bytes, and its type {expected}")
            }
            Self::Field { field, offset } => write!(f, "the field {field} at byte {offset} is not valid"),
            Self::Padding { offset } => write!(f, "the padding at byte {offset} is not zero"),
            Self::Constraint { field, constraint } => {
                write!(f, "the field {field} breaks its constraint {constraint}")
            }
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotEmpty => "not_empty",
            Self::NotZero => "not_zero",
            Self::MinLength => "min_length",
            Self::MaxLength => "max_length",
            Self::Min => "min",
            Self::Max => "max",
        })
    }
}

impl Error for MessageError {}
