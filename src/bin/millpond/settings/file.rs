//! The file of `--config`. Each key becomes an argument, so that an option has one name, one parser and one default.

use std::ffi::OsString;
use std::ops::Range;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Command, FromArgMatches};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::report::Problem;
use super::{Listening, NAME};
use crate::options::{ListenerArgs, ProcessArgs};

/// The array of tables with the listeners.
const LISTENERS: &str = "listen";
/// The key of a listener that is no option.
const LISTENER_NAME: &str = "name";
/// How much a misspelt key may differ from a known one.
const SIMILAR: f64 = 0.8;

/// A file that is being read.
pub(super) struct File<'a> {
    table: DeTable<'a>,
    pub(super) problems: Vec<Problem>,
}

/// An argument, and where the file has its key and its value.
struct Argument {
    text: OsString,
    key: String,
    at_value: Range<usize>,
}

impl<'a> File<'a> {
    /// Reads the syntax.
    pub(super) fn parse(text: &'a str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let problems = errors.iter().map(|error| Problem {
            place: error.span().unwrap_or_default(),
            message: error.message().to_owned(),
            help: None,
        });
        Self { table: table.into_inner(), problems: problems.collect() }
    }

    /// The options of the process. Those of the command line win.
    pub(super) fn process(&mut self, given: Vec<OsString>) -> Option<ProcessArgs> {
        let command = command::<ProcessArgs>();
        let mut arguments = Vec::new();
        for (key, value) in &self.table {
            if key.get_ref() != LISTENERS {
                let of_listener = command_has::<ListenerArgs>(key.get_ref());
                add(&command, key, value, of_listener, &mut arguments, &mut self.problems);
            }
        }
        parsed(&command, arguments, given, &(0..0), &mut self.problems)
    }

    /// The listeners, and where each stands.
    pub(super) fn listeners(&mut self) -> Vec<(Listening, Range<usize>)> {
        let Some(tables) = self.table.get(LISTENERS) else {
            self.problems.push(Problem {
                place: 0..0,
                message: "no listener".to_owned(),
                help: Some("add a [[listen]] with `listen` and `to`".to_owned()),
            });
            return Vec::new();
        };
        let Some(array) = tables.get_ref().as_array() else {
            self.problems.push(Problem {
                place: tables.span(),
                message: "`listen` stands in a [[listen]]".to_owned(),
                help: Some("write [[listen]] in a line above it".to_owned()),
            });
            return Vec::new();
        };
        let command = command::<ListenerArgs>();
        let mut listeners = Vec::new();
        for table in array {
            let place = table.span();
            let Some(options) = table.get_ref().as_table() else {
                self.problems.push(Problem {
                    place,
                    message: "a listener is a table: [[listen]]".to_owned(),
                    help: None,
                });
                continue;
            };
            let (mut arguments, mut name) = (Vec::new(), NAME.to_owned());
            for (key, value) in options {
                if key.get_ref() == LISTENER_NAME {
                    match value.get_ref().as_str() {
                        Some(text) if !text.is_empty() => name = text.to_owned(),
                        _ => self.problems.push(Problem {
                            place: value.span(),
                            message: "a name is a text in quotes".to_owned(),
                            help: None,
                        }),
                    }
                    continue;
                }
                let of_process = command_has::<ProcessArgs>(key.get_ref());
                add(&command, key, value, of_process, &mut arguments, &mut self.problems);
            }
            if let Some(args) = parsed(&command, arguments, Vec::new(), &place, &mut self.problems) {
                listeners.push((Listening { name, args }, place));
            }
        }
        listeners
    }
}

/// The options of a struct, without a program's own, such as `--help`.
fn command<A: Args>() -> Command {
    A::augment_args(
        Command::new("millpond").no_binary_name(true).disable_help_flag(true).args_override_self(true),
    )
}

fn command_has<A: Args>(key: &str) -> bool {
    command::<A>().get_arguments().any(|option| option.get_long() == Some(key))
}

/// Makes arguments of a key.
fn add(
    command: &Command,
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    is_elsewhere: bool,
    arguments: &mut Vec<Argument>,
    problems: &mut Vec<Problem>,
) {
    let name = key.get_ref().as_ref();
    let mut wrong = |place: Range<usize>, message: String, help: Option<String>| {
        problems.push(Problem { place, message, help });
    };
    let Some(option) = command.get_arguments().find(|option| option.get_long() == Some(name)) else {
        let help = if is_elsewhere && command_has::<ProcessArgs>(name) {
            Some("it concerns the whole process: write it above the first [[listen]]".to_owned())
        } else if is_elsewhere {
            Some("it concerns one listener: write it below its [[listen]]".to_owned())
        } else {
            let known = command.get_arguments().filter_map(|option| option.get_long());
            let alike = known.map(|long| (strsim::jaro_winkler(name, long), long));
            let alike = alike.filter(|(alike, _)| *alike > SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0));
            alike.map(|(_, long)| format!("did you mean `{long}`?"))
        };
        return wrong(key.span(), format!("unknown option `{name}`"), help);
    };
    let mut push = |text: String, at_value: Range<usize>| {
        arguments.push(Argument { text: text.into(), key: name.to_owned(), at_value });
    };
    if !option.get_action().takes_values() {
        match value.get_ref().as_bool() {
            Some(true) => push(format!("--{name}"), value.span()),
            Some(false) => {}
            None => wrong(value.span(), format!("`{name}` is true or false"), None),
        }
        return;
    }
    let is_repeatable = matches!(option.get_action(), ArgAction::Append);
    match value.get_ref() {
        DeValue::Array(values) if is_repeatable => {
            for value in values {
                match scalar(value.get_ref()) {
                    Some(text) => push(format!("--{name}={text}"), value.span()),
                    None => {
                        wrong(value.span(), format!("`{name}` is a list of texts or decimal numbers"), None);
                    }
                }
            }
        }
        DeValue::Table(pairs) if is_repeatable => {
            for (left, value) in pairs {
                let place = left.span().start..value.span().end;
                let several = std::slice::from_ref(value);
                let values = value.get_ref().as_array().map_or(several, |values| values.as_ref());
                for value in values {
                    match scalar(value.get_ref()) {
                        Some(text) => push(format!("--{name}={}={text}", left.get_ref()), place.clone()),
                        None => wrong(value.span(), "write a text or a decimal number".to_owned(), None),
                    }
                }
            }
        }
        value_itself => match scalar(value_itself) {
            Some(text) => push(format!("--{name}={text}"), value.span()),
            None => wrong(value.span(), format!("`{name}` is one text or decimal number"), None),
        },
    }
}

/// The text of a value as on a command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.as_ref().to_owned()),
        // A mode such as 0o660 would have another meaning as a decimal number.
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// Parses the arguments. Each one that is wrong is reported, and then left out, so that the others are parsed, too.
fn parsed<A: Args + FromArgMatches>(
    command: &Command,
    mut arguments: Vec<Argument>,
    given: Vec<OsString>,
    place: &Range<usize>,
    problems: &mut Vec<Problem>,
) -> Option<A> {
    let mut is_whole = true;
    loop {
        let texts = arguments.iter().map(|argument| argument.text.clone());
        let error = match command.clone().try_get_matches_from(texts.chain(given.iter().cloned())) {
            Ok(matches) if is_whole => return A::from_arg_matches(&matches).ok(),
            Ok(_) => return None,
            Err(error) => error,
        };
        is_whole = false;
        let found = blamed(&error, &arguments);
        let help = alternatives(&error);
        let message = match (std::error::Error::source(&error), &help) {
            (Some(source), _) => source.to_string(),
            (None, Some(_)) => "it has no such value".to_owned(),
            (None, None) => {
                let text = error.to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text);
                text.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
            }
        };
        let Some(index) = found else {
            let message = missing(&error).unwrap_or(message);
            problems.push(Problem { place: place.clone(), message, help });
            return None;
        };
        let argument = arguments.remove(index);
        let message = format!("`{}`: {message}", argument.key);
        problems.push(Problem { place: argument.at_value, message, help });
    }
}

/// The argument that an error is about.
fn blamed(error: &clap::Error, arguments: &[Argument]) -> Option<usize> {
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    // As in a usage: `--idle-timeout <SECONDS>`.
    let option = text(ContextKind::InvalidArg)?.split([' ', '=', '[']).next()?.trim_start_matches("--");
    let of_option = |argument: &Argument| argument.key == option;
    let value = text(ContextKind::InvalidValue);
    let exact = value.and_then(|value| {
        arguments.iter().position(|argument| {
            of_option(argument)
                && argument.text.to_str().is_some_and(|text| text.ends_with(&format!("={value}")))
        })
    });
    exact.or_else(|| arguments.iter().position(of_option))
}

/// What the value may be, if there are only a few.
fn alternatives(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            Some(format!("write one of: {}", values.join(", ")))
        }
        _ => None,
    }
}

/// What to say of options that are missing.
fn missing(error: &clap::Error) -> Option<String> {
    let names = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) if error.kind() == ErrorKind::MissingRequiredArgument => names,
        _ => return None,
    };
    let names = names.iter().filter_map(|name| name.trim_start_matches("--").split(' ').next());
    Some(format!("missing: `{}`", names.collect::<Vec<_>>().join("`, `")))
}
