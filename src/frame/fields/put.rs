//! Writes the fields of a payload one after the other.

use bytes::BufMut;

use super::wire::{SLOTS_OFFSET, Wire};

/// Writes a value.
#[inline]
pub fn put<T: Wire>(out: &mut impl BufMut, value: &T) {
    T::put_all(slice_of(value), out);
}

fn slice_of<T>(value: &T) -> &[T] {
    core::slice::from_ref(value)
}

/// Writes text in `SLOTS` bytes after a count of 8 bytes. Text that is too long is cut at the end of a character.
#[inline]
pub fn put_text<const SLOTS: usize>(out: &mut impl BufMut, text: &str) {
    let (text, _) = text.split_at(text.floor_char_boundary(SLOTS.min(u16::MAX.into())));
    put_list::<u8, SLOTS>(out, text.as_bytes());
}

/// Writes a list in `SLOTS` slots after a count of 8 bytes. Values that do not fit are left out.
#[inline]
pub fn put_list<T: Wire, const SLOTS: usize>(out: &mut impl BufMut, values: &[T]) {
    let fitting = values.len().min(SLOTS).min(u16::MAX.into());
    out.put_u16_le(fitting as u16);
    out.put_bytes(0, SLOTS_OFFSET - 2);
    put_array::<T, SLOTS>(out, values.get(..fitting).unwrap_or_default());
}

/// Writes `COUNT` values: the first ones of more, and zeros after fewer.
#[inline]
pub fn put_array<T: Wire, const COUNT: usize>(out: &mut impl BufMut, values: &[T]) {
    let values = values.get(..COUNT).unwrap_or(values);
    T::put_all(values, out);
    out.put_bytes(0, (COUNT - values.len()) * T::SIZE);
}
