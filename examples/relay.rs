//! A complete proxy.
//!
//! `cargo run --features relay --example relay -- tcp://127.0.0.1:7000 tcp://127.0.0.1:6379`
//!
//! Without arguments it relays one line to its own server and back, which is how CI runs it.

use millpond::net::{Endpoint, Listener, Stream};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    let endpoints: Vec<Endpoint> =
        std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    if let [listen, to] = &endpoints[..] {
        let listener = Listener::bind(listen).await?;
        relay.serve(listener, to.clone(), std::future::pending()).await;
        return Ok(());
    }

    let any_port: Endpoint = "tcp://127.0.0.1:0".parse()?;
    let server = Listener::bind(&any_port).await?;
    let upstream = server.local_endpoint().clone();
    tokio::spawn(async move {
        let mut stream = server.accept().await?;
        let mut line = [0; 6];
        stream.read_exact(&mut line).await?;
        stream.write_all(&line).await
    });
    let listener = Listener::bind(&any_port).await?;
    let mut client = Stream::connect(listener.local_endpoint(), Duration::from_secs(5)).await?;
    let talk = async {
        client.write_all(b"hello\n").await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        client.shutdown().await?;
        Ok::<_, std::io::Error>(answer)
    };
    let (tell, told) = tokio::sync::oneshot::channel();
    let serve = relay.serve(listener, upstream, async { drop(told.await) });
    let (report, answer) = tokio::join!(serve, async {
        let answer = talk.await;
        let _ = tell.send(());
        answer
    });
    assert_eq!(answer?, "hello\n");
    println!("{report}; {}", relay.stats());
    Ok(())
}
