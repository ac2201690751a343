//! Publish and subscribe over TCP.
//!
//! `cargo run --features bus --example tcp`

use millpond::bus::TcpTransport;

mod counter;
use counter::CounterUpdate;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = TcpTransport::bind("127.0.0.1:0").await?;
    let mut counters = server.subscriber::<CounterUpdate>();

    let client = TcpTransport::connect(server.local_addr()).await?;
    client.publisher().publish(&CounterUpdate { counter_id: 7, value: 42, delta: -1 }).await?;

    let received = counters.recv().await?; // in the storage it was read into
    println!("{:?}", received.view()?);
    drop(received);
    client.shutdown().await;
    println!("{}", server.shutdown().await);
    Ok(())
}
