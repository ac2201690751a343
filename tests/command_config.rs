//! `millpond proxy --config`: what a file says, and what is wrong with it.

use std::process::{Command, Output};

fn check(text: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mill.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.current_dir(folder.path()).args(["proxy", "--check-config", "--config", "mill.toml"]).args(more);
    command.output().unwrap()
}

/// What is written about a file that is refused.
fn errors(text: &str) -> String {
    let output = check(text, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

const LISTENER: &str = "[[listen]]\nlisten = '127.0.0.1:7000'\nto = '127.0.0.1:6379'\n";

#[test]
fn a_good_file_says_what_it_would_do() {
    let output = check(LISTENER, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "proxy: tcp://127.0.0.1:7000 to tcp://127.0.0.1:6379\n");
}

#[test]
fn a_misspelt_option_is_named_with_its_place_and_the_right_spelling() {
    let said = errors(&format!("{LISTENER}idle-timout = 3\n"));
    let expected = "error: unknown option `idle-timout`
 --> mill.toml:4:1
  |
4 | idle-timout = 3
  | ^^^^^^^^^^^
  |
  = help: did you mean `idle-timeout`?
";
    assert_eq!(said, expected);
}

#[test]
fn a_wrong_element_of_a_list_is_marked_alone() {
    let said = errors("[[listen]]\nlisten = '127.0.0.1:7000'\nto = ['127.0.0.1:1', '127.0.0.1:0']\n");
    assert!(said.contains(" --> mill.toml:3:22\n"), "{said}");
}

#[test]
fn an_octal_number_is_refused_and_not_taken_for_a_decimal_one() {
    let said = errors(&format!("{LISTENER}unix-mode = 0o660\n"));
    assert!(said.contains("`unix-mode` is one text or decimal number"), "{said}");
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_file() {
    let said = errors(&format!("drain-timeout = 'x'\nlog-format = 'yaml'\n{LISTENER}max-connections = 0\n"));
    let places: Vec<_> = said.lines().filter_map(|line| line.trim().strip_prefix("--> mill.toml:")).collect();
    assert_eq!(places, ["1:17", "2:14", "6:19"]);
}

#[test]
fn an_option_of_the_process_does_not_belong_to_a_listener() {
    let said = errors(&format!("{LISTENER}memory-limit = '64MiB'\n"));
    assert!(said.contains("write it above the first [[listen]]"), "{said}");
}

#[test]
fn a_name_is_taken_once() {
    let named = LISTENER.replace("]]\n", "]]\nname = 'a'\n");
    let said = errors(&format!("{named}{named}"));
    assert!(said.contains("the name \"a\" is taken by a listener above"), "{said}");
}

#[test]
fn a_listener_without_servers_is_refused() {
    let said = errors("[[listen]]\nlisten = '127.0.0.1:7000'\n");
    assert!(said.contains("missing: `to`"), "{said}");
}

#[test]
fn a_value_that_the_command_line_overrides_is_checked_nevertheless() {
    let output = check(&format!("memory-limit = 'much'\n{LISTENER}"), &["--memory-limit", "1MiB"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_listener_of_the_command_line_does_not_go_with_a_file() {
    let output = check(LISTENER, &["--listen", "127.0.0.1:7001"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn proxies_are_a_list_and_the_version_of_their_headers_a_word() {
    let text = format!("{LISTENER}accept-proxy = ['10.0.0.0/8', 'unix']\nsend-proxy = 'v2'\n");
    assert!(check(&text, &[]).status.success());
    let said =
        errors(&format!("{LISTENER}accept-proxy = ['10.0.0.0/8', '10.0.0.0/33']\nsend-proxy = 'v3'\n"));
    assert!(said.contains(" --> mill.toml:4:31\n") && said.contains(" --> mill.toml:5:14\n"), "{said}");
}
