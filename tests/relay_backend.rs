//! Several servers behind one listener, over real sockets: failover, reload, and what is reported of it.

use std::time::Duration;

use millpond::net::{Endpoint, Listener, Stream};
use millpond::relay::{Backend, BackendConfig, Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// A relay that serves a backend in a task.
struct Setup {
    relay: Relay,
    listen: Endpoint,
}

impl Setup {
    async fn new(backend: &Backend, config: RelayConfig) -> Self {
        let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config);
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_endpoint().clone();
        let (serving, backend) = (relay.clone(), backend.clone());
        tokio::spawn(async move { serving.serve(listener, backend, std::future::pending()).await });
        Self { relay, listen }
    }

    async fn client(&self) -> Stream {
        Stream::connect(&self.listen, PATIENCE).await.unwrap()
    }

    /// What the server of a new connection is called. The connection stays open.
    async fn greeted(&self) -> (String, Stream) {
        let mut client = self.client().await;
        let name = timeout(PATIENCE, name(&mut client)).await.unwrap().unwrap();
        (name, client)
    }
}

async fn name(client: &mut Stream) -> std::io::Result<String> {
    let mut name = [0; 1];
    client.read_exact(&mut name).await?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// A server that greets each client with its name and then waits for the end.
async fn server(name: &'static str) -> Endpoint {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_endpoint().clone();
    tokio::spawn(greet(listener, name));
    at
}

async fn greet(listener: Listener, name: &'static str) {
    let greet = move |mut stream: Stream| async move {
        if stream.write_all(name.as_bytes()).await.is_ok() {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    listener.serve(1000, Duration::ZERO, std::future::pending(), greet).await;
}

/// Where nobody listens.
async fn nobody() -> Endpoint {
    Listener::bind("127.0.0.1:0").await.unwrap().local_endpoint().clone()
}

#[tokio::test]
async fn a_client_does_not_notice_that_the_first_server_is_dead() {
    let backend = Backend::new([nobody().await, server("b").await], BackendConfig::default());
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    assert_eq!(setup.greeted().await.0, "b");
}

#[tokio::test]
async fn the_last_error_names_the_last_server_when_all_are_dead() {
    let backend = Backend::new([nobody().await, nobody().await], BackendConfig::default());
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let error = timeout(PATIENCE, name(&mut setup.client().await)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(setup.relay.stats().connect_errors, 1);
}

#[tokio::test]
async fn new_connections_see_the_servers_of_a_reload() {
    let backend = Backend::from(server("a").await);
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let (_, mut before) = setup.greeted().await;
    backend.replace([server("b").await], BackendConfig::default());
    assert_eq!(setup.greeted().await.0, "b");
    // The other one is where it was.
    before.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, before.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_connection_keeps_the_settings_from_its_accept() {
    let backend = Backend::from(server("a").await);
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let (_, mut before) = setup.greeted().await;
    let soon = Duration::from_millis(100);
    setup.relay.replace_config(RelayConfig::default().idle_timeout(Some(soon)));
    let (_, mut after) = setup.greeted().await;
    let ended = timeout(PATIENCE, after.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    before.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, before.read(&mut [0])).await.unwrap().unwrap(), 0);
}
