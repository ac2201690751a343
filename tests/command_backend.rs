//! `millpond proxy` with several servers: failover, readiness, metrics, and what the log says.

mod proxy;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use proxy::{PATIENCE, Proxy};

/// A server that is there, and where none is.
fn live_and_dead() -> (TcpListener, String, String) {
    let live = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = format!("tcp://{}", live.local_addr().unwrap());
    (live, at, format!("tcp://{dead}"))
}

/// The response of the admin endpoint.
fn get(proxy: &Proxy, path: &str) -> String {
    let admin = proxy.admin.trim_end().strip_prefix("admin endpoint on tcp://").unwrap();
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_dead_primary_is_not_noticed_by_clients() {
    let (server, live, dead) = live_and_dead();
    let more = ["--to", &live, "--balance", "in-order", "--admin", "127.0.0.1:0"];
    let proxy = Proxy::start("tcp://127.0.0.1:0", &dead, &more);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let (mut server, _) = server.accept().unwrap();
    // Once a byte is relayed, the connect is counted.
    client.write_all(b"a").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let metrics = get(&proxy, "/metrics");
    for (server, outcome) in [(&dead, "connect_error"), (&live, "connected")] {
        let is = |line: &&str| {
            line.starts_with("millpond_backend_connects_total")
                && line.contains(&**server)
                && line.contains(outcome)
                && line.ends_with(" 1")
        };
        assert_eq!(metrics.lines().filter(is).count(), 1, "{metrics}");
    }
}

#[test]
fn it_is_ready_if_one_server_can_be_reached() {
    let (_server, live, dead) = live_and_dead();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &dead, &["--to", &live, "--admin", "127.0.0.1:0"]);
    let response = get(&proxy, "/readyz");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[test]
fn the_log_names_the_server_that_is_ejected() {
    let (server, live, dead) = live_and_dead();
    let more = ["--to", &live, "--balance", "in-order", "--eject-after", "1", "--eject-for", "7"];
    let proxy =
        Proxy::start_with("tcp://127.0.0.1:0", &dead, &more, |command| command.stderr(Stdio::piped()));
    drop(TcpStream::connect(proxy.address()).unwrap());
    drop(server.accept().unwrap());
    proxy.interrupt();
    let said = proxy.wait();
    assert!(said.contains(&format!("the upstream is ejected upstream={dead} seconds=7")), "{said}");
}

#[test]
fn wrong_values_are_refused_with_advice() {
    for (option, value, advice) in [
        ("--balance", "random", "write least-connections, in-order or source-hash"),
        ("--eject-after", "0", "write a number of 1 or more"),
        ("--eject-for", "0", "write more than 0 seconds"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", option, value]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(advice), "{said}");
    }
}
