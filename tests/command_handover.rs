//! Sockets that are handed over: by a service manager, or to a new process that takes over. What a service manager is told. And
//! the proxy as the first process of a container.

mod proxy;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proxy::{PATIENCE, Proxy};
use tempfile::TempDir;

const PROGRAM: [&str; 2] = ["env", "--default-signal=HUP"];

/// A server that sends its name to each client and closes.
fn server(name: &'static [u8; 3]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            // A client may have left.
            let _ = client.unwrap().write_all(name);
        }
    });
    address
}

fn ask(address: impl std::net::ToSocketAddrs) -> String {
    let mut text = String::new();
    TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A folder with a configuration and a log.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(config: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.write(config);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, config: &str) {
        fs::write(self.path("mill.toml"), config).unwrap();
    }

    fn start(&self) -> Proxy {
        let (config, log) = (self.path("mill.toml"), File::create(self.path("log")).unwrap());
        Proxy::start_program(&PROGRAM, &["--config", config.to_str().unwrap()], |command| command.stderr(log))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// The number in the log of the process that has taken over.
    fn successor(&self) -> Pid {
        until("a new process has taken over", || self.log().contains("has taken over"));
        let log = self.log();
        let (_, number) = log.split_once("has taken over process=").unwrap();
        Pid::from_raw(number.split_whitespace().next().unwrap().parse().unwrap())
    }
}

fn listen(name: &str, at: &str, to: SocketAddr) -> String {
    format!("[[listen]]\nname = '{name}'\nlisten = '{at}'\nto = '{to}'\n")
}

#[test]
fn sockets_of_a_service_manager_serve_the_listeners_of_their_names() {
    let sockets = ["127.0.0.1:0"; 2].map(|at| TcpListener::bind(at).unwrap());
    let [first, second] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let config = listen("one", "127.0.0.1:0", server(b"one")) + &listen("two", "127.0.0.1:0", server(b"two"));
    let files = Files::new(&config);
    let config = files.path("mill.toml");
    // The number of the process is known after the fork only, as for systemd.
    let program = ["sh", "-c", "LISTEN_PID=$$ exec \"$@\"", "sh"];
    let fds = sockets.map(OwnedFd::from).into_iter().zip(3..);
    let mappings = fds.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
    let proxy = Proxy::start_program(&program, &["--config", config.to_str().unwrap()], |command| {
        command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "two:one").stderr(Stdio::piped());
        command.fd_mappings(mappings).unwrap()
    });
    assert_eq!(ask(first), "two");
    assert_eq!(ask(second), "one");
    assert_eq!(proxy.address(), second.to_string());
    proxy.interrupt();
    proxy.wait();
}

#[test]
fn a_service_manager_is_told_of_the_start_a_reload_the_stop_and_the_connections() {
    let config = listen("main", "127.0.0.1:0", server(b"one"));
    let files = Files::new(&config);
    let (path, config) = (files.path("notify"), files.path("mill.toml"));
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = |what: &str| loop {
        let mut message = [0; 500];
        let length = manager.recv(&mut message).unwrap_or_else(|error| panic!("{what}: {error}"));
        let message = String::from_utf8(message[..length].to_vec()).unwrap();
        if message.contains(what) {
            return message;
        }
    };
    let proxy = Proxy::start_program(&PROGRAM, &["--config", config.to_str().unwrap()], |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000").stderr(Stdio::piped())
    });
    heard("READY=1");
    assert!(heard("STATUS=").contains("STATUS=0 open connections"));
    heard("WATCHDOG=1");
    proxy.signal(Signal::SIGHUP);
    assert!(heard("RELOADING=1").contains("MONOTONIC_USEC="));
    heard("READY=1");
    proxy.signal(Signal::SIGTERM);
    heard("STOPPING=1");
    proxy.wait();
}

#[test]
fn no_request_fails_while_a_new_process_takes_over_under_load() {
    let one = server(b"one");
    let files = Files::new("");
    let side = files.path("side");
    files.write(
        &(listen("main", "127.0.0.1:0", one) + &listen("side", &format!("unix://{}", side.display()), one)),
    );
    let proxy = files.start();
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = |_| {
        let (address, stop, answers) = (proxy.address().to_owned(), Arc::clone(&stop), Arc::clone(&answers));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(ask(&*address), "one");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let clients: Vec<_> = (0..4).map(client).collect();
    let more = |count: usize| {
        let enough = answers.load(Ordering::Relaxed) + count;
        until("answers", || {
            answers.load(Ordering::Relaxed) >= enough || clients.iter().any(thread::JoinHandle::is_finished)
        });
    };
    more(200);
    proxy.signal(Signal::SIGUSR2);
    let successor = files.successor();
    // The old one drains and ends, and the new one serves.
    let (address, _) = (proxy.address().to_owned(), proxy.wait());
    more(200);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a request failed");
    }
    assert_eq!(ask(&*address), "one");
    let mut answer = String::new();
    UnixStream::connect(side).unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "one");
    kill(successor, Signal::SIGTERM).unwrap();
    until("the new process ends", || TcpStream::connect(&address).is_err());
}

#[test]
fn a_new_process_that_fails_to_start_changes_nothing() {
    let config = listen("main", "127.0.0.1:0", server(b"one"));
    let files = Files::new(&config);
    let proxy = files.start();
    files.write(&format!("{config}idle-timout = 3\n"));
    proxy.signal(Signal::SIGUSR2);
    until("it is told", || files.log().contains("no new process has taken over"));
    assert!(files.log().contains("mill.toml:5:1"), "{}", files.log());
    assert_eq!(ask(proxy.address()), "one");
    proxy.interrupt();
    proxy.wait();
}

/// A proxy as the first process of a PID namespace, and its number outside.
#[cfg(target_os = "linux")]
fn first_process(to: &str, more: &[&str], log: impl Into<Stdio>) -> (Proxy, Pid) {
    let program = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    let arguments = [&["--listen", "127.0.0.1:0", "--to", to], more].concat();
    let proxy = Proxy::start_program(&program, &arguments, |command| command.stderr(log));
    let outside = proxy.child.id();
    let children = fs::read_to_string(format!("/proc/{outside}/task/{outside}/children")).unwrap();
    let first = Pid::from_raw(children.trim().parse().unwrap());
    (proxy, first)
}

#[cfg(target_os = "linux")]
#[test]
fn the_first_process_of_a_container_is_not_replaced() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let files = Files::new("");
    let log = File::create(files.path("log")).unwrap();
    let (proxy, first) = first_process(&upstream.local_addr().unwrap().to_string(), &[], log);
    kill(first, Signal::SIGUSR2).unwrap();
    until("it says what to do", || files.log().contains("start a new container"));
    kill(first, Signal::SIGTERM).unwrap();
    proxy.wait();
}

#[cfg(target_os = "linux")]
#[test]
fn the_first_process_of_a_container_drains_and_its_exit_code_tells() {
    for (more, code) in [(&[][..], 0), (&["--drain-timeout", "0.1"], 3)] {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let (proxy, first) = first_process(&upstream.local_addr().unwrap().to_string(), more, Stdio::piped());
        let client = TcpStream::connect(proxy.address()).unwrap();
        let (server, _) = upstream.accept().unwrap();
        kill(first, Signal::SIGTERM).unwrap();
        until("it drains", || TcpListener::bind(proxy.address()).is_ok());
        let open = (code != 0).then_some((client, server));
        proxy.wait_for(code);
        drop(open);
    }
}
