//! Publish and subscribe: what a type may be, and what a message of it must hold.

use std::sync::atomic::{AtomicUsize, Ordering};

use millpond::bus::{Hub, PublishError, TcpTransport, TransportConfig};
use millpond::frame::{Constraint, Message, MessageError};

mod messages;

use messages::CounterUpdate;

#[tokio::test]
async fn a_message_that_is_not_valid_is_not_published() {
    struct Even(u8);
    impl Message for Even {
        const TYPE_ID: u16 = 1;
        const TOPIC: &'static str = "even";
        const MAX_SIZE: usize = 1;
        type View<'a> = u8;
        fn validate(&self) -> Result<(), MessageError> {
            if self.0.is_multiple_of(2) { Ok(()) } else { Err(ODD) }
        }
        fn encode(&self, out: &mut impl bytes::BufMut) {
            out.put_u8(self.0);
        }
        fn view(payload: &[u8]) -> Result<u8, MessageError> {
            payload.first().copied().ok_or(ODD)
        }
    }
    const ODD: MessageError = MessageError::Constraint { field: "number", constraint: Constraint::Max };
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut numbers = server.subscriber::<Even>();
    let publisher = TcpTransport::connect(server.local_addr()).await.unwrap();
    let publisher = publisher.publisher::<Even>();
    assert_eq!(publisher.publish(&Even(3)).await, Err(PublishError::Invalid(ODD)));
    assert_eq!(publisher.try_publish(&Even(5)), Err(PublishError::Invalid(ODD)));
    publisher.publish(&Even(4)).await.unwrap();
    assert_eq!(numbers.recv().await.unwrap().view().unwrap(), 4);
}

/// A message of no bytes that counts how often it is decoded.
struct Counted;

static DECODED: AtomicUsize = AtomicUsize::new(0);

impl Message for Counted {
    const TYPE_ID: u16 = 1;
    const TOPIC: &'static str = "counted";
    const MAX_SIZE: usize = 0;
    type View<'a> = u8;

    fn encode(&self, _: &mut impl bytes::BufMut) {}

    fn view(_: &[u8]) -> Result<u8, MessageError> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        Ok(7)
    }
}

#[tokio::test]
async fn a_message_is_decoded_when_it_is_viewed_and_only_then() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut messages = server.subscriber::<Counted>();
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    client.publisher().publish(&Counted).await.unwrap();
    let received = messages.recv().await.unwrap();
    assert_eq!(DECODED.load(Ordering::Relaxed), 0);
    assert_eq!(received.view(), Ok(7));
    assert_eq!(DECODED.load(Ordering::Relaxed), 1);
}

const COUNTER: CounterUpdate = CounterUpdate { counter_id: 7, value: 1, delta: -1 };

/// The same id as [`CounterUpdate`], and whatever else.
struct Twin<const SIZE: usize, const ELSEWHERE: bool>;

impl<const SIZE: usize, const ELSEWHERE: bool> Message for Twin<SIZE, ELSEWHERE> {
    const TYPE_ID: u16 = CounterUpdate::TYPE_ID;
    const TOPIC: &'static str = if ELSEWHERE { "elsewhere" } else { CounterUpdate::TOPIC };
    const MAX_SIZE: usize = SIZE;
    type View<'a> = ();

    fn encode(&self, _: &mut impl bytes::BufMut) {}

    fn view(_: &[u8]) -> Result<(), MessageError> {
        Ok(())
    }
}

#[test]
#[should_panic(expected = "message type 1002 is in the topic \"examples\"")]
fn one_id_in_two_topics_is_a_mistake() {
    let hub = Hub::new(TransportConfig::default());
    hub.declare::<CounterUpdate>();
    hub.declare::<Twin<16, true>>();
}

#[test]
#[should_panic(expected = "with 16 bytes at most")]
fn one_id_of_two_sizes_is_a_mistake() {
    let hub = Hub::new(TransportConfig::default());
    hub.declare::<CounterUpdate>();
    let _ = hub.publisher::<Twin<17, false>>();
}

#[tokio::test]
async fn one_type_may_be_looked_at_in_two_ways() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let (mut counters, mut others) =
        (server.subscriber::<CounterUpdate>(), server.subscriber::<Twin<16, false>>());
    let client = TcpTransport::connect(server.local_addr()).await.unwrap();
    client.publisher().publish(&COUNTER).await.unwrap();
    assert_eq!(counters.recv().await.unwrap().view().unwrap(), COUNTER);
    others.recv().await.unwrap();
}
