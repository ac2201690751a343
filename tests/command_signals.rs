//! What signals do to `millpond proxy`, and what its exit code tells. None ends a connection before the drain timeout,
//! unless it is the second request to stop.

#[path = "proxy/descriptors.rs"]
mod descriptors;
mod proxy;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use descriptors::with_descriptors;
use nix::sys::signal::Signal;
use proxy::{PATIENCE, Proxy};

/// How long a test watches that nothing happens.
const A_WHILE: Duration = Duration::from_millis(300);

/// The exit code for connections that were aborted.
const CUT: i32 = 3;

/// A proxy, and a connection through it.
struct Setup {
    proxy: Proxy,
    client: TcpStream,
    server: TcpStream,
    upstream: TcpListener,
}

impl Setup {
    fn new(more: &[&str]) -> Self {
        Self::with(|listen, to| Proxy::start(listen, to, more))
    }

    fn with(start: impl FnOnce(&str, &str) -> Proxy) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = start("tcp://127.0.0.1:0", &format!("tcp://{}", upstream.local_addr().unwrap()));
        let client = TcpStream::connect(proxy.address()).unwrap();
        let (server, _) = upstream.accept().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { proxy, client, server, upstream }
    }

    fn assert_open(&mut self) {
        self.client.write_all(b"grist").unwrap();
        let mut arrived = [0; 5];
        self.server.read_exact(&mut arrived).expect("the connection was cut");
        assert_eq!(&arrived, b"grist");
    }

    /// The connection ends by itself, and the proxy with it.
    fn end(self) -> String {
        drop((self.client, self.server));
        self.proxy.wait()
    }
}

fn start_by(program: &[impl AsRef<OsStr>], listen: &str, to: &str, more: &[&str]) -> Proxy {
    // The test itself may run under `nohup`.
    let program: Vec<_> = ["env", "--default-signal=HUP"]
        .map(OsStr::new)
        .into_iter()
        .chain(program.iter().map(AsRef::as_ref))
        .collect();
    Proxy::start_by(&program, listen, to, more, |command| command.stderr(Stdio::piped()))
}

#[test]
fn each_signal_to_stop_drains_and_the_exit_code_is_0() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut setup = Setup::new(&[]);
        setup.proxy.signal(signal);
        thread::sleep(A_WHILE);
        setup.assert_open();
        assert!(TcpStream::connect(setup.proxy.address()).is_err(), "it listens after {signal}");
        let said = setup.end();
        assert!(said.contains("drained=1 aborted=0"), "{said}");
    }
}

#[test]
fn a_second_request_to_stop_aborts_at_once_and_the_exit_code_tells() {
    for first in [Signal::SIGINT, Signal::SIGTERM] {
        let mut setup = Setup::new(&[]);
        setup.proxy.signal(first);
        thread::sleep(A_WHILE);
        setup.assert_open();
        setup.proxy.interrupt();
        setup.proxy.wait_for(CUT);
    }
}

#[test]
fn a_second_request_to_stop_without_connections_is_no_failure() {
    let Setup { proxy, client, server, upstream } = Setup::new(&[]);
    drop((client, server));
    let waiting = TcpStream::connect(proxy.address()).unwrap();
    let (accepted, _) = upstream.accept().unwrap();
    proxy.signal(Signal::SIGTERM);
    thread::sleep(A_WHILE);
    drop((waiting, accepted));
    proxy.wait();
}

#[test]
fn a_connection_at_the_drain_timeout_is_cut_and_the_exit_code_tells() {
    let setup = Setup::new(&["--drain-timeout", "0.1"]);
    setup.proxy.signal(Signal::SIGTERM);
    let said = setup.proxy.wait_for(CUT);
    assert!(said.contains("drained=0 aborted=1"), "{said}");
}

/// As a service manager does that sends both.
#[test]
fn a_hangup_beside_another_signal_cuts_nothing() {
    for order in [[Signal::SIGTERM, Signal::SIGHUP], [Signal::SIGHUP, Signal::SIGTERM]] {
        let mut setup = Setup::new(&[]);
        for signal in order {
            setup.proxy.signal(signal);
            thread::sleep(A_WHILE);
        }
        setup.proxy.signal(Signal::SIGHUP);
        thread::sleep(A_WHILE);
        setup.assert_open();
        setup.end();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_hangup_under_nohup_is_ignored() {
    let mut setup = Setup::with(|listen, to| start_by(&["nohup"], listen, to, &[]));
    setup.proxy.signal(Signal::SIGHUP);
    thread::sleep(A_WHILE);
    setup.assert_open();
    TcpStream::connect(setup.proxy.address()).expect("the proxy stopped");
    let (_second, _) = setup.upstream.accept().unwrap();
    setup.proxy.signal(Signal::SIGTERM);
    thread::sleep(A_WHILE);
    setup.assert_open();
}

#[test]
fn the_drain_ends_before_a_container_runtime_kills() {
    let help = Command::new(env!("CARGO_BIN_EXE_millpond")).args(["proxy", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, drain) = help.split_once("--drain-timeout").unwrap();
    let (_, default) = drain.split_once("[default: ").unwrap();
    assert!(default.starts_with("8]"), "{default}");
}

#[test]
fn a_start_without_descriptors_for_a_connection_is_refused() {
    for limit in [8, 11, 13] {
        let [program, arguments @ ..] = with_descriptors(limit);
        let mut command = Command::new(program);
        command.args(arguments).args([env!("CARGO_BIN_EXE_millpond"), "proxy", "--threads", "1"]);
        let output =
            command.args(["--listen", "tcp://127.0.0.1:0", "--to", "tcp://127.0.0.1:1"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{limit}: {said}");
        assert!(said.contains("raise the limit of open files"), "{limit}: {said}");
    }
    let mut least =
        Setup::with(|listen, to| start_by(&with_descriptors(14), listen, to, &["--threads", "1"]));
    least.assert_open();
    least.proxy.signal(Signal::SIGTERM);
    least.end();
}

#[test]
fn a_start_with_too_few_descriptors_warns_and_says_what_to_do() {
    for (limit, warns) in [(100, true), (300, false)] {
        let more = ["--max-connections", "100", "--threads", "1"];
        let setup = Setup::with(|listen, to| start_by(&with_descriptors(limit), listen, to, &more));
        setup.proxy.signal(Signal::SIGTERM);
        let said = setup.end();
        assert_eq!(said.contains("LimitNOFILE"), warns, "{said}");
    }
}
