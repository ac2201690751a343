//! The bus under test, in a process of its own: it answers requests, and has types that nobody receives.

use std::io;

use bytes::{Buf, BufMut};
use millpond::bus::{Hub, RecvError, Subscriber, TcpTransport};
use millpond::frame::{Message, MessageError};

use crate::probe::REQUEST;

/// The type that is received, for a flood that hurts nobody.
pub(crate) const RECEIVED: u16 = 99;
/// Nothing is ever received of this type and the 49 after it.
pub(crate) const NEVER_RECEIVED: u16 = 100;

/// Says where it listens, and serves until it is killed.
pub(crate) async fn run() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    let server = TcpTransport::bind("127.0.0.1:0").await.map_err(io::Error::other)?;
    let _unread = never_received(server.hub());
    let mut received = server.subscriber::<Bulk<9, 9>>();
    drop(tokio::spawn(async move { while !matches!(received.recv().await, Err(RecvError::Closed)) {} }));
    let (mut requests, answers) = (server.subscriber::<Number<REQUEST>>(), server.publisher());
    println!("listening on {}", server.local_addr());
    loop {
        match requests.recv().await {
            Ok(request) => {
                // Slow senders finish frames that are no requests.
                if let Ok(id) = request.view() {
                    answers.publish(&Number::<2>(id)).await.map_err(io::Error::other)?;
                }
            }
            Err(RecvError::Closed) => return Ok(()),
            // Counted by the client, which waits for its answer.
            Err(_) => {}
        }
    }
}

/// What a request and its answer say.
struct Number<const TYPE: u16>(u64);

impl<const TYPE: u16> Message for Number<TYPE> {
    const TYPE_ID: u16 = TYPE;
    const TOPIC: &'static str = "numbers";
    const MAX_SIZE: usize = 8;
    type View<'a> = u64;

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u64_le(self.0);
    }

    fn view(mut payload: &[u8]) -> Result<u64, MessageError> {
        MessageError::check_len(payload, Self::MAX_SIZE)?;
        Ok(payload.get_u64_le())
    }
}

/// 1 MiB with its header, of type `10 * TENS + ONES`.
struct Bulk<const TENS: u16, const ONES: u16>;

impl<const TENS: u16, const ONES: u16> Message for Bulk<TENS, ONES> {
    const TYPE_ID: u16 = 10 * TENS + ONES;
    const TOPIC: &'static str = "bulk";
    const MAX_SIZE: usize = 1024 * 1024 - millpond::frame::tlv::HEADER_LEN;
    type View<'a> = ();

    fn encode(&self, out: &mut impl BufMut) {
        out.put_bytes(7, Self::MAX_SIZE);
    }

    fn view(_: &[u8]) -> Result<(), MessageError> {
        Ok(())
    }
}

/// Subscribers of all of these types, as different types of the program.
fn never_received(hub: &Hub) -> Vec<Box<dyn Send>> {
    fn boxed<M: Message + 'static>(hub: &Hub) -> Box<dyn Send> {
        let subscriber: Subscriber<M> = hub.subscriber();
        Box::new(subscriber)
    }
    fn ten<const TENS: u16>(hub: &Hub) -> [Box<dyn Send>; 10] {
        [
            boxed::<Bulk<TENS, 0>>(hub),
            boxed::<Bulk<TENS, 1>>(hub),
            boxed::<Bulk<TENS, 2>>(hub),
            boxed::<Bulk<TENS, 3>>(hub),
            boxed::<Bulk<TENS, 4>>(hub),
            boxed::<Bulk<TENS, 5>>(hub),
            boxed::<Bulk<TENS, 6>>(hub),
            boxed::<Bulk<TENS, 7>>(hub),
            boxed::<Bulk<TENS, 8>>(hub),
            boxed::<Bulk<TENS, 9>>(hub),
        ]
    }
    let all = [ten::<10>(hub), ten::<11>(hub), ten::<12>(hub), ten::<13>(hub), ten::<14>(hub)];
    all.into_iter().flatten().collect()
}
