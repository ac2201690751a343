//! What generated messages are read and written with: one field after the other.
//!
//! Everything is little-endian. Text and lists are a `u16` count, 6 zero bytes, and all of their slots, of which those
//! beyond the count are zero. A [`Message::view`](super::Message::view) takes its fields with [`Fields`] and borrows what
//! is bytes from the payload; [`Message::encode`](super::Message::encode) puts them with [`put`], [`put_text`],
//! [`put_list`] and [`put_array`]. Nothing here allocates, and no bytes make it panic.
//!
//! The owned forms of generated messages have their text and lists in the [`ArrayString`] and [`ArrayVec`] of the
//! feature `messages`, which hold no more than their slots.

#[cfg(feature = "messages")]
mod owned;
mod rules;
#[cfg(test)]
mod tests;
mod wire;

pub use alloc::string::String as HeapString;
pub use alloc::vec::Vec as HeapVec;
use core::fmt;
use core::iter::FusedIterator;
use core::marker::PhantomData;

pub use bytes::BufMut;

use super::message::MessageError;

#[cfg(feature = "messages")]
pub use owned::{ArrayString, ArrayVec, list, text};
pub use rules::{AllZero, any_not_zero, max, max_length, min, min_length, not_empty, not_zero};
pub use wire::{Bytes, Wire, is_zero, saturating_u128};

/// What looking at a message comes to.
pub type Result<T> = core::result::Result<T, MessageError>;

/// Bytes in front of the slots of text and lists: a `u16` count, and 6 that are zero.
const SLOTS_OFFSET: usize = 8;

/// The fields of a payload, taken in their order.
///
/// # Examples
///
/// ```
/// use millpond::frame::MessageError;
/// use millpond::frame::fields::{Fields, put, put_text};
///
/// let mut payload = Vec::new();
/// put(&mut payload, &7_u32);
/// put_text::<4>(&mut payload, "abc");
///
/// let mut fields = Fields::of(&payload, 16)?;
/// assert_eq!(fields.value("id"), Ok(7_u32));
/// assert_eq!(fields.text::<4>("name"), Ok("abc"));
///
/// payload[15] = 1; // an unused slot
/// let mut fields = Fields::of(&payload, 16)?;
/// assert_eq!(fields.value("id"), Ok(7_u32));
/// assert_eq!(fields.text::<4>("name"), Err(MessageError::Field { field: "name", offset: 4 }));
/// # Ok::<(), MessageError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Fields<'a> {
    /// All of them, which take `size` bytes.
    ///
    /// # Errors
    ///
    /// [`MessageError::Length`] if the payload has another length.
    #[inline]
    pub fn of(payload: &'a [u8], size: usize) -> Result<Self> {
        MessageError::check_len(payload, size)?;
        Ok(Self { rest: payload, offset: 0 })
    }

    /// A value: a number, a `bool`, or an array of them.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] for a `bool` that is neither 0 nor 1, and beyond the payload.
    #[inline]
    pub fn value<T: Wire>(&mut self, field: &'static str) -> Result<T> {
        self.field(field, T::SIZE, T::read)
    }

    /// An array of bytes, or of arrays of them, where it lies.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] beyond the payload.
    #[inline]
    pub fn bytes<T: Bytes>(&mut self, field: &'static str) -> Result<&'a T> {
        self.field(field, T::SIZE, |bytes| T::of(bytes)?.first())
    }

    /// Text of at most `SLOTS` bytes, where it lies.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] for a count above the slots, an unused byte that is not zero, what is no UTF-8, and
    /// beyond the payload.
    #[inline]
    pub fn text<const SLOTS: usize>(&mut self, field: &'static str) -> Result<&'a str> {
        self.slots(field, SLOTS, 1, |text| str::from_utf8(text).ok())
    }

    /// A list of at most `SLOTS` bytes, or arrays of them, where it lies.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] for a count above the slots, an unused byte that is not zero, and beyond the payload.
    #[inline]
    pub fn bytes_list<T: Bytes, const SLOTS: usize>(&mut self, field: &'static str) -> Result<&'a [T]> {
        self.slots(field, SLOTS, T::SIZE, T::of)
    }

    /// A list of at most `SLOTS` values, which are decoded when they are looked at.
    ///
    /// # Errors
    ///
    /// As [`bytes_list`](Self::bytes_list), and for a `bool` that is neither 0 nor 1.
    #[inline]
    pub fn list<T: Wire, const SLOTS: usize>(&mut self, field: &'static str) -> Result<List<'a, T>> {
        self.slots(field, SLOTS, T::SIZE, List::of)
    }

    /// An array of `COUNT` values that is too long to be decoded at once.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value).
    #[inline]
    pub fn array<T: Wire, const COUNT: usize>(&mut self, field: &'static str) -> Result<List<'a, T>> {
        self.field(field, COUNT.saturating_mul(T::SIZE), List::of)
    }

    /// Bytes between two fields, or behind the last.
    ///
    /// # Errors
    ///
    /// [`MessageError::Padding`] if one is not zero, and beyond the payload.
    #[inline]
    pub fn padding(&mut self, len: usize) -> Result<&mut Self> {
        let offset = self.offset;
        self.take(len).filter(|padding| are_zero(padding)).ok_or(MessageError::Padding { offset })?;
        Ok(self)
    }

    #[inline]
    fn field<T>(
        &mut self,
        field: &'static str,
        size: usize,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T> {
        let offset = self.offset;
        self.take(size).and_then(read).ok_or(MessageError::Field { field, offset })
    }

    #[inline]
    fn slots<T>(
        &mut self,
        field: &'static str,
        slots: usize,
        size: usize,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T> {
        let len = slots.saturating_mul(size).saturating_add(SLOTS_OFFSET);
        self.field(field, len, |bytes| {
            let (&count, bytes) = bytes.split_first_chunk::<SLOTS_OFFSET>()?;
            // The 6 zero bytes are the upper ones of a larger number.
            let count = u16::try_from(u64::from_le_bytes(count)).ok()?;
            // A count above the slots is beyond the field.
            let (used, unused) = bytes.split_at_checked(usize::from(count).saturating_mul(size))?;
            are_zero(unused).then(|| read(used))?
        })
    }

    #[inline]
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.offset += len;
        Some(taken)
    }
}

/// Most of a short text's message is this: in words, not in bytes.
fn are_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    // The last word of all covers what the words leave.
    let last = match bytes.last_chunk() {
        Some(last) => u64::from_ne_bytes(*last),
        None => rest.iter().fold(0, |any, byte| any | byte).into(),
    };
    words.iter().fold(last, |any, word| any | u64::from_ne_bytes(*word)) == 0
}

/// Values in a payload, decoded when they are looked at.
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    /// Whole values, each of which can be read.
    bytes: &'a [u8],
    values: PhantomData<fn() -> T>,
}

impl<'a, T: Wire> List<'a, T> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        bytes.chunks_exact(T::SIZE).all(T::is_valid).then_some(())?;
        Some(Self { bytes, values: PhantomData })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / T::SIZE
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The value at a place, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.bytes.chunks_exact(T::SIZE).nth(index).and_then(T::read)
    }

    /// One after the other.
    #[must_use]
    pub fn iter(&self) -> Values<'a, T> {
        Values { bytes: self.bytes.chunks_exact(T::SIZE), values: PhantomData }
    }
}

impl<T: Wire + fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Wire + PartialEq> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Wire + PartialEq> PartialEq<[T]> for List<'_, T> {
    fn eq(&self, other: &[T]) -> bool {
        self.iter().eq(other.iter().copied())
    }
}

impl<'a, T: Wire> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Values<'a, T>;

    fn into_iter(self) -> Values<'a, T> {
        self.iter()
    }
}

/// The values of a [`List`].
#[derive(Clone, Debug)]
pub struct Values<'a, T> {
    bytes: core::slice::ChunksExact<'a, u8>,
    values: PhantomData<fn() -> T>,
}

impl<T: Wire> Iterator for Values<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.bytes.next().and_then(T::read)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.bytes.size_hint()
    }
}

impl<T: Wire> ExactSizeIterator for Values<'_, T> {}
impl<T: Wire> FusedIterator for Values<'_, T> {}

/// Writes a value.
#[inline]
pub fn put<T: Wire>(out: &mut impl BufMut, value: &T) {
    T::put_all(slice_of(value), out);
}

fn slice_of<T>(value: &T) -> &[T] {
    core::slice::from_ref(value)
}

/// Writes text in `SLOTS` bytes and the 8 in front of them. What does not fit is left out, at the end of a character.
#[inline]
pub fn put_text<const SLOTS: usize>(out: &mut impl BufMut, text: &str) {
    let (text, _) = text.split_at(text.floor_char_boundary(SLOTS.min(u16::MAX.into())));
    put_list::<u8, SLOTS>(out, text.as_bytes());
}

/// Writes a list in `SLOTS` slots and the 8 bytes in front of them. What does not fit is left out.
#[inline]
pub fn put_list<T: Wire, const SLOTS: usize>(out: &mut impl BufMut, values: &[T]) {
    let fitting = values.len().min(SLOTS).min(u16::MAX.into());
    out.put_u16_le(fitting as u16);
    out.put_bytes(0, SLOTS_OFFSET - 2);
    put_array::<T, SLOTS>(out, values.get(..fitting).unwrap_or_default());
}

/// Writes `COUNT` values: of more, the first; behind fewer, zeros.
#[inline]
pub fn put_array<T: Wire, const COUNT: usize>(out: &mut impl BufMut, values: &[T]) {
    let values = values.get(..COUNT).unwrap_or(values);
    T::put_all(values, out);
    out.put_bytes(0, (COUNT - values.len()) * T::SIZE);
}
