//! Requests over pooled WebSocket connections, and a subscription that is kept up.
//!
//! `cargo run --features websocket --example websocket_pool`

mod server;

use millpond::connection::Pool;
use millpond::connection::websocket::{WebSocketClient, WebSocketConfig, WebSocketManager};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = WebSocketConfig::new(&server::start().await?)?;
    let pool = Pool::builder().max_size(8).min_idle(1).build(WebSocketManager::new(config.clone())?).await?;
    println!("answer: {:?}", pool.get().await?.exchange("request").await?);
    println!("{}", pool.state()); // the connection is idle, and its pings are answered

    let client = WebSocketClient::start_with(config, |session| async move {
        session.send("subscribe prices")?; // after each reconnect, before all that waits
        Ok(())
    })?;
    client.send("also while the server is down").await?;
    println!("feed: {:?}, {:?}", client.recv().await?, client.recv().await?);
    client.close().await?;
    Ok(())
}
