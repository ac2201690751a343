//! The statistics of a proxy as lines of its log: one about the connections of each listener, one about memory.

use std::time::Duration;

use millpond::BufferPool;
use millpond::relay::Relay;
use tracing::info;

use crate::listeners::Listeners;

/// Logs statistics: a line about the connections of each listener, and one about memory.
pub(crate) fn log(listeners: &Listeners) {
    let serving = listeners.serving();
    for one in serving {
        log_connections((serving.len() > 1).then_some(&*one.name), &one.relay);
    }
    log_memory(listeners.pool());
}

fn log_connections(listener: Option<&str>, relay: &Relay) {
    let connections = relay.stats();
    info!(
        target: "millpond::statistics",
        listener,
        open = connections.active,
        accepted = connections.accepted,
        closed = connections.closed,
        failed = connections.failed(),
        connect_errors = connections.connect_errors,
        out_of_resources = connections.out_of_resources,
        reset = connections.reset,
        io_failed = connections.io_failed,
        idle_timeouts = connections.idle_timeouts,
        half_closed_timeouts = connections.half_closed_timeouts,
        stalled_timeouts = connections.stalled_timeouts,
        max_lifetimes = connections.max_lifetimes,
        aborted = connections.aborted,
        bytes_to_upstream = connections.bytes_to_upstream,
        bytes_to_client = connections.bytes_to_client,
        "connections"
    );
}

fn log_memory(pool: &BufferPool) {
    let memory = pool.stats();
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    info!(
        target: "millpond::statistics",
        live_bytes = memory.live_bytes,
        idle_bytes = memory.idle_bytes,
        high_water_bytes = memory.high_water_bytes,
        buffers_in_use = memory.in_use,
        acquires = memory.acquires,
        allocations = memory.allocations,
        waits = memory.waits,
        wait_ms = milliseconds(memory.wait_time),
        longest_wait_ms = milliseconds(memory.longest_wait),
        "memory"
    );
}
