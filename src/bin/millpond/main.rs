//! The `millpond` command: the demo, and the proxy.

mod cli;
mod demo;
mod proxy;
mod pubsub;
mod report;
mod traffic;

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::cli::{Cli, Command};

/// Counts every allocation of the process, so that the demo can show how few there are.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let cli = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    raise_descriptor_limit();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Some(Command::Proxy(args)) => proxy::run(args).await.map(|()| ExitCode::SUCCESS),
            Some(Command::Demo(args)) => demo::run(args).await,
            None => demo::run(cli.demo).await,
        }
    });
    // What still sits in a blocking call, a name look-up for one, must not hold the exit.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| fail(&*error))
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("millpond: {error}");
    ExitCode::FAILURE
}

/// A connection takes two descriptors, and the usual soft limit is 1024 for the sake of programs that
/// `select`. This one does not.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Refused, the limit stays as it is, and accept says when it is reached.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
