//! The hub's counters: each frame and each byte is counted once, whether it is delivered, dropped or refused.

use std::time::Duration;

use bytes::BufMut;
use millpond::bus::{
    ConnectionErrorKind, Hub, PublishError, RecvError, TcpTransport, TransportConfig, TransportStats,
    UnknownTypes,
};
use millpond::frame::tlv::{self, Frame};
use millpond::frame::{Constraint, FrameErrorKind, Message, MessageError};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

mod messages;

use messages::CounterUpdate;

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);
/// Bytes of a [`CounterUpdate`] with its header.
const COUNTER: usize = 22;

fn frame(type_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    tlv::encode(type_id, payload, &mut wire).unwrap();
    wire
}

fn counters(count: usize) -> Vec<u8> {
    frame(CounterUpdate::TYPE_ID, &[0; 16]).repeat(count)
}

/// A hub that has declared counters.
fn hub(config: TransportConfig) -> Hub {
    let hub = Hub::new(config);
    hub.declare::<CounterUpdate>();
    hub
}

/// How a connection that received these bytes ends, and what is counted then.
async fn received(hub: &Hub, wire: &[u8], closes: bool) -> (Option<ConnectionErrorKind>, TransportStats) {
    let (mut peer, stream) = duplex(1 << 16);
    peer.write_all(wire).await.unwrap();
    if closes {
        peer.shutdown().await.unwrap();
    }
    let ended = timeout(SOON, hub.handle_stream_connection(stream)).await.unwrap();
    (ended.err().map(|error| error.kind()), hub.stats())
}

#[tokio::test]
async fn bytes_count_when_a_frame_of_an_unknown_type_ends_the_connection() {
    let wire = [counters(100), frame(4242, b"x")].concat();
    let (error, stats) = received(&hub(TransportConfig::default()), &wire, false).await;
    assert_eq!(error, Some(ConnectionErrorKind::UnknownType(4242)));
    assert_eq!(stats.received_frames, 101);
    assert_eq!(stats.received_bytes, wire.len() as u64);
}

#[tokio::test]
async fn bytes_count_when_a_frame_over_the_limit_ends_the_connection() {
    let wire = [counters(100), frame(CounterUpdate::TYPE_ID, &[0; 2000])].concat();
    let (error, stats) = received(&hub(TransportConfig::default().max_payload(1000)), &wire, false).await;
    let too_large = FrameErrorKind::MessageTooLarge { size: 2000, max: 1000 };
    assert_eq!(error, Some(ConnectionErrorKind::Protocol(too_large)));
    assert_eq!(stats.received_frames, 100);
    assert_eq!(stats.received_bytes, wire.len() as u64);
}

#[tokio::test]
async fn bytes_count_when_the_stream_ends_inside_a_frame() {
    let wire = counters(101);
    let wire = &wire[..wire.len() - 1];
    let (error, stats) = received(&hub(TransportConfig::default()), wire, true).await;
    let truncated = FrameErrorKind::Truncated { received: COUNTER - 1, expected: COUNTER };
    assert_eq!(error, Some(ConnectionErrorKind::Protocol(truncated)));
    assert_eq!(stats.received_frames, 100);
    assert_eq!(stats.received_bytes, wire.len() as u64);
}

#[tokio::test]
async fn bytes_count_when_the_handshake_fails() {
    let wire = counters(100);
    let config = TransportConfig::default().schema_digest(Some([7; 32]));
    let (error, stats) = received(&hub(config), &wire, false).await;
    assert_eq!(error, Some(ConnectionErrorKind::Protocol(FrameErrorKind::DigestMismatch)));
    assert_eq!(stats.received_frames, 0);
    assert_eq!(stats.received_bytes, wire.len() as u64);
}

#[tokio::test]
async fn bytes_count_when_a_frame_times_out() {
    let wire = counters(101);
    let wire = &wire[..wire.len() - 1];
    let (error, stats) = received(&hub(TransportConfig::default().frame_timeout(SHORT)), wire, false).await;
    assert_eq!(error, Some(ConnectionErrorKind::FrameTimeout));
    assert_eq!(stats.received_bytes, wire.len() as u64);
}

/// Without memory one byte is read, to know that there is something to read.
#[tokio::test]
async fn bytes_count_when_there_is_no_memory() {
    let classes = BufferPoolConfig::builder().class(8192, 4).thread_cache_bytes(0);
    let pool = classes.memory_limit(2 * 8192).build().unwrap();
    let hub = hub(TransportConfig::default().buffer_pool(pool).frame_timeout(SHORT));
    let _kept: Vec<_> = std::iter::from_fn(|| hub.buffer_pool().try_acquire(8192).ok()).collect();
    let (error, stats) = received(&hub, &counters(1), false).await;
    assert_eq!(error, Some(ConnectionErrorKind::MemoryTimeout));
    assert_eq!(stats.received_bytes, 1);
}

#[tokio::test]
async fn bytes_count_when_the_peer_resets_the_connection() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    server.hub().declare::<CounterUpdate>();
    let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
    let wire = counters(100);
    socket.write_all(&wire[..wire.len() - 1]).await.unwrap();
    until(|| server.hub().stats().received_frames == 99).await;
    socket.set_zero_linger().unwrap();
    drop(socket);
    until(|| server.hub().stats().resets == 1).await;
    assert_eq!(server.hub().stats().received_bytes, wire.len() as u64 - 1);
}

/// Ten frames for a channel of four.
#[tokio::test]
async fn frames_that_a_subscriber_missed_are_counted() {
    let hub = hub(TransportConfig::default().channel_capacity(4));
    let mut slow = hub.subscriber::<CounterUpdate>();
    let (_, stats) = received(&hub, &counters(10), true).await;
    assert_eq!(stats.lagged_frames, 6);
    assert_eq!(slow.recv().await.unwrap_err(), RecvError::Lagged(6));
    assert_eq!(stats.unsubscribed_frames, 0);
}

#[tokio::test]
async fn frames_above_the_bytes_of_a_channel_are_counted() {
    let hub = hub(TransportConfig::default().channel_bytes(Some(4 * 134)));
    let mut slow = hub.subscriber::<CounterUpdate>();
    let (_, stats) = received(&hub, &counters(10), true).await;
    assert_eq!(stats.lagged_frames, 6);
    assert_eq!(slow.recv().await.unwrap_err(), RecvError::Lagged(6));
}

#[tokio::test]
async fn frames_that_topic_subscribers_and_opaque_subscribers_missed_are_counted() {
    let config = TransportConfig::default().channel_capacity(4);
    let hub = hub(config.unknown_types(Some(UnknownTypes::PassThrough)));
    let _subscribers = (hub.topic_subscriber::<CounterUpdate>(), hub.opaque_subscriber());
    let wire = [counters(10), frame(4242, b"x").repeat(10)].concat();
    let (_, stats) = received(&hub, &wire, true).await;
    assert_eq!(stats.lagged_frames, 6 + 6);
}

#[tokio::test]
async fn frames_without_a_subscriber_are_counted() {
    let hub = hub(TransportConfig::default().unknown_types(Some(UnknownTypes::PassThrough)));
    let wire = [counters(10), frame(4242, b"x")].concat();
    let (_, stats) = received(&hub, &wire, true).await;
    assert_eq!(stats.received_frames, 11);
    assert_eq!(stats.unsubscribed_frames, 11);
}

#[tokio::test]
async fn a_frame_with_a_topic_subscriber_has_a_subscriber() {
    let hub = hub(TransportConfig::default());
    let _topic = hub.topic_subscriber::<CounterUpdate>();
    let (_, stats) = received(&hub, &counters(10), true).await;
    assert_eq!(stats.unsubscribed_frames, 0);
}

#[tokio::test]
async fn skipped_frames_are_counted_once() {
    let hub = hub(TransportConfig::default().unknown_types(Some(UnknownTypes::Skip)));
    let (_, stats) = received(&hub, &frame(4242, b"x").repeat(3), true).await;
    assert_eq!(stats.skipped_frames, 3);
    assert_eq!(stats.unsubscribed_frames, 0);
}

/// A hub with a peer that takes one message at a time, and whose task has not run since it was registered.
async fn hub_with_a_peer() -> (Hub, JoinHandle<()>, DuplexStream) {
    let hub = hub(TransportConfig::default().channel_capacity(2));
    let (peer, stream) = duplex(1);
    let serving = tokio::spawn({
        let hub = hub.clone();
        async move { drop(hub.handle_stream_connection(stream).await) }
    });
    until(|| hub.stats().open == 1).await;
    (hub, serving, peer)
}

const MESSAGE: CounterUpdate = CounterUpdate { counter_id: 7, value: 1, delta: -1 };

#[tokio::test]
async fn frames_in_the_queue_of_a_peer_that_ends_are_counted_as_missed() {
    let (hub, serving, _peer) = hub_with_a_peer().await;
    let publisher = hub.publisher();
    assert_eq!([(); 3].map(|()| publisher.try_publish(&MESSAGE)), [Ok(1), Ok(1), Ok(0)]);
    assert_eq!(hub.stats().missed_frames, 1);
    serving.abort();
    let _ = serving.await;
    assert_eq!(hub.stats().missed_frames, 3);
    assert_eq!(hub.stats().sent_frames, 0);
}

#[tokio::test]
async fn frames_in_the_queue_of_a_peer_are_counted_as_missed_when_the_hub_closes() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let _socket = TcpStream::connect(server.local_addr()).await.unwrap();
    until(|| server.hub().stats().open == 1).await;
    let hub = server.hub().clone();
    assert_eq!(server.publisher().try_publish(&MESSAGE), Ok(1));
    drop(server);
    assert_eq!(hub.stats().missed_frames, 1);
}

#[tokio::test]
async fn a_publisher_that_waits_for_a_peer_that_ends_counts_the_message_as_missed() {
    let (hub, serving, _peer) = hub_with_a_peer().await;
    let publisher = hub.publisher();
    while publisher.try_publish(&MESSAGE) == Ok(1) {}
    let missed = hub.stats().missed_frames;
    let waiting = async {
        serving.abort();
        let _ = serving.await;
    };
    let (published, ()) = tokio::join!(publisher.publish(&MESSAGE), waiting);
    assert_eq!(published, Ok(0));
    // Two in the queue, and the one that waited.
    assert_eq!(hub.stats().missed_frames, missed + 3);
}

/// Zeros; a message of none is not valid.
struct Odd(usize);

impl Message for Odd {
    const TYPE_ID: u16 = 9;
    const TOPIC: &'static str = "odd";
    const MAX_SIZE: usize = 1 << 20;
    type View<'a> = ();

    fn encoded_len(&self) -> usize {
        self.0
    }

    fn validate(&self) -> Result<(), MessageError> {
        if self.0 > 0 { Ok(()) } else { Err(EMPTY) }
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_bytes(0, self.0);
    }

    fn view(_: &[u8]) -> Result<(), MessageError> {
        Ok(())
    }
}

const EMPTY: MessageError = MessageError::Constraint { field: "all", constraint: Constraint::NotEmpty };

#[tokio::test]
async fn each_message_that_could_not_be_published_is_counted() {
    let classes = BufferPoolConfig::builder().class(1024, 4).thread_cache_bytes(0).memory_limit(1024);
    let config = TransportConfig::default().buffer_pool(classes.build().unwrap()).max_payload(1024);
    let hub = Hub::new(config);
    let publisher = hub.publisher::<Odd>();
    let refused = || hub.stats().refused_messages;
    assert_eq!(publisher.publish(&Odd(0)).await, Err(PublishError::Invalid(EMPTY)));
    assert_eq!(refused(), 1);
    assert_eq!(publisher.try_publish(&Odd(0)), Err(PublishError::Invalid(EMPTY)));
    assert_eq!(refused(), 2);
    let too_large = PublishError::MessageTooLarge { size: 1025, max: 1024 };
    assert_eq!(publisher.publish(&Odd(1025)).await, Err(too_large));
    assert_eq!(refused(), 3);
    let buffer = hub.buffer_pool().acquire(1024);
    assert!(matches!(publisher.try_publish(&Odd(1024)), Err(PublishError::OutOfMemory(_))));
    assert_eq!(refused(), 4);
    drop(buffer);
    let other = BufferPool::new(BufferPoolConfig::messages());
    let large = Frame::new(Odd::TYPE_ID, Odd(1025).encode_pooled(&other).into_shared());
    assert_eq!(hub.forward(large).await, Err(too_large));
    assert_eq!(refused(), 5);
    hub.shutdown().await;
    assert_eq!(publisher.publish(&Odd(1)).await, Err(PublishError::Closed));
    assert_eq!(refused(), 6);
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, wait).await.expect("the condition did not hold in time");
}
