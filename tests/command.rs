//! `millpond proxy` as its operators see it: Ctrl-C drains it, a start that fails prints one line with advice, and the
//! memory of a burst is returned to the system.
//!
//! `MILLPOND_BURST=1GiB cargo test --release --features proxy --test command burst -- --nocapture` shows a large burst.
//! The kernel needs six times its size for the sockets, and the test needs one descriptor per 64 KiB of it.

mod proxy;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, iter, thread};

use bytesize::ByteSize;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use proxy::{PATIENCE, Proxy};
use tokio::net::TcpSocket;

#[test]
fn an_interrupt_lets_the_open_connection_finish() {
    let (proxy, mut client, mut server) = connected(&[]);
    proxy.interrupt();
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(proxy.address()).is_ok() {
        assert!(Instant::now() < deadline, "an interrupted proxy still listens");
        thread::sleep(Duration::from_millis(10));
    }
    pass(&mut client, &mut server);
    pass(&mut server, &mut client);

    drop(client);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop(server);
    let said = proxy.wait();
    assert!(said.contains("aborted=0"), "{said}");
}

#[test]
fn a_connection_that_does_not_end_is_aborted() {
    let (proxy, mut client, _server) = connected(&["--drain-timeout", "0.1"]);
    proxy.interrupt();
    assert_is_aborted(&mut client);
    let said = proxy.wait_for(3);
    assert!(said.contains("drained=0 aborted=1"), "{said}");
}

#[test]
fn an_unreachable_upstream_closes_the_client_and_the_proxy_keeps_running() {
    // Bound and not listening: connecting fails, and no other process can take the port.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let upstream = silent.local_addr().unwrap();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{upstream}"), &[]);
    for _ in 0..2 {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_is_aborted(&mut client);
    }
    proxy.interrupt();
    proxy.wait();
}

#[cfg(target_os = "linux")]
#[test]
fn a_proxy_listens_at_an_abstract_name_and_connects_to_one() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let names = ["listen", "upstream"].map(|name| format!("millpond-{}-{name}", std::process::id()));
    let [listen, upstream] = names.each_ref().map(|name| SocketAddr::from_abstract_name(name).unwrap());
    let listener = UnixListener::bind_addr(&upstream).unwrap();
    let [listen_text, upstream_text] = names.map(|name| format!("unix://@{name}"));
    let proxy = Proxy::start(&listen_text, &upstream_text, &[]);
    assert_eq!(proxy.endpoint, listen_text);

    let mut client = UnixStream::connect_addr(&listen).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    pass(&mut client, &mut server);
    pass(&mut server, &mut client);
    drop((client, server));
    proxy.interrupt();
    proxy.wait();
}

#[test]
fn a_wrong_option_is_named_with_what_is_wrong_about_its_value() {
    for (option, value, advice) in [
        ("--listen", "7000", "write HOST:PORT or unix:///PATH"),
        ("--listen", "tcp://127.0.0.1", "end it with a port"),
        ("--to", "redis", "write HOST:PORT or unix:///PATH"),
        ("--to", "tcp://127.0.0.1:0", "write the port at which the server listens"),
        ("--to", "tcp://redis:00", "write the port at which the server listens"),
        ("--max-connections", "0", "1 or more"),
        ("--max-connections", "-1", "1 or more"),
        ("--backlog", "0", "1 or more"),
        ("--backlog", "-1", "1 or more"),
        ("--backlog", "4294967296", "up to 4294967295"),
        ("--memory-limit", "-1", "write a size"),
        ("--memory-limit", "1", "64KiB or more"),
        ("--idle-timeout", "-1", "write seconds"),
        ("--idle-timeout", "1e30", "write seconds"),
        ("--connect-timeout", "0", "more than 0 seconds"),
        ("--drain-timeout", "-0.5", "write seconds"),
        ("--stats-every", "NaN", "write seconds"),
        ("--lisen", "tcp://127.0.0.1:0", "a similar argument exists: '--listen'"),
    ] {
        // An option that is given twice would be another mistake.
        let rest = [["--listen", "tcp://127.0.0.1:0"], ["--to", "tcp://127.0.0.1:1"]];
        let rest = rest.iter().filter(|[name, _]| *name != option).flatten();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        let output = command.arg("proxy").args([option, value]).args(rest).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{option} {value}: {said}");
        assert!(said.contains(option), "{option} {value}: {said}");
        assert!(said.contains(advice), "{option} {value}: {said}");
    }
}

#[test]
fn a_failed_start_prints_one_line_with_advice() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("tcp://{}", busy.local_addr().unwrap());
    let upstream = "tcp://127.0.0.1:6379";
    for (arguments, advice) in [
        (
            &["--listen", &busy, "--to", upstream][..],
            "stop the program that listens there, or choose another address",
        ),
        // RFC 5737 reserves this network for documentation, so no machine has the address.
        (&["--listen", "tcp://192.0.2.1:7000", "--to", upstream], "cannot listen on tcp://192.0.2.1:7000"),
        (&["--listen", "unix:///proc/millpond.sock", "--to", upstream], "cannot listen on unix:///proc/"),
        (&["--listen", "unix:///dev", "--to", upstream], "unix:///dev is a directory, not a socket (choose"),
        (&["--listen", "unix:///dev/null", "--to", upstream], "unix:///dev/null is a device or a pipe,"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_millpond")).arg("proxy").args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.contains(advice), "{arguments:?}: {said}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[test]
fn a_proxy_returns_the_memory_of_a_burst_to_the_system() {
    /// Bytes that each direction of a connection holds in the proxy while its reader stalls.
    const BUFFER: usize = 64 * 1024;
    /// Bytes for pages of the program that were loaded meanwhile, and for free memory that shares a page with a live
    /// allocation.
    const TOLERANCE: usize = 4 << 20;
    let burst = env::var("MILLPOND_BURST").map_or(ByteSize::mib(128), |size| size.parse().unwrap());
    let burst = usize::try_from(burst.as_u64()).unwrap();
    let (_, most_descriptors) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most_descriptors, most_descriptors).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let endpoint = |name: &str| format!("unix://{}", path(name).display());
    let upstream = UnixListener::bind(path("upstream")).unwrap();
    let limit = (2 * burst).to_string();
    let proxy = Proxy::start(&endpoint("proxy"), &endpoint("upstream"), &["--memory-limit", &limit]);
    let at_start = resident_bytes(&proxy);
    // Each connection has two directions. An eighth more connections, because some reads do not fill their buffer.
    let connect = || [UnixStream::connect(path("proxy")).unwrap(), upstream.accept().unwrap().0];
    let mut ends: Vec<_> = iter::repeat_with(connect).take(burst / BUFFER * 9 / 16).flatten().collect();
    ends.iter().for_each(|end| end.set_nonblocking(true).unwrap());

    // A larger burst takes longer to make; its memory has the same time to return.
    let deadline = Instant::now() + PATIENCE * burst.div_ceil(128 << 20) as u32;
    while resident_bytes(&proxy) < at_start + burst {
        assert!(Instant::now() < deadline, "{} bytes resident", resident_bytes(&proxy));
        // A stopped proxy finds all sockets full when it continues, so its reads fill its buffers.
        proxy.signal(Signal::SIGSTOP);
        for end in &mut ends {
            let error = iter::repeat_with(|| end.write(&[7; BUFFER])).find_map(Result::err).unwrap();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        proxy.signal(Signal::SIGCONT);
        thread::sleep(Duration::from_millis(100));
    }
    let in_burst = resident_bytes(&proxy);
    drop(ends);

    let end_of_burst = Instant::now();
    while resident_bytes(&proxy) > at_start + TOLERANCE {
        let now = resident_bytes(&proxy);
        let late = end_of_burst.elapsed() > 3 * PATIENCE; // 10 s, and longer on a loaded machine
        assert!(!late, "resident bytes: {at_start} at the start, {in_burst} in the burst, {now} now");
        thread::sleep(Duration::from_millis(100));
    }
    let mib = |bytes: usize| bytes as f64 / 1024.0 / 1024.0;
    println!(
        "MiB resident: {:.1} at the start, {:.1} in the burst, {:.1} within {:.1} s after it",
        mib(at_start),
        mib(in_burst),
        mib(resident_bytes(&proxy)),
        end_of_burst.elapsed().as_secs_f64(),
    );
}

/// A proxy and both ends of one connection through it, over which a message has passed.
fn connected(more: &[&str]) -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("tcp://{}", listener.local_addr().unwrap());
    let proxy = Proxy::start("tcp://127.0.0.1:0", &upstream, more);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    pass(&mut client, &mut server);
    (proxy, client, server)
}

/// Asserts that the stream has ended, by a close or by a reset.
fn assert_is_aborted(client: &mut TcpStream) {
    match client.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

/// Passes one message from one end to the other.
fn pass(from: &mut impl Write, to: &mut impl Read) {
    let mut arrived = [0; 5];
    from.write_all(b"grist").unwrap();
    to.read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"grist");
}

/// Resident memory of the process.
fn resident_bytes(proxy: &Proxy) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
