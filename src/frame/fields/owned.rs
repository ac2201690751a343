//! Conversions from views to the text and lists of owned messages.

use arrayvec::{ArrayString, ArrayVec};

/// As much of the text as fits, cut at the end of a character. The text of a view always fits.
#[must_use]
pub fn text<const SLOTS: usize>(text: &str) -> ArrayString<SLOTS> {
    let (fitting, _) = text.split_at(text.floor_char_boundary(SLOTS));
    ArrayString::from(fitting).unwrap_or_default()
}

/// As many of the values as fit. The values of a view always fit.
#[must_use]
pub fn list<T, const SLOTS: usize>(values: impl IntoIterator<Item = T>) -> ArrayVec<T, SLOTS> {
    values.into_iter().take(SLOTS).collect()
}
