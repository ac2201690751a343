//! haproxy with one listener and one server, over TCP.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{MISSING, PATIENCE, on_a_free_port};

pub(crate) struct Haproxy {
    child: Child,
    directory: TempDir,
    pub(crate) address: String,
}

impl Haproxy {
    /// Listens with these options of `bind` (`accept-proxy`, for example), and relays to this server, an address with options.
    /// Returns when it serves. Its log has a line `client=ADDRESS:PORT` per connection that ended.
    pub(crate) fn start(bind: &str, server: &str) -> Self {
        on_a_free_port(|port| {
            let directory = tempfile::tempdir().unwrap();
            let ready = directory.path().join("ready");
            let config = format!(
                "global\n log stdout format raw local0\n\
                 defaults\n log global\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
                 frontend ready\n mode http\n no log\n bind unix@{}\n http-request return status 200\n\
                 listen relay\n mode tcp\n log-format client=%ci:%cp\n bind 127.0.0.1:{port} {bind}\n server one {server}\n",
                ready.display()
            );
            let file = directory.path().join("haproxy.cfg");
            fs::write(&file, config).unwrap();
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(&file);
            let child = serve(command, &ready, &log_file(directory.path()))?;
            Some(Self { child, directory, address: format!("127.0.0.1:{port}") })
        })
    }

    /// Returns when a line of the log has this text.
    pub(crate) fn await_log(&self, text: &str) {
        await_text(&log_file(self.directory.path()), text);
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_file(directory: &Path) -> std::path::PathBuf {
    directory.join("log")
}

/// The process, when it answers HTTP at the socket file. None if it ended, as it does where a port is taken.
pub(super) fn serve(mut command: Command, ready: &Path, log: &Path) -> Option<Child> {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdout(File::create(log).unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("{} {MISSING} ({error})", program.display()));
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "{} does not answer", program.display());
        if is_answered(ready) {
            return Some(child);
        }
        sleep(Duration::from_millis(10));
    }
    None
}

fn is_answered(ready: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(ready) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = stream.write_all(b"GET / HTTP/1.0\r\nhost: ready\r\n\r\n");
    asked.is_ok() && stream.read(&mut [0; 12]).is_ok_and(|count| count > 0)
}

/// Returns when the file has this text.
pub(super) fn await_text(file: &Path, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let written = fs::read_to_string(file).unwrap_or_default();
        if written.contains(text) {
            return;
        }
        assert!(Instant::now() < deadline, "{text} is not in: {written}");
        sleep(Duration::from_millis(10));
    }
}
