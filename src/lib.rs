#![doc = include_str!("../README.md")]
//!
//! ## Layers
//!
//! A folder is a layer; imports go down only, through the layer's `mod.rs`. `tests/layering.rs` keeps it so.
//!
//! ```text
//!  relay   bytes between any two streams            (feature `relay`)
//!  bus     publish and subscribe                    (feature `bus`)
//!   │
//!  net     sockets, and frames over any stream      (feature `net`)
//!   │
//!   │ ──── schema  contract files, layouts, plans   (feature `schema`)
//!   │
//!  frame   messages in a stream of bytes, free of I/O
//!   │
//!  pool    classes, caches, handles, stats
//!   │ ──── size    class arithmetic
//!   │
//!  sync    the only door to atomics and locks
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![warn(
    // What input can reach must not panic: errors are typed, bytes are looked at through patterns.
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

extern crate alloc;

#[cfg(not(any(feature = "std", feature = "spin")))]
compile_error!("millpond needs a lock: enable the feature `std`, or `spin` where there is no std");

#[cfg(feature = "bus")]
pub mod bus;
pub mod frame;
#[cfg(feature = "net")]
pub mod net;
#[cfg_attr(not(feature = "std"), expect(dead_code, reason = "what only thread caches and clocks use"))]
mod pool;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "schema")]
pub mod schema;

mod size;
mod sync;

#[cfg(millpond_loom)]
#[doc(hidden)]
pub use pool::model;
pub use pool::{
    Acquire, AcquireError, BufferPool, BufferPoolConfig, BufferPoolConfigBuilder, BufferPoolStats,
    ClassConfig, ClassStats, ConfigError, Holder, HolderReport, PooledBuffer, PooledBytes, RequestedSize,
    Suggestion,
};
