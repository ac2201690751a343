//! `millpond proxy` with options for who may connect.

mod proxy;

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use proxy::{PATIENCE, Proxy};

/// A refused client is reset, perhaps before its connect returns.
fn is_reset(proxy: &Proxy) -> bool {
    let read = TcpStream::connect(proxy.address()).and_then(|mut client| {
        client.set_read_timeout(Some(PATIENCE))?;
        client.read(&mut [0])
    });
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

fn upstream() -> (TcpListener, String) {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("tcp://{}", upstream.local_addr().unwrap());
    (upstream, at)
}

#[test]
fn denied_clients_are_reset() {
    let (_upstream, to) = upstream();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &to, &["--allow", "127.0.0.0/8", "--deny", "127.0.0.1"]);
    assert!(is_reset(&proxy));
    let proxy = Proxy::start("tcp://127.0.0.1:0", &to, &["--allow", "10.0.0.0/8"]);
    assert!(is_reset(&proxy));
}

#[test]
fn a_source_has_as_many_connections_as_the_option_says() {
    for option in ["--max-per-source", "--rate-per-source"] {
        let (_upstream, to) = upstream();
        let proxy = Proxy::start("tcp://127.0.0.1:0", &to, &[option, "1", "--user-timeout", "60"]);
        // Of a hundred some are refused, also if the machine is slow and they take some seconds.
        let clients: Vec<_> = (0..100).filter_map(|_| TcpStream::connect(proxy.address()).ok()).collect();
        let began = Instant::now();
        let is_refused = |mut client: &TcpStream| {
            client.set_nonblocking(true).unwrap();
            client.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
        };
        while !clients.iter().any(is_refused) && clients.len() == 100 {
            assert!(began.elapsed() < PATIENCE, "{option}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_socket_file_has_the_mode_of_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let listen = format!("unix://{}", path.display());
    let gid = format!(":{}", nix::unistd::Gid::effective());
    let (_upstream, to) = upstream();
    let _proxy = Proxy::start(&listen, &to, &["--unix-mode", "606", "--unix-owner", &gid]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o606);
}

#[test]
fn a_mistake_says_what_to_write() {
    for (option, value, advice) in [
        ("--allow", "10.1.2.3/8", "write 10.0.0.0/8 for the network, or 10.1.2.3 for the address"),
        ("--deny", "localhost", "write a network such as 10.0.0.0/8, an address, or unix"),
        ("--max-per-source", "0", "write a number of 1 or more"),
        ("--unix-mode", "rw", "write an octal mode, as in 660"),
        ("--unix-owner", "nobody-of-this-name", "this system has no user nobody-of-this-name"),
        ("--unix-owner", ":", "write USER, USER:GROUP or :GROUP"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", option, value]);
        let output = command.stdout(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(advice), "{option}: {said}");
    }
}
