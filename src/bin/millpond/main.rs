//! The `millpond` command: the proxy, and code generated from contract files.

mod cli;
#[cfg(feature = "cli")]
mod codegen;
mod memory;
mod proxy;
mod values;

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

use self::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let outcome = match cli.command {
        #[cfg(feature = "cli")]
        Command::Codegen(args) => codegen::run(&args),
        Command::Proxy(args) => proxy::run(args).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| fail(&*error))
}

fn fail(error: &dyn Error) -> ExitCode {
    let causes = successors(error.source(), |cause: &&dyn Error| (*cause).source());
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    eprintln!("millpond: {error}{causes}");
    ExitCode::FAILURE
}
