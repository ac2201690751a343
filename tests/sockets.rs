//! Listening on a socket file that another listener owns, and connecting to a busy listener.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use millpond::net::{Endpoint, ErrorKind, Listener, Stream};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::runtime;
use tokio::time::timeout;

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder for one test, removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("millpond-transport-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> (PathBuf, Endpoint) {
        let path = self.0.join("s.sock");
        (path.clone(), Endpoint::Unix(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A listener whose accept queue is full, and the connections that fill it.
async fn busy(path: &Path) -> (UnixListener, Vec<UnixStream>) {
    let socket = UnixSocket::new_stream().unwrap();
    socket.bind(path).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(path).await {
        waiting.push(stream);
    }
    (listener, waiting)
}

#[tokio::test]
async fn the_socket_file_of_a_busy_listener_is_in_use() {
    let folder = Folder::new("busy");
    let (path, endpoint) = folder.socket();
    let _busy = busy(&path).await;
    // In its own thread, so that a bind that blocks does not block the test.
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tell.send(runtime.block_on(Listener::bind(&endpoint)).map(drop).map_err(|error| error.kind()))
    });
    let bound = told.recv_timeout(PATIENCE).expect("the bind waited for the busy listener");
    assert_eq!(bound, Err(ErrorKind::AddressInUse));
    assert!(path.exists());
}

#[tokio::test]
async fn a_dropped_listener_keeps_the_socket_file_of_another() {
    let folder = Folder::new("replaced");
    let (path, endpoint) = folder.socket();
    let old = Listener::bind(&endpoint).await.unwrap();
    fs::remove_file(&path).unwrap();
    let new = Listener::bind(&endpoint).await.unwrap();
    drop(old);
    let (client, accepted) =
        tokio::join!(Stream::connect(&endpoint, PATIENCE), timeout(PATIENCE, new.accept()));
    client.expect("the new listener's file was removed");
    accepted.unwrap().unwrap();
    drop(new);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_connect_waits_for_a_busy_unix_listener() {
    let folder = Folder::new("queue");
    let (path, endpoint) = folder.socket();
    let (listener, waiting) = busy(&path).await;

    let after = Duration::from_millis(100);
    let error = Stream::connect(&endpoint, after).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout { after }, "{error}");
    assert!(error.is_timeout());
    let text = error.to_string();
    assert!(text.contains(&endpoint.to_string()) && !text.contains('\n'), "{text}");

    let accept_all = async {
        for _ in 0..=waiting.len() {
            timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        }
    };
    let (connected, ()) = tokio::join!(Stream::connect(&endpoint, PATIENCE), accept_all);
    connected.expect("the accept queue has room now");
}
