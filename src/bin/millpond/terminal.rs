//! Writes to stdout and stderr that cannot end the command: the only ones besides the log's.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a note may wait for the reader of stderr. After that the exit code matters more.
const NOTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes a short note to stderr. If nobody reads it, the exit code still tells.
pub(crate) fn note(text: String) {
    note_by(move || {
        let _ = writeln!(io::stderr(), "{text}");
    });
}

/// Writes a note to stderr by calling `write`.
pub(crate) fn note_by(write: impl FnOnce() + Send + 'static) {
    let (sender, ended) = mpsc::channel::<()>();
    // Without a thread the note is lost.
    let _ = thread::Builder::new().spawn(move || {
        write();
        drop(sender);
    });
    // It ends with an error: nothing is sent.
    let _ = ended.recv_timeout(NOTE_TIMEOUT);
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
