//! Publish and subscribe over any reader and writer, here an in-memory pipe.
//!
//! `cargo run --features bus --example any_stream`

use millpond::bus::{Hub, TransportConfig};

mod counter;
use counter::CounterUpdate;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (sender, receiver) = (Hub::new(TransportConfig::default()), Hub::new(TransportConfig::default()));
    let mut counters = receiver.subscriber::<CounterUpdate>();
    let publisher = sender.publisher();

    let (near, far) = tokio::io::duplex(4096);
    tokio::spawn(async move { sender.handle_stream_connection(near).await });
    let serving = tokio::spawn(async move { receiver.handle_stream_connection(far).await });
    while publisher.publish(&CounterUpdate { counter_id: 7, value: 42, delta: -1 }).await? == 0 {
        tokio::task::yield_now().await; // no peer is connected yet
    }
    println!("{:?}", counters.recv().await?.view()?);
    serving.abort();
    Ok(())
}
