//! `millpond size`: what a number of connections needs.

use std::process::Command;

/// The cells of a row.
fn row(arguments: &[&str], name: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_millpond")).arg("size").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line =
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    let cells = line.get(name.len()..).unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    cells.map(str::to_owned).collect()
}

#[test]
fn a_column_per_number_of_connections() {
    assert_eq!(row(&[], "Connections"), ["10 000", "100 000", "1 000 000"]);
}

#[test]
fn a_million_connections_take_two_million_descriptors() {
    let descriptors = &row(&["--connections", "1000000"], "Descriptors")[0];
    assert!(descriptors.starts_with("2 000 0"), "{descriptors}");
}

#[test]
fn the_proxy_takes_about_two_kib_per_connection() {
    assert_eq!(row(&["--connections", "1000000"], "Memory of the proxy")[0], "2.0 GiB");
}

#[test]
fn requests_take_cores() {
    assert_eq!(row(&["--connections", "1000", "--requests", "200000"], "Cores")[0], "3.0");
}

#[test]
fn the_most_connections_that_a_number_holds_are_computed() {
    assert_eq!(
        row(&["--connections", &usize::MAX.to_string()], "Connections")[0],
        "18 446 744 073 709 551 615"
    );
}
