//! The `millpond` command: the proxy, what it does live, code generated from contract files, and requests to try an upstream.
#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic if nobody can read: see terminal.rs"
)]

mod admin;
mod chain;
mod cli;
#[cfg(feature = "cli")]
mod codegen;
#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "cli")]
mod get;
mod handover;
mod listeners;
mod log;
mod manager;
mod memory;
#[cfg(not(feature = "otlp"))]
mod no_export;
mod options;
mod proxy;
mod settings;
mod signals;
mod sizing;
mod statistics;
mod terminal;
mod threads;
mod tls;
#[cfg(feature = "cli")]
mod top;
mod values;

use std::process::ExitCode;

#[cfg(feature = "cli")]
use self::chain::Chain;
use self::cli::{Cli, Command};
use self::export::Export;
use self::handover::Handed;
use self::log::Log;
#[cfg(not(feature = "otlp"))]
use self::no_export as export;
use self::terminal::note;

fn main() -> ExitCode {
    let (cli, origin) = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.command {
        #[cfg(feature = "cli")]
        Command::Codegen(args) => codegen::run(&args).unwrap_or_else(|error| {
            note(format!("millpond: {}", Chain(&*error)));
            ExitCode::FAILURE
        }),
        #[cfg(feature = "cli")]
        Command::Get(args) => get::run(&args).unwrap_or_else(|error| {
            note(format!("millpond: {}", Chain(&*error)));
            ExitCode::FAILURE
        }),
        #[cfg(feature = "cli")]
        Command::Top(args) => top::run(&args).unwrap_or_else(|error| {
            note(format!("millpond: {}", Chain(&*error)));
            ExitCode::FAILURE
        }),
        Command::Size(args) => sizing::run(&args),
        Command::Proxy(args) => {
            let settings = match origin.load() {
                Ok(settings) => settings,
                Err(report) => {
                    note(report.to_string());
                    return ExitCode::from(2);
                }
            };
            if args.file.check_config {
                return settings.describe();
            }
            // Before there are threads.
            let handed = Handed::take();
            let process = &settings.process;
            let started = proxy::raise_descriptor_limit(process).and_then(|()| {
                let export = Export::new(&process.export)?;
                Ok((Log::start(&process.log, &export)?, export))
            });
            match started {
                Ok((log, export)) => log.conclude(proxy::run(settings, &origin, handed, &export)),
                Err(error) => {
                    note(format!("millpond: {}", error.text));
                    error.code
                }
            }
        }
    }
}
