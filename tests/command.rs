//! How `millpond proxy` ends: drained by Ctrl-C, or at the start with one line that says what to do.

mod proxy;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

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
    assert!(said.contains(" drained, 0 aborted"), "{said}");
}

#[test]
fn a_connection_that_does_not_end_is_cut() {
    let (proxy, mut client, _server) = connected(&["--drain-timeout", "0.1"]);
    proxy.interrupt();
    assert_is_cut(&mut client);
    let said = proxy.wait();
    assert!(said.contains("0 connections drained, 1 aborted"), "{said}");
}

#[test]
fn an_unreachable_upstream_costs_the_client_its_connection_and_the_proxy_nothing() {
    // Bound and not listening: nobody answers, and nobody else can take the port.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let upstream = silent.local_addr().unwrap();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{upstream}"), &[]);
    for _ in 0..2 {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_is_cut(&mut client);
    }
    proxy.interrupt();
    proxy.wait();
}

#[test]
fn what_cannot_start_says_what_to_do_in_one_line() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("tcp://{}", busy.local_addr().unwrap());
    let upstream = "tcp://127.0.0.1:6379";
    for (arguments, advice) in [
        (&["--listen", &busy, "--to", upstream][..], "stop who listens there or choose another address"),
        // RFC 5737 keeps this network for documentation: no machine has the address.
        (&["--listen", "tcp://192.0.2.1:7000", "--to", upstream], "cannot listen on tcp://192.0.2.1:7000"),
        (&["--listen", "unix:///proc/millpond.sock", "--to", upstream], "cannot listen on unix:///proc/"),
        (&["--listen", "7000", "--to", upstream], "write tcp://HOST:PORT or unix:///PATH"),
        (&["--listen", "tcp://127.0.0.1", "--to", upstream], "end it with a port"),
        (&["--listen", "tcp://127.0.0.1:0", "--to", "redis"], "write tcp://HOST:PORT or unix:///PATH"),
        (&["--listen", "tcp://127.0.0.1:0"], "--to"),
        (&["--listen", "tcp://127.0.0.1:0", "--to", upstream, "--max-connections", "0"], "from 1 on"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_millpond")).arg("proxy").args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code().is_some_and(|code| code != 0), "{arguments:?}: {}", output.status);
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.contains(advice), "{arguments:?}: {said}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

/// A proxy with one connection through it, both ends in hand, over which a message passed.
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

/// The end of the stream, orderly or by a reset.
fn assert_is_cut(client: &mut TcpStream) {
    match client.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

/// One message from one end to the other.
fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let mut arrived = [0; 5];
    from.write_all(b"grist").unwrap();
    to.read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"grist");
}

#[test]
fn the_demo_loses_nothing_over_any_way() {
    for over in [&["--over", "proxy"][..], &["--over", "tcp"], &["--over", "unix", "--subscribers", "3"]] {
        let demo = Command::new(env!("CARGO_BIN_EXE_millpond"))
            .args(["demo", "--duration", "0.5", "--connections", "2", "--json"])
            .args(over)
            .output()
            .unwrap();
        assert!(demo.status.success(), "{over:?}: {}", String::from_utf8_lossy(&demo.stderr));
        let report: serde_json::Value = serde_json::from_slice(&demo.stdout).unwrap();
        assert_eq!(
            (&report["messages_lost"], &report["messages_altered"]),
            (&0.into(), &0.into()),
            "{over:?}"
        );
        assert!(report["messages"].as_u64().unwrap() > 0, "{over:?}");
    }
}
