//! A hub with a listener, or with a connection that reconnects when it breaks.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::client::Client;
use super::config::TransportConfig;
use super::hub::{Hub, OpenConnection, RegisteredPeer};
use super::publisher::Publisher;
use super::role::Role;
use super::subscriber::Subscriber;
use crate::frame::Message;
use crate::net::{DrainReport, Endpoint, Error, ErrorKind, Listener, Stream};
use crate::pool::{BufferPoolConfig, BufferPoolStats};
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
/// assert_eq!(counters.recv().await?.view()?, 42);
/// # Ok(())
/// # }
/// ```
pub type TcpTransport = Transport<Tcp>;

/// Messages over Unix sockets: the same as [`TcpTransport`], with a path as the address.
pub type UnixTransport = Transport<Unix>;

/// The kind of [`TcpTransport`].
#[derive(Debug)]
pub enum Tcp {}

/// The kind of [`UnixTransport`].
#[derive(Debug)]
pub enum Unix {}

/// What a [`Transport`] runs over.
pub trait Kind: sealed::Sealed {}

impl Kind for Tcp {}
impl Kind for Unix {}

mod sealed {
    use crate::net::Endpoint;
    use crate::net::ParseEndpointError::{BadHost, NoPort};

    pub trait Sealed {
        /// Whether the endpoint is of this kind, or would be without its mistake.
        fn takes(endpoint: &Endpoint) -> bool;
    }

    impl Sealed for super::Tcp {
        fn takes(endpoint: &Endpoint) -> bool {
            !matches!(endpoint, Endpoint::Unix(_))
        }
    }

    impl Sealed for super::Unix {
        fn takes(endpoint: &Endpoint) -> bool {
            // Text without a `/` or a scheme is no path.
            !matches!(endpoint, Endpoint::Tcp(_) | Endpoint::Invalid { error: NoPort | BadHost, .. })
        }
    }
}

/// A [`Hub`] with a listener, or with a connection that reconnects when it breaks.
///
/// Dropping it aborts its connections and frees the address as soon as the runtime runs its task.
/// [`shutdown`](Self::shutdown) drains the connections first, and the address is free when it returns.
pub struct Transport<K> {
    hub: Hub,
    endpoint: Endpoint,
    local: Option<SocketAddr>,
    task: JoinHandle<()>,
    decay: JoinHandle<()>,
    kind: PhantomData<K>,
}

impl<K: Kind> Transport<K> {
    /// Listens with the defaults, at `HOST:PORT` or at a path.
    ///
    /// Port 0 takes a free port, which `local_addr` names. For a path the parent directories are made. A stale socket
    /// file, one that nobody listens on, is replaced. A live socket file is never replaced, nor is any other file.
    ///
    /// # Errors
    ///
    /// As [`Listener::bind`], or [`ErrorKind::WrongKind`] for an endpoint of the other kind.
    pub async fn bind(endpoint: impl Into<Endpoint>) -> Result<Self, Error> {
        Self::bind_with(endpoint, TransportConfig::default()).await
    }

    /// Listens with a pool of these classes and limits, and the other defaults.
    ///
    /// # Errors
    ///
    /// The same as [`bind`](Self::bind).
    pub async fn bind_with_buffer_pool(
        endpoint: impl Into<Endpoint>,
        buffer_pool: BufferPoolConfig,
    ) -> Result<Self, Error> {
        Self::bind_with(endpoint, TransportConfig::default().buffer_pool(buffer_pool)).await
    }

    /// Listens with a [`TransportConfig`], or with a [`Hub`].
    ///
    /// Subscribers that are created on the hub before this call receive everything from the first frame. When this
    /// transport ends, the hub closes, and so does everything else that it serves. A hub that is already shut down
    /// accepts no connection.
    ///
    /// # Errors
    ///
    /// The same as [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::bus::{Hub, TcpTransport, TransportConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = TransportConfig::default().max_payload(64 * 1024);
    /// let server = TcpTransport::bind_with("127.0.0.1:0", config.clone()).await?;
    ///
    /// let hub = Hub::new(config);
    /// let _opaque = hub.opaque_subscriber(); // before the first connection
    /// let client = TcpTransport::connect_with(server.local_addr(), hub).await?;
    /// # drop(client);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn bind_with(endpoint: impl Into<Endpoint>, hub: impl Into<Hub>) -> Result<Self, Error> {
        let listener = Listener::bind(Self::checked(endpoint)?).await?;
        let (hub, endpoint) = (hub.into(), listener.local_endpoint().clone());
        let local = match &endpoint {
            Endpoint::Tcp(address) => address.parse().ok(),
            _ => None,
        };
        let serving = serve(listener, hub.clone());
        Ok(Self::new(hub, endpoint, local, serving))
    }

    /// Connects with the defaults, to `HOST:PORT` or to a path, and reconnects whenever the connection breaks.
    ///
    /// # Errors
    ///
    /// As [`Stream::connect`] if the first connection cannot be made, or [`ErrorKind::WrongKind`] for an endpoint of the
    /// other kind.
    pub async fn connect(endpoint: impl Into<Endpoint>) -> Result<Self, Error> {
        Self::connect_with(endpoint, TransportConfig::default()).await
    }

    /// Connects with a [`TransportConfig`], or with a [`Hub`], as [`bind_with`](Self::bind_with) listens.
    ///
    /// With a hub that is shut down already the connection ends at once.
    ///
    /// # Errors
    ///
    /// The same as [`connect`](Self::connect).
    pub async fn connect_with(endpoint: impl Into<Endpoint>, hub: impl Into<Hub>) -> Result<Self, Error> {
        let (endpoint, hub) = (Self::checked(endpoint)?, hub.into());
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

    fn checked(endpoint: impl Into<Endpoint>) -> Result<Endpoint, Error> {
        let endpoint = endpoint.into();
        if K::takes(&endpoint) { Ok(endpoint) } else { Err(Error::new(ErrorKind::WrongKind, endpoint, None)) }
    }
}

impl Transport<Tcp> {
    /// Returns the address that it listens on or, for a client, the local address of the first connection.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        match self.local {
            Some(address) => address,
            None => unreachable!("a TCP socket has an address"),
        }
    }
}

impl Transport<Unix> {
    /// Returns the path of the socket file or, after a NUL byte as in tokio, the abstract name.
    #[must_use]
    pub fn local_addr(&self) -> &Path {
        match &self.endpoint {
            Endpoint::Unix(path) => path,
            _ => unreachable!("the kind was checked"),
        }
    }
}

impl<K> Transport<K> {
    /// Returns the hub: its topics, its pool and its connections.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns a publisher that sends messages of the type to every peer: see [`Hub::publisher`].
    ///
    /// # Panics
    ///
    /// The same as [`Hub::declare`].
    #[must_use]
    pub fn publisher<M: Message>(&self) -> Publisher<M> {
        self.hub.publisher()
    }

    /// Subscribes to the messages of the type that arrive from now on: see [`Hub::subscriber`].
    ///
    /// # Panics
    ///
    /// The same as [`Hub::declare`].
    #[must_use]
    pub fn subscriber<M: Message>(&self) -> Subscriber<M> {
        self.hub.subscriber()
    }

    /// Returns the statistics of the pool.
    #[must_use]
    pub fn buffer_pool_stats(&self) -> BufferPoolStats {
        self.hub.buffer_pool_stats()
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

    /// Stops listening or reconnecting, and shuts the hub down: see [`Hub::shutdown`].
    ///
    /// # Cancel safety
    ///
    /// If cancelled, it aborts the connections that are left.
    pub async fn shutdown(mut self) -> DrainReport {
        let report = self.hub.shutdown().await;
        // All connections have ended or are aborted, so the task ends, and then the address is free.
        let _ = (&mut self.task).await;
        report
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

/// Closes the hub when the transport's task ends for any reason, even with its runtime, so that no subscriber waits for
/// ever.
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
        let peer = RegisteredPeer::new(&shared, |id| match &stream {
            Stream::Tcp(stream) => {
                stream.peer_addr().map_or_else(|_| "gone".to_owned(), |peer| peer.to_string())
            }
            Stream::Unix(_) => format!("unix #{id}"),
        });
        async move {
            if let Some(peer) = peer {
                // Events and statistics report the outcome.
                let _ = OpenConnection::new(&shared, &peer).serve(stream, Role::Server).await;
            }
        }
    };
    // The hub aborts the connections that do not end.
    listener.serve(shared.config.max_connections, Duration::MAX, shared.drains(), connection).await;
}
