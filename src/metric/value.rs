//! What a sample consists of: labels, and a value.

use core::fmt;
use core::time::Duration;

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A count, or bytes.
    Integer(u64),
    /// Seconds, for example.
    Float(f64),
    /// The value of a histogram.
    Histogram {
        /// Ascending; the last is that of infinity.
        buckets: &'a [Bucket],
        /// The sum of what was counted.
        sum: f64,
    },
}

/// A bucket of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Bucket {
    /// Its upper bound.
    pub le: f64,
    /// All that was counted up to this bound, so also in the buckets before it.
    pub count: u64,
}

/// A label of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Label<'a> {
    /// Lower case and underscores.
    pub name: &'static str,
    /// One of a few: no address of a client, no path.
    pub value: LabelValue<'a>,
}

/// The value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelValue<'a> {
    /// Any text.
    Text(&'a str),
    /// Such as the size of a class.
    Number(u64),
}

impl<'a> Label<'a> {
    /// A label.
    #[must_use]
    pub fn new(name: &'static str, value: impl Into<LabelValue<'a>>) -> Self {
        Self { name, value: value.into() }
    }
}

impl fmt::Display for LabelValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl<'a> From<&'a str> for LabelValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<usize> for LabelValue<'_> {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<u64> for Value<'_> {
    fn from(count: u64) -> Self {
        Self::Integer(count)
    }
}

impl From<u32> for Value<'_> {
    fn from(count: u32) -> Self {
        Self::Integer(count.into())
    }
}

impl From<usize> for Value<'_> {
    fn from(count: usize) -> Self {
        Self::Integer(count as u64)
    }
}

/// In seconds.
impl From<Duration> for Value<'_> {
    fn from(time: Duration) -> Self {
        Self::Float(time.as_secs_f64())
    }
}
