//! The `millpond` command: the demo, the proxy, and code for contract files.

mod cli;
mod codegen;
mod demo;
#[expect(dead_code, unreachable_pub, reason = "generated, and not all of it is used")]
#[rustfmt::skip]
mod messages;
mod proxy;
mod pubsub;
mod report;
mod traffic;

use std::alloc::System;
use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::cli::{Cli, Command};

/// Counts every allocation of the process, so that the demo can show how few there are.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a command comes to.
type Outcome = Result<ExitCode, Box<dyn Error>>;

fn main() -> ExitCode {
    let cli = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let outcome = match cli.command.unwrap_or(Command::Demo(cli.demo)) {
        Command::Codegen(args) => codegen::run(&args),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Proxy(args) => block_on(async { proxy::run(args).await.map(|()| ExitCode::SUCCESS) }),
    };
    outcome.unwrap_or_else(|error| fail(&*error))
}

fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(command);
    // What still sits in a blocking call, a name look-up for one, must not hold the exit.
    runtime.shutdown_background();
    outcome
}

fn fail(error: &dyn Error) -> ExitCode {
    let causes = successors(error.source(), |cause: &&dyn Error| (*cause).source());
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    eprintln!("millpond: {error}{causes}");
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
