//! What contracts ask of values, by the contracts' names. Each is [`MessageError::Rule`] if it does not hold.

use super::{List, Result, Wire, are_zero};
use crate::frame::message::{MessageError, Rule};

/// Text or a list of `len` bytes or elements is not empty.
///
/// # Errors
///
/// [`Rule::NotEmpty`].
#[inline]
pub fn not_empty(field: &'static str, len: usize) -> Result<()> {
    check(field, Rule::NotEmpty, len > 0)
}

/// Not all bytes are zero.
///
/// # Errors
///
/// [`Rule::NotZero`].
#[inline]
pub fn not_zero<T: Wire>(field: &'static str, value: &T) -> Result<()> {
    check(field, Rule::NotZero, !value.is_zero())
}

/// Not all bytes of all values are zero.
///
/// # Errors
///
/// [`Rule::NotZero`].
pub fn any_not_zero<V: AllZero + ?Sized>(field: &'static str, values: &V) -> Result<()> {
    check(field, Rule::NotZero, !values.all_zero())
}

/// Values where they lie, however large one is.
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

/// Text or a list of `len` bytes or elements has at least so many.
///
/// # Errors
///
/// [`Rule::MinLength`].
#[inline]
pub fn min_length(field: &'static str, len: usize, least: usize) -> Result<()> {
    check(field, Rule::MinLength, len >= least)
}

/// Text or a list of `len` bytes or elements has at most so many.
///
/// # Errors
///
/// [`Rule::MaxLength`].
#[inline]
pub fn max_length(field: &'static str, len: usize, most: usize) -> Result<()> {
    check(field, Rule::MaxLength, len <= most)
}

/// A number is at least so large; what is no number is not.
///
/// # Errors
///
/// [`Rule::Min`].
#[inline]
pub fn min<T: PartialOrd>(field: &'static str, value: T, least: T) -> Result<()> {
    check(field, Rule::Min, value >= least)
}

/// A number is at most so large; what is no number is not.
///
/// # Errors
///
/// [`Rule::Max`].
#[inline]
pub fn max<T: PartialOrd>(field: &'static str, value: T, most: T) -> Result<()> {
    check(field, Rule::Max, value <= most)
}

#[inline]
fn check(field: &'static str, rule: Rule, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(MessageError::Rule { field, rule }) }
}
