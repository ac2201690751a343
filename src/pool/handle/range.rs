//! Ranges of bytes, as users write them.

use core::ops::{Bound, Range, RangeBounds};

/// The range in numbers.
///
/// # Panics
///
/// If it is not within `0..len`.
#[inline]
#[track_caller]
pub(super) fn within(range: impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let from = match range.start_bound() {
        Bound::Included(&from) => from,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&to) => to,
        Bound::Unbounded => len,
    };
    assert!(from <= to && to <= len, "{from}..{to} is out of the range of {len} bytes");
    from..to
}
