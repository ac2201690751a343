//! The demo's publish and subscribe: every publisher knows what its subscribers must get.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hdrhistogram::Histogram;
use millpond::bus::{FrameSubscriber, Hub, PublishError, Publisher, RecvError, Transport, TransportConfig};
use millpond::frame::tlv::Frame;
use millpond::frame::{Message, MessageError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::messages::{
    BOOK_MAX_SIZE, Book, ORDER_MAX_SIZE, Order, SCHEMA_DIGEST, SNAPSHOT_MAX_SIZE, Snapshot, TICK_MAX_SIZE,
    TRADE_MAX_SIZE, Tick, Trade, create_buffer_pool_config,
};
use crate::traffic::{Progress, SIZES, WINDOW, latencies, pattern};
use crate::{ClientOutcome, GRACE, Run, Scene};

/// The fields that all messages of the demo have.
struct Numbered<'a> {
    publisher: u64,
    number: u64,
    sent_ns: u64,
    filling: &'a [u8],
}

/// The messages of contracts.yaml, each with its size.
macro_rules! messages {
    ($($name:ident: $message:ident $size:ident,)*) => {
        /// A publisher for each type.
        struct Publishers {
            $($name: Publisher<$message>,)*
        }

        impl Publishers {
            fn of(hub: &Hub) -> Self {
                Self { $($name: hub.publisher(),)* }
            }

            async fn publish(&self, head: (u64, u64, u64), pattern: &[u8]) -> Result<usize, PublishError> {
                let (publisher, number, sent_ns) = head;
                match SIZES[number as usize % SIZES.len()] {
                    $($size => {
                        let filling = *filling(number, pattern);
                        self.$name.publish(&$message { publisher, number, sent_ns, filling }).await
                    })*
                    size => unreachable!("a message of {size} bytes is in the contracts"),
                }
            }
        }

        fn declare(hub: &Hub) {
            $(hub.declare::<$message>();)*
        }

        fn view(frame: &Frame) -> Result<Numbered<'_>, MessageError> {
            let Frame { payload, .. } = frame;
            match frame.type_id {
                $($message::TYPE_ID => {
                    let view = $message::view(payload)?;
                    let (publisher, number, sent_ns) = (view.publisher, view.number, view.sent_ns);
                    Ok(Numbered { publisher, number, sent_ns, filling: view.filling })
                })*
                other => unreachable!("type {other} is not of the topic"),
            }
        }
    };
}

messages! {
    tick: Tick TICK_MAX_SIZE,
    trade: Trade TRADE_MAX_SIZE,
    order: Order ORDER_MAX_SIZE,
    book: Book BOOK_MAX_SIZE,
    snapshot: Snapshot SNAPSHOT_MAX_SIZE,
}

/// The pool is planned for the contracts, and both ends must have the same ones.
pub(crate) fn config() -> TransportConfig {
    TransportConfig::default().buffer_pool(create_buffer_pool_config()).schema_digest(Some(SCHEMA_DIGEST))
}

/// One subscriber's permits, for each publisher: how many messages it may send that the subscriber has not received.
type Windows = Arc<[Semaphore]>;

/// Connects each publisher to one server. A publisher waits for the slowest subscriber's permits, so that no subscriber
/// misses a message.
pub(crate) fn scene<K: Send + Sync + 'static>(
    server: Transport<K>,
    publishers: Vec<Transport<K>>,
    subscribers: u16,
    run: &Run,
) -> Scene {
    let start = Instant::now();
    let windows: Arc<[Windows]> =
        (0..subscribers).map(|_| publishers.iter().map(|_| Semaphore::new(WINDOW)).collect()).collect();
    let pattern: Arc<[u8]> = pattern().into();
    let mut clients: JoinSet<ClientOutcome> = JoinSet::new();
    let pools = publishers.iter().map(|client| client.hub().buffer_pool().clone());
    let pools = pools.chain([server.hub().buffer_pool().clone()]).collect();
    declare(server.hub());
    for (index, windows) in windows.iter().enumerate() {
        let (subscriber, windows, pattern) =
            (server.hub().topic_subscriber::<Tick>(), Arc::clone(windows), Arc::clone(&pattern));
        let (progress, measure_from) = (Arc::clone(&run.progress), run.measure_from);
        clients.spawn(async move {
            let progress = (index == 0).then_some(&*progress);
            subscribe(subscriber, start, measure_from, &pattern, &windows, progress).await
        });
    }
    let publishing: Vec<_> = (0..)
        .zip(publishers)
        .map(|(index, client)| {
            let (windows, pattern) = (Arc::clone(&windows), Arc::clone(&pattern));
            let (progress, until) = (Arc::clone(&run.progress), run.until);
            tokio::spawn(async move {
                publish(Publishers::of(client.hub()), index, &windows, start, until, &pattern, &progress)
                    .await;
                // Until each subscriber has received everything, or long enough that it never will.
                let all_seen = async {
                    for window in windows.iter() {
                        let _ = window[index as usize].acquire_many(WINDOW as u32).await;
                    }
                };
                let _ = timeout(GRACE, all_seen).await;
                client.shutdown().await;
            })
        })
        .collect();
    clients.spawn(async move {
        for publisher in publishing {
            publisher.await?;
        }
        server.shutdown().await;
        Ok(latencies()?)
    });
    let route = "publisher -> transport -> subscriber";
    Scene { clients, pools, end: Box::pin(async {}), route }
}

async fn publish(
    publishers: Publishers,
    index: u64,
    windows: &[Windows],
    start: Instant,
    until: Instant,
    pattern: &[u8],
    progress: &Progress,
) {
    for number in 0.. {
        if Instant::now() >= until {
            return;
        }
        for window in windows {
            let Ok(place) = window[index as usize].acquire().await else { return };
            place.forget();
        }
        let sent_ns = start.elapsed().as_nanos() as u64;
        progress.sent.fetch_add(1, Ordering::Relaxed);
        if publishers.publish((index, number, sent_ns), pattern).await.is_err() {
            return;
        }
    }
}

/// Receives and checks until the transport is shut down.
async fn subscribe(
    mut subscriber: FrameSubscriber,
    start: Instant,
    measure_from: Instant,
    pattern: &[u8],
    windows: &[Semaphore],
    progress: Option<&Progress>,
) -> Result<Histogram<u64>, Box<dyn std::error::Error + Send + Sync>> {
    let mut latencies = latencies()?;
    let measure_from_ns = measure_from.saturating_duration_since(start).as_nanos() as u64;
    loop {
        let received = match subscriber.recv().await {
            Ok(received) => received,
            Err(RecvError::Closed) => return Ok(latencies),
            Err(error) => return Err(error.into()),
        };
        let Numbered { publisher, number, sent_ns, filling: seen } = view(&received)?;
        if sent_ns >= measure_from_ns {
            latencies.saturating_record(start.elapsed().as_nanos() as u64 - sent_ns);
        }
        let intact = pattern[start_of(number, seen.len(), pattern)..].starts_with(seen)
            && received.payload.len() == SIZES[number as usize % SIZES.len()];
        if let Some(progress) = progress {
            progress.received.fetch_add(1, Ordering::Relaxed);
            progress.bytes.fetch_add(received.payload.len() as u64, Ordering::Relaxed);
            progress.altered.fetch_add(u64::from(!intact), Ordering::Relaxed);
        } else if !intact {
            return Err("a subscriber got other bytes than were sent".into());
        }
        windows[publisher as usize].add_permits(1);
    }
}

/// A part of the pattern, another one for each message.
fn filling<const N: usize>(number: u64, pattern: &[u8]) -> &[u8; N] {
    let filling = pattern[start_of(number, N, pattern)..].first_chunk();
    filling.expect("the pattern is longer than any message")
}

fn start_of(number: u64, len: usize, pattern: &[u8]) -> usize {
    number as usize % (pattern.len() - len)
}
