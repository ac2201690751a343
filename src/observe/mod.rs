//! What all pools, relays, hubs and layers of a program report, as text for Prometheus, OpenMetrics or JSON.
//!
//! ```text
//!  BufferPool, Relay, Hub, Pool, Upstreams, ── add ─▶ Registry ── Format::encode ─▶ text
//!  layers of resilience, Otlp                            │
//!                    ▲                                   │
//!                    └───── a snapshot at each scrape ───┘
//! ```
//!
//! With the feature `admin`, [`admin`] serves these texts over HTTP, with health and readiness. With the feature `metrics`,
//! [`Publisher`] gives the same to any exporter of the crate `metrics`. With `otlp`, [`otlp`] sends them, and traces, to a
//! collector of OpenTelemetry.
//!
//! Nothing is counted here, and nothing runs between two scrapes. A [`Registry`] knows a pool as long as the program has it: a
//! dropped one is absent from the next scrape. Each sample has the label `name`, the name that the program gave.
//!
//! Peers and lines of code are no labels of metrics. [`Registry::report`] names them: open connections, and who holds buffers.
//!
//! The page [`all_metrics`] lists the metrics of this crate. Those of your own, by [`Metrics`](crate::metric::Metrics), may
//! stand beside them.
//!
//! # Examples
//!
//! ```
//! use millpond::observe::{Format, Registry};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let pool = BufferPool::new(BufferPoolConfig::proxy());
//! let registry = Registry::new();
//! registry.add("clients", &pool);
//!
//! let buffer = pool.acquire(8192);
//! let text = Format::Prometheus.encode(&registry);
//! assert!(text.contains(r#"millpond_buffer_pool_buffers{name="clients",class="8192",state="lent"} 1"#));
//!
//! drop((buffer, pool));
//! assert_eq!(Format::Prometheus.encode(&registry), "");
//! ```
//!
//! Absent on purpose: metrics of the process, which the collector's host knows better;
//! exemplars, because what a pool measures belongs to no trace that it knows. A program can log the trace of its span instead:
//! [`otlp::trace_id`].

#[cfg(feature = "admin")]
pub mod admin;
mod format;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(feature = "metrics")]
mod publisher;
mod registry;

pub use self::format::Format;
#[cfg(feature = "metrics")]
pub use self::publisher::Publisher;
pub use self::registry::Registry;

#[doc = include_str!("all_metrics.md")]
pub mod all_metrics {}

use crate::metric::Metric;

/// All metrics of this crate, as far as its features are on, in the order of the layers.
pub fn tables() -> impl Iterator<Item = &'static Metric> {
    TABLES.iter().copied().flatten()
}

const TABLES: &[&[Metric]] = &[
    crate::pool::BufferPoolStats::METRICS,
    #[cfg(feature = "policy")]
    crate::policy::BreakerStats::METRICS,
    #[cfg(feature = "policy")]
    crate::policy::RegionState::METRICS,
    #[cfg(feature = "policy")]
    crate::policy::RetryStats::METRICS,
    #[cfg(feature = "relay")]
    crate::relay::RelayStats::METRICS,
    #[cfg(feature = "relay")]
    crate::relay::ServerState::METRICS,
    #[cfg(feature = "bus")]
    crate::bus::TransportStats::METRICS,
    #[cfg(feature = "connection")]
    crate::connection::State::METRICS,
    #[cfg(feature = "connection")]
    crate::connection::Statistics::METRICS,
    #[cfg(feature = "https")]
    crate::connection::https::UpstreamsState::METRICS,
    #[cfg(feature = "https")]
    crate::connection::https::Http2State::METRICS,
    #[cfg(feature = "https")]
    crate::connection::https::RequestStats::METRICS,
    #[cfg(feature = "https")]
    crate::connection::https::ConnectStats::METRICS,
    #[cfg(feature = "https")]
    crate::connection::https::RequestErrors::METRICS,
    #[cfg(feature = "resilience")]
    crate::resilience::LimitState::METRICS,
    #[cfg(feature = "resilience")]
    crate::resilience::RateLimitStats::METRICS,
    #[cfg(feature = "resilience")]
    crate::resilience::ByteLimitState::METRICS,
    #[cfg(feature = "resilience")]
    crate::resilience::DeadlineStats::METRICS,
    #[cfg(feature = "resilience")]
    crate::resilience::FallbackStats::METRICS,
    #[cfg(feature = "otlp")]
    otlp::OtlpStats::METRICS,
];
