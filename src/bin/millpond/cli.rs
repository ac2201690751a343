use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use millpond::net::Endpoint;
use millpond::schema::Layout;

/// The pools of a high-throughput proxy, at work.
///
/// Without a command it runs the demo: TLV frames from a load generator through the proxy to an echo server
/// and back, over loopback sockets in this process, and then a table of what that took.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) demo: DemoArgs,
}

const DEMO_EXAMPLES: &str = "\
Examples:
  millpond demo --duration 2 --json
  millpond demo --over unix --subscribers 8";

const PROXY_EXAMPLES: &str = "\
Examples:
  millpond proxy --listen tcp://127.0.0.1:7000 --to tcp://127.0.0.1:6379
  millpond proxy --listen unix:///run/app.sock --to tcp://[::1]:5432 --stats-every 10

RUST_LOG=millpond=debug tells why a connection failed.";

const CODEGEN_EXAMPLES: &str = "\
Examples:
  millpond codegen contracts.yaml --explain
  millpond codegen contracts.yaml -o src/generated.rs
  millpond codegen contracts.yaml -o src/generated.rs --check        # in CI
  millpond codegen contracts.yaml --plot classes.svg
  millpond codegen contracts.yaml --explain --traffic Ping=1000,Page=20 --memory-limit 8MiB

The head of the code names the command, so run it from the same folder each time. The crate that takes the \
code in needs `millpond` with the feature `messages`.

Exit codes: 0 all is well; 1 the contracts are wrong, a file cannot be read or written, or is stale; 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the demo, as the command alone does
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Relays every connection to an upstream, until Ctrl-C; then drains
    #[command(after_help = PROXY_EXAMPLES)]
    Proxy(ProxyArgs),
    /// Writes Rust for a contract file: a type per message, and the pool that fits them
    #[command(after_help = CODEGEN_EXAMPLES)]
    Codegen(CodegenArgs),
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// How long the load runs; the first fifth warms up and is not measured
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = positive_seconds)]
    pub(crate) duration: Duration,

    /// Connections of the load generator
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) connections: u16,

    /// What the messages go through
    #[arg(long, value_enum, default_value_t = Over::Proxy)]
    pub(crate) over: Over,

    /// Subscribers that each get every message; of `--over tcp` and `--over unix`
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

#[derive(Args, Debug)]
pub(crate) struct ProxyArgs {
    /// Where to accept: tcp://HOST:PORT (port 0 takes a free one) or unix:///PATH
    #[arg(long, value_name = "ENDPOINT", value_parser = Endpoint::from_str)]
    pub(crate) listen: Endpoint,

    /// Where to connect to: tcp://HOST:PORT or unix:///PATH
    #[arg(long, value_name = "ENDPOINT", value_parser = Endpoint::from_str)]
    pub(crate) to: Endpoint,

    /// All memory of the buffers, at most; connections that need more wait, first come, first served
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub(crate) memory_limit: ByteSize,

    /// Connections relayed at once, at most; the system's accept queue holds the next
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive)]
    pub(crate) max_connections: usize,

    /// Closes a connection without a byte either way for so long; 0: never
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) idle_timeout: Duration,

    /// Gives up connecting to the upstream after so long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds)]
    pub(crate) connect_timeout: Duration,

    /// How long Ctrl-C waits for open connections before it cuts them; a second Ctrl-C cuts at once
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,

    /// Prints a line of statistics to stderr so often; 0: only at the end
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) stats_every: Duration,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("files").args(["output", "plot"]).multiple(true)))]
pub(crate) struct CodegenArgs {
    /// The messages: YAML, at most 1 MiB; `-`: stdin
    #[arg(value_name = "CONTRACTS")]
    pub(crate) contracts: PathBuf,

    /// Where the code goes; `-`: stdout, as without --output, --explain and --plot. A file that would not change is
    /// not touched
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Writes nothing, and fails if a file is missing or would change
    #[arg(long, requires = "files")]
    pub(crate) check: bool,

    /// Where payloads have padding
    #[arg(long, value_enum, default_value_t = LayoutArg::ReprC)]
    pub(crate) layout: LayoutArg,

    /// The dialect of the contracts; a file in another one is an error
    #[arg(long, value_enum, default_value_t = DialectArg::Auto)]
    pub(crate) dialect: DialectArg,

    /// Plans the pool for this traffic, instead of 64 KiB per class: how often each message is sent in some period.
    /// Messages that are not named count as 1
    #[arg(long, value_name = "NAME=COUNT,...", value_delimiter = ',', value_parser = count, requires = "memory_limit")]
    pub(crate) traffic: Vec<(String, u64)>,

    /// The memory limit of the planned pool; with 4 GiB or more the code is for 64-bit machines only
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "traffic")]
    pub(crate) memory_limit: Option<ByteSize>,

    /// Derives serde's traits if the crate that contains the code has a feature `serde`, and that is on
    #[arg(long)]
    pub(crate) serde: bool,

    /// Prints sizes, classes, and the unused part of each class
    #[arg(long)]
    pub(crate) explain: bool,

    /// Plots the same as SVG; `-`: to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) color: colorchoice_clap::Color,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LayoutArg {
    /// No padding
    Packed,
    /// As in a Rust struct with #[repr(C)]
    ReprC,
}

impl From<LayoutArg> for Layout {
    fn from(layout: LayoutArg) -> Self {
        match layout {
            LayoutArg::Packed => Self::Packed,
            LayoutArg::ReprC => Self::ReprC,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DialectArg {
    /// Either
    Auto,
    /// `messages:` is a map, by name
    Map,
    /// `messages:` is a list
    List,
}

impl Cli {
    /// The parsed command line; help goes to stdout, an error, in one line, to stderr.
    pub(crate) fn from_command_line() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // A closed stdout is the reader's choice.
                let _ = error.print();
                ExitCode::SUCCESS
            }
            _ => {
                let text = error.render().to_string();
                let what = text.split("\n\n").next().unwrap_or_default();
                let line: Vec<&str> = what.split_whitespace().collect();
                let line = line.join(" ");
                eprintln!("millpond: {} (see millpond --help)", line.trim_start_matches("error: "));
                ExitCode::from(2)
            }
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // Further away than a timer counts is never, which 0 says where it is meant.
    seconds
        .filter(|seconds| *seconds <= Duration::from_secs(366 * 86_400))
        .ok_or_else(|| "write seconds, as in 5 or 0.5".to_owned())
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    seconds(text)
        .and_then(|time| if time.is_zero() { Err("write more than 0 seconds".to_owned()) } else { Ok(time) })
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "write a size, as in 64MiB or 65536".to_owned())
}

fn count(text: &str) -> Result<(String, u64), String> {
    let (name, count) =
        text.split_once('=').ok_or("write the name of a message and a number, as in Ping=1000")?;
    let count = count.parse().map_err(|_| format!("{name}: write a number, not {count}"))?;
    Ok((name.to_owned(), count))
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "write a number from 1 on".to_owned())
}
