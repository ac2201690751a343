//! TLS against real servers: what a handshake agrees on, by the server's own account as well.

mod tls_servers;

use std::process::Command;

use millpond::net::tls::TlsVersion;
use tls_servers::{Authority, NAME, Server, get, handshake};

#[tokio::test]
async fn a_handshake_agrees_on_the_newest_version() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let mut stream = server.tls(&authority.trusted().build().unwrap()).await.unwrap();
    assert_eq!(stream.version(), TlsVersion::Tls13);
    assert_eq!(get(&mut stream).await, format!("[.] [TLSv1.3] [{NAME}] [] [NONE]"));
}
