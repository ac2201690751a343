//! Receiving the frames of a topic, or the messages of a type.

use std::fmt;
use std::marker::PhantomData;

use tokio::task::coop::cooperative;

use super::channel::Channel;
use super::error::RecvError;
use crate::frame::tlv::Frame;
use crate::frame::{Message, MessageError};
use crate::pool::PooledBytes;
use crate::sync::Arc;

/// Receives every frame of a topic, in storage that all subscribers share.
///
/// Frames that it has not received yet are kept, [within limits](super::TransportConfig::channel_bytes), until it is
/// dropped. A subscriber that falls behind these limits loses the oldest frames, and gets [`RecvError::Lagged`].
///
/// # Examples
///
/// A bridge forwards the frames of a topic from one server to the peers of another, without a copy:
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
/// use millpond::bus::{RecvError, TcpTransport};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let [inside, outside] = [TcpTransport::bind("127.0.0.1:0").await?, TcpTransport::bind("127.0.0.1:0").await?];
/// # let client = TcpTransport::connect(inside.local_addr()).await?;
/// let mut topic = inside.hub().topic_subscriber::<Counter>();
/// # client.publisher().publish(&Counter(42)).await?;
/// # tokio::spawn(async move {
/// #     while inside.hub().stats().received_frames == 0 { tokio::task::yield_now().await }
/// #     inside.shutdown().await;
/// # });
/// loop {
///     match topic.recv().await {
///         Ok(frame) => {
///             outside.hub().forward(frame).await?;
///         }
///         Err(RecvError::Lagged(missed)) => eprintln!("{missed} frames were lost"),
///         Err(_closed) => break,
///     }
/// }
/// # Ok(()) }
/// ```
pub struct FrameSubscriber {
    pub(super) channel: Arc<Channel>,
    /// Number of the frame it receives next.
    pub(super) next: u64,
}

impl FrameSubscriber {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        let next = channel.subscribe();
        Self { channel, next }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] or [`RecvError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no frame is lost.
    pub async fn recv(&mut self) -> Result<Frame, RecvError> {
        // A subscriber that always finds a frame must still yield to other tasks.
        cooperative(self.channel.recv(&mut self.next)).await
    }
}

impl Drop for FrameSubscriber {
    fn drop(&mut self) {
        self.channel.unsubscribe(self.next);
    }
}

impl fmt::Debug for FrameSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameSubscriber").finish_non_exhaustive()
    }
}

/// Receives every message of a type, in storage that all subscribers share.
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
/// use millpond::bus::{RecvError, TcpTransport};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TcpTransport::bind("127.0.0.1:0").await?;
/// let mut counters = server.subscriber::<Counter>();
/// # let client = TcpTransport::connect(server.local_addr()).await?;
/// # client.publisher().publish(&Counter(42)).await?;
/// # let hub = server.hub().clone();
/// # tokio::spawn(async move {
/// #     while hub.stats().received_frames == 0 { tokio::task::yield_now().await }
/// #     hub.shutdown().await;
/// # });
/// # let mut sum = 0;
/// loop {
///     match counters.recv().await {
///         Ok(message) => match message.view() {
///             Ok(value) => sum += value,
///             Err(error) => eprintln!("a peer sent something else: {error}"),
///         },
///         Err(RecvError::Lagged(missed)) => eprintln!("too slow: {missed} messages were lost"),
///         Err(_closed) => break,
///     }
/// }
/// # assert_eq!(sum, 42);
/// # Ok(()) }
/// ```
pub struct Subscriber<M> {
    frames: FrameSubscriber,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Subscriber<M> {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { frames: FrameSubscriber::new(channel), message: PhantomData }
    }

    /// Waits for the next message of the type.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] or [`RecvError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv(&mut self) -> Result<Received<M>, RecvError> {
        let Frame { payload, .. } = self.frames.recv().await?;
        Ok(Received { payload, message: PhantomData })
    }
}

impl<M> fmt::Debug for Subscriber<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

/// The payload of a message in the storage that it was read into. The storage cannot return to the pool while this exists.
pub struct Received<M> {
    payload: PooledBytes,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Received<M> {
    /// Checks the payload and borrows its fields. Each call decodes it, and nothing else does: keep the view.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the payload is not a message of the type. Peers can send anything.
    pub fn view(&self) -> Result<M::View<'_>, MessageError> {
        M::view(&self.payload)
    }

    /// Borrows the payload.
    #[must_use]
    pub fn payload(&self) -> &PooledBytes {
        &self.payload
    }

    /// Returns the payload, without a copy.
    #[must_use]
    pub fn into_payload(self) -> PooledBytes {
        self.payload
    }
}

impl<M> fmt::Debug for Received<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Received").field(&self.payload).finish()
    }
}
