//! WebSocket servers: Python's `websockets` as a process, and one in the test that misbehaves on purpose.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millpond::connection::websocket::WebSocketConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// A test that waits this long has failed, even on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a test's event needs at most; a test that waits for longer fails.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// The Python that `tests/install` has prepared, or the system's.
pub(crate) fn python() -> String {
    let prepared = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");
    let chosen = env::var("MILLPOND_PYTHON").ok();
    let prepared = || Path::new(prepared).exists().then(|| prepared.to_owned());
    chosen.or_else(prepared).unwrap_or_else(|| "python3".to_owned())
}

/// A program that prints its port when it is ready. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn python(port: u16, options: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/websocket_servers/server.py");
        let mut command = Command::new(python());
        let command = command.arg(script).arg(port.to_string()).args(options);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("python3 is missing: run tests/run");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port =
            line.trim().parse().expect("the server did not start; if `websockets` is missing: run tests/run");
        Self { child, port }
    }

    pub(crate) fn config(&self) -> WebSocketConfig {
        WebSocketConfig::new(&format!("ws://127.0.0.1:{}/", self.port)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A listener in the test.
pub(crate) struct Here {
    listener: TcpListener,
}

impl Here {
    pub(crate) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn config(&self) -> WebSocketConfig {
        WebSocketConfig::new(&format!("ws://{}/", self.address())).unwrap()
    }

    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    pub(crate) async fn accept(&self) -> WebSocketStream<TcpStream> {
        let stream = self.accept_tcp().await;
        soon(accept_async(stream)).await.unwrap()
    }
}
