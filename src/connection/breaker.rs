//! What the log says of breakers: those of pools, and those of servers.

use tracing::field::debug;
use tracing::{info, warn};

use crate::policy::{BreakerChange, BreakerState};

/// Logs a change of a breaker with this name. That of a pool has none. It warns once per outage, and not after each probe.
pub(super) fn log_change(breaker: Option<&str>, change: Option<BreakerChange>) {
    let Some(BreakerChange { from, to, reason, retry_in, .. }) = change else { return };
    let (whose, refused) = match breaker {
        Some(_) => ("the breaker", "requests are sent"),
        None => ("the breaker of a pool", "connects begin"),
    };
    let (retry_in, reason, is_first) = (retry_in.map(debug), reason.as_str(), from == BreakerState::Closed);
    let (from, to) = (from.as_str(), to.as_str());
    if is_first {
        warn!(breaker, from, to, reason, retry_in, "{whose} is open: no {refused}");
    } else {
        info!(breaker, from, to, reason, retry_in, "{whose} has changed its state");
    }
}
