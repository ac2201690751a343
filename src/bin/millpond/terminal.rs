//! Writes to stdout and stderr that cannot end the command: the only ones besides the log's.

use std::io::{self, ErrorKind, Write};
use std::thread;

/// Writes a note or a diagnostic to stderr. If nobody can read it, the exit code still tells.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes the result of the command to stdout. Returns `false` if that is a closed pipe: its reader has seen enough, and
/// knows it, so nothing needs to be said.
#[cfg(feature = "cli")]
pub(crate) fn output(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()))
}

/// What the outcome of a write to stdout means, as for `output`.
pub(crate) fn written(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome.and_then(|()| io::stdout().flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))),
    }
}

/// Writes a line to stdout on another thread, so that a pipe which is not read does not stop a server.
pub(crate) fn announce(line: String) {
    // Without a thread the line is lost, as it is if nobody can read it.
    let _ = thread::Builder::new().spawn(move || {
        let _ = writeln!(io::stdout(), "{line}");
    });
}
