//! Reads the fields of a payload one after the other.

use super::list::List;
use super::wire::{InPlace, SLOTS_OFFSET, Wire, are_zero};
use crate::frame::message::MessageError;

/// The result of looking at a message.
pub type Result<T> = core::result::Result<T, MessageError>;

/// The fields of a payload, taken in their order.
///
/// Bytes that carry no value are padding, the 6 bytes after a count, and the slots after the used ones. Peers may send
/// anything there, so they are ignored, unless `STRICT`.
///
/// # Examples
///
/// ```
/// use millpond::frame::MessageError;
/// use millpond::__codegen::{Fields, put, put_text};
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
/// assert_eq!(fields.text::<4>("name"), Ok("abc"));
///
/// let mut fields = Fields::strict(&payload, 16)?;
/// assert_eq!(fields.value("id"), Ok(7_u32));
/// assert_eq!(fields.text::<4>("name"), Err(MessageError::Field { field: "name", offset: 4 }));
/// # Ok::<(), MessageError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a, const STRICT: bool = false> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Fields<'a> {
    /// The fields of a payload, which must have `size` bytes. Bytes that carry no value are ignored.
    ///
    /// # Errors
    ///
    /// [`MessageError::Length`] if the payload has another length.
    #[inline]
    pub fn of(payload: &'a [u8], size: usize) -> Result<Self> {
        Self::any(payload, size)
    }
}

impl<'a> Fields<'a, true> {
    /// As [`of`](Fields::of), but bytes that carry no value must be zero.
    ///
    /// # Errors
    ///
    /// [`MessageError::Length`] if the payload has another length.
    #[inline]
    pub fn strict(payload: &'a [u8], size: usize) -> Result<Self> {
        Self::any(payload, size)
    }
}

impl<'a, const STRICT: bool> Fields<'a, STRICT> {
    #[inline]
    fn any(payload: &'a [u8], size: usize) -> Result<Self> {
        MessageError::check_len(payload, size)?;
        Ok(Self { rest: payload, offset: 0 })
    }

    /// A value: a number, a `bool`, or an array of them.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] for a `bool` that is neither 0 nor 1, or if the payload ends before the field does.
    #[inline]
    pub fn value<T: Wire>(&mut self, field: &'static str) -> Result<T> {
        self.field(field, T::SIZE, T::read)
    }

    /// An array of bytes, or of arrays of bytes, borrowed from the payload.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] if the payload ends before the field does.
    #[inline]
    pub fn bytes<T: InPlace>(&mut self, field: &'static str) -> Result<&'a T> {
        self.field(field, T::SIZE, |bytes| T::of(bytes)?.first())
    }

    /// Text of at most `SLOTS` bytes, borrowed from the payload.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] for a count above the slots or invalid UTF-8, or if the payload ends before the field does.
    /// If `STRICT`, also for a byte without a value that is not zero.
    #[inline]
    pub fn text<const SLOTS: usize>(&mut self, field: &'static str) -> Result<&'a str> {
        self.slots(field, SLOTS, 1, |text| str::from_utf8(text).ok())
    }

    /// A list of at most `SLOTS` bytes, or arrays of bytes, borrowed from the payload.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] for a count above the slots, or if the payload ends before the field does. If `STRICT`, also
    /// for a byte without a value that is not zero.
    #[inline]
    pub fn bytes_list<T: InPlace, const SLOTS: usize>(&mut self, field: &'static str) -> Result<&'a [T]> {
        self.slots(field, SLOTS, T::SIZE, T::of)
    }

    /// A list of at most `SLOTS` values, each of which is decoded when it is read.
    ///
    /// # Errors
    ///
    /// As [`bytes_list`](Self::bytes_list), and for a `bool` that is neither 0 nor 1.
    #[inline]
    pub fn list<T: Wire, const SLOTS: usize>(&mut self, field: &'static str) -> Result<List<'a, T>> {
        self.slots(field, SLOTS, T::SIZE, List::of)
    }

    /// An array of `COUNT` values, each of which is decoded when it is read: for arrays too long for a stack.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value).
    #[inline]
    pub fn array<T: Wire, const COUNT: usize>(&mut self, field: &'static str) -> Result<List<'a, T>> {
        self.field(field, COUNT.saturating_mul(T::SIZE), List::of)
    }

    /// Skips the padding between two fields, or after the last.
    ///
    /// # Errors
    ///
    /// [`MessageError::Padding`] if the payload ends before it does. If `STRICT`, also for a byte that is not zero.
    #[inline]
    pub fn padding(&mut self, len: usize) -> Result<&mut Self> {
        let offset = self.offset;
        self.take(len)
            .filter(|padding| !STRICT || are_zero(padding))
            .ok_or(MessageError::Padding { offset })?;
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
            let (&[low, high, ref after @ ..], slots) = bytes.split_first_chunk::<SLOTS_OFFSET>()?;
            let count = u16::from_le_bytes([low, high]);
            // A count above the slots ends after the field, which has no such split.
            let (used, unused) = slots.split_at_checked(usize::from(count).saturating_mul(size))?;
            (!STRICT || (are_zero(after) && are_zero(unused))).then(|| read(used))?
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
