//! The arguments of the demo.

use std::time::Duration;

use clap::{Parser, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  cargo demo
  cargo demo --duration 2 --json
  cargo demo --over unix --subscribers 8";

/// Sends messages through millpond, checks every byte that arrives, and prints what it took.
///
/// By default TLV frames go from a load generator through the proxy to an echo server and back. All of it runs in this
/// process, over loopback sockets.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// How long the load runs; the first fifth warms up and is not measured
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) duration: Duration,

    /// Connections of the load generator, or publishers
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) connections: u16,

    /// What the messages go through
    #[arg(long, value_enum, default_value_t = Over::Proxy)]
    pub(crate) over: Over,

    /// Subscribers that each get every message, with `--over tcp` and `--over unix`
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) subscribers: u16,

    /// Prints one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Over {
    /// The proxy, to an echo server and back, over TCP
    Proxy,
    /// Publish and subscribe over TCP
    Tcp,
    /// Publish and subscribe over a Unix socket
    Unix,
}

/// More than 0, and at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|seconds| !seconds.is_zero() && *seconds <= Duration::from_secs(86_400))
        .ok_or_else(|| "write seconds above 0, as in 5 or 0.5".to_owned())
}
