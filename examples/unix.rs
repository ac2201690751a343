//! A server that publishes to all its clients, over a Unix socket.
//!
//! `cargo run --features bus --example unix`

use millpond::bus::{ConnectionEvent, UnixTransport};

mod counter;
use counter::CounterUpdate;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("millpond-example-{}.sock", std::process::id()));
    let server = UnixTransport::bind(&path).await?; // creates folders, replaces a stale socket but no live one
    let mut events = server.hub().events();
    let client = UnixTransport::connect(&path).await?;
    let mut counters = client.subscriber::<CounterUpdate>();
    while !matches!(events.recv().await?, ConnectionEvent::Opened { .. }) {}

    server.publisher().publish(&CounterUpdate { counter_id: 7, value: 42, delta: -1 }).await?;
    println!("{:?}", counters.recv().await?.view()?);
    println!("{}", server.shutdown().await);
    Ok(())
}
