//! The kernel's memory per idle relayed TCP connection: both sockets of the proxy, their files, and their places in epoll.
//!
//! `cargo bench --features proxy --bench kernel_memory [-- [CONNECTIONS]]`
//!
//! This process is both the clients and the server. First they are connected to each other, then through the proxy: what
//! the kernel's slabs grew by more is the proxy's. `millpond size` computes with it. Nothing else should open and close
//! connections at the same time.

mod proxies;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use proxies::{Arguments, Kind, Proxy, raise_descriptor_limit};

const CONNECTIONS: usize = 8000;
/// After it the proxy has freed its buffers, and the kernel what it frees later.
const REST: Duration = Duration::from_secs(12);

fn main() {
    raise_descriptor_limit();
    let connections = Arguments::parse().number.unwrap_or(CONNECTIONS);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let alone = grown_by(connections, port, &server);
    sleep(REST);
    let proxy = Proxy::start(Kind::Millpond, port);
    let proxied = grown_by(connections, proxy.port, &server);
    println!("{connections} connections: {alone} bytes each without the proxy, {proxied} with it");
    println!("the proxy's own: {} bytes", proxied - alone);
}

/// Bytes of slabs per connection that has exchanged a few bytes and rests.
fn grown_by(connections: usize, port: u16, server: &TcpListener) -> i64 {
    let before = slabs();
    let open: Vec<_> = (0..connections)
        .map(|_| {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.write_all(&[1; 100]).unwrap();
            let (mut accepted, _) = server.accept().unwrap();
            let mut bytes = [0; 100];
            accepted.read_exact(&mut bytes).unwrap();
            accepted.write_all(&bytes).unwrap();
            client.read_exact(&mut bytes).unwrap();
            (client, accepted)
        })
        .collect();
    sleep(REST);
    let grown = slabs() - before;
    drop(open);
    grown / connections as i64
}

fn slabs() -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|line| line.starts_with("Slab:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() * 1024
}
