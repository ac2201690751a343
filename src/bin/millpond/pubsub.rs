//! The demo's publish and subscribe: every publisher knows what its subscribers must get.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Buf, BufMut};
use hdrhistogram::Histogram;
use millpond::frame::{Message, MessageError};
use millpond::transport::{Publisher, RecvError, Subscriber, Transport};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::demo::{ClientOutcome, GRACE, Run, Scene};
use crate::traffic::{Progress, SIZES, WINDOW, latencies, pattern};

const HEAD: usize = 24;

/// `u64` publisher | `u64` number | `u64` ns since the start | filling.
struct Numbered<'a> {
    publisher: u64,
    number: u64,
    sent_ns: u64,
    filling: &'a [u8],
}

impl Message for Numbered<'_> {
    const TYPE_ID: u16 = 1;
    const TOPIC: &'static str = "demo";
    const MAX_SIZE: usize = 64 * 1024;
    type View<'a> = Numbered<'a>;

    fn encoded_len(&self) -> usize {
        HEAD + self.filling.len()
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u64_le(self.publisher);
        out.put_u64_le(self.number);
        out.put_u64_le(self.sent_ns);
        out.put_slice(self.filling);
    }

    fn view(mut payload: &[u8]) -> Result<Numbered<'_>, MessageError> {
        if payload.len() < HEAD {
            return Err(MessageError::Length { received: payload.len(), expected: HEAD });
        }
        let (publisher, number, sent_ns) = (payload.get_u64_le(), payload.get_u64_le(), payload.get_u64_le());
        Ok(Numbered { publisher, number, sent_ns, filling: payload })
    }
}

/// What one subscriber grants each publisher: a window of messages that it has not seen.
type Windows = Arc<[Semaphore]>;

/// Publishers over connections of their own to one server. No subscriber is a window behind, so that none misses any.
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
    let pools = publishers.iter().map(|client| client.buffer_pool().clone());
    let pools = pools.chain([server.buffer_pool().clone()]).collect();
    for (index, windows) in windows.iter().enumerate() {
        let (subscriber, windows, pattern) = (server.subscriber(), Arc::clone(windows), Arc::clone(&pattern));
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
                publish(client.publisher(), index, &windows, start, until, &pattern, &progress).await;
                // All that was sent has been seen, or never will be.
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
    publisher: Publisher<Numbered<'_>>,
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
        let message = Numbered { publisher: index, number, sent_ns, filling: filling(number, pattern) };
        progress.sent.fetch_add(1, Ordering::Relaxed);
        if publisher.publish(&message).await.is_err() {
            return;
        }
    }
}

/// Until the transport is shut down.
async fn subscribe(
    mut subscriber: Subscriber<Numbered<'_>>,
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
        let Numbered { publisher, number, sent_ns, filling: seen } = received.view();
        if sent_ns >= measure_from_ns {
            latencies.saturating_record(start.elapsed().as_nanos() as u64 - sent_ns);
        }
        let intact = seen == filling(number, pattern);
        if let Some(progress) = progress {
            progress.received.fetch_add(1, Ordering::Relaxed);
            progress.bytes.fetch_add(received.len() as u64, Ordering::Relaxed);
            progress.altered.fetch_add(u64::from(!intact), Ordering::Relaxed);
        } else if !intact {
            return Err("a subscriber got other bytes than were sent".into());
        }
        windows[publisher as usize].add_permits(1);
    }
}

/// Another part of the pattern for each message.
fn filling(number: u64, pattern: &[u8]) -> &[u8] {
    let number = number as usize;
    let len = SIZES[number % SIZES.len()] - HEAD;
    let start = number % (pattern.len() - len);
    &pattern[start..start + len]
}
