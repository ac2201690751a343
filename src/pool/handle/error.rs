//! Why there is no buffer.

use core::error::Error;
use core::fmt;

use crate::pool::hooks::Request;
use crate::pool::shared::Core;

/// Why an acquire failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireError {
    /// No class is this large.
    TooLarge {
        /// Bytes requested.
        requested: usize,
        /// Bytes of the largest class.
        largest: usize,
    },
    /// The [share](crate::BufferPoolConfigBuilder::memory_limit) of the memory limit for requests of this size is used up, or
    /// tasks wait for memory that this request may not pass.
    Exhausted {
        /// Bytes requested.
        requested: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The deadline passed before the memory limit allowed a buffer.
    TimedOut {
        /// Bytes requested.
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
                "{requested} bytes do not fit their share of the memory limit of {limit} with what is in use; \
                 wait with `acquire_async`, or raise the limit"
            ),
            Self::TimedOut { requested, limit } => write!(
                f,
                "{requested} bytes did not fit their share of the memory limit of {limit} before the deadline; \
                 with `sample_one_in`, `BufferPool::holders` reports who holds buffers"
            ),
        }
    }
}

impl Error for AcquireError {}

/// The error of a request that the pool did not serve at once.
pub(super) fn refusal(core: &Core, request: Request) -> AcquireError {
    if request.class == core.heap() {
        AcquireError::TooLarge { requested: request.bytes, largest: core.sizes.largest() }
    } else {
        AcquireError::Exhausted { requested: request.bytes, limit: core.memory.limit() }
    }
}
