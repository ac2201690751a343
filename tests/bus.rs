//! Publish and subscribe over real sockets.

use std::time::Duration;

use millpond::bus::{
    ConnectionErrorKind, ConnectionEvent, Hub, RecvError, TcpTransport, TransportConfig, UnixTransport,
    UnknownTypes,
};
use millpond::frame::{Message, MessageError, ReadMode, tlv};
use millpond::net::ErrorKind;
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

mod messages;

use messages::{CounterUpdate, TextMessage, TextMessageView};

const SOON: Duration = Duration::from_secs(20);

fn counter(value: i32) -> CounterUpdate {
    CounterUpdate { counter_id: 7, value, delta: -1 }
}

fn text(content: &str) -> TextMessage {
    TextMessage { sender: "someone".to_owned(), content: content.to_owned(), timestamp: 5 }
}

/// Bytes of any length.
struct Large(Vec<u8>);

impl Message for Large {
    const TYPE_ID: u16 = 1;
    const TOPIC: &'static str = "large";
    const MAX_SIZE: usize = 8 << 20;
    type View<'a> = &'a [u8];

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, out: &mut impl bytes::BufMut) {
        out.put_slice(&self.0);
    }

    fn view(payload: &[u8]) -> Result<&[u8], MessageError> {
        Ok(payload)
    }
}

/// Waits until the condition holds.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, wait).await.expect("the condition did not hold in time");
}

#[tokio::test]
async fn a_server_receives_what_a_client_publishes() {
    for reading in [ReadMode::PerFrame, ReadMode::batched(), ReadMode::Batched { detach_below: 0 }] {
        let config = TransportConfig::default().read_mode(reading);
        let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
        let (mut counters, mut texts) =
            (server.subscriber::<CounterUpdate>(), server.subscriber::<TextMessage>());
        let client = TcpTransport::connect(server.local_addr()).await.unwrap();
        let (counter_out, text_out) =
            (client.publisher::<CounterUpdate>(), client.publisher::<TextMessage>());
        for value in 0..300 {
            assert_eq!(counter_out.publish(&counter(value)).await, Ok(1));
            text_out.publish(&text(&value.to_string())).await.unwrap();
        }
        for value in 0..300 {
            assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(value));
            let received = texts.recv().await.unwrap();
            assert_eq!(
                received.view().unwrap(),
                TextMessageView { sender: "someone", content: &value.to_string(), timestamp: 5 }
            );
        }
        until(|| server.buffer_pool_stats().in_use == 0).await;
        assert_eq!(
            (server.hub().stats().received_frames, server.hub().stats().received_bytes),
            (600, 300 * (22 + 318))
        );
    }
}

#[tokio::test]
async fn every_client_receives_what_a_server_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/for/it.sock");
    let server = UnixTransport::bind(&path).await.unwrap();
    assert_eq!(server.local_addr(), path);
    let mut clients = Vec::new();
    for _ in 0..5 {
        let client = UnixTransport::connect(&path).await.unwrap();
        clients.push((client.subscriber::<TextMessage>(), client));
    }
    until(|| server.hub().stats().open == 5).await;
    let publisher = server.publisher::<TextMessage>();
    assert_eq!(publisher.publish(&text("to all")).await, Ok(5));
    assert_eq!(publisher.try_publish(&text("again")), Ok(5));
    for (subscriber, _) in &mut clients {
        assert_eq!(subscriber.recv().await.unwrap().view().unwrap().content, "to all");
        assert_eq!(subscriber.recv().await.unwrap().view().unwrap().content, "again");
    }
    drop(clients);
    until(|| server.hub().stats().open == 0).await;
    assert_eq!(server.hub().stats().closed, 5);
}

#[tokio::test]
async fn subscribers_share_the_storage() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut subscribers: Vec<_> = (0..8).map(|_| server.subscriber::<TextMessage>()).collect();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    client.publisher().publish(&text("one for all")).await.unwrap();
    let mut received = Vec::new();
    for subscriber in &mut subscribers {
        received.push(subscriber.recv().await.unwrap());
    }
    assert!(received.iter().all(|message| message.payload().as_ptr() == received[0].payload().as_ptr()));
    until(|| server.buffer_pool_stats().in_use == 1).await;
    drop(received);
    assert_eq!(server.buffer_pool_stats().in_use, 0);
}

#[tokio::test]
async fn messages_are_received_without_a_pool() {
    let config = TransportConfig::default().buffer_pool_enabled(false);
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let mut texts = server.subscriber::<TextMessage>();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    client.publisher().publish(&text("plain")).await.unwrap();
    assert_eq!(texts.recv().await.unwrap().view().unwrap().content, "plain");
    let stats = server.buffer_pool_stats();
    assert_eq!((stats.heap_fallbacks, stats.idle_bytes), (stats.acquires, 0));
}

#[tokio::test]
async fn the_pool_has_the_configured_classes_and_those_for_reads() {
    for (asked, classes) in [
        (&[(512, 4)][..], &[512, 8192, 65536][..]),
        (&[(512, 4), (10_000, 4)], &[512, 10_000, 65536]),
        (&[(100_000, 4)], &[100_000]),
    ] {
        assert_eq!(sizes(asked, usize::MAX).await, classes);
    }
    // A limit without room for them.
    assert_eq!(sizes(&[(512, 4)], 128 * 1024).await, [512, 8192]);
    assert_eq!(sizes(&[(512, 4)], 16 * 1024).await, [512]);

    async fn sizes(asked: &[(usize, usize)], limit: usize) -> Vec<usize> {
        let pool = BufferPoolConfig::builder().classes(asked.iter().copied()).memory_limit(limit).build();
        let server = TcpTransport::bind_with_buffer_pool("127.0.0.1:0", pool.unwrap()).await.unwrap();
        server.buffer_pool_stats().classes.iter().map(|class| class.size).collect()
    }
}

/// As a contract plans it, a class keeps 128 of these messages, and a queue holds 1024.
#[tokio::test]
async fn bursts_that_fill_the_queues_reuse_their_buffers() {
    const QUEUE: usize = 1024;
    let planned = BufferPoolConfig::from_map([(128, 512), (256, 256), (512, 128)]).unwrap();
    let planned = planned.to_builder().decay_interval(None).build().unwrap();
    let config = TransportConfig::default().buffer_pool(planned);
    assert_eq!(config.channel_capacity, QUEUE);
    let server = TcpTransport::bind_with("127.0.0.1:0", config.clone()).await.unwrap();
    let mut texts = server.subscriber::<TextMessage>();
    let client = TcpTransport::connect_with(server.local_addr(), config).await.unwrap();
    let publisher = client.publisher();
    let mut allocations = Vec::new();
    for burst in 1..=3 {
        for _ in 0..QUEUE {
            assert_eq!(publisher.try_publish(&text("one of many")), Ok(1));
        }
        until(|| server.hub().stats().received_frames as usize == burst * QUEUE).await;
        for _ in 0..QUEUE {
            texts.recv().await.unwrap();
        }
        let pools = [client.buffer_pool_stats(), server.buffer_pool_stats()];
        allocations.push(pools.map(|pool| pool.allocations));
    }
    assert_eq!(allocations[1], allocations[0]);
    assert_eq!(allocations[2], allocations[0]);
}

#[tokio::test]
async fn a_topic_subscriber_receives_all_types_of_the_topic() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut topic = server.hub().topic_subscriber::<CounterUpdate>();
    server.hub().declare::<TextMessage>();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    client.publisher().publish(&text("first")).await.unwrap();
    client.publisher().publish(&counter(2)).await.unwrap();
    assert_eq!(topic.recv().await.unwrap().type_id, TextMessage::TYPE_ID);
    assert_eq!(topic.recv().await.unwrap().type_id, CounterUpdate::TYPE_ID);
}

#[tokio::test]
async fn frames_of_unknown_types_are_rejected_skipped_or_passed_through() {
    for policy in [UnknownTypes::Reject, UnknownTypes::Skip, UnknownTypes::PassThrough] {
        let config = TransportConfig::default().unknown_types(Some(policy));
        let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
        let (mut counters, mut opaque, mut events) =
            (server.subscriber::<CounterUpdate>(), server.hub().opaque_subscriber(), server.hub().events());
        let client = TcpTransport::connect(server.local_addr()).await.unwrap();
        client.publisher().publish(&text("unknown there")).await.unwrap();
        client.publisher().publish(&counter(1)).await.unwrap();
        if policy == UnknownTypes::Reject {
            events.recv().await.unwrap();
            let ConnectionEvent::Closed { error, .. } = events.recv().await.unwrap() else {
                panic!("not its end")
            };
            assert_eq!(error, Some(ConnectionErrorKind::UnknownType(1001)));
            continue;
        }
        assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(1));
        if policy == UnknownTypes::PassThrough {
            let frame = opaque.recv().await.unwrap();
            assert_eq!((frame.type_id, frame.payload.len()), (1001, 312));
        } else {
            assert_eq!(server.hub().stats().skipped_frames, 1);
        }
    }
}

#[tokio::test]
async fn a_slow_subscriber_learns_how_many_messages_it_missed() {
    let config = TransportConfig::default().channel_capacity(8);
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let (mut slow, mut quick) = (server.subscriber::<CounterUpdate>(), server.subscriber::<CounterUpdate>());
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    for value in 0..20 {
        client.publisher().publish(&counter(value)).await.unwrap();
        assert_eq!(quick.recv().await.unwrap().view().unwrap(), counter(value));
    }
    assert_eq!(slow.recv().await.unwrap_err(), RecvError::Lagged(12));
    for value in 12..20 {
        assert_eq!(slow.recv().await.unwrap().view().unwrap(), counter(value));
    }
    drop((slow, quick));
    until(|| server.buffer_pool_stats().in_use == 0).await;
}

#[tokio::test]
async fn a_malformed_payload_is_an_error_and_the_next_message_is_received() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut texts = server.subscriber::<TextMessage>();
    let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
    let mut wire = Vec::new();
    tlv::encode(TextMessage::TYPE_ID, &[0xFF; 312], &mut wire).unwrap();
    let mut good = Vec::new();
    text("good").encode(&mut good);
    tlv::encode(TextMessage::TYPE_ID, &good, &mut wire).unwrap();
    socket.write_all(&wire).await.unwrap();
    assert!(texts.recv().await.unwrap().view().is_err());
    assert_eq!(texts.recv().await.unwrap().view().unwrap().content, "good");
}

/// A subscriber that receives as fast as it can misses nothing, however many frames arrive at once.
#[tokio::test]
async fn a_burst_longer_than_a_channel_is_received() {
    let config = TransportConfig::default().channel_capacity(64);
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let mut counters = server.subscriber::<CounterUpdate>();
    let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
    let receive = tokio::spawn(async move {
        for n in 0..2000 {
            assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(n));
        }
    });
    let mut wire = Vec::new();
    for n in 0..2000 {
        let mut payload = Vec::new();
        counter(n).encode(&mut payload);
        tlv::encode(CounterUpdate::TYPE_ID, &payload, &mut wire).unwrap();
    }
    socket.write_all(&wire).await.unwrap();
    timeout(SOON, receive).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_reconnects_when_its_server_restarts() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let client = TcpTransport::connect(address).await.unwrap();
    let mut events = client.hub().events();
    server.shutdown().await;
    while !matches!(events.recv().await.unwrap(), ConnectionEvent::Closed { .. }) {}

    let publisher = client.publisher::<CounterUpdate>();
    publisher.publish(&counter(3)).await.unwrap();
    let server = TcpTransport::bind(address).await.unwrap();
    let mut counters = server.subscriber::<CounterUpdate>();
    let received = timeout(SOON, counters.recv()).await.unwrap().unwrap();
    assert_eq!(received.view().unwrap(), counter(3));
    assert_eq!(client.hub().stats().opened, 2);
}

#[tokio::test]
async fn a_client_that_does_not_reconnect_closes() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let config = TransportConfig::default().reconnect(None);
    let client = TcpTransport::connect_with(server.local_addr(), config).await.unwrap();
    let mut counters = client.subscriber::<CounterUpdate>();
    until(|| server.hub().stats().open == 1).await;
    drop(server);
    assert_eq!(timeout(SOON, counters.recv()).await.unwrap().unwrap_err(), RecvError::Closed);
    assert!(client.publisher().publish(&counter(1)).await.is_err());
}

#[tokio::test]
async fn a_shutdown_loses_no_published_message() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    let mut counters = server.subscriber::<CounterUpdate>();
    for value in 0..500 {
        client.publisher().publish(&counter(value)).await.unwrap();
    }
    let report = client.shutdown().await;
    assert_eq!((report.drained, report.aborted), (1, 0));
    let report = server.shutdown().await;
    assert_eq!(report.aborted, 0);
    for value in 0..500 {
        assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(value));
    }
    assert_eq!(counters.recv().await.unwrap_err(), RecvError::Closed);
}

#[tokio::test]
async fn any_stream_can_be_served() {
    let hub = Hub::new(TransportConfig::default());
    let mut counters = hub.subscriber::<CounterUpdate>();
    let (mut here, there) = tokio::io::duplex(100);
    let serving = tokio::spawn({
        let hub = hub.clone();
        async move { hub.handle_stream_connection(there).await }
    });
    let mut payload = Vec::new();
    counter(9).encode(&mut payload);
    millpond::net::write_frame(&mut here, CounterUpdate::TYPE_ID, &payload).await.unwrap();
    assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(9));
    hub.publisher().publish(&text("back")).await.unwrap();
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let frame = millpond::net::read_frame_pooled(&mut here, &pool).await.unwrap().unwrap();
    assert_eq!(TextMessage::view(&frame.payload).unwrap().content, "back");
    here.shutdown().await.unwrap();
    drop(here);
    serving.await.unwrap().unwrap();
    assert_eq!((hub.stats().closed, hub.connections().len()), (1, 0));
}

#[tokio::test]
async fn a_large_message_goes_both_ways() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut down = server.subscriber::<Large>();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    let mut up = client.subscriber::<Large>();
    until(|| server.hub().stats().open == 1).await;
    for size in [0, 1, 1024, 1025, 70_000, 262_144, 262_145, 8 << 20] {
        let payload: Vec<u8> = (0..size as u32).map(|n| (n >> 3) as u8).collect();
        client.publisher().publish(&Large(payload.clone())).await.unwrap();
        assert!(down.recv().await.unwrap().view().unwrap() == payload);
        server.publisher().publish(&Large(payload.clone())).await.unwrap();
        assert!(up.recv().await.unwrap().view().unwrap() == payload);
    }
    let too_large = Large(vec![0; (16 << 20) + 1]);
    assert!(client.publisher().publish(&too_large).await.is_err());
}

#[tokio::test]
async fn connecting_without_a_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = TcpTransport::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let folder = tempfile::tempdir().unwrap();
    assert!(UnixTransport::connect(folder.path().join("none.sock")).await.is_err());
}

#[tokio::test]
async fn a_half_closed_client_still_receives() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut counters = server.subscriber::<CounterUpdate>();
    let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
    until(|| server.hub().stats().open == 1).await;
    let mut payload = Vec::new();
    counter(1).encode(&mut payload);
    server.publisher().publish(&text("before the end")).await.unwrap();
    millpond::net::write_frame(&mut socket, CounterUpdate::TYPE_ID, &payload).await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(1));
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 6 + 312);
    until(|| server.hub().stats().closed == 1).await;
}

#[tokio::test]
async fn try_publish_counts_what_peers_with_a_full_queue_missed() {
    let config = TransportConfig::default().channel_capacity(4);
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let _silent = TcpStream::connect(server.local_addr()).await.unwrap();
    until(|| server.hub().stats().open == 1).await;
    // The connection's task does not run meanwhile.
    let reached: usize = (0..10).map(|value| server.publisher().try_publish(&counter(value)).unwrap()).sum();
    assert_eq!(
        (reached, server.hub().stats().missed_frames, server.hub().connections()[0].missed_frames),
        (4, 6, 6)
    );
}

#[tokio::test]
async fn a_client_without_its_server_can_be_shut_down() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    let mut events = client.hub().events();
    server.shutdown().await;
    while !matches!(events.recv().await.unwrap(), ConnectionEvent::Closed { .. }) {}
    let report = timeout(SOON, client.shutdown()).await.unwrap();
    assert_eq!((report.drained, report.aborted), (0, 0));
}

/// A pool of 1 MiB, with classes up to 16 KiB and a header.
fn small_pool() -> BufferPoolConfig {
    let classes = BufferPoolConfig::powers_of_two_and(tlv::HEADER_LEN, 128..=16 * 1024).unwrap();
    classes.to_builder().thread_cache_bytes(0).memory_limit(1 << 20).build().unwrap()
}

#[tokio::test]
async fn a_subscriber_that_never_receives_does_not_use_up_the_pool() {
    let config = TransportConfig::default().buffer_pool(small_pool()).max_payload(16 * 1024);
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let (mut stuck, mut topic) = (server.subscriber::<Large>(), server.hub().topic_subscriber::<Large>());
    let (mut works, mut counters) = (server.subscriber::<Large>(), server.subscriber::<CounterUpdate>());
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    for n in 0..200_u8 {
        client.publisher().publish(&Large(vec![n; 16 * 1024])).await.unwrap();
        let received = timeout(SOON, works.recv()).await.expect("the pool is used up").unwrap();
        assert_eq!(received.payload().first(), Some(&n));
        drop(received);
        let kept = server.buffer_pool_stats().in_use;
        assert!(kept <= 8, "{kept} buffers are in use");
    }
    let other = TcpTransport::connect(server.local_addr()).await.unwrap();
    other.publisher().publish(&counter(1)).await.unwrap();
    assert_eq!(timeout(SOON, counters.recv()).await.unwrap().unwrap().view().unwrap(), counter(1));

    // A sixteenth of 1 MiB is three of 16 KiB and a header.
    assert_eq!(stuck.recv().await.unwrap_err(), RecvError::Lagged(197));
    assert_eq!(topic.recv().await.unwrap_err(), RecvError::Lagged(197));
    for n in 197..200 {
        assert_eq!(stuck.recv().await.unwrap().payload().first(), Some(&n));
    }
    until(|| server.buffer_pool_stats().in_use == 3).await;
    drop(topic);
    until(|| server.buffer_pool_stats().in_use == 0).await;
    assert_eq!(server.hub().stats().failed(), 0);
}

#[tokio::test]
async fn a_dropped_subscriber_releases_what_only_it_had_not_received() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let (stuck, mut half, mut quick) = (
        server.subscriber::<TextMessage>(),
        server.subscriber::<TextMessage>(),
        server.subscriber::<TextMessage>(),
    );
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    for n in 0..8 {
        client.publisher().publish(&text(&n.to_string())).await.unwrap();
        quick.recv().await.unwrap();
    }
    for _ in 0..5 {
        half.recv().await.unwrap();
    }
    until(|| server.buffer_pool_stats().in_use == 8).await;
    drop(stuck);
    assert_eq!(server.buffer_pool_stats().in_use, 3);
    let mut late = server.subscriber::<TextMessage>();
    drop(half);
    assert_eq!(server.buffer_pool_stats().in_use, 0);
    client.publisher().publish(&text("later")).await.unwrap();
    assert_eq!(late.recv().await.unwrap().view().unwrap().content, "later");
}

/// Messages received and messages missed add up to the messages sent, however slow the subscriber is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn received_and_missed_messages_add_up() {
    const CLIENTS: u64 = 4;
    const MESSAGES: u64 = 3000;
    let config = TransportConfig::default().channel_capacity(16);
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let mut receiving = Vec::new();
    for pause in [0, 1, 7, 50] {
        let mut counters = server.subscriber::<CounterUpdate>();
        receiving.push(tokio::spawn(async move {
            let (mut received, mut missed) = (0, 0);
            loop {
                match counters.recv().await {
                    Ok(_) => received += 1,
                    Err(RecvError::Lagged(frames)) => missed += frames,
                    Err(error) => break assert_eq!(error, RecvError::Closed),
                }
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
            }
            (received, missed)
        }));
    }
    let address = server.local_addr();
    let sending: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(async move {
                let client = TcpTransport::connect(address).await.unwrap();
                for value in 0..MESSAGES as i32 {
                    client.publisher().publish(&counter(value)).await.unwrap();
                }
                client.shutdown().await
            })
        })
        .collect();
    for client in sending {
        client.await.unwrap();
    }
    let hub = server.hub().clone();
    server.shutdown().await;
    for subscriber in receiving {
        let (received, missed) = timeout(SOON, subscriber).await.unwrap().unwrap();
        assert_eq!(received + missed, CLIENTS * MESSAGES, "{received} and {missed}");
    }
    assert_eq!(hub.buffer_pool_stats().in_use, 0);
}

#[tokio::test]
async fn a_client_skips_types_that_it_does_not_know() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    let mut counters = client.subscriber::<CounterUpdate>();
    until(|| server.hub().stats().open == 1).await;
    server.publisher().publish(&text("not asked for")).await.unwrap();
    server.publisher().publish(&counter(1)).await.unwrap();
    assert_eq!(
        timeout(SOON, counters.recv()).await.expect("it was lost").unwrap().view().unwrap(),
        counter(1)
    );
    assert_eq!((client.hub().stats().skipped_frames, client.hub().stats().opened), (1, 1));
}

#[tokio::test]
async fn a_server_rejects_types_that_it_does_not_know() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut events = server.hub().events();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    client.publisher().publish(&text("nothing is named")).await.unwrap();
    events.recv().await.unwrap();
    let ConnectionEvent::Closed { error, .. } = events.recv().await.unwrap() else { panic!("not its end") };
    assert_eq!(error, Some(ConnectionErrorKind::UnknownType(TextMessage::TYPE_ID)));
}

/// The peer sends as soon as it is connected, before a type could be declared.
#[tokio::test]
async fn a_hub_with_subscribers_misses_no_early_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hub = Hub::new(TransportConfig::default());
    let mut counters = hub.subscriber::<CounterUpdate>();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut payload = Vec::new();
        counter(1).encode(&mut payload);
        millpond::net::write_frame(&mut socket, CounterUpdate::TYPE_ID, &payload).await.unwrap();
        socket
    });
    let client = TcpTransport::connect_with(address, hub).await.unwrap();
    until(|| client.hub().stats().received_frames == 1).await;
    assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(1));
    drop(server.await.unwrap());

    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::new(TransportConfig::default());
    let mut counters = hub.subscriber::<CounterUpdate>();
    let server = UnixTransport::bind_with(folder.path().join("s"), hub.clone()).await.unwrap();
    let client =
        UnixTransport::connect_with(server.local_addr(), Hub::new(TransportConfig::default())).await.unwrap();
    client.publisher().publish(&counter(2)).await.unwrap();
    until(|| server.hub().stats().received_frames == 1).await;
    assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(2));
    server.shutdown().await;
    let late = TcpTransport::bind_with("127.0.0.1:0", hub).await.unwrap();
    assert!(late.publisher().publish(&counter(3)).await.is_err());
    timeout(SOON, late.shutdown()).await.unwrap();
}

#[tokio::test]
async fn text_without_a_slash_is_no_path_for_a_transport() {
    for text in ["app.sock", "127.0.0.1:0"] {
        let error = UnixTransport::bind(text).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKind, "{error}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_transport_can_have_an_abstract_name() {
    let name = format!("unix://@millpond-bus-{}", std::process::id());
    let server = UnixTransport::bind(&name).await.unwrap();
    let mut subscriber = server.subscriber::<TextMessage>();
    let client = UnixTransport::connect(server.local_addr()).await.unwrap();
    client.publisher().publish(&text("abstract")).await.unwrap();
    assert_eq!(subscriber.recv().await.unwrap().view().unwrap().content, "abstract");
}
