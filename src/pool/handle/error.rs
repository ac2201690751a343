//! Why there is no buffer.

use core::error::Error;
use core::fmt;

use crate::pool::hooks::Request;
use crate::pool::shared::Core;

/// Why there is no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireError {
    /// No class is that large.
    TooLarge {
        /// Bytes asked for.
        requested: usize,
        /// Bytes of the largest class.
        largest: usize,
    },
    /// The memory limit is reached, or others wait for memory.
    Exhausted {
        /// Bytes asked for.
        requested: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The deadline came before memory did.
    TimedOut {
        /// Bytes asked for.
        requested: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLarge { requested, largest } => write!(
                f,
                "{requested} bytes exceed the largest class of {largest}; add a class or use `acquire`"
            ),
            Self::Exhausted { requested, limit } => write!(
                f,
                "{requested} bytes do not fit the limit of {limit} beside what is in use; \
                 wait with `acquire_async`, or raise the limit"
            ),
            Self::TimedOut { requested, limit } => write!(
                f,
                "{requested} bytes did not fit the limit of {limit} before the deadline; \
                 `BufferPool::holders` tells who holds buffers"
            ),
        }
    }
}

impl Error for AcquireError {}

/// Why the pool did not serve this request at once.
pub(super) fn refusal(core: &Core, request: Request) -> AcquireError {
    if request.class == core.heap() {
        AcquireError::TooLarge { requested: request.bytes, largest: core.sizes.largest() }
    } else {
        AcquireError::Exhausted { requested: request.bytes, limit: core.memory.limit() }
    }
}
