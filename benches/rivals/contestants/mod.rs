//! What the contestants do, for the clock and for the counter of instructions alike.
//!
//! | file | idea |
//! |---|---|
//! | `acquire` | acquire and drop, once for each contestant |
//! | `route` | the ways of written bytes into a `Bytes` |

pub(crate) mod acquire;
pub(crate) mod route;

use millpond::{BufferPool, BufferPoolConfig};

pub(crate) const KIB: usize = 1024;

/// The pool of all rows: a proxy's small, middle and large buffers, with room for what a channel holds.
pub(crate) fn pool() -> BufferPool {
    let config =
        BufferPoolConfig::builder().class(KIB, 1024).class(16 * KIB, 1024).class(64 * KIB, 256).build();
    BufferPool::new(config.expect("a valid table"))
}
