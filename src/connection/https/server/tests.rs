//! The permit of a connection that takes the place of another.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::poll_immediate;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::connection_limit::ConnectionLimit;
use super::*;
use crate::connection::Pool;

const PATIENCE: Duration = Duration::from_secs(20);

/// The URL of a server that answers each request, and keeps its connections.
async fn answering() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_fresh_connection_takes_the_place_of_the_one_that_was_closed_for_it() {
    let limit = Arc::new(ConnectionLimit::new(Some(1), || false));
    let manager = HttpsConnectionManager::new(&answering().await).unwrap().limited(Arc::clone(&limit));
    let settings = Arc::new(|| Pool::builder().min_idle(None).retry_connection(false));
    let server = Server::new(manager, settings, &Http2PoolConfig::default(), None);
    let request = Request::get("/").body(RequestBody::empty()).unwrap();
    server.send(request, true).await.unwrap().into_body().collect().await.unwrap();
    let mut other = pin!(limit.acquire(PATIENCE));
    assert!(poll_immediate(&mut other).await.is_none());
    let fresh = server.get_fresh().await.unwrap();
    assert_eq!(fresh.requests(), 0);
    assert_eq!(limit.state().connections, 1);
}
