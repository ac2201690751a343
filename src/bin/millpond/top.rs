//! `millpond top`: what the live page shows, in a terminal or as text.

mod client;
mod live;
mod look;
mod plain;
mod screen;
mod table;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millpond::net::{Endpoint, ParseEndpointError};
use tokio::runtime::Builder;

use self::client::Client;
use crate::terminal::output;
use crate::values::seconds;

pub(crate) const EXAMPLES: &str = "\
Examples:
  millpond proxy --listen tcp://127.0.0.1:7000 --to tcp://127.0.0.1:6379 --admin 127.0.0.1:9900
  millpond top 127.0.0.1:9900
      The first in one terminal, the second in another: rates, memory, upstreams, and who holds memory, every second.
  millpond top 127.0.0.1:9900 --once --sort idle --top 5
      Once, as text: the five connections for which nothing has moved for longest.
  millpond top unix:///run/millpond/admin.sock --every 5

Keys: q, Esc or Ctrl-C ends it; s orders the connections by another number; h changes between the connections, who holds \
buffers, and the size classes; p pauses; the arrows scroll.

It reads /stats, /connections and /holders of any admin endpoint of this library (millpond::observe::admin), not only the \
proxy's, and every 10 seconds /readyz, for which the proxy connects to its upstream. What it shows costs the program nothing \
while nobody looks.

Exit codes: 0 it was ended, or has printed its text; 1 nobody answers at ADDR, or not as an admin endpoint; 2 wrong usage.";

#[derive(Args, Clone, Debug)]
pub(crate) struct TopArgs {
    /// The admin endpoint: HOST:PORT, tcp://HOST:PORT, http://HOST:PORT, unix:///PATH or unix://@NAME
    #[arg(value_name = "ADDR", value_parser = admin_endpoint)]
    endpoint: Endpoint,

    /// The time between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval, allow_negative_numbers = true)]
    every: Duration,

    /// What the connections are ordered by, the most first
    #[arg(long, value_name = "NUMBER", default_value = "held")]
    sort: Sort,

    /// How many connections, and lines of code that hold buffers, to ask for: the first ones, up to 1000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000), allow_negative_numbers = true)]
    top: u32,

    /// Prints one look as text, and ends. So it does if the output is no terminal
    #[arg(long)]
    once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Bytes of buffers that a connection holds now
    Held,
    /// Bytes written so far, both ways
    Traffic,
    /// The time since anything moved
    Idle,
    /// The time since it was accepted
    Age,
}

impl Sort {
    fn by(self) -> &'static str {
        match self {
            Self::Held => "held_bytes",
            Self::Traffic => "traffic_bytes",
            Self::Idle => "idle_seconds",
            Self::Age => "age_seconds",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Held => "held memory",
            Self::Traffic => "traffic",
            Self::Idle => "idle time",
            Self::Age => "age",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Held => Self::Traffic,
            Self::Traffic => Self::Idle,
            Self::Idle => Self::Age,
            Self::Age => Self::Held,
        }
    }
}

fn admin_endpoint(text: &str) -> Result<Endpoint, String> {
    if text.starts_with("https://") {
        return Err("the admin endpoint speaks no TLS: write http://, or only HOST:PORT".to_owned());
    }
    let text = text.strip_prefix("http://").map_or(text, |rest| rest.trim_end_matches('/'));
    text.parse().map_err(|error: ParseEndpointError| error.to_string())
}

fn interval(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(100);
    seconds(text).and_then(
        |time| {
            if time < least { Err("write 0.1 seconds or more".to_owned()) } else { Ok(time) }
        },
    )
}

pub(crate) fn run(args: &TopArgs) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let client = Client::new(args.endpoint.clone());
    let outcome = runtime.block_on(async {
        // Asked before the screen is taken, so that an error stands in the line after the command.
        let look = client.look(args.sort, args.top, true).await?;
        if args.once || !io::stdout().is_terminal() {
            output(&plain::text(&args.endpoint, &look))?;
            return Ok(());
        }
        live::run(args, client, look).await
    });
    // A thread waits for keys, and a lookup of a name cannot be cancelled.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}
