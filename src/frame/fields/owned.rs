//! Text and lists that hold no more than their slots, without a heap.

pub use arrayvec::{ArrayString, ArrayVec};

/// As much of the text as fits, to the end of a character: all of it, if it is of a view that
/// [`Message::view`](crate::frame::Message::view) made.
#[must_use]
pub fn text<const SLOTS: usize>(text: &str) -> ArrayString<SLOTS> {
    let (fitting, _) = text.split_at(text.floor_char_boundary(SLOTS));
    ArrayString::from(fitting).unwrap_or_default()
}

/// As many of the values as fit: all of them, if they are of a view that
/// [`Message::view`](crate::frame::Message::view) made.
#[must_use]
pub fn list<T, const SLOTS: usize>(values: impl IntoIterator<Item = T>) -> ArrayVec<T, SLOTS> {
    values.into_iter().take(SLOTS).collect()
}
