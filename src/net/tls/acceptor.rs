//! Handshakes with clients, and the generations between reloads.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{ServerConfig, version};

use super::accept_error::TlsAcceptError;
use super::certificates::ServerMaterial;
use super::config::TlsVersion;
use super::config_error::{TlsConfigError, TlsConfigErrorKind};
use super::server_config::TlsServerConfig;
use super::server_stream::TlsServerStream;
use crate::sync::{Arc, Mutex};

/// The most written bytes that a connection keeps for a peer that takes none: one record. rustls keeps 64 KiB by itself.
const UNWRITTEN: usize = 16 * 1024;
/// The most bytes that are thrown away so that a client sees the alert that its handshake failed with.
const DISCARDED: usize = 256 * 1024;

/// Accepts TLS connections as a server. Clones are cheap and share reloads and the keys of tickets.
///
/// # Memory
///
/// A handshake that a client does not finish holds 10 KB until it is closed at the
/// [handshake timeout](TlsServerConfig::handshake_timeout), and at most 71 KB if the client sends large messages that it does
/// not finish. What bounds the sum is the number of connections. A client that has not yet sent its whole first message holds
/// nothing, if that is [peeked](super::ClientHello::peek) at first, as a relay does.
///
/// # Examples
///
/// ```no_run
/// use millpond::net::Listener;
/// use millpond::net::tls::TlsServerConfig;
/// use tokio::io::AsyncWriteExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let acceptor = TlsServerConfig::new().certificate_files("pond.pem", "pond.key").build()?;
/// let listener = Listener::bind("127.0.0.1:8443").await?;
/// let mut client = acceptor.accept(listener.accept().await?).await?;
/// client.write_all(b"hello").await?;
/// client.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsAcceptor(Arc<Inner>);

struct Inner {
    config: TlsServerConfig,
    /// Held over a reload, so that the last to start is the last to finish.
    reloading: Mutex<()>,
    generation: Mutex<Arc<Generation>>,
}

/// What is used between two reloads.
struct Generation {
    material: ServerMaterial,
    server: Arc<ServerConfig>,
}

impl TlsAcceptor {
    pub(super) fn new(config: TlsServerConfig) -> Result<Self, TlsConfigError> {
        let generation = Generation::new(&config, ServerMaterial::read(&config)?)?;
        let generation = Mutex::new(Arc::new(generation));
        Ok(Self(Arc::new(Inner { config, reloading: Mutex::default(), generation })))
    }

    /// Makes a TLS connection over `stream` with the client at its other end.
    ///
    /// # Errors
    ///
    /// Why the handshake failed. The client has got an alert by then if it could take one, and its connection is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it drops `stream`, and the handshake with it.
    pub async fn accept<IO>(&self, stream: IO) -> Result<TlsServerStream<IO>, TlsAcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let started = Instant::now();
        let server = Arc::clone(&self.generation().server);
        let acceptor = tokio_rustls::TlsAcceptor::from(server);
        let limit = self.0.config.handshake_timeout;
        // On the heap, so that a task is not larger for the rest of its life because it once accepted.
        let bounded = |session: &mut tokio_rustls::rustls::ServerConnection| {
            session.set_buffer_limit(Some(UNWRITTEN));
        };
        let handshake = Box::pin(acceptor.accept_with(stream, bounded).into_fallible());
        match timeout(limit, handshake).await {
            Ok(Ok(stream)) => Ok(TlsServerStream::new(stream, started.elapsed())),
            Ok(Err((error, mut stream))) => {
                close_after_alert(&mut stream).await;
                Err(TlsAcceptError::of_handshake(error))
            }
            Err(_) => Err(TlsAcceptError::timeout(limit)),
        }
    }

    /// How long a handshake may take.
    #[must_use]
    pub fn handshake_timeout(&self) -> std::time::Duration {
        self.0.config.handshake_timeout
    }

    /// Reads the files of the configuration again. If something changed, later handshakes use what is there now and resume no
    /// session from before. Connections that exist stay. Says whether something changed.
    ///
    /// It blocks while it reads.
    ///
    /// # Errors
    ///
    /// Which file is wrong, and how. Handshakes go on with what was read before.
    pub fn reload(&self) -> Result<bool, TlsConfigError> {
        let Inner { config, reloading, generation } = &*self.0;
        let _reloading = reloading.lock();
        let material = ServerMaterial::read(config)?;
        if material == self.generation().material {
            return Ok(false);
        }
        let new = Arc::new(Generation::new(config, material)?);
        // The old one is dropped outside the lock.
        let old = std::mem::replace(&mut *generation.lock(), new);
        drop(old);
        Ok(true)
    }

    fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.0.generation.lock())
    }
}

impl PartialEq for TlsAcceptor {
    /// Whether it is a clone of the other one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsAcceptor {}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Generation {
    fn new(config: &TlsServerConfig, material: ServerMaterial) -> Result<Self, TlsConfigError> {
        let other = |error| TlsConfigError::new(TlsConfigErrorKind::Other).because(error);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificates = material.certificates(config, &provider)?;
        let verifier = material.verifier(config, &provider)?;
        let versions: &[_] = match config.min_version {
            TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
            TlsVersion::Tls13 => &[&version::TLS13],
        };
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).map_err(other)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(Arc::new(certificates));
        server.alpn_protocols.clone_from(&config.alpn);
        // Tickets alone: what a client must bring along takes no memory here.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ticketer = aws_lc_rs::Ticketer::new().map_err(other)?;
        Ok(Self { material, server: Arc::new(server) })
    }
}

/// Ends the stream, and throws away what the client has sent: a close with unread bytes would be a reset, and the client
/// might lose the alert.
pub(super) async fn close_after_alert(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut left = DISCARDED;
    poll_fn(|cx| {
        let _ = Pin::new(&mut *stream).poll_shutdown(cx);
        loop {
            let mut room = [0; 4096];
            let mut room = ReadBuf::new(&mut room);
            match Pin::new(&mut *stream).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() && left > 0 => {
                    left = left.saturating_sub(room.filled().len());
                }
                _ => return Poll::Ready(()),
            }
        }
    })
    .await;
}
