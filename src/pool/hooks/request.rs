//! One request for a buffer.

use core::panic::Location;

/// One request for a buffer, with its call site.
#[derive(Clone, Copy)]
pub(in crate::pool) struct Request {
    /// Index of the class.
    pub(in crate::pool) class: usize,
    /// Bytes requested.
    pub(in crate::pool) bytes: usize,
    pub(in crate::pool) caller: &'static Location<'static>,
}
