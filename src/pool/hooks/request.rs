//! What an acquire wants, and who asks.

use core::panic::Location;

/// What an acquire wants, and who asks.
#[derive(Clone, Copy)]
pub(in crate::pool) struct Request {
    /// Index of the class.
    pub(in crate::pool) class: usize,
    /// Bytes asked for.
    pub(in crate::pool) bytes: usize,
    pub(in crate::pool) caller: &'static Location<'static>,
}
