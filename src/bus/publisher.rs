//! Sending messages of one type to every peer.

use std::fmt;
use std::marker::PhantomData;
use std::pin::pin;

use tokio::time::timeout;

use super::error::PublishError;
use super::hub::Hub;
use super::pressure::ASK_EVERY;
use crate::frame::Message;
use crate::frame::tlv::Frame;
use crate::pool::{AcquireError, PooledBuffer};

impl Hub {
    /// Returns a publisher that sends messages of the type to every peer.
    ///
    /// # Panics
    ///
    /// The same as [`declare`](Self::declare).
    #[must_use]
    pub fn publisher<M: Message>(&self) -> Publisher<M> {
        self.declare::<M>();
        Publisher { hub: self.clone(), message: PhantomData }
    }
}

/// Sends messages of one type to every peer of a hub.
///
/// # Examples
///
/// ```
/// # use bytes::{Buf, BufMut};
/// # use millpond::frame::{Message, MessageError};
/// # struct Counter(u64); impl Message for Counter {
/// #     const TYPE_ID: u16 = 1; const TOPIC: &'static str = "counters"; const MAX_SIZE: usize = 8;
/// #     type View<'a> = u64;
/// #     fn encode(&self, out: &mut impl BufMut) { out.put_u64_le(self.0) }
/// #     fn view(mut payload: &[u8]) -> Result<u64, MessageError> {
/// #         MessageError::check_len(payload, 8)?; Ok(payload.get_u64_le())
/// #     }
/// # }
/// use millpond::bus::TcpTransport;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TcpTransport::bind("127.0.0.1:0").await?;
/// let mut counters = server.subscriber::<Counter>();
/// let client = TcpTransport::connect(server.local_addr()).await?;
/// let publisher = client.publisher();
/// publisher.publish(&Counter(1)).await?; // waits for room in the queue
/// publisher.try_publish(&Counter(2))?; // skips peers whose queue is full
/// assert_eq!(counters.recv().await?.view()?, 1);
/// assert_eq!(counters.recv().await?.view()?, 2);
/// # Ok(()) }
/// ```
pub struct Publisher<M> {
    hub: Hub,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Publisher<M> {
    /// Sends a message to every peer, and returns the number of peers.
    ///
    /// The message is encoded once, into a pooled buffer that all peers share. The call waits until every peer's queue
    /// has room. A peer that takes nothing is closed after the write timeout. A slow peer delays the publisher for as
    /// long as it is slow. A client that lost its server waits until it is connected again, or for the write timeout: then
    /// messages for the server are dropped, and [counted](super::ConnectionInfo::missed_frames), until it is back.
    /// When the pool's [memory limit](crate::BufferPoolConfigBuilder::memory_limit) is reached, it waits for memory; then
    /// [others lose](super#under-memory-pressure) what they do not use.
    ///
    /// A message is sent at most once: messages in flight when a connection breaks are lost.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    ///
    /// # Cancel safety
    ///
    /// If cancelled, some peers may receive the message and others not.
    pub async fn publish(&self, message: &M) -> Result<usize, PublishError> {
        self.check(message)?;
        let buffer = self.acquire(message.encoded_len()).await.map_err(|error| self.refused(error))?;
        self.hub.forward(Self::frame(message, buffer)).await
    }

    /// Sends a message to every peer whose queue has room, and returns the number of these peers.
    ///
    /// The other peers miss it, which is [counted](super::ConnectionInfo::missed_frames). It never waits, so a slow peer
    /// delays no other.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub fn try_publish(&self, message: &M) -> Result<usize, PublishError> {
        self.check(message)?;
        let (shared, len) = (&self.hub.shared, message.encoded_len());
        let buffer = match shared.pool.acquire_within_limit(len) {
            Err(AcquireError::Exhausted { .. }) => {
                shared.relieve(len);
                shared.pool.acquire_within_limit(len)
            }
            buffer => buffer,
        };
        let buffer = buffer.map_err(|error| self.refused(PublishError::OutOfMemory(error)))?;
        shared.offer(&Self::frame(message, buffer), |peer| shared.missed(peer, 1))
    }

    /// A buffer for a message. While it waits, others release memory. A shutdown ends the wait.
    async fn acquire(&self, len: usize) -> Result<PooledBuffer, PublishError> {
        let shared = &self.hub.shared;
        match shared.pool.acquire_within_limit(len) {
            Err(AcquireError::Exhausted { .. }) => {}
            buffer => return buffer.map_err(PublishError::OutOfMemory),
        }
        let mut buffer = pin!(shared.pool.acquire_async(len));
        while shared.is_open() {
            shared.relieve(len);
            if let Ok(buffer) = timeout(ASK_EVERY, buffer.as_mut()).await {
                return buffer.map_err(PublishError::OutOfMemory);
            }
        }
        Err(PublishError::Closed)
    }

    fn check(&self, message: &M) -> Result<(), PublishError> {
        let (size, max) = (message.encoded_len(), self.hub.shared.config.max_payload);
        if size > max {
            return Err(self.refused(PublishError::MessageTooLarge { size, max }));
        }
        message.validate().map_err(|error| self.refused(PublishError::Invalid(error)))
    }

    fn refused(&self, error: PublishError) -> PublishError {
        self.hub.shared.refused(error)
    }

    fn frame(message: &M, buffer: PooledBuffer) -> Frame {
        Frame { type_id: M::TYPE_ID, payload: message.encode_in(buffer).into_shared() }
    }
}

impl<M> Clone for Publisher<M> {
    fn clone(&self) -> Self {
        Self { hub: self.hub.clone(), message: PhantomData }
    }
}

impl<M> fmt::Debug for Publisher<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}
