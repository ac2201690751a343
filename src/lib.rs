#![doc = "[fairness text]: crate::fairness"]
// The README links to files of the repository. These definitions come first, and so lead readers of the docs to the pages
// instead. Files without a page are named in the section to which the link leads.
#![cfg_attr(feature = "net", doc = "[cookbook text]: crate::cookbook")]
#![cfg_attr(feature = "connection", doc = "[migration text]: crate::connection::migration")]
#![cfg_attr(feature = "observe", doc = "[metrics text]: crate::observe::all_metrics")]
#![cfg_attr(feature = "relay", doc = "[relay example]: crate::relay")]
#![cfg_attr(feature = "schema", doc = "[guide text]: crate::schema::guide")]
#![cfg_attr(
    all(feature = "resilience", feature = "admin"),
    doc = "[resilient proxy text]: crate::cookbook#a-resilient-proxy"
)]
#![cfg_attr(feature = "net", doc = "[spans text]: crate::spans")]
#![doc = "[loom models]: https://docs.rs/loom"]
#![doc = "[BENCHMARKS.md]: #benchmarks"]
#![doc = "[evidence text]: #resilience"]
#![doc = ""]
#![doc = include_str!("../README.md")]
#![cfg_attr(feature = "net", doc = "\n## Cookbook\n\nThe page [`cookbook`] has thirteen small programs.\n")]
//!
//! ## Layers
//!
//! Each folder of `src` is a layer. Imports go down only, through the `mod.rs` of the layer; `tests/layering.rs` checks
//! it.
//!
//! ```text
//!  observe     Prometheus, OpenMetrics and JSON     (feature `observe`)
//!              exporters of the crate `metrics`     (feature `metrics`)
//!              the admin endpoint                   (feature `admin`)
//!              traces and metrics by OTLP           (feature `otlp`)
//!   │
//!  relay       bytes between any two streams        (feature `relay`)
//!  bus         publish and subscribe                (feature `bus`)
//!  resilience  policies in front of servers         (feature `resilience`)
//!  connection  pools of upstream connections        (feature `connection`)
//!              HTTP/1.1 and HTTP/2 connections      (feature `https`)
//!              WebSocket, in pools or kept up       (feature `websocket`)
//!   │
//!  net     sockets, and frames over any stream      (feature `net`)
//!          TLS for clients                          (feature `tls`)
//!   │
//!   │ ──── policy  sizes, breakers, retries, regions (feature `policy`)
//!   │ ──── schema  contract files, layouts, plans   (feature `schema`)
//!   │
//!  frame   messages in a stream of bytes, free of I/O
//!   │
//!  pool    classes, caches, handles, stats: the types at the root of this crate
//!   │ ──── size    class arithmetic
//!   │
//!  metric  what a metric is: each layer with stats has a table of its own
//!   │
//!  sync    the only module that names atomics and locks
//! ```
//!
//! Each layer reports by plain snapshots, its stats, and has a table that says which metrics they are. Exporters read those
//! in the layer above all others, which none of them imports.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
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

#[cfg(all(feature = "net", not(unix)))]
compile_error!(
    "millpond's features `net`, `dns`, `tls`, `bus`, `relay`, `connection`, `https`, `resilience`, `websocket`, `admin`, `otlp`, `proxy` and `cli` need Unix sockets, which this target lacks"
);

#[cfg(feature = "bus")]
pub mod bus;
#[cfg(any(feature = "connection", millpond_loom, millpond_shuttle, millpond_tsan))]
pub mod connection;
#[cfg(feature = "net")]
#[cfg_attr(feature = "https", doc = "[A reverse proxy]: #a-reverse-proxy\n")]
#[cfg_attr(all(feature = "resilience", feature = "admin"), doc = "[A resilient proxy]: #a-resilient-proxy\n")]
#[cfg_attr(feature = "otlp", doc = "[A trace through a proxy]: #a-trace-through-a-proxy\n")]
#[doc = include_str!("cookbook.md")]
#[cfg_attr(feature = "https", doc = include_str!("connection/https/reverse_proxy.md"))]
#[cfg_attr(all(feature = "resilience", feature = "admin"), doc = include_str!("resilience/resilient_proxy.md"))]
#[cfg_attr(feature = "otlp", doc = include_str!("observe/traced_proxy.md"))]
pub mod cookbook {}
pub mod frame;
pub mod metric;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "observe")]
pub mod observe;
#[cfg(feature = "policy")]
pub mod policy;
#[cfg_attr(not(feature = "std"), expect(dead_code, reason = "parts that only thread caches and clocks use"))]
mod pool;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "resilience")]
pub mod resilience;
#[cfg(feature = "schema")]
pub mod schema;

#[cfg(feature = "net")]
#[doc = include_str!("spans.md")]
pub mod spans {}

#[cfg(feature = "relay")]
#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("pool/fairness.md")]
pub mod fairness {}

#[doc = include_str!("pool/parity.md")]
pub mod parity {}

mod size;
mod sync;

/// What generated code uses. It changes with the generator in any version, so nothing else may use it.
#[cfg(feature = "messages")]
#[doc(hidden)]
pub mod __codegen {
    // Not under the prelude's names, which the lint `unused_qualifications` wants without a path.
    pub use alloc::string::String as HeapString;
    pub use alloc::vec::Vec as HeapVec;

    pub use bytes::BufMut;

    pub use crate::frame::fields::constraints::*;
    pub use crate::frame::fields::owned::{list, text};
    pub use crate::frame::fields::put::{put, put_array, put_list, put_text};
    pub use crate::frame::fields::take::{Fields, Result};
    pub use crate::frame::fields::wire::{InPlace, Wire, is_zero, saturating_u128};
    pub use crate::frame::fields::{ArrayString, ArrayVec, List};
    pub use crate::frame::{Message, MessageError};
    pub use crate::pool::BufferPoolConfig;
}

#[cfg(millpond_loom)]
#[doc(hidden)]
pub use pool::model;
pub use pool::{
    Acquire, AcquireError, BufferPool, BufferPoolConfig, BufferPoolConfigBuilder, BufferPoolStats,
    BytesQueue, ClassConfig, ClassStats, ConfigError, Holder, HolderReport, PooledBuffer, PooledBytes,
    RequestedSize, Suggestion,
};
