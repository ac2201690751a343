//! `millpond proxy` with PROXY headers: the options, what the log says, and the check of the upstream.

mod proxy;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use proxy::{PATIENCE, Proxy};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n";

fn listen() -> (TcpListener, String) {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", upstream.local_addr().unwrap());
    (upstream, to)
}

fn assert_receives(stream: &mut TcpStream, expected: &[u8]) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn the_log_names_the_client_and_the_proxy() {
    let (upstream, to) = listen();
    let more = ["--accept-proxy", "::1", "--accept-proxy", "127.0.0.0/8", "--send-proxy", "v1"];
    let proxy = Proxy::start_with("tcp://127.0.0.1:0", &to, &more, |command| {
        command.stderr(std::process::Stdio::piped()).env("RUST_LOG", "millpond=debug")
    });
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(LINE).unwrap();
    let (mut server, _) = upstream.accept().unwrap();
    assert_receives(&mut server, LINE);
    let names = format!("client=192.0.2.1:40000 proxy={} ", client.local_addr().unwrap());
    drop((client, server));
    proxy.interrupt();
    let said = proxy.wait();
    assert!(said.contains(&names), "{said}");
}

#[test]
fn the_check_of_the_upstream_is_no_client() {
    for (version, expected) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")]
    {
        let (upstream, to) = listen();
        let more = ["--admin", "127.0.0.1:0", "--send-proxy", version];
        let proxy = Proxy::start("tcp://127.0.0.1:0", &to, &more);
        let admin = proxy.admin.trim_end().strip_prefix("admin endpoint on tcp://").unwrap();
        let mut scrape = TcpStream::connect(admin).unwrap();
        scrape.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let (mut check, _) = upstream.accept().unwrap();
        assert_receives(&mut check, expected);
        assert_receives(&mut scrape, b"HTTP/1.1 200 OK");
    }
}

#[test]
fn wrong_values_are_refused_with_advice() {
    for (option, value, advice) in [
        ("--accept-proxy", "10.0.0.0/33", "from 0 to 32"),
        ("--accept-proxy", "localhost", "write a network such as 10.0.0.0/8, an address, or unix"),
        ("--send-proxy", "v3", "write v1 or v2"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", option, value]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(advice), "{said}");
    }
}
