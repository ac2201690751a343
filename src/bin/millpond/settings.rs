//! What the proxy is to do: from the command line, or from the file of `--config`.

mod file;
mod report;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};
use millpond::net::Endpoint;

use self::file::File;
use self::report::{Problem, Report};
use crate::options::{ListenerArgs, ProcessArgs};
use crate::terminal::{note, written};
use crate::tls;

/// The name of the listener of the command line.
pub(crate) const NAME: &str = "proxy";

#[derive(Args, Clone, Debug)]
pub(crate) struct FileArgs {
    /// Reads the listeners, each with its servers, and all options from this TOML file. Options of the process that are
    /// given here, too, win over the file's
    #[arg(long, value_name = "FILE", conflicts_with = "ListenerArgs")]
    pub(crate) config: Option<PathBuf>,

    /// Checks the file and all options, and ends: with 0 if the proxy could start, and with 2 if not
    #[arg(long)]
    pub(crate) check_config: bool,
}

/// What the proxy is to do.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) process: ProcessArgs,
    pub(crate) listeners: Vec<Listening>,
}

/// A listener.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) name: String,
    pub(crate) args: ListenerArgs,
}

impl Settings {
    /// Says on stdout what the proxy would do, or what is wrong with the files of TLS.
    pub(crate) fn describe(&self) -> ExitCode {
        let mut text = String::new();
        for Listening { name, args } in &self.listeners {
            if let Err(error) = tls::check(args) {
                note(format!("millpond: {name}: {error}"));
                return ExitCode::from(2);
            }
            text += &format!("{name}: {} to {}\n", listed(&args.listen), listed(&args.to));
        }
        match written(io::stdout().write_all(text.as_bytes())) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                note(format!("millpond: {error}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// In one line.
pub(crate) fn listed(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Where settings come from. It can be read again.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// `millpond proxy` as it was called.
    matches: ArgMatches,
}

impl Origin {
    pub(crate) fn new(matches: ArgMatches) -> Self {
        Self { matches }
    }

    /// The file, if there is one.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.matches.get_one("config")
    }

    /// Reads the command line and the file.
    pub(crate) fn load(&self) -> Result<Settings, Report> {
        let Some(path) = self.file() else {
            let wrong = |error: clap::Error| Report::of(error.to_string());
            let process = ProcessArgs::from_arg_matches(&self.matches).map_err(wrong)?;
            let args = ListenerArgs::from_arg_matches(&self.matches).map_err(wrong)?;
            return Ok(Settings { process, listeners: vec![Listening { name: NAME.to_owned(), args }] });
        };
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| Report::of(format!("--config: cannot read {name}: {error}")))?;
        let mut file = File::parse(&text);
        if !file.problems.is_empty() {
            return Err(Report::new(name, text.clone(), file.problems));
        }
        let process = file.process(self.given());
        let listeners = file.listeners();
        let mut names = BTreeMap::new();
        for (listener, place) in &listeners {
            if names.insert(&listener.name, ()).is_some() {
                let message = format!("the name {:?} is taken by a listener above", listener.name);
                file.problems.push(Problem { place: place.clone(), message, help: None });
            }
        }
        match process {
            Some(process) if file.problems.is_empty() => {
                let listeners = listeners.into_iter().map(|(listener, _)| listener).collect();
                Ok(Settings { process, listeners })
            }
            _ => Err(Report::new(name, text.clone(), file.problems)),
        }
    }

    /// The options of the process that the command line has, as arguments.
    fn given(&self) -> Vec<OsString> {
        let command = ProcessArgs::augment_args(clap::Command::new(""));
        let mut arguments = Vec::new();
        for option in command.get_arguments() {
            let id = option.get_id().as_str();
            let Some(long) = option.get_long() else { continue };
            if self.matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            if !option.get_action().takes_values() {
                arguments.push(format!("--{long}").into());
                continue;
            }
            for value in self.matches.get_raw(id).into_iter().flatten() {
                let mut argument = OsString::from(format!("--{long}="));
                argument.push(value);
                arguments.push(argument);
            }
        }
        arguments
    }
}
