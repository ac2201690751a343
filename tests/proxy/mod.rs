//! The built command as users run it: `millpond proxy` in its own process.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A peer that is silent for this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy that runs until it is interrupted or dropped.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    /// The endpoint that it reports to listen on.
    pub(crate) endpoint: String,
    /// What it says next, if it has an admin endpoint.
    pub(crate) admin: String,
    stderr: Option<JoinHandle<String>>,
}

impl Proxy {
    /// Returns when the proxy listens.
    pub(crate) fn start(listen: &str, to: &str, more: &[&str]) -> Self {
        Self::start_with(listen, to, more, |command| command.stderr(Stdio::piped()))
    }

    /// As `start`. `prepare` sets stderr and the environment.
    pub(crate) fn start_with(
        listen: &str,
        to: &str,
        more: &[&str],
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        // The tests may run under `nohup`, which the proxy would heed.
        Self::start_by(&["env", "--default-signal=HUP"], listen, to, more, prepare)
    }

    /// As `start_with`, by a program that executes the one that its arguments name.
    pub(crate) fn start_by(
        program: &[impl AsRef<OsStr>],
        listen: &str,
        to: &str,
        more: &[&str],
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let arguments = [&["--listen", listen, "--to", to], more].concat();
        Self::start_program(program, &arguments, prepare)
    }

    /// As `start_by`, with all arguments of `millpond proxy`.
    pub(crate) fn start_program(
        program: &[impl AsRef<OsStr>],
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_millpond"));
        command.arg("proxy").args(arguments).stdout(Stdio::piped());
        command.env_remove("RUST_LOG");
        let mut child = prepare(&mut command).spawn().unwrap();
        let stderr = child.stderr.take().map(|stderr| thread::spawn(|| read_all(stderr)));
        let mut proxy = Self { endpoint: String::new(), admin: String::new(), stderr, child };
        let mut line = String::new();
        let mut stdout = BufReader::new(proxy.child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        if arguments.contains(&"--admin") {
            stdout.read_line(&mut proxy.admin).unwrap();
        }
        let endpoint =
            line.strip_prefix("listening on ").unwrap_or_else(|| panic!("the proxy said {line:?}"));
        proxy.endpoint = endpoint.trim_end().to_owned();
        proxy
    }

    /// The `host:port` of a proxy that listens on TCP.
    pub(crate) fn address(&self) -> &str {
        self.endpoint.strip_prefix("tcp://").unwrap()
    }

    /// Sends the signal of Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits until the proxy exits, and asserts that it succeeded. Returns its stderr, if that is a pipe.
    pub(crate) fn wait(self) -> String {
        self.wait_for(0)
    }

    /// As [`wait`](Self::wait), for another exit code.
    pub(crate) fn wait_for(mut self, code: i32) -> String {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                None => panic!("the proxy does not end"),
            }
        };
        let said = self.stderr.take().map(|said| said.join().unwrap()).unwrap_or_default();
        assert_eq!(status.code(), Some(code), "{status}: {said}");
        said
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Shown if the test fails.
        if let Some(Ok(said)) = self.stderr.take().map(JoinHandle::join) {
            println!("the proxy said: {}{said}", self.admin);
        }
    }
}

fn read_all(mut stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    // What was read before an error is still worth showing.
    let _ = stderr.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}
