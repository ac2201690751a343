//! PostgreSQL, in a temporary folder.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use super::{MISSING, on_a_free_port};

/// PostgreSQL does not run as root: if we are, it runs as `nobody`.
const NOBODY: u32 = 65534;

pub(crate) struct Postgres {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
}

impl Postgres {
    /// Returns when the server accepts connections. Whoever connects is let in, as `postgres`.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = program("initdb", folder.path())
            .args(["--pgdata", "data", "--username", "postgres", "--auth", "trust"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-sync"])
            .output()
            .unwrap_or_else(|error| panic!("initdb of PostgreSQL {MISSING} ({error})"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (child, port) = on_a_free_port(|port| Some((run(folder.path(), port)?, port)));
        Self { child, port, folder }
    }

    /// For `tokio_postgres::Config`.
    pub(crate) fn parameters(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// Ends all its processes without a word to the clients.
    pub(crate) fn kill(&mut self) {
        // As after a crash: SIGKILL would leave its child processes to run.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGQUIT);
        let _ = self.child.wait();
    }

    /// After `kill`, on the same port and with the same data.
    pub(crate) fn start_again(&mut self) {
        self.child = run(self.folder.path(), self.port).expect("PostgreSQL starts again");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server, when it is ready. None if it ended, as it does where the port is taken.
fn run(folder: &Path, port: u16) -> Option<Child> {
    let mut child = program("postgres", folder)
        .args(["-D", "data", "-p", &port.to_string(), "-F"])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("postgres {MISSING} ({error})"));
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while log.read_line(&mut line).unwrap() > 0 {
        if line.contains("ready to accept connections") {
            // Nobody reads the rest, but a full pipe would stop the server.
            thread::spawn(move || log.read_to_end(&mut Vec::new()));
            return Some(child);
        }
        line.clear();
    }
    child.wait().unwrap();
    None
}

fn program(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs().join(name));
    command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Debian keeps the servers of all versions out of the search path. The newest one, then; elsewhere, the search path.
fn programs() -> PathBuf {
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let folders = folders.map(|entry| entry.unwrap().path().join("bin"));
    folders.filter(|bin| bin.join("initdb").exists()).max().unwrap_or_default()
}
