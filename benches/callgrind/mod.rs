//! Instructions of a whole process, as valgrind's callgrind counts them.

use std::path::Path;
use std::process::{Command, Output};

/// The program under callgrind; arguments for it may follow.
pub(crate) fn callgrind(program: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command
}

/// Why it does not start.
pub(crate) fn missing(error: &std::io::Error) -> String {
    format!("valgrind does not start ({error}): apt-get install valgrind")
}

/// What it has counted.
pub(crate) fn collected(output: &Output) -> Result<u64, String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.filter(|_| output.status.success()).ok_or_else(|| text.into_owned())
}
