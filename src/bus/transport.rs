//! A hub with a listener, or with a connection that is made again when it breaks.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::client::Client;
use super::config::TransportConfig;
use super::hub::{Admitted, Guest, Hub};
use super::role::Role;
use crate::net::{DrainReport, Endpoint, Error, Listener, Stream};
use crate::pool::BufferPoolConfig;
use crate::sync::Arc;

/// Messages over TCP.
///
/// # Examples
///
/// ```
/// # use bytes::{Buf, BufMut};
/// # use millpond::frame::{Message, MessageError};
/// # struct Counter(u64);
/// # impl Message for Counter {
/// #     const TYPE_ID: u16 = 1;
/// #     const TOPIC: &'static str = "counters";
/// #     const MAX_SIZE: usize = 8;
/// #     type View<'a> = u64;
/// #     fn encode(&self, out: &mut impl BufMut) { out.put_u64_le(self.0) }
/// #     fn view(mut payload: &[u8]) -> Result<u64, MessageError> {
/// #         MessageError::check_len(payload, 8)?;
/// #         Ok(payload.get_u64_le())
/// #     }
/// # }
/// use millpond::bus::TcpTransport;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TcpTransport::bind("127.0.0.1:0").await?;
/// let mut counters = server.subscriber::<Counter>();
///
/// let client = TcpTransport::connect(server.local_addr()).await?;
/// client.publisher::<Counter>().publish(&Counter(42)).await?;
///
/// assert_eq!(counters.recv().await?.view(), 42);
/// # Ok(())
/// # }
/// ```
pub type TcpTransport = Transport<Tcp>;

/// Messages over Unix sockets; as [`TcpTransport`], with a path for the address.
pub type UnixTransport = Transport<Unix>;

/// The kind of [`TcpTransport`].
#[derive(Debug)]
pub enum Tcp {}

/// The kind of [`UnixTransport`].
#[derive(Debug)]
pub enum Unix {}

/// A [`Hub`] with a listener, or with a connection that is made again when it breaks. All that a hub can do, it can.
///
/// Dropped, it cuts its connections, as soon as the runtime has a turn: the address is free after that.
/// [`shutdown`](Self::shutdown) ends well, and when it returns the address is free.
pub struct Transport<K> {
    hub: Hub,
    endpoint: Endpoint,
    local: Option<SocketAddr>,
    task: JoinHandle<()>,
    decay: JoinHandle<()>,
    kind: PhantomData<K>,
}

impl Transport<Tcp> {
    /// Listens at `host:port`, with the defaults. Port 0 takes a free one, which
    /// [`local_addr`](Self::local_addr) names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AddressInUse`](crate::net::ErrorKind::AddressInUse) or [`ErrorKind::Listen`](crate::net::ErrorKind::Listen).
    pub async fn bind(address: impl fmt::Display) -> Result<Self, Error> {
        Self::bind_with(address, TransportConfig::default()).await
    }

    /// Listens with buffers of this pool, and the other defaults.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with_buffer_pool(
        address: impl fmt::Display,
        buffer_pool: BufferPoolConfig,
    ) -> Result<Self, Error> {
        Self::bind_with(address, TransportConfig::default().buffer_pool(buffer_pool)).await
    }

    /// Listens.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with(address: impl fmt::Display, config: TransportConfig) -> Result<Self, Error> {
        Self::bind_hub(address, Hub::new(config)).await
    }

    /// Listens with a hub, which is asked for its subscribers before: they get all from the first frame on.
    ///
    /// The hub ends with this transport, and with it whatever else it serves. A hub that is shut down already has
    /// nobody connect.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_hub(address: impl fmt::Display, hub: Hub) -> Result<Self, Error> {
        Self::listen(Endpoint::Tcp(address.to_string()), hub).await
    }

    /// Connects to `host:port`, with the defaults, and again whenever the connection breaks.
    ///
    /// # Errors
    ///
    /// If the first connection cannot be made: [`ErrorKind::Connect`](crate::net::ErrorKind::Connect) or
    /// [`ErrorKind::ConnectTimeout`](crate::net::ErrorKind::ConnectTimeout).
    pub async fn connect(address: impl fmt::Display) -> Result<Self, Error> {
        Self::connect_with(address, TransportConfig::default()).await
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(address: impl fmt::Display, config: TransportConfig) -> Result<Self, Error> {
        Self::connect_hub(address, Hub::new(config)).await
    }

    /// Connects with a hub, which is asked for its subscribers before: they get all from the first frame on.
    ///
    /// The hub ends with this transport, and with it whatever else it serves. Of a hub that is shut down already the
    /// connection ends at once.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_hub(address: impl fmt::Display, hub: Hub) -> Result<Self, Error> {
        Self::reach(Endpoint::Tcp(address.to_string()), hub).await
    }

    /// Where it listens; of a client, its end of the first connection.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        match self.local {
            Some(address) => address,
            None => unreachable!("a TCP socket has an address"),
        }
    }
}

impl Transport<Unix> {
    /// Listens at a path, with the defaults. Parent directories are made; a stale socket file, one that nobody
    /// listens on, is replaced; a live one never is, nor a file that is no socket.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AddressInUse`](crate::net::ErrorKind::AddressInUse),
    /// [`ErrorKind::StorageFull`](crate::net::ErrorKind::StorageFull) or [`ErrorKind::Listen`](crate::net::ErrorKind::Listen).
    pub async fn bind(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::bind_with(path, TransportConfig::default()).await
    }

    /// Listens with buffers of this pool, and the other defaults.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with_buffer_pool(
        path: impl AsRef<Path>,
        buffer_pool: BufferPoolConfig,
    ) -> Result<Self, Error> {
        Self::bind_with(path, TransportConfig::default().buffer_pool(buffer_pool)).await
    }

    /// Listens.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with(path: impl AsRef<Path>, config: TransportConfig) -> Result<Self, Error> {
        Self::bind_hub(path, Hub::new(config)).await
    }

    /// Listens with a hub, which is asked for its subscribers before: they get all from the first frame on.
    ///
    /// The hub ends with this transport, and with it whatever else it serves. A hub that is shut down already has
    /// nobody connect.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_hub(path: impl AsRef<Path>, hub: Hub) -> Result<Self, Error> {
        Self::listen(Endpoint::Unix(path.as_ref().to_owned()), hub).await
    }

    /// Connects to a path, with the defaults, and again whenever the connection breaks.
    ///
    /// # Errors
    ///
    /// If the first connection cannot be made: [`ErrorKind::Connect`](crate::net::ErrorKind::Connect) or
    /// [`ErrorKind::ConnectTimeout`](crate::net::ErrorKind::ConnectTimeout).
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::connect_with(path, TransportConfig::default()).await
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(path: impl AsRef<Path>, config: TransportConfig) -> Result<Self, Error> {
        Self::connect_hub(path, Hub::new(config)).await
    }

    /// Connects with a hub, which is asked for its subscribers before: they get all from the first frame on.
    ///
    /// The hub ends with this transport, and with it whatever else it serves. Of a hub that is shut down already the
    /// connection ends at once.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_hub(path: impl AsRef<Path>, hub: Hub) -> Result<Self, Error> {
        Self::reach(Endpoint::Unix(path.as_ref().to_owned()), hub).await
    }

    /// The path of the socket file.
    #[must_use]
    pub fn local_addr(&self) -> &Path {
        match &self.endpoint {
            Endpoint::Unix(path) => path,
            Endpoint::Tcp(_) => unreachable!("this transport was made of a path"),
        }
    }
}

impl<K> Transport<K> {
    async fn listen(endpoint: Endpoint, hub: Hub) -> Result<Self, Error> {
        let listener = Listener::bind(&endpoint).await?;
        let endpoint = listener.local_endpoint().clone();
        let local = match &endpoint {
            Endpoint::Tcp(address) => address.parse().ok(),
            Endpoint::Unix(_) => None,
        };
        let serving = serve(listener, hub.clone());
        Ok(Self::new(hub, endpoint, local, serving))
    }

    async fn reach(endpoint: Endpoint, hub: Hub) -> Result<Self, Error> {
        let stream = Stream::connect(&endpoint, hub.shared.config.connect_timeout).await?;
        let local = match &stream {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        };
        let client = Client::new(hub.clone(), endpoint.clone());
        let serving = async move {
            if let Some(client) = client {
                client.run(stream).await;
            }
        };
        Ok(Self::new(hub, endpoint, local, serving))
    }

    fn new(
        hub: Hub,
        endpoint: Endpoint,
        local: Option<SocketAddr>,
        serving: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let decay = hub.buffer_pool().spawn_decay();
        let closing = Closing(hub.clone());
        let task = tokio::spawn(async move {
            let _closing = closing;
            serving.await;
        });
        Self { hub, endpoint, local, task, decay, kind: PhantomData }
    }

    /// Stops to listen, or to connect again; lets every connection send what waits for it and receive what its
    /// peer still sends, and tells the peer; cuts those that have not ended by
    /// [`drain_timeout`](TransportConfig::drain_timeout). Publishers and subscribers are told that it is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it cuts the connections that are left.
    pub async fn shutdown(mut self) -> DrainReport {
        let report = self.hub.shutdown().await;
        // All have ended or are cut, so it ends by itself, and then the address is free.
        let _ = (&mut self.task).await;
        report
    }
}

impl<K> Deref for Transport<K> {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        &self.hub
    }
}

impl<K> Drop for Transport<K> {
    fn drop(&mut self) {
        self.task.abort();
        self.decay.abort();
        self.hub.shared.close();
    }
}

impl<K> fmt::Debug for Transport<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("endpoint", &self.endpoint)
            .field("stats", &self.hub.stats())
            .finish()
    }
}

/// However a transport's task ends, even with its runtime, nobody waits for it any more.
struct Closing(Hub);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.shared.close();
    }
}

async fn serve(listener: Listener, hub: Hub) {
    let shared = &hub.shared;
    let connection = |stream| {
        let shared = Arc::clone(shared);
        let peer = Admitted::new(&shared, |id| match &stream {
            Stream::Tcp(stream) => {
                stream.peer_addr().map_or_else(|_| "gone".to_owned(), |peer| peer.to_string())
            }
            Stream::Unix(_) => format!("unix #{id}"),
        });
        async move {
            if let Some(peer) = peer {
                // Who wants to know was told by an event.
                let _ = Guest::of(&shared, &peer).serve(stream, Role::Server).await;
            }
        }
    };
    // The hub cuts those that do not end.
    listener.serve(shared.config.max_connections, Duration::MAX, shared.drains(), connection).await;
}
