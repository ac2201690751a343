//! The log of `millpond proxy`: events of the library and of the command as lines of text or JSON, each with its time.
//!
//! Lines wait in memory for a thread that writes them, see `lines`, so a log that is full, closed or not read never stops
//! the proxy. `tracing-appender` has such a thread, too. Its guard prints to stdout when the queue is full, which blocks
//! the exit if stdout and stderr are one pipe; it bounds lines instead of bytes; and it brings a date library.

mod lines;
mod traced;

use std::env::{self, VarError};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing::{error, subscriber, warn};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use self::lines::Lines;
use self::traced::Traced;
use crate::chain::Chain;
use crate::export::Export;

/// The target of events about the log itself.
const TARGET: &str = "millpond::log";
/// The target of the event that says why the command fails. RUST_LOG does not turn it off.
const FAILURE: &str = "millpond::failure";
/// The target of one event per ended connection: see `millpond::relay`.
const CONNECTION: &str = "millpond::relay::connection";
/// The target of the count of those that were left out. What RUST_LOG says of the connections holds for it, too.
const LEFT_OUT: &str = "millpond::relay::connection::left_out";
/// Targets of this program that RUST_LOG may name, whole or up to a `::`.
const TARGETS: [&str; 8] = [
    LEFT_OUT,
    TARGET,
    "millpond::net::serve",
    "millpond::observe",
    "millpond::pool",
    "millpond::proxy",
    "millpond::relay",
    "millpond::statistics",
];
const DEFAULT_LEVEL: LevelFilter = LevelFilter::INFO;
/// How long each log may take for its last lines.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// How lines of the log and of the access log are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,

    /// Appends a line per ended connection to this file; `-`: to the log on stderr. Without it the log has only those that
    /// fail, at most 10 per second
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
}

impl LogArgs {
    /// Whether the access log is a file of its own.
    pub(crate) fn has_file(&self) -> bool {
        self.access_log.as_deref().is_some_and(|path| path != "-")
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Text for people, in colour on a terminal, unless NO_COLOR is set
    Text,
    /// One JSON object per line
    Json,
}

/// The log. Dropped, it writes what waits, for a bounded time.
pub(crate) struct Log {
    log: Lines,
    access: Option<Lines>,
}

/// Why there is no log, and the exit code for it.
pub(crate) struct StartError {
    pub(crate) text: String,
    pub(crate) code: ExitCode,
}

impl Log {
    /// Starts to log.
    pub(crate) fn start(args: &LogArgs, export: &Export) -> Result<Self, StartError> {
        let (levels, foreign) = levels()?;
        let mut levels = levels.with_target(FAILURE, LevelFilter::ERROR);
        let mut limited = Some(CONNECTION);
        let access = args.access_log.as_deref().filter(|path| *path != "-");
        if args.access_log.is_some() && access.is_none() {
            levels = levels.with_target(CONNECTION, LevelFilter::DEBUG);
            limited = None;
        }
        let failed = |error| StartError::new(format!("cannot start the log: {error}"));
        // Not `io::stderr`, whose lock the thread would hold while it waits: a panic could not be reported.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().map_err(failed)?);
        let has_colours =
            stderr.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let log = Lines::start("stderr".to_owned(), stderr, limited).map_err(failed)?;
        let access = access.map(start_access_log).transpose()?;

        // Lines have fields of their own, and so no spans, which are for the export.
        let levels = levels.and(filter_fn(|metadata| !metadata.is_span()));
        let mut layers = vec![layer(args.log_format, log.clone(), has_colours).with_filter(levels).boxed()];
        layers.extend(export.layer());
        layers.extend(access.clone().map(|access| {
            let connections = Targets::new()
                .with_target(CONNECTION, LevelFilter::DEBUG)
                .with_target(LEFT_OUT, LevelFilter::OFF);
            layer(args.log_format, access, false).with_filter(connections).boxed()
        }));
        subscriber::set_global_default(Registry::default().with(layers))
            .map_err(|error| StartError::new(format!("cannot start the log: {error}")))?;
        panic::set_hook(Box::new(|panic| {
            error!(target: FAILURE, "{}", panic.to_string().replace('\n', " "));
        }));
        if !foreign.is_empty() {
            let (foreign, targets) = (foreign.join(","), TARGETS.join(", "));
            warn!(target: TARGET, %foreign, "RUST_LOG names targets of other programs; those of this one are {targets}");
        }
        Ok(Self { log, access })
    }

    /// The exit code for an outcome. An error is logged.
    pub(crate) fn conclude(&self, outcome: Result<ExitCode, Box<dyn std::error::Error>>) -> ExitCode {
        outcome.unwrap_or_else(|error| {
            error!(target: FAILURE, "{}", Chain(&*error));
            ExitCode::FAILURE
        })
    }
}

impl StartError {
    pub(crate) fn new(text: String) -> Self {
        Self { text, code: ExitCode::FAILURE }
    }

    fn wrong_rust_log(what: &str) -> Self {
        Self { text: format!("RUST_LOG {what}"), code: ExitCode::from(2) }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(access) = &self.access {
            access.close(CLOSE_TIMEOUT);
        }
        // Last, for what the access log adds to it.
        self.log.close(CLOSE_TIMEOUT);
    }
}

fn start_access_log(path: &Path) -> Result<Lines, StartError> {
    // It appends, so that a program that rotates logs may copy and truncate the file. Without O_NONBLOCK, opening a pipe
    // that nobody reads would wait.
    let open = File::options().create(true).append(true).custom_flags(libc::O_NONBLOCK).open(path);
    let name = path.display().to_string();
    open.and_then(|file| Lines::start(name.clone(), file, None))
        .map_err(|error| StartError::new(format!("cannot open the access log {name}: {error}")))
}

fn layer(format: Format, lines: Lines, has_colours: bool) -> Box<dyn Layer<Registry> + Send + Sync> {
    // Its internal errors go to stderr, past the queue.
    let layer = fmt::layer().with_writer(lines).with_ansi(has_colours).log_internal_errors(false);
    let lines = fmt::format().with_ansi(has_colours);
    match format {
        Format::Text => layer.event_format(Traced { lines, format }).boxed(),
        Format::Json => {
            let lines = lines.json().flatten_event(true);
            layer.fmt_fields(JsonFields::new()).event_format(Traced { lines, format }).boxed()
        }
    }
}

/// Which events are logged, as RUST_LOG says, and its directives for other programs, which may share the variable.
fn levels() -> Result<(Targets, Vec<String>), StartError> {
    let text = match env::var("RUST_LOG") {
        Ok(text) => text,
        Err(VarError::NotPresent) => String::new(),
        Err(VarError::NotUnicode(_)) => return Err(StartError::wrong_rust_log("is not UTF-8")),
    };
    let mut directives: Vec<_> =
        text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if let Some(wrong) = directives.iter().find(|directive| !is_directive(directive)) {
        return Err(StartError::wrong_rust_log(&format!(
            "is wrong: `{}` is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL, as in \
             RUST_LOG=millpond=debug; commas separate several; targets are {}",
            wrong.escape_debug(),
            TARGETS.join(", ")
        )));
    }
    // A directive for one target says nothing about the others.
    let default =
        directives.iter().rev().find_map(|directive| directive.parse().ok()).unwrap_or(DEFAULT_LEVEL);
    let named = directives.join(",").parse::<Targets>();
    let named = named.map_err(|error| StartError::wrong_rust_log(&format!("is wrong: {error}")))?;
    let is_own = |directive: &str| {
        directive.parse::<LevelFilter>().is_ok()
            || is_own_target(directive.split('=').next().unwrap_or_default())
    };
    directives.retain(|directive| !is_own(directive));
    Ok((named.with_default(default), directives.into_iter().map(str::to_owned).collect()))
}

/// Whether it is a level, a target of this program, or TARGET=LEVEL. Another single word would be a target, too, so that
/// `verbose` or `degub` would be without effect.
fn is_directive(text: &str) -> bool {
    let Some((target, level)) = text.split_once('=') else {
        return text.parse::<LevelFilter>().is_ok() || is_own_target(text);
    };
    let is_path = target.split("::").all(|name| {
        !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || "_-".contains(char))
    });
    let is_own = target.split("::").next() == Some("millpond");
    level.parse::<LevelFilter>().is_ok() && is_path && (!is_own || is_own_target(target))
}

/// Whether it is a target of this program, or the first names of one.
fn is_own_target(text: &str) -> bool {
    TARGETS
        .iter()
        .any(|target| target.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}
