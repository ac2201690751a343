//! The command line: what it accepts, and its help.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use millpond::net::{Endpoint, Listener};

use crate::admin::AdminArgs;
#[cfg(feature = "cli")]
use crate::codegen::CodegenArgs;
use crate::export::{self, ExportArgs};
#[cfg(feature = "cli")]
use crate::get::{EXAMPLES as GET_EXAMPLES, GetArgs};
use crate::log::LogArgs;
use crate::sizing::{EXAMPLES as SIZE_EXAMPLES, SizeArgs};
use crate::terminal::{note, note_by, written};
#[cfg(feature = "cli")]
use crate::top::{EXAMPLES as TOP_EXAMPLES, TopArgs};
use crate::values::{backlog, memory_limit, positive, positive_seconds, seconds, upstream};

/// A proxy that holds no buffer for an idle connection
#[derive(Debug, Parser)]
#[command(version)]
#[cfg_attr(
    feature = "cli",
    command(
        about = "A proxy that holds no buffer for an idle connection, a live view of it, code for message contracts, and requests to try an upstream"
    )
)]
#[cfg_attr(
    not(feature = "cli"),
    command(
        after_help = "This build has no `codegen`, `get` and `top`: install with `--features cli` for them, and for `proxy --otlp`."
    )
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const PROXY_EXAMPLES: &str = "\
Examples:
  millpond proxy --listen tcp://127.0.0.1:7000 --to tcp://127.0.0.1:6379
      Clients connect to port 7000 and reach a Redis server.
  millpond proxy --listen unix:///run/app.sock --to tcp://[::1]:5432 --stats-every 10
      A local socket in front of PostgreSQL, with statistics every 10 seconds.
  millpond proxy --listen tcp://0.0.0.0:443 --to unix:///run/app.sock --memory-limit 256MiB --idle-timeout 3600
      More memory, so that slow readers cost less CPU time, and connections that may be idle for an hour.
  millpond proxy --listen tcp://0.0.0.0:80 --to tcp://10.0.0.7:80 --log-format json --access-log /var/log/millpond.json
      Logs for programs: failed connections on stderr, all connections in the file.
  millpond proxy --listen tcp://0.0.0.0:80 --to tcp://10.0.0.7:80 --admin 127.0.0.1:9900
      With `curl http://127.0.0.1:9900/metrics`: all numbers, for Prometheus. Also /stats, /connections and /holders
      (JSON: who is connected, and which code holds buffers), /healthz and /readyz,
      and http://127.0.0.1:9900/ for a browser: live charts. `millpond top 127.0.0.1:9900` shows the same in a terminal.

Memory: an idle connection takes about 2 KiB. Buffers are allocated when bytes arrive, and unused ones return to the \
system within about 10 seconds.

Log: each connection that fails is a line on stderr, with the client, the bytes in each direction, the side that ended \
it, and the reason. At most 10 such lines are logged per second; the rest are counted. --access-log has all connections. A \
log that is full or not read loses lines and never stops the proxy. RUST_LOG sets what is logged: RUST_LOG=warn leaves \
the statistics out, RUST_LOG=millpond=debug adds connections that end well.

Admin endpoint: /healthz answers 200 as long as the process runs. /readyz answers 503 while it drains, and if the \
upstream cannot be reached: it connects for each request, and closes at once. All answers are listed in the docs of \
millpond::observe.

Signals: SIGINT, SIGTERM and SIGHUP stop it: it serves the clients in the accept queue, stops listening, and waits for \
the open connections. A second SIGINT or SIGTERM aborts them at once; SIGHUP never does, and is ignored under nohup.

Exit codes: 0 stopped by a signal, and all connections have ended by themselves; 1 it cannot start; 2 wrong usage; \
3 stopped by a signal, and connections were aborted.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Relays every connection to an upstream until Ctrl-C, then drains
    #[command(after_help = [PROXY_EXAMPLES, export::HELP].concat())]
    Proxy(ProxyArgs),
    /// Computes what a number of connections needs: memory, descriptors, ports and cores, and what this machine lacks
    #[command(after_help = SIZE_EXAMPLES)]
    Size(SizeArgs),
    /// Generates Rust from a contract file: a type per message, and a pool with fitting size classes
    #[cfg(feature = "cli")]
    Codegen(CodegenArgs),
    /// Requests URLs through the pool of connections, and shows protocols, timings and the pool's state
    #[cfg(feature = "cli")]
    #[command(after_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// Shows what a running proxy does, live: rates, memory, upstreams, and who holds memory
    #[cfg(feature = "cli")]
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ProxyArgs {
    /// Where to accept connections: HOST:PORT (port 0 picks a free one), tcp://HOST:PORT, unix:///PATH (missing folders are
    /// made), or on Linux unix://@NAME, an abstract socket (no file is created)
    #[arg(long, value_name = "ENDPOINT", value_parser = Endpoint::from_str)]
    pub(crate) listen: Endpoint,

    /// Where to connect to for each of them: HOST:PORT, tcp://HOST:PORT, unix:///PATH or unix://@NAME
    #[arg(long, value_name = "ENDPOINT", value_parser = upstream)]
    pub(crate) to: Endpoint,

    /// The most memory that the buffers of all connections take together, 64KiB at least. At the limit, bytes pass in
    /// pieces of 16 KiB at most, at more CPU time; no connection waits for memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = memory_limit, allow_negative_numbers = true)]
    pub(crate) memory_limit: ByteSize,

    /// The most connections at once; the next ones wait in the kernel's accept queue. Each takes two descriptors, and
    /// the default stays below the 20480 that many systems allow
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) max_connections: usize,

    /// The most clients in the kernel's accept queue, where they wait for the proxy to accept them. The kernel drops the
    /// SYN packets of further ones, which then try again after a second or more. It allows no more than
    /// `sysctl net.core.somaxconn`
    #[arg(long, value_name = "N", default_value_t = Listener::DEFAULT_BACKLOG, value_parser = backlog, allow_negative_numbers = true)]
    pub(crate) backlog: u32,

    /// Closes a connection after this long without a byte in either direction; 0 means never. The default outlasts
    /// the keep-alive of common clients, and is shorter than the timeout of most NAT tables
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) idle_timeout: Duration,

    /// How long connecting to the upstream may take. The default leaves time for three lost SYN packets, which are
    /// repeated after 1, 2 and 4 seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds, allow_negative_numbers = true)]
    pub(crate) connect_timeout: Duration,

    /// How long open connections may continue after SIGINT (Ctrl-C), SIGTERM or SIGHUP, before they are aborted. The
    /// default is below the 10 seconds after which container runtimes kill
    #[arg(long, value_name = "SECONDS", default_value = "8", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) drain_timeout: Duration,

    /// Logs statistics at this interval: a line about connections, and one about memory. The default, 0, logs them at
    /// the end only
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) stats_every: Duration,

    #[command(flatten)]
    pub(crate) admin: AdminArgs,

    #[command(flatten)]
    pub(crate) export: ExportArgs,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

impl Cli {
    /// The parsed command line. Help goes to stdout, an error to stderr.
    pub(crate) fn from_command_line() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // If stdout is closed, nobody wants the help.
                match written(error.print()) {
                    Ok(_) => ExitCode::SUCCESS,
                    Err(error) => {
                        note(format!("millpond: {error}"));
                        ExitCode::FAILURE
                    }
                }
            }
            _ => {
                note_by(move || drop(error.print()));
                ExitCode::from(2)
            }
        })
    }
}
