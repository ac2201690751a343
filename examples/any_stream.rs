//! The bus over any reader and writer, here a pipe in memory: `cargo run --features bus --example any_stream`

use millpond::bus::{Hub, TransportConfig};

mod counter;
use counter::CounterUpdate;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (here, there) = (Hub::new(TransportConfig::default()), Hub::new(TransportConfig::default()));
    let mut counters = there.subscriber::<CounterUpdate>();
    let publisher = here.publisher();

    let (one, other) = tokio::io::duplex(4096);
    tokio::spawn(async move { here.handle_stream_connection(one).await });
    let serving = tokio::spawn(async move { there.handle_stream_connection(other).await });
    while publisher.publish(&CounterUpdate { counter_id: 7, value: 42, delta: -1 }).await? == 0 {
        tokio::task::yield_now().await; // nobody is connected yet
    }
    println!("{:?}", counters.recv().await?.view());
    serving.abort();
    Ok(())
}
