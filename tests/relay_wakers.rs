//! A relay stores its waker again only where it must: when the waker is another one, or could not be stored.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use millpond::net::Stream;
use millpond::relay::{Relay, RelayConfig, RelayError, Transferred};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::coop::consume_budget;
use tokio::time::{sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

type Relayed = Pin<Box<dyn Future<Output = Result<Transferred, RelayError>> + Send>>;

/// The client, the upstream, and what relays between them.
fn connection() -> (UnixStream, UnixStream, Relayed) {
    let (client, client_side) = UnixStream::pair().unwrap();
    let (upstream_side, upstream) = UnixStream::pair().unwrap();
    let relayed = async move {
        let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
        relay.relay(Stream::Unix(client_side), Stream::Unix(upstream_side)).await
    };
    (client, upstream, Box::pin(relayed))
}

async fn poll_once(relayed: &mut Relayed, before: impl Fn(&mut Context<'_>)) {
    poll_fn(|cx| {
        before(cx);
        assert!(relayed.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

async fn sends(from: &mut UnixStream, to: &mut UnixStream) {
    from.write_all(b"x").await.unwrap();
    timeout(PATIENCE, to.read_exact(&mut [0])).await.expect("the byte was not relayed").unwrap();
}

#[tokio::test]
async fn a_relay_that_moves_to_another_task_wakes_that_one() {
    let (mut client, mut upstream, mut relayed) = connection();
    poll_once(&mut relayed, |_| {}).await;
    client.write_all(b"x").await.unwrap();
    // The runtime sees the byte, so that the first poll in the other task moves it: one that moves nothing stores all wakers.
    sleep(Duration::from_millis(1)).await;
    let _relaying = tokio::spawn(relayed);
    timeout(PATIENCE, upstream.read_exact(&mut [0])).await.unwrap().unwrap();
    sends(&mut upstream, &mut client).await;
    sends(&mut client, &mut upstream).await;
}

#[tokio::test]
async fn a_relay_that_was_polled_without_budget_misses_no_byte() {
    let (mut client, mut upstream, mut relayed) = connection();
    let relaying = tokio::spawn(async move {
        poll_once(&mut relayed, |cx| while pin!(consume_budget()).poll(cx).is_ready() {}).await;
        relayed.await
    });
    // The next poll moves this byte, as above.
    sends(&mut upstream, &mut client).await;
    sends(&mut client, &mut upstream).await;
    drop((client, upstream));
    relaying.await.unwrap().unwrap();
}
