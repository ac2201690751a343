//! The pools of a high-throughput proxy (skeleton).
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod frame;
pub mod pool;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "transport")]
pub mod transport;

mod size;
mod sync;

#[cfg(millpond_loom)]
#[doc(hidden)]
pub use pool::model;
pub use pool::{
    AcquireError, BufferPool, BufferPoolConfig, BufferPoolStats, ConfigError, PooledBuffer, PooledBytes,
};
