//! Requests over pooled WebSocket connections, and a subscription that is kept up.
//!
//! `cargo run --features websocket --example websocket_pool`

use futures_util::{SinkExt, StreamExt};
use millpond::connection::Pool;
use millpond::connection::websocket::{WebSocketClient, WebSocketConfig, WebSocketManager};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = WebSocketConfig::new(&format!("ws://{}/", echo_server().await?))?;

    let pool = Pool::builder().max_size(8).min_idle(1).build(WebSocketManager::new(config.clone())?).await?;
    let mut connection = pool.get().await?;
    println!("answer: {:?}", connection.exchange("request").await?);
    drop(connection); // idle, and its pings are answered

    let client = WebSocketClient::start_with(config, |session| async move {
        session.send("subscribe prices")?; // after each reconnect, before all that waits
        Ok(())
    })?;
    client.send("also while the server is down").await?;
    println!("feed: {:?}, {:?}", client.recv().await?, client.recv().await?);
    client.close().await?;
    Ok(())
}

/// A server that sends back what it gets.
async fn echo_server() -> std::io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_close() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}
