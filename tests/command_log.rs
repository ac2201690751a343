//! The log of `millpond proxy`: it tells of each failed connection, in a form for people or for programs, and a log that is
//! closed, full or not read neither stops the proxy nor changes its exit code.

mod proxy;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::Signal;
use proxy::{PATIENCE, Proxy};
use serde_json::Value;
use tokio::net::TcpSocket;

const CAPACITY_OF_A_PIPE: usize = 64 * 1024;
const ANY_PORT: &str = "tcp://127.0.0.1:0";

/// How a log is lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// The program that read it has ended.
    Closed,
    /// It is on a disk without space.
    Full,
    /// The program that reads it has stopped.
    NotRead,
}

impl Lost {
    const ALL: [Self; 3] = [Self::Closed, Self::Full, Self::NotRead];

    /// An output for a child, and the end of a pipe that must stay open.
    fn output(self) -> (Stdio, Option<PipeReader>) {
        match self {
            Self::Closed => (pipe().unwrap().1.into(), None),
            Self::Full => (full_disk().into(), None),
            Self::NotRead => {
                let (reader, writer) = full_pipe();
                (writer.into(), Some(reader))
            }
        }
    }
}

fn full_disk() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe that takes no more bytes until it is read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&[b'\n'; CAPACITY_OF_A_PIPE]).unwrap();
    (reader, writer)
}

#[test]
fn a_lost_log_neither_stops_the_proxy_nor_changes_its_exit_code() {
    for options in [
        &["--stats-every", "0.05"][..],
        &["--access-log", "-"],
        &["--log-format", "json", "--access-log", "-", "--stats-every", "0.05"],
    ] {
        for lost in Lost::ALL {
            let upstream = Echo::start();
            let (stderr, _reader) = lost.output();
            let proxy = Proxy::start_with(ANY_PORT, &upstream.endpoint, options, |command| {
                command.stderr(stderr).env("RUST_LOG", "trace")
            });
            let mut open = connect(&proxy);
            answers(&mut open);
            for _ in 0..1000 {
                answers(&mut connect(&proxy));
                reset(connect(&proxy));
            }
            thread::sleep(Duration::from_millis(200)); // several lines of statistics
            answers(&mut open);
            proxy.signal(Signal::SIGTERM);
            answers(&mut open);
            drop(open);
            println!("{options:?}, {lost:?}");
            proxy.wait();
        }
    }
}

#[test]
fn a_stop_does_not_wait_for_a_log_that_nobody_reads() {
    let upstream = Echo::start();
    let (_reader, log) = full_pipe();
    let proxy = Proxy::start_with(ANY_PORT, &upstream.endpoint, &[], |command| command.stderr(log));
    proxy.signal(Signal::SIGTERM);
    let stop = Instant::now();
    proxy.wait();
    assert!(stop.elapsed() < Duration::from_secs(8), "{:?}", stop.elapsed());
}

#[test]
fn a_proxy_whose_stdout_is_lost_serves() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("proxy");
    let upstream = Echo::start();
    for lost in Lost::ALL {
        let (stdout, _reader) = lost.output();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args([
            "proxy",
            "--listen",
            &format!("unix://{}", socket.display()),
            "--to",
            &upstream.endpoint,
        ]);
        let mut child = command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut client = loop {
            match UnixStream::connect(&socket) {
                Ok(client) => break client,
                Err(error) => assert!(Instant::now() < deadline, "{lost:?}: {error}"),
            }
            thread::sleep(Duration::from_millis(10));
        };
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        answers(&mut client);
        drop(client);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)
            .unwrap();
        assert!(child.wait().unwrap().success(), "{lost:?}");
    }
}

#[test]
fn a_lost_stderr_does_not_change_the_exit_code_of_a_failed_start() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("tcp://{}", busy.local_addr().unwrap());
    for lost in Lost::ALL {
        for (arguments, code) in [
            (&["proxy", "--listen", &busy, "--to", "tcp://127.0.0.1:1"][..], 1),
            (&["proxy", "--listen", &busy], 2),
            (&["proxy", "--listen", "7000", "--to", "tcp://127.0.0.1:1"], 2),
            (&[], 2),
        ] {
            let (stderr, _reader) = lost.output();
            let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
            let child = command.args(arguments).stderr(stderr).spawn().unwrap();
            assert_eq!(exit_code(child), Some(code), "{arguments:?}, {lost:?}");
        }
    }
}

#[test]
fn help_that_cannot_be_written_is_an_error_unless_nobody_reads_it() {
    for arguments in [&["--help"][..], &["--version"], &["proxy", "--help"]] {
        for (lost, code) in [(Lost::Closed, 0), (Lost::Full, 1)] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
            let output = command.args(arguments).stdout(lost.output().0).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{arguments:?}, {lost:?}");
        }
    }
}

#[test]
fn a_failed_connection_is_one_line_that_says_who_ended_it_and_why() {
    let log = Log::new();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", upstream.local_addr().unwrap());
    let proxy = log.proxy(&to, &["--log-format", "json", "--idle-timeout", "0.5", "--drain-timeout", "0.1"]);
    let pair = || {
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        let (mut server, _) = upstream.accept().unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        server.write_all(b"hi").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
        let address = client.local_addr().unwrap().to_string();
        (client, server, address)
    };
    let (client, _server, first) = pair();
    reset(client);
    log.wait_for(1);
    let (_client, server, second) = pair();
    reset(server);
    log.wait_for(2);
    let (_client, _server, third) = pair();
    log.wait_for(3);
    let (_client, _server, fourth) = pair();
    proxy.interrupt();
    proxy.wait_for(3);

    let lines = log.failed_connections();
    let ends = [
        (1, first, "client", "reset"),
        (2, second, "upstream", "reset"),
        (3, third, "relay", "idle_timeout"),
        (4, fourth, "relay", "aborted"),
    ];
    assert_eq!(lines.len(), ends.len(), "{lines:?}");
    for (line, (id, client, ended_by, cause)) in lines.iter().zip(ends) {
        assert_eq!(line["level"], "WARN", "{line}");
        assert_eq!(line["target"], "millpond::relay::connection", "{line}");
        assert_eq!(line["id"], id, "{line}");
        assert_eq!(line["client"], client, "{line}");
        assert_eq!(line["upstream"], to, "{line}");
        assert_eq!(line["bytes_to_upstream"], 5, "{line}");
        assert_eq!(line["bytes_to_client"], 2, "{line}");
        assert_eq!(line["ended_by"], ended_by, "{line}");
        assert_eq!(line["cause"], cause, "{line}");
        assert!(line["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0), "{line}");
        assert!(line["error"].as_str().is_some_and(|error| !error.is_empty()), "{line}");
    }
    assert!(lines[2]["duration_ms"].as_f64() >= Some(500.0), "{}", lines[2]);
}

#[test]
fn each_limit_of_a_connection_has_an_option_and_a_cause() {
    for (option, cause, ended_by) in [
        ("--half-closed-timeout", "half_closed_timeout", "upstream"),
        ("--stalled-timeout", "stalled_timeout", "client"),
        ("--max-lifetime", "max_lifetime", "relay"),
    ] {
        let log = Log::new();
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("tcp://{}", upstream.local_addr().unwrap());
        let proxy = log.proxy(&to, &["--log-format", "json", "--idle-timeout", "0", option, "0.3"]);
        let client = connect(&proxy);
        client.shutdown(Shutdown::Write).unwrap();
        let (mut server, _) = upstream.accept().unwrap();
        // The client takes none of it.
        while option == "--stalled-timeout" && server.write_all(&[7; 64 * 1024]).is_ok() {}
        log.wait_for(1);
        let lines = log.failed_connections();
        assert_eq!(lines[0]["cause"], cause, "{option}: {lines:?}");
        assert_eq!(lines[0]["ended_by"], ended_by, "{option}: {lines:?}");
    }
}

#[test]
fn connections_that_a_second_signal_aborts_are_logged() {
    const CONNECTIONS: usize = 500;
    let upstream = Echo::start();
    let log = Log::new();
    let proxy = log.proxy(&upstream.endpoint, &["--access-log", "-"]);
    let mut clients: Vec<_> = std::iter::repeat_with(|| connect(&proxy)).take(CONNECTIONS).collect();
    clients.iter_mut().for_each(answers);
    proxy.interrupt();
    log.wait_until(|text| text.contains("draining"));
    proxy.interrupt();
    proxy.wait_for(3);
    let text = log.text();
    assert_eq!(text.matches("connection aborted").count(), CONNECTIONS, "{text}");
    assert!(
        text.contains(&format!("draining for up to 8s; a second signal aborts at once open={CONNECTIONS}")),
        "{text}"
    );
    assert!(text.contains(&format!("stopped by a second signal aborted={CONNECTIONS}")), "{text}");
}

#[test]
fn the_log_says_once_that_the_upstream_is_down_and_once_that_it_is_up_again() {
    let log = Log::new();
    let (socket, upstream) = refusing();
    let proxy = log.proxy(&upstream, &["--log-format", "json"]);
    let fail = |times: usize| {
        let before = log.text().matches("connection failed").count();
        for _ in 0..times {
            let _ = connect(&proxy).read(&mut [0]);
        }
        log.wait_for(before + times);
    };
    fail(3);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async { socket.listen(16).unwrap() });
    for _ in 0..2 {
        let client = connect(&proxy);
        drop(runtime.block_on(listener.accept()).unwrap());
        drop(client);
    }
    log.wait_until(|text| text.contains("up again"));
    drop(listener);
    fail(2);
    proxy.interrupt();
    proxy.wait();
    let (lines, mut said) = (log.json(), Vec::new());
    for line in lines.iter().filter(|line| line["target"] == "millpond::relay") {
        assert_eq!(line["upstream"], upstream, "{line}");
        said.push((line["level"].as_str().unwrap(), line["message"].as_str().unwrap()));
    }
    let (down, up) = (("WARN", "the upstream is down"), ("INFO", "the upstream is up again"));
    assert_eq!(said, [down, up, down]);
}

#[test]
fn the_first_line_says_where_it_listens_where_it_leads_and_which_version_it_is() {
    let log = Log::new();
    let proxy = log.proxy("tcp://127.0.0.1:1", &["--log-format", "json"]);
    log.wait_until(|text| text.contains("listening"));
    let first = &log.json()[0];
    assert_eq!(first["message"], "listening", "{first}");
    assert_eq!(first["listen"], proxy.endpoint, "{first}");
    assert_eq!(first["to"], "tcp://127.0.0.1:1", "{first}");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"), "{first}");
    proxy.interrupt();
    proxy.wait();
}

#[test]
fn a_failed_connect_is_logged_with_the_error_of_the_system() {
    let (_socket, upstream) = refusing();
    let proxy = Proxy::start(ANY_PORT, &upstream, &[]);
    let mut client = connect(&proxy);
    let address = client.local_addr().unwrap();
    // It ends when the proxy has tried to connect.
    let _ = client.read(&mut [0]);
    proxy.interrupt();
    let text = proxy.wait();
    let line = text.lines().find(|line| line.contains("connection failed")).unwrap();
    for part in [
        format!("client={address}"),
        format!("upstream={upstream}"),
        "ended_by=upstream cause=connect_error".to_owned(),
        format!(
            "error=cannot connect to {upstream} (check that the server listens there): Connection refused"
        ),
    ] {
        assert!(line.contains(&part), "{part} is not in: {line}");
    }
}

#[test]
fn a_client_that_is_gone_before_its_accept_is_named() {
    let upstream = Echo::start();
    let log = Log::new();
    let proxy = log.proxy(&upstream.endpoint, &["--log-format", "json"]);
    proxy.signal(Signal::SIGSTOP);
    let client = connect(&proxy);
    let address = client.local_addr().unwrap().to_string();
    reset(client);
    proxy.signal(Signal::SIGCONT);
    log.wait_for(1);
    proxy.interrupt();
    proxy.wait();
    assert_eq!(log.failed_connections()[0]["client"], address);
}

#[test]
fn a_client_of_a_unix_socket_is_named_by_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let (_socket, upstream) = refusing();
    let listen = format!("unix://{}", folder.path().join("proxy").display());
    let proxy = Proxy::start(&listen, &upstream, &[]);
    let mut client = UnixStream::connect(folder.path().join("proxy")).unwrap();
    // It ends when the proxy has tried to connect.
    let _ = client.read(&mut [0]);
    proxy.interrupt();
    let text = proxy.wait();
    assert!(text.contains(&format!("client=unix pid {} ", std::process::id())), "{text}");
}

#[test]
fn connections_that_end_well_are_logged_with_access_log_only() {
    let upstream = Echo::start();
    let served = |options: &[&str], level| {
        let log = Log::new();
        let proxy = log.proxy_with(&upstream.endpoint, options, level);
        answers(&mut connect(&proxy));
        thread::sleep(Duration::from_millis(100));
        reset(connect(&proxy));
        thread::sleep(Duration::from_millis(100));
        proxy.interrupt();
        proxy.wait();
        log.text()
    };
    let count = |text: &str, what: &str| text.matches(what).count();

    let plain = served(&[], None);
    assert_eq!((count(&plain, "connection closed"), count(&plain, "connection failed")), (0, 1), "{plain}");
    let both = served(&["--access-log", "-"], Some("warn"));
    assert_eq!((count(&both, "connection closed"), count(&both, "connection failed")), (1, 1), "{both}");

    let folder = tempfile::tempdir().unwrap();
    for format in ["text", "json"] {
        let file = folder.path().join(format);
        let options = ["--log-format", format, "--access-log", file.to_str().unwrap()];
        let log = served(&options, Some("off"));
        assert_eq!(log, "", "RUST_LOG applies to the log");
        let access = fs::read_to_string(&file).unwrap();
        assert_eq!(access.lines().count(), 2, "{access}");
        assert!(access.lines().next().unwrap().contains("connection closed"), "{access}");
        assert!(access.lines().last().unwrap().contains("connection failed"), "{access}");
        access.lines().for_each(|line| assert_has_time(line, format == "json"));
        served(&options, Some("off"));
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 4, "lines are appended");
    }
}

#[test]
fn an_access_log_that_cannot_be_opened_is_a_failed_start() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [Path::new("/dev"), Path::new("/no/such/folder/log"), &fifo] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["proxy", "--listen", ANY_PORT, "--to", "tcp://127.0.0.1:1", "--access-log"]).arg(path);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
}

#[test]
fn the_log_says_that_the_access_log_cannot_be_written() {
    let upstream = Echo::start();
    let log = Log::new();
    let proxy = log.proxy(&upstream.endpoint, &["--access-log", "/dev/full"]);
    for _ in 0..100 {
        answers(&mut connect(&proxy));
    }
    log.wait_until(|text| text.contains("/dev/full"));
    answers(&mut connect(&proxy));
    proxy.interrupt();
    proxy.wait();
    let text = log.text();
    let errors: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "once, not per line that is lost: {text}");
    assert!(errors[0].contains("/dev/full"), "{text}");
    assert!(errors[0].contains("No space left on device"), "{text}");
    assert!(text.contains("up to this many lines are missing lost=101 log=/dev/full"), "{text}");
}

#[test]
fn many_failed_connections_are_a_few_lines_and_a_count() {
    const CONNECTIONS: u64 = 500;
    let log = Log::new();
    let (_socket, upstream) = refusing();
    let proxy = log.proxy(&upstream, &["--log-format", "json"]);
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let mut client = connect(&proxy);
        // It ends when the proxy has tried to connect.
        let _ = client.read(&mut [0]);
    }
    log.wait_until(|text| text.contains("left_out"));
    proxy.interrupt();
    proxy.wait();

    let seconds = start.elapsed().as_secs() + 2;
    let logged = log.failed_connections().len() as u64;
    let counts: Vec<u64> = log.json().iter().filter_map(|line| line["left_out"].as_u64()).collect();
    assert!(logged <= 10 * seconds, "{logged} lines in {seconds} s");
    assert!(counts.len() as u64 <= seconds, "{counts:?} in {seconds} s");
    assert_eq!(logged + counts.iter().sum::<u64>(), CONNECTIONS);
}

#[test]
fn what_rust_log_says_of_failed_connections_holds_for_the_count_of_others() {
    let (_socket, upstream) = refusing();
    for (rust_log, is_counted) in [("off,millpond::relay=warn", true), ("millpond::relay=off", false)] {
        let log = Log::new();
        let proxy = log.proxy_with(&upstream, &[], Some(rust_log));
        for _ in 0..50 {
            let _ = connect(&proxy).read(&mut [0]);
        }
        proxy.interrupt();
        proxy.wait();
        assert_eq!(log.text().contains("left_out"), is_counted, "RUST_LOG={rust_log}: {}", log.text());
    }
}

#[test]
fn lines_that_a_full_access_log_loses_until_the_exit_are_counted_in_the_log() {
    const CONNECTIONS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Its reader stops, with a full pipe.
    let mut pipe = File::options().read(true).write(true).open(&path).unwrap();
    pipe.write_all(&[b'\n'; CAPACITY_OF_A_PIPE]).unwrap();
    let upstream = Echo::start();
    let log = Log::new();
    let proxy =
        log.proxy(&upstream.endpoint, &["--log-format", "json", "--access-log", path.to_str().unwrap()]);
    for _ in 0..CONNECTIONS {
        answers(&mut connect(&proxy));
    }
    proxy.interrupt();
    proxy.wait();
    let lost: u64 = log.json().iter().filter_map(|line| line["lost"].as_u64()).sum();
    assert_eq!(lost, CONNECTIONS, "{}", log.text());
}

#[test]
fn lines_that_find_no_room_are_counted() {
    const CONNECTIONS: u64 = 8000;
    let upstream = Echo::start();
    let (mut reader, log) = pipe().unwrap();
    let options = ["--log-format", "json", "--access-log", "-"];
    let proxy = Proxy::start_with(ANY_PORT, &upstream.endpoint, &options, |command| command.stderr(log));
    for _ in 0..CONNECTIONS {
        answers(&mut connect(&proxy));
    }
    // The first lines in the pipe make room, so the count is logged while the proxy runs.
    let mut text = vec![0; CAPACITY_OF_A_PIPE];
    reader.read_exact(&mut text).unwrap();
    let rest = thread::spawn(move || {
        reader.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    });
    thread::sleep(Duration::from_millis(200));
    proxy.interrupt();
    proxy.wait();
    let text = rest.join().unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let closed = lines.iter().filter(|line| line["message"] == "connection closed").count() as u64;
    let lost: u64 = lines.iter().filter_map(|line| line["lost"].as_u64()).sum();
    assert!(lost > 0, "the test must log more than the queue holds");
    assert_eq!(closed + lost, CONNECTIONS);
}

#[test]
fn the_access_log_has_each_failed_connection() {
    const CONNECTIONS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access");
    for place in ["-", file.to_str().unwrap()] {
        let log = Log::new();
        let (_socket, upstream) = refusing();
        let proxy = log.proxy(&upstream, &["--access-log", place]);
        for _ in 0..CONNECTIONS {
            // It ends when the proxy has tried to connect: on a busy machine that may be before this thread has connected.
            let _ = TcpStream::connect(proxy.address()).and_then(|mut client| {
                client.set_read_timeout(Some(PATIENCE))?;
                client.read(&mut [0])
            });
        }
        proxy.interrupt();
        proxy.wait();
        let text = if place == "-" { log.text() } else { fs::read_to_string(&file).unwrap() };
        assert_eq!(text.matches("connection failed").count(), CONNECTIONS, "--access-log {place}: {text}");
    }
}

#[test]
fn every_line_has_a_time_and_no_escape_codes_unless_on_a_terminal() {
    let upstream = Echo::start();
    for format in ["text", "json"] {
        let log = Log::new();
        let proxy = log.proxy_with(
            &upstream.endpoint,
            &["--log-format", format, "--access-log", "-", "--stats-every", "0.05"],
            Some("trace"),
        );
        answers(&mut connect(&proxy));
        reset(connect(&proxy));
        log.wait_for(1);
        thread::sleep(Duration::from_millis(200));
        proxy.interrupt();
        proxy.wait();
        let text = log.text();
        assert!(text.lines().count() > 5, "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        text.lines().for_each(|line| assert_has_time(line, format == "json"));
        assert!(text.lines().all(|line| line.len() < 400), "a line is too long to read: {text}");
    }
}

#[test]
fn only_a_terminal_gets_colours_and_no_color_is_honoured() {
    for (no_color, coloured) in [(None, true), (Some(""), true), (Some("1"), false)] {
        let terminal = openpty(None, None).unwrap();
        let upstream = Echo::start();
        let proxy = Proxy::start_with(ANY_PORT, &upstream.endpoint, &[], |command| {
            command.env_remove("NO_COLOR").envs(no_color.map(|value| ("NO_COLOR", value)));
            command.stderr(terminal.slave)
        });
        proxy.interrupt();
        proxy.wait();
        let mut text = [0; 4096];
        let length = File::from(terminal.master).read(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text[..length]);
        assert_eq!(text.contains('\u{1b}'), coloured, "NO_COLOR={no_color:?}: {text:?}");
    }
}

#[test]
fn statistics_are_lines_of_the_log_with_their_numbers() {
    let upstream = Echo::start();
    let log = Log::new();
    let proxy = log.proxy(&upstream.endpoint, &["--log-format", "json", "--stats-every", "0.05"]);
    answers(&mut connect(&proxy));
    log.wait_until(|text| text.contains("\"closed\":1"));
    proxy.interrupt();
    proxy.wait();
    let lines = log.json();
    let last = |message: &str| lines.iter().rfind(|line| line["message"] == message).unwrap();
    let connections = last("connections");
    assert_eq!(connections["accepted"], 1, "{connections}");
    assert_eq!(connections["bytes_to_client"], 5, "{connections}");
    let memory = last("memory");
    assert!(memory["live_bytes"].is_u64(), "{memory}");
    assert!(memory["waits"].is_u64(), "{memory}");
}

#[test]
fn a_wrong_rust_log_is_wrong_usage_and_the_message_teaches() {
    for (value, advice) in [
        ("verbose", "`verbose` is neither a level"),
        ("millpond=loud", "`millpond=loud`"),
        ("info,millpond==debug", "`millpond==debug`"),
        ("=", "`=`"),
        ("millpond::rely=debug", "`millpond::rely=debug`"),
        ("millpond::rel", "`millpond::rel`"),
        ("[a]=info", "`[a]=info`"),
    ] {
        let said = wrong_usage(OsStr::new(value));
        assert!(said.contains(advice), "{said}");
        assert!(said.contains("targets are millpond::"), "{said}");
        assert!(said.contains("RUST_LOG=millpond=debug"), "an example is missing: {said}");
    }
    assert!(wrong_usage(OsStr::from_bytes(b"\xff")).contains("RUST_LOG"));
}

#[test]
fn a_right_rust_log_is_taken() {
    let upstream = Echo::start();
    for value in [
        "",
        "warn",
        "DEBUG",
        "millpond",
        "millpond::relay=debug",
        "millpond::statistics=off",
        "another=debug",
        "off",
    ] {
        let log = Log::new();
        let proxy = log.proxy_with(&upstream.endpoint, &[], Some(value));
        reset(connect(&proxy));
        thread::sleep(Duration::from_millis(50));
        proxy.interrupt();
        proxy.wait();
        let text = log.text();
        assert_eq!(text.contains("connection failed"), value != "off", "RUST_LOG={value}: {text}");
        let warns = text.contains("RUST_LOG names targets of other programs")
            && text.contains("foreign=another=debug");
        assert_eq!(warns, value == "another=debug", "RUST_LOG={value}: {text}");
    }
}

#[test]
fn a_start_that_fails_says_so_whatever_rust_log_is() {
    for value in ["off", "another_program=debug,off"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["proxy", "--listen", "unix:///dev", "--to", "tcp://127.0.0.1:1"]);
        let output = command.env("RUST_LOG", value).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("unix:///dev is a directory"), "{said}");
    }
}

/// What the command says about this RUST_LOG. It must be one line.
fn wrong_usage(rust_log: &OsStr) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.args(["proxy", "--listen", ANY_PORT, "--to", "tcp://127.0.0.1:1"]);
    let mut child =
        command.env("RUST_LOG", rust_log).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let code = exit_code(child);
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(code, Some(2), "RUST_LOG={rust_log:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// The exit code, or `None` if the process does not end or is killed.
fn exit_code(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap().code()
}

/// The log of a proxy, in a file.
struct Log(tempfile::NamedTempFile);

impl Log {
    fn new() -> Self {
        Self(tempfile::NamedTempFile::new().unwrap())
    }

    fn proxy(&self, to: &str, options: &[&str]) -> Proxy {
        self.proxy_with(to, options, None)
    }

    fn proxy_with(&self, to: &str, options: &[&str], rust_log: Option<&str>) -> Proxy {
        let file = File::options().append(true).open(self.0.path()).unwrap();
        Proxy::start_with(ANY_PORT, to, options, |command| {
            command.envs(rust_log.map(|value| ("RUST_LOG", value))).stderr(file)
        })
    }

    fn text(&self) -> String {
        fs::read_to_string(self.0.path()).unwrap()
    }

    fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn failed_connections(&self) -> Vec<Value> {
        let mut lines = self.json();
        lines.retain(|line| {
            ["connection failed", "connection aborted"].iter().any(|said| line["message"] == *said)
        });
        lines
    }

    /// Waits until this many connections are logged that failed.
    fn wait_for(&self, failed: usize) {
        self.wait_until(|text| text.matches("connection failed").count() >= failed);
    }

    fn wait_until(&self, condition: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.text()) {
            assert!(Instant::now() < deadline, "{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Asserts that the line begins with a time in UTC as in RFC 3339, or has it as its timestamp.
fn assert_has_time(line: &str, is_json: bool) {
    let json = || serde_json::from_str::<Value>(line).unwrap()["timestamp"].as_str().unwrap().to_owned();
    let time = if is_json { json() } else { line.split(' ').next().unwrap().to_owned() };
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{line}");
}

/// A server that returns what it receives.
struct Echo {
    endpoint: String,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut bytes = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut bytes) {
                        if stream.write_all(&bytes[..length]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { endpoint }
    }
}

/// An endpoint that refuses connections: the socket is bound, so that no other process takes its port, and does not listen.
fn refusing() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("tcp://{}", socket.local_addr().unwrap());
    (socket, endpoint)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Asserts that the server at the other end of the proxy answers.
fn answers(client: &mut (impl Read + Write)) {
    let mut answer = [0; 5];
    client.write_all(b"grist").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"grist");
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}
