//! The constraints of contracts under their names in contract files. Each returns [`MessageError::Constraint`] if the
//! value breaks it.

use super::list::List;
use super::take::Result;
use super::wire::{Wire, are_zero};
use crate::frame::message::{Constraint, MessageError};

/// Text or a list of `len` bytes or elements is not empty.
#[inline]
pub fn not_empty(field: &'static str, len: usize) -> Result<()> {
    check(field, Constraint::NotEmpty, len > 0)
}

/// Not all bytes are zero.
#[inline]
pub fn not_zero<T: Wire>(field: &'static str, value: &T) -> Result<()> {
    check(field, Constraint::NotZero, !value.is_zero())
}

/// Not all bytes of all values are zero.
pub fn any_not_zero<V: AllZero + ?Sized>(field: &'static str, values: &V) -> Result<()> {
    check(field, Constraint::NotZero, !values.all_zero())
}

/// Values that are not copied to be checked, because one can be larger than a stack.
pub trait AllZero {
    /// Whether all of their bytes are zero.
    fn all_zero(&self) -> bool;
}

impl<T: Wire> AllZero for [T] {
    fn all_zero(&self) -> bool {
        self.iter().all(T::is_zero)
    }
}

impl<T: Wire> AllZero for List<'_, T> {
    fn all_zero(&self) -> bool {
        are_zero(self.bytes)
    }
}

/// Text or a list of `len` bytes or elements has at least `least`.
#[inline]
pub fn min_length(field: &'static str, len: usize, least: usize) -> Result<()> {
    check(field, Constraint::MinLength, len >= least)
}

/// Text or a list of `len` bytes or elements has at most `most`.
#[inline]
pub fn max_length(field: &'static str, len: usize, most: usize) -> Result<()> {
    check(field, Constraint::MaxLength, len <= most)
}

/// A number is at least `least`; NaN is not.
#[inline]
pub fn min<T: PartialOrd>(field: &'static str, value: T, least: T) -> Result<()> {
    check(field, Constraint::Min, value >= least)
}

/// A number is at most `most`; NaN is not.
#[inline]
pub fn max<T: PartialOrd>(field: &'static str, value: T, most: T) -> Result<()> {
    check(field, Constraint::Max, value <= most)
}

#[inline]
fn check(field: &'static str, constraint: Constraint, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(MessageError::Constraint { field, constraint }) }
}
