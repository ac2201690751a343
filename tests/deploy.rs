//! The files in `examples/deploy`, as systemd reads them. `tests/install` installs it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The files in a folder of their own, where the unit names a program that exists.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy");
    for name in ["millpond.service", "millpond.socket"] {
        let text = fs::read_to_string(from.join(name)).unwrap();
        let text = text.replace("/usr/local/bin/millpond", env!("CARGO_BIN_EXE_millpond"));
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn analyze(arguments: &[&str], unit: &str) -> String {
    let folder = units();
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(folder.path().join(unit));
    let output = command.output().expect("tests/install installs systemd");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn the_service_has_no_line_that_systemd_does_not_know() {
    assert_eq!(analyze(&["verify"], "millpond.service"), "");
}

#[test]
fn the_socket_has_no_line_that_systemd_does_not_know() {
    assert_eq!(analyze(&["verify"], "millpond.socket"), "");
}

#[test]
fn the_service_exposes_little() {
    let said = analyze(&["security", "--offline=yes", "--no-pager", "--threshold=30"], "millpond.service");
    assert!(said.contains("Overall exposure level"), "{said}");
}
