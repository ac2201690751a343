//! What the contestants do, for the clock and for the counter of instructions alike.
//!
//! | file | idea |
//! |---|---|
//! | `acquire` | acquire and drop, once for each contestant |
//! | `heap` | the global allocator, and its name |
//! | `route` | the ways of written bytes into a `Bytes` |

pub(crate) mod acquire;
pub(crate) mod heap;
pub(crate) mod route;

use millpond::{BufferPool, BufferPoolConfig, BufferPoolConfigBuilder};

pub(crate) const KIB: usize = 1024;

/// The pool of all rows: a proxy's small, middle and large buffers, with room for what a channel holds.
pub(crate) fn pool() -> BufferPool {
    BufferPool::new(classes().build().expect("a valid table"))
}

/// Its classes, without options.
pub(crate) fn classes() -> BufferPoolConfigBuilder {
    BufferPoolConfig::builder().class(KIB, 1024).class(16 * KIB, 1024).class(64 * KIB, 256)
}
