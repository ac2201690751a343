//! How hubs, servers and clients end, and who is told.

use std::time::Duration;

use millpond::bus::{
    ConnectionErrorKind, ConnectionEvent, Hub, PublishError, RecvError, TcpTransport, TransportConfig,
};
use millpond::frame::{Message, MessageError, tlv};
use millpond::net::Backoff;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

mod messages;

use messages::CounterUpdate;

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

type Serving = JoinHandle<Result<(), millpond::bus::ConnectionError>>;

fn counter(value: i32) -> CounterUpdate {
    CounterUpdate { counter_id: 7, value, delta: -1 }
}

/// A message of 100 kB.
struct Blob;

impl Message for Blob {
    const TYPE_ID: u16 = 9;
    const TOPIC: &'static str = "blobs";
    const MAX_SIZE: usize = 100_000;
    type View<'a> = ();

    fn encode(&self, out: &mut impl bytes::BufMut) {
        out.put_bytes(7, Self::MAX_SIZE);
    }

    fn view(payload: &[u8]) -> Result<(), MessageError> {
        MessageError::check_len(payload, Self::MAX_SIZE)
    }
}

fn frame(value: i32) -> Vec<u8> {
    let (mut payload, mut wire) = (Vec::new(), Vec::new());
    counter(value).encode(&mut payload);
    tlv::encode(CounterUpdate::TYPE_ID, &payload, &mut wire).unwrap();
    wire
}

/// Lets the hub serve the stream.
async fn serve(hub: &Hub, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Serving {
    let mut events = hub.events();
    let serving = tokio::spawn({
        let hub = hub.clone();
        async move { hub.handle_stream_connection(stream).await }
    });
    while !matches!(events.recv().await.unwrap(), ConnectionEvent::Opened { .. }) {}
    serving
}

async fn outcome(serving: Serving) -> Result<(), ConnectionErrorKind> {
    timeout(SOON, serving).await.expect("it goes on").unwrap().map_err(|error| error.kind())
}

/// Checks that every use of a closed hub fails at once.
async fn is_closed(hub: &Hub) {
    let (_here, there) = tokio::io::duplex(1000);
    let late = timeout(SOON, hub.handle_stream_connection(there)).await.expect("it is served");
    assert_eq!(late.unwrap_err().kind(), ConnectionErrorKind::Closed);
    assert_eq!(hub.publisher().publish(&counter(1)).await, Err(PublishError::Closed));
    assert_eq!(hub.subscriber::<CounterUpdate>().recv().await.unwrap_err(), RecvError::Closed);
    assert_eq!((hub.connections().len(), hub.stats().open), (0, 0));
}

#[tokio::test]
async fn a_shutdown_drains_the_connections_of_a_hub() {
    let hub = Hub::new(TransportConfig::default());
    let mut counters = hub.subscriber::<CounterUpdate>();
    let (mut here, there) = tokio::io::duplex(1000);
    let serving = serve(&hub, there).await;
    assert_eq!(hub.publisher().publish(&counter(1)).await, Ok(1));
    let ending = tokio::spawn({
        let hub = hub.clone();
        async move { tokio::join!(hub.shutdown(), hub.shutdown()) }
    });
    let mut all = Vec::new();
    here.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, frame(1));
    // What the peer sends until it ends is still received.
    here.write_all(&frame(2)).await.unwrap();
    drop(here);
    assert_eq!(outcome(serving).await, Ok(()));
    let (report, again) = timeout(SOON, ending).await.unwrap().unwrap();
    assert_eq!((report.drained, report.aborted, again), (1, 0, report));
    assert_eq!(counters.recv().await.unwrap().view().unwrap(), counter(2));
    assert_eq!(counters.recv().await.unwrap_err(), RecvError::Closed);
    is_closed(&hub).await;
}

#[tokio::test]
async fn a_shutdown_aborts_connections_that_do_not_end() {
    let config = TransportConfig::default().drain_timeout(SHORT).channel_capacity(4);
    let hub = Hub::new(config);
    // One in the middle of a frame, one that reads nothing, and one that cannot be written to.
    let (mut slow, there) = tokio::io::duplex(1000);
    let slow_serving = serve(&hub, there).await;
    slow.write_all(&frame(1)[..10]).await.unwrap();
    let (_full, there) = tokio::io::duplex(1);
    let full_serving = serve(&hub, there).await;
    let (deaf, there) = UnixStream::pair().unwrap();
    let deaf_serving = serve(&hub, there).await;
    let deaf = deaf.into_std().unwrap();
    deaf.shutdown(std::net::Shutdown::Read).unwrap();
    // Until each queue is full, and the write to the closed peer has failed.
    let publisher = hub.publisher::<Blob>();
    while publisher.try_publish(&Blob).unwrap() > 0 {
        sleep(Duration::from_millis(2)).await;
    }
    let report = timeout(SOON, hub.shutdown()).await.unwrap();
    assert_eq!((report.drained, report.aborted), (0, 3));
    for serving in [slow_serving, full_serving, deaf_serving] {
        assert_eq!(outcome(serving).await, Err(ConnectionErrorKind::Aborted));
    }
    assert_eq!((hub.stats().aborted, hub.buffer_pool_stats().in_use), (3, 0));
    is_closed(&hub).await;
}

#[tokio::test]
async fn a_transport_ends_with_its_hub() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let (here, there) = tokio::io::duplex(1000);
    let serving = serve(server.hub(), there).await;
    drop(here);
    assert_eq!(outcome(serving).await, Ok(()));

    let (mut here, there) = tokio::io::duplex(1000);
    let serving = serve(server.hub(), there).await;
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    while server.hub().stats().open < 2 {
        sleep(Duration::from_millis(2)).await;
    }
    let hub = server.hub().clone();
    let ending = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown().await }
    });
    assert_eq!(here.read(&mut [0]).await.unwrap(), 0);
    drop(here);
    assert_eq!(outcome(serving).await, Ok(()));
    let report = timeout(SOON, ending).await.unwrap().unwrap();
    assert_eq!((report.drained, report.aborted), (2, 0));
    is_closed(&hub).await;
    let address = server.local_addr();
    assert_eq!(timeout(SOON, server.shutdown()).await.unwrap().drained, 0);
    TcpStream::connect(address).await.unwrap_err();

    // It has lost its server, and does not reconnect.
    let mut counters = client.subscriber::<CounterUpdate>();
    let hub = client.hub().clone();
    timeout(SOON, hub.shutdown()).await.unwrap();
    assert_eq!(counters.recv().await.unwrap_err(), RecvError::Closed);
    timeout(SOON, client.shutdown()).await.unwrap();
    is_closed(&hub).await;
}

#[tokio::test]
async fn a_dropped_transport_ends_the_streams_of_its_hub() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let hub = server.hub().clone();
    let (_here, there) = tokio::io::duplex(1000);
    let serving = serve(&hub, there).await;
    drop(server);
    assert_eq!(outcome(serving).await, Err(ConnectionErrorKind::Aborted));
    is_closed(&hub).await;
}

/// The task of a transport ends with its runtime, while subscribers wait in another runtime.
#[test]
fn subscribers_are_closed_when_the_runtime_of_their_transport_ends() {
    for of_the_server in [true, false] {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (server, client) = runtime.block_on(async {
            let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
            let client = TcpTransport::connect(server.local_addr()).await.unwrap();
            (server, client)
        });
        let hub = if of_the_server { server.hub().clone() } else { client.hub().clone() };
        let mut counters = hub.subscriber::<CounterUpdate>();
        drop(runtime);
        let here = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        here.block_on(async {
            let received = timeout(SOON, counters.recv()).await.expect("the subscriber waits forever");
            assert_eq!(received.unwrap_err(), RecvError::Closed);
            assert_eq!(hub.publisher().publish(&counter(1)).await, Err(PublishError::Closed));
        });
    }
}

#[tokio::test]
async fn a_backoff_beyond_the_range_of_the_clock_never_ends() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let reconnect = Some(Backoff::default().initial(Duration::MAX).max(Duration::MAX));
    let config = TransportConfig::default().reconnect(reconnect);
    let client = TcpTransport::connect_with(server.local_addr(), config).await.unwrap();
    let (mut events, mut counters) = (client.hub().events(), client.subscriber::<CounterUpdate>());
    server.shutdown().await;
    while !matches!(events.recv().await.unwrap(), ConnectionEvent::Closed { .. }) {}
    // If the task had panicked, the subscriber would be closed.
    assert!(timeout(SHORT, counters.recv()).await.is_err());
    assert_eq!(client.publisher().publish(&counter(1)).await, Ok(1));
    timeout(SOON, client.shutdown()).await.unwrap();
}

/// There are enough publishers to keep all threads of the runtime busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_stops_publishers_that_never_wait() {
    let config = TransportConfig::default().channel_capacity(16);
    let server = TcpTransport::bind_with("127.0.0.1:0", config).await.unwrap();
    let config = TransportConfig::default().reconnect(None);
    let client = TcpTransport::connect_with(server.local_addr(), config).await.unwrap();
    while server.hub().stats().open == 0 {
        sleep(Duration::from_millis(2)).await;
    }
    let mut publishing = Vec::new();
    for _ in 0..3 {
        let publisher = server.publisher::<Blob>();
        publishing.push(tokio::spawn(async move {
            loop {
                if let Err(error) = publisher.publish(&Blob).await {
                    return error;
                }
            }
        }));
    }
    while client.hub().stats().received_frames < 100 {
        sleep(Duration::from_millis(2)).await;
    }
    let report = server.shutdown().await;
    assert_eq!((report.drained, report.aborted), (1, 0));
    for publisher in publishing {
        assert_eq!(publisher.await.unwrap(), PublishError::Closed);
    }
}
