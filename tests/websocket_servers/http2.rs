//! Servers that take WebSockets in streams of HTTP/2 (RFC 8441), and hand them to Python's `websockets`.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use millpond::connection::https::{Http2Pool, Http2PoolConfig, HttpsConfig};
use millpond::connection::websocket::WebSocketConfig;
use tempfile::TempDir;

use crate::upstream::{Authority, Program, free_port, wait_for};

/// haproxy with TLS.
pub(crate) struct Haproxy {
    _program: Program,
    authority: Authority,
    port: u16,
    folder: TempDir,
}

impl Haproxy {
    /// In front of this port. It offers these protocols by ALPN.
    pub(crate) fn start(backend: u16, alpn: &str) -> Self {
        Self::with(backend, alpn, "")
    }

    /// With global settings.
    pub(crate) fn with(backend: u16, alpn: &str, global: &str) -> Self {
        let (folder, authority, port) = (tempfile::tempdir().unwrap(), Authority::new(), free_port());
        let path = folder.path();
        authority.certify(path, "localhost", |_| {});
        let certificate = fs::read_to_string(path.join("cert.pem")).unwrap();
        let key = fs::read_to_string(path.join("key.pem")).unwrap();
        fs::write(path.join("both.pem"), certificate + &key).unwrap();
        let at = path.display();
        let config = format!(
            "global\n nbthread 1\n stats socket {at}/stats\n {global}\n\
             defaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
             frontend front\n bind 127.0.0.1:{port} ssl crt {at}/both.pem alpn {alpn}\n \
             http-request deny deny_status 403 if {{ path /forbidden }}\n \
             http-request return status 503 hdr retry-after 7 if {{ path /busy }}\n default_backend back\n\
             backend back\n server python 127.0.0.1:{backend}\n"
        );
        fs::write(path.join("config"), config).unwrap();
        let program =
            Program::start(Command::new("haproxy").args(["-db", "-q", "-f"]).arg(path.join("config")));
        wait_for(&format!("127.0.0.1:{port}"));
        // It gets its name a moment after the port listens.
        while UnixStream::connect(path.join("stats")).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        Self { _program: program, authority, port, folder }
    }

    pub(crate) fn pool(&self, config: Http2PoolConfig) -> Http2Pool {
        let https = HttpsConfig::default().tls(Some(self.authority.connector(&["h2", "http/1.1"])));
        Http2Pool::new(&format!("https://localhost:{}", self.port), config.https(https)).unwrap()
    }

    pub(crate) fn config(&self, path: &str) -> WebSocketConfig {
        WebSocketConfig::new(&format!("wss://localhost:{}{path}", self.port)).unwrap()
    }

    /// Connections that clients have made, and the one that found out that it listens.
    pub(crate) fn accepts(&self) -> usize {
        let mut socket = UnixStream::connect(self.folder.path().join("stats")).unwrap();
        socket.write_all(b"show stat\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let column = rows[0].iter().position(|&name| name == "conn_tot").unwrap();
        rows.iter().find(|row| row[1] == "FRONTEND").unwrap()[column].parse().unwrap()
    }
}

/// For the `Node` of `http2_pool/server.rs`: it takes WebSockets.
pub(crate) const OFFERED: &str = "{ settings: { enableConnectProtocol: true } }";

/// For the `Node` of `http2_pool/server.rs`: what happens to paths that begin with `/own`.
///
/// | path | answer |
/// |---|---|
/// | `/own/silent` | nothing after the handshake |
/// | `/own/end` | the end of the stream after the handshake |
/// | `/own/reset` | a reset of the stream after the handshake |
/// | `/own/plain` | a handshake with an extension that was not asked for |
/// | others | those of the server with this port |
pub(crate) fn handing_to(backend: u16) -> String {
    HANDLER.replace("BACKEND", &backend.to_string())
}

const HANDLER: &str = "
handle = (stream, path, session) => {
    if (path === '/own/plain') return stream.respond({ 'sec-websocket-extensions': 'permessage-deflate' });
    if (path === '/own/silent') return stream.respond();
    if (path === '/own/end') { stream.respond(); return stream.end(); }
    if (path === '/own/reset') { stream.respond(); return setTimeout(() => stream.close(c.NGHTTP2_INTERNAL_ERROR), 10); }
    const headers = {
        connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
        'sec-websocket-key': require('crypto').randomBytes(16).toString('base64'),
    };
    const upgrade = require('http').request({ port: BACKEND, path: '/', headers });
    upgrade.on('error', () => stream.close(c.NGHTTP2_CONNECT_ERROR));
    upgrade.on('upgrade', (response, socket, head) => {
        socket.on('error', () => {});
        stream.respond();
        if (head.length) stream.write(head);
        socket.pipe(stream);
        stream.pipe(socket);
        stream.on('close', () => socket.destroy());
    });
    upgrade.end();
};
";
