//! Policies: how large a pool is, which region serves, whether a request is sent, sent again, or refused.
//!
//! ```text
//!  now, what was observed ─▶ policy ─▶ what to do          the caller has the timers, tasks, sockets and random numbers
//! ```
//!
//! Each policy is a struct of settings and a small state. Its methods take the time and what was observed, and return a
//! decision. They read no clock, do no I/O and start no task, so a test plays an hour in a millisecond:
//! `tests/policies.rs` compares them with simpler rules, and `benches/results/policies.md` has the figures and charts.
//!
//! | type | decides |
//! |---|---|
//! | [`AdaptiveSize`] | how many connections a pool may have |
//! | [`Breaker`] | whether a server is asked at all |
//! | [`RetryPolicy`], [`RetryBudget`] | whether and when a request is sent again |
//! | [`retry_after`] | what a `Retry-After` header asks for |
//! | [`Backoff`] | the delays between attempts |
//! | [`Regions`] | which of several regions serves |
//! | [`Servers`] | which of several servers gets a connection |
//! | [`AdaptiveLimit`] | how many requests a server takes at once |
//! | [`QueuePolicy`] | which request is refused when a queue is full |
//! | [`Deadline`] | how much time is left |
//! | [`Outcome`] | nothing: how a request ended, which most of them take |
//!
//! A random number is an argument, too. Any source of evenly distributed `u64` will do.
//!
//! Absent on purpose: rates per second, for which there is [governor](https://docs.rs/governor), and which methods are
//! idempotent, which [`http`](https://docs.rs/http) knows.

// | file without a type of the table | idea |
// |---|---|
// | `window` | counts of the last seconds |
// | `ejection` | when a region or a server is ejected, and how it comes back |
// | `settings` | the setters of configuration structs |
// | `metrics` | what their stats are called for exporters |

mod backoff;
mod breaker;
mod deadline;
mod ejection;
mod limit;
mod metrics;
mod outcome;
mod queue;
mod regions;
mod retry;
mod retry_header;
mod servers;
mod settings;
mod size;
mod window;

pub use self::backoff::Backoff;
pub use self::breaker::{
    Breaker, BreakerChange, BreakerPolicy, BreakerReason, BreakerState, BreakerStats, Permit, Refused,
};
pub use self::deadline::Deadline;
pub use self::limit::{AdaptiveLimit, LimitPolicy};
pub use self::outcome::Outcome;
pub use self::queue::{Arrival, QueuePolicy, Shed};
pub use self::regions::{Ejection, Pick, PickReason, RegionPolicy, RegionState, Regions};
pub use self::retry::{BudgetPolicy, Failed, GiveUp, RetryBudget, RetryDecision, RetryPolicy, RetryStats};
pub use self::retry_header::{MAX_RETRY_AFTER, retry_after};
pub use self::servers::{
    Balance, ParseBalanceError, ServerChange, ServerPick, ServerPolicy, ServerStanding, Servers, stable_hash,
};
pub(crate) use self::settings::setters;
pub use self::size::{AdaptiveSize, SizeDecision, SizeObservation, SizePolicy};
