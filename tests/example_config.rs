//! `examples/deploy/millpond.toml` has every option of the proxy, with its help and its default.
//!
//! `UPDATE_CONFIG=1 cargo test --features cli --test example_config` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const FILE: &str = "examples/deploy/millpond.toml";

const HEAD: &str = "\
# The configuration of `millpond proxy --config FILE`: every option, with its default. Lines that begin with `#` are comments.
# `millpond proxy --config FILE --check-config` checks a file. A running proxy reads it again at SIGHUP.
";

fn millpond(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millpond")).arg("proxy").args(arguments).output().unwrap()
}

/// An option of the help.
struct Option_ {
    name: String,
    /// `<SECONDS>`, or empty.
    value: String,
    text: Vec<String>,
    default: Option<String>,
}

fn options() -> Vec<Option_> {
    let help = String::from_utf8(millpond(&["--help"]).stdout).unwrap();
    let list = help.split_once("Options:\n").unwrap().1.split_once("  -h, --help").unwrap().0;
    let mut options: Vec<Option_> = Vec::new();
    for line in list.lines() {
        if let Some(option) = line.strip_prefix("      --") {
            let (name, value) = option.split_once(' ').unwrap_or((option, ""));
            let (name, value) = (name.to_owned(), value.to_owned());
            options.push(Option_ { name, value, text: Vec::new(), default: None });
            continue;
        }
        let (line, option) = (line.trim(), options.last_mut().unwrap());
        match line.strip_prefix("[default: ").and_then(|rest| rest.strip_suffix(']')) {
            Some(default) => option.default = Some(default.to_owned()),
            None if line.is_empty() => {}
            None => option.text.push(line.to_owned()),
        }
    }
    options.retain(|option| !["config", "check-config"].contains(&&*option.name));
    options
}

/// A value of TOML.
fn value(option: &Option_) -> String {
    match &option.default {
        Some(number) if number.parse::<u64>().is_ok() => number.clone(),
        Some(text) => format!("\"{text}\""),
        None if option.value.is_empty() => "false".to_owned(),
        None => format!("\"{}\"", option.value.trim_matches(['<', '>', '[', ']'])),
    }
}

fn example() -> String {
    let mut text = HEAD.to_owned();
    for option in options() {
        if option.name == "listen" {
            text += "\n# One table per listener. Its name is a label of metrics and logs, and must be unique.\n[[listen]]\n\
                name = \"redis\"\n";
        }
        text.push('\n');
        for line in &option.text {
            let _ = writeln!(text, "# {line}");
        }
        let _ = match &*option.name {
            "listen" => writeln!(text, "listen = [\"127.0.0.1:7000\"]"),
            "to" => writeln!(text, "to = [\"127.0.0.1:6379\", \"127.0.0.1:6380\"]"),
            "sni" => writeln!(text, "#sni = {{ \"example.com\" = [\"127.0.0.1:8443\"] }}"),
            name => writeln!(text, "#{name} = {}", value(&option)),
        };
    }
    text
}

#[test]
fn the_example_has_every_option() {
    let (path, example) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE), example());
    if std::env::var_os("UPDATE_CONFIG").is_some() {
        fs::write(&path, &example).unwrap();
    }
    let found = fs::read_to_string(path).unwrap();
    assert!(
        found == example,
        "{FILE} is out of date: UPDATE_CONFIG=1 cargo test --features cli --test example_config"
    );
}

#[test]
fn the_example_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let output = millpond(&["--check-config", "--config", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_default_is_accepted_as_it_stands_there() {
    let mut text = String::new();
    for option in options() {
        if option.name == "listen" {
            text += "[[listen]]\nlisten = \"127.0.0.1:0\"\nto = \"127.0.0.1:1\"\n";
        } else if option.default.is_some() && option.name != "sample-one-in" {
            let _ = writeln!(text, "{} = {}", option.name, value(&option));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mill.toml");
    fs::write(&path, text).unwrap();
    let output = millpond(&["--check-config", "--config", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
