//! The command line: what it accepts, and its help.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

#[cfg(feature = "cli")]
use crate::codegen::CodegenArgs;
use crate::export;
#[cfg(feature = "cli")]
use crate::get::{EXAMPLES as GET_EXAMPLES, GetArgs};
use crate::options::{ListenerArgs, ProcessArgs};
use crate::settings::{FileArgs, Origin};
use crate::sizing::{EXAMPLES as SIZE_EXAMPLES, SizeArgs};
use crate::terminal::{note, note_by, written};
#[cfg(feature = "cli")]
use crate::top::{EXAMPLES as TOP_EXAMPLES, TopArgs};

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

Signals: with --config, SIGHUP reads the file again. Listeners are known by their names, and sockets by their addresses: \
what stays keeps its socket and its connections, and new connections see the new settings; what goes drains. A wrong file, or \
an address that is taken, changes nothing, and the log says what is wrong. --threads, --memory-limit, --admin, --otlp, the \
log, and the backlog of an open socket stay until a restart.

SIGUSR2 starts the program anew, with the same arguments, and hands the sockets over. Once the new process listens, this one \
drains and ends; if it fails to, nothing changes. A service manager learns of it (systemd: Type=notify or notify-reload, with \
NotifyAccess=all), and may hand over sockets itself: their names (FileDescriptorName=) are those of the listeners.

SIGINT, SIGTERM, and SIGHUP without --config, stop it: it serves the clients in the accept queue, stops listening, and waits for \
the open connections. A second SIGINT or SIGTERM aborts them at once; SIGHUP never does, and is ignored under nohup.

Exit codes: 0 stopped by a signal, and all connections have ended by themselves; 1 it cannot start; 2 wrong usage; \
3 stopped by a signal, and connections were aborted.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Relays every connection to an upstream until Ctrl-C, then drains
    #[command(after_help = [PROXY_EXAMPLES, export::HELP].concat())]
    Proxy(Box<ProxyArgs>),
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
    #[command(flatten)]
    pub(crate) file: FileArgs,

    #[command(flatten)]
    _process: ProcessArgs,

    #[command(flatten)]
    _listener: ListenerArgs,
}

impl Cli {
    /// The parsed command line. Help goes to stdout, an error to stderr.
    pub(crate) fn from_command_line() -> Result<(Self, Origin), ExitCode> {
        let parsed = Self::command().try_get_matches().and_then(|mut matches| {
            let cli = Self::from_arg_matches(&matches)?;
            let of_command = matches.remove_subcommand().map(|(_, matches)| matches);
            Ok((cli, Origin::new(of_command.unwrap_or_default())))
        });
        parsed.map_err(|error| match error.kind() {
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
