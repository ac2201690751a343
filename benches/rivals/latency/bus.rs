//! A server that subscribes, a client that publishes, and what goes between them.

use bytes::{Buf, BufMut};
use millpond::bus::{Publisher, TcpTransport, TransportConfig};
use millpond::frame::{Message, MessageError};
use tokio::runtime::Runtime;

use crate::outcome::Role;

/// The variants that are compared.
pub(crate) const VARIANTS: [(&str, Role, bool); 2] =
    [("pool", Role::Ours, true), ("no pool", Role::Rival, false)];

pub(crate) struct Bus<const SIZE: usize> {
    pub(crate) server: TcpTransport,
    pub(crate) publisher: Publisher<Stamp<SIZE>>,
    /// Lives as long as its publisher publishes.
    _client: TcpTransport,
}

impl<const SIZE: usize> Bus<SIZE> {
    pub(crate) fn start(runtime: &Runtime, pooled: bool) -> Self {
        runtime.block_on(async {
            let config = TransportConfig::default().buffer_pool_enabled(pooled);
            let server =
                TcpTransport::bind_with("127.0.0.1:0", config.clone()).await.expect("a port is free");
            server.hub().declare::<Stamp<SIZE>>();
            let client = TcpTransport::connect_with(server.local_addr(), config).await.expect("it listens");
            Self { server, publisher: client.publisher(), _client: client }
        })
    }
}

/// A time in nanoseconds, and as many bytes behind it as make `SIZE`.
pub(crate) struct Stamp<const SIZE: usize>(pub(crate) u64);

impl<const SIZE: usize> Message for Stamp<SIZE> {
    const TYPE_ID: u16 = 1001;
    const TOPIC: &'static str = "stamps";
    const MAX_SIZE: usize = SIZE;
    type View<'a> = u64;

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u64_le(self.0);
        out.put_slice(&[7; SIZE][8..]);
    }

    fn view(mut payload: &[u8]) -> Result<u64, MessageError> {
        MessageError::check_len(payload, SIZE)?;
        Ok(payload.get_u64_le())
    }
}
