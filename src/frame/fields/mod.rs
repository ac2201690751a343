//! The field types of generated messages.
//!
//! An owned message has its text and lists in an [`ArrayString`] and an [`ArrayVec`], which hold no more than fits the
//! payload; a view has [`List`]s, which decode a value when it is read.
//!
//! Payloads are little-endian. Text and lists are a `u16` count, 6 bytes without a value, and all slots. Bytes that carry
//! no value are written as zeros and ignored when read, unless the code was generated with `strict_padding`. The
//! functions that read and write them are for generated code only; they do not allocate, and no bytes make them panic.

pub(crate) mod constraints;
mod list;
pub(crate) mod owned;
pub(crate) mod put;
pub(crate) mod take;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use arrayvec::{ArrayString, ArrayVec};

pub use self::list::{List, Values};
