//! Values that stay in the payload until they are read.

use core::fmt;
use core::iter::FusedIterator;
use core::marker::PhantomData;

use super::wire::Wire;

/// A list of values in a payload, each of which is decoded when it is read.
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    /// Complete and valid values.
    pub(super) bytes: &'a [u8],
    values: PhantomData<fn() -> T>,
}

impl<'a, T: Wire> List<'a, T> {
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        bytes.chunks_exact(T::SIZE).all(T::is_valid).then_some(())?;
        Some(Self { bytes, values: PhantomData })
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / T::SIZE
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The value at an index, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.bytes.chunks_exact(T::SIZE).nth(index).and_then(T::read)
    }

    /// Iterates over the values.
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

/// The iterator over the values of a [`List`].
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
