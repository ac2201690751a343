//! From a contract file to a publisher and a subscriber over TCP, with the pool that fits the messages.
//!
//! `cargo run --features messages,bus --example contract`

use messages::{Reading, SCHEMA_DIGEST, create_buffer_pool_config};
use millpond::bus::{TcpTransport, TransportConfig};

#[expect(
    dead_code,
    unreachable_pub,
    reason = "the generated code has all messages, and this example uses one"
)]
mod messages {
    include!("generated.rs"); // written by `millpond codegen`; its header names the command
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = TransportConfig::default()
        .buffer_pool(create_buffer_pool_config())
        .schema_digest(Some(SCHEMA_DIGEST)); // a peer with other contracts is refused
    let server = TcpTransport::bind_with("127.0.0.1:0", config.clone()).await?;
    let mut readings = server.subscriber::<Reading>();

    let client = TcpTransport::connect_with(server.local_addr(), config).await?;
    let room = "kitchen".parse()?; // an error if it does not fit the field
    client.publisher().publish(&Reading { sensor: 7, celsius: 21.5, room }).await?;

    println!("{:?}", readings.recv().await?.view()?); // borrows from the received buffer
    Ok(())
}
