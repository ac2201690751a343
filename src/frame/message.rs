use core::error::Error;
use core::fmt;

use bytes::BufMut;

use crate::pool::{BufferPool, PooledBuffer};

/// A message with a type: what its frames' payloads look like.
///
/// The type that implements it owns its fields and encodes itself; [`View`](Self::View) is what a payload is looked at
/// through, without a copy.
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
    /// What stands in the header of its frames.
    const TYPE_ID: u16;
    /// The topic it belongs to: its domain, in lower case.
    const TOPIC: &'static str;
    /// The longest payload in bytes, the header not counted.
    const MAX_SIZE: usize;
    /// A payload's fields, borrowed from it where they are long.
    type View<'a>;

    /// Length of this message's payload in bytes, at most [`MAX_SIZE`](Self::MAX_SIZE), which it is unless said
    /// otherwise.
    fn encoded_len(&self) -> usize {
        Self::MAX_SIZE
    }

    /// Whether the fields hold what the type asks of them beside their encoding, such as a length; a publisher asks
    /// before it encodes. Everything is valid unless said otherwise.
    ///
    /// # Errors
    ///
    /// [`MessageError::Rule`], if not: [`view`](Self::view) would refuse what is encoded.
    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }

    /// Writes the payload: exactly [`encoded_len`](Self::encoded_len) bytes, for which `out` has room.
    fn encode(&self, out: &mut impl BufMut);

    /// The payload in a buffer of the pool.
    ///
    /// # Panics
    ///
    /// If [`encode`](Self::encode) writes more than [`encoded_len`](Self::encoded_len) bytes.
    fn encode_pooled(&self, pool: &BufferPool) -> PooledBuffer {
        /// Writing fields to a slice takes a third of the instructions of writing to a buffer that grows
        /// (`cargo bench -p rivals --bench instructions`). But the slice has to be filled with zeros first, which
        /// costs a pass over all of a long payload.
        const MAX_SLICE: usize = 2048;
        let len = self.encoded_len();
        let mut payload = pool.acquire(len);
        if len > MAX_SLICE {
            self.encode(&mut payload.as_buf_mut().limit(len));
            return payload;
        }
        payload.resize(len, 0);
        let mut room = &mut payload[..];
        self.encode(&mut room);
        let left = room.len();
        payload.truncate(len - left);
        payload
    }

    /// Looks at a payload.
    ///
    /// # Errors
    ///
    /// [`MessageError`] for bytes that are none of this type; never a panic, whatever they are.
    fn view(payload: &[u8]) -> Result<Self::View<'_>, MessageError>;
}

/// Why bytes are no message of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload has another length than the type.
    Length {
        /// Bytes of the payload.
        received: usize,
        /// Bytes of the type.
        expected: usize,
    },
    /// A field holds what it must not.
    Field {
        /// Its name.
        field: &'static str,
        /// Where it begins in the payload, in bytes.
        offset: usize,
    },
    /// Bytes between two fields, or behind the last, are not zero.
    Padding {
        /// Where they begin in the payload, in bytes.
        offset: usize,
    },
    /// A field holds a value of its type that its rules forbid.
    Rule {
        /// Its name.
        field: &'static str,
        /// The rule.
        rule: Rule,
    },
}

/// What the value of a field must hold beside its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Text or a list is not empty.
    NotEmpty,
    /// Not every byte is zero.
    NotZero,
    /// Text or a list has at least so many bytes or elements.
    MinLength,
    /// Text or a list has at most so many bytes or elements.
    MaxLength,
    /// A number is at least so large.
    Min,
    /// A number is at most so large.
    Max,
}

impl MessageError {
    /// Whether the payload has the length of its type.
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
                write!(f, "a payload of {received} bytes where the type has {expected}")
            }
            Self::Field { field, offset } => write!(f, "the field {field} at byte {offset} is not valid"),
            Self::Padding { offset } => write!(f, "the padding at byte {offset} is not zero"),
            Self::Rule { field, rule } => write!(f, "the field {field} breaks its rule {rule}"),
        }
    }
}

/// As contract files spell it.
impl fmt::Display for Rule {
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
