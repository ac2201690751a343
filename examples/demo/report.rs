//! What a run of the demo took: a table, or JSON.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use hdrhistogram::Histogram;
use serde_json::json;

/// What a run of the demo took.
pub(crate) struct Report {
    pub(crate) route: &'static str,
    pub(crate) messages: u64,
    pub(crate) messages_lost: u64,
    pub(crate) messages_altered: u64,
    pub(crate) megabytes_per_second: f64,
    /// In nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) hit_rate_percent: f64,
    pub(crate) allocations_per_message: f64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) connections: u16,
    pub(crate) duration: Duration,
}

impl Report {
    /// Whether there were messages, and each arrived as it was sent.
    pub(crate) fn is_clean(&self) -> bool {
        self.messages > 0 && self.messages_lost == 0 && self.messages_altered == 0
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        json!({
            "messages": self.messages,
            "messages_lost": self.messages_lost,
            "messages_altered": self.messages_altered,
            "megabytes_per_second": self.megabytes_per_second,
            "latency_us": {
                "p50": self.latency_us(0.5),
                "p99": self.latency_us(0.99),
                "p999": self.latency_us(0.999),
            },
            "hit_rate_percent": self.hit_rate_percent,
            "allocations_per_message": self.allocations_per_message,
            "peak_rss_bytes": self.peak_rss_bytes,
        })
    }

    fn latency_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String, note: &str| writeln!(f, "{name:<22}{value:>14}   {note}");
        row("messages", self.messages.to_string(), &format!("64 B to 16 KiB, {}", self.route))?;
        row("  lost", self.messages_lost.to_string(), "sent and not received")?;
        row("  altered", self.messages_altered.to_string(), "not the bytes that were sent")?;
        row("throughput", format!("{:.1} MB/s", self.megabytes_per_second), "payload, one way")?;
        row(
            "latency p50",
            format!("{:.0} us", self.latency_us(0.5)),
            "16 messages in flight per connection",
        )?;
        row("        p99", format!("{:.0} us", self.latency_us(0.99)), "")?;
        row("        p99.9", format!("{:.0} us", self.latency_us(0.999)), "")?;
        row("hit rate", format!("{:.3} %", self.hit_rate_percent), "buffers served without an allocation")?;
        row(
            "heap allocations",
            format!("{:.4}", self.allocations_per_message),
            "per message, of the whole process, after the warm-up",
        )?;
        row("peak memory", ByteSize(self.peak_rss_bytes).to_string(), "resident, of the whole process")?;
        let seconds = self.duration.as_secs_f64();
        writeln!(f, "{} connections, {seconds} s", self.connections)
    }
}
