#![doc = include_str!("../README.md")]
//!
//! ## Layers
//!
//! Each folder of `src` is a layer. Imports go down only, through the `mod.rs` of the layer; `tests/layering.rs` checks
//! it.
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
//!  pool    classes, caches, handles, stats: the types at the root of this crate
//!   │ ──── size    class arithmetic
//!   │
//!  sync    the only module that names atomics and locks
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![warn(
    // Input must not cause a panic: errors are typed, and bytes are read with patterns.
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
#[cfg_attr(not(feature = "std"), expect(dead_code, reason = "parts that only thread caches and clocks use"))]
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
