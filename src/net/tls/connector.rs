//! Handshakes, and the generations between reloads.

use std::env;
use std::fmt;
use std::fs::OpenOptions;
use std::future::poll_fn;
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::pin::pin;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, KeyLogFile, version};
use tracing::debug_span;
use tracing::field::Empty;

use super::client_auth::{ClientAuth, watched};
use super::config::{TlsConfig, TlsVersion};
use super::config_error::{TlsConfigError, TlsConfigErrorKind};
use super::error::{Asked, TlsError, TlsErrorKind};
use super::material::Material;
use super::sessions::Sessions;
use super::stream::TlsStream;
use crate::net::{SPAN_TARGET, traced};
use crate::sync::statistic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex};

/// Makes TLS connections as a client. Clones are cheap and share sessions and reloads.
///
/// A handshake resumes a session of an earlier connection to the same name if there is one. In TLS 1.3 a server sends the
/// tickets for that after the handshake, and the first read takes them in: a pool that makes many connections makes one,
/// reads, and then makes more, each time as many as there may be tickets (1, 2, 4, …).
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use millpond::net::Stream;
/// use millpond::net::tls::TlsConfig;
/// use tokio::io::AsyncWriteExt;
/// use tokio::time::timeout;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// const LIMIT: Duration = Duration::from_secs(10);
/// let connector = TlsConfig::new().alpn(["http/1.1"]).build()?;
/// let tcp = Stream::connect("tcp://example.com:443", LIMIT).await?;
/// let mut tls = timeout(LIMIT, connector.connect("example.com", tcp)).await??;
/// tls.write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await?;
/// tls.flush().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConnector(Arc<Inner>);

struct Inner {
    config: TlsConfig,
    /// Held over a reload, so that the last to start is the last to finish.
    reloading: Mutex<()>,
    generation: Mutex<Arc<Generation>>,
}

/// What is used between two reloads.
struct Generation {
    identity: TlsIdentity,
    material: Material,
    client: Arc<ClientConfig>,
}

/// Stands for all that decides whether two connections are equally safe: roots, revocation lists, verifier, client
/// certificate, versions, and protocols offered.
///
/// Connectors that were built separately differ, even from equal configurations, and so does a connector before and after
/// a [reload](TlsConnector::reload) that found changes. A pool asks each connection for it: one whose identity is not
/// [current](Self::is_current) takes no more requests. Clones are cheap.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    is_outdated: Arc<AtomicBool>,
}

impl TlsIdentity {
    fn new() -> Self {
        Self { is_outdated: Arc::default() }
    }

    /// Whether handshakes still use what it stands for: no reload of its connector has found changes since.
    #[must_use]
    pub fn is_current(&self) -> bool {
        // Ordering: Relaxed, a flag that guards no memory. Who has seen the end of the reload sees it, by coherence.
        !self.is_outdated.load(Ordering::Relaxed)
    }

    fn expire(&self) {
        // Ordering: Relaxed, as above.
        self.is_outdated.store(true, Ordering::Relaxed);
    }
}

impl PartialEq for TlsIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.is_outdated, &other.is_outdated)
    }
}

impl Eq for TlsIdentity {}

impl TlsConnector {
    pub(super) fn new(config: TlsConfig) -> Result<Self, TlsConfigError> {
        let generation = Generation::new(&config, Material::read(&config, None)?)?;
        let generation = Mutex::new(Arc::new(generation));
        Ok(Self(Arc::new(Inner { config, reloading: Mutex::default(), generation })))
    }

    /// Makes a TLS connection over `stream`, to the server with this name: a DNS name or an IP address, also in brackets. The
    /// certificate must be valid for it; it need not be the name that was connected to. Names beyond ASCII are given in
    /// their ASCII form (`xn--`).
    ///
    /// There is no time limit: a silent server keeps this waiting, so put a [`timeout`](tokio::time::timeout) around it.
    ///
    /// # Errors
    ///
    /// Which check failed. TLS 1.3 servers check the client's certificate after the handshake, so that error comes from
    /// the first read of the stream: see [`TlsError::find`].
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it drops `stream`, and the handshake with it. A session that it took to resume is lost; the next
    /// handshake takes another or is a full one.
    pub async fn connect<IO>(&self, server_name: &str, stream: IO) -> Result<TlsStream<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.connect_offering(&self.0.config.alpn, server_name, stream).await
    }

    /// The configured protocols for ALPN.
    #[cfg(feature = "https")]
    pub(crate) fn alpn(&self) -> &[Vec<u8>] {
        &self.0.config.alpn
    }

    /// As [`connect`](Self::connect), with these protocols for ALPN instead of the configured ones.
    pub(crate) async fn connect_offering<IO>(
        &self,
        protocols: &[Vec<u8>],
        server_name: &str,
        stream: IO,
    ) -> Result<TlsStream<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let started = Instant::now();
        let bare = server_name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let Ok(name) = ServerName::try_from(bare.unwrap_or(server_name).to_owned()) else {
            return Err(TlsError::new(TlsErrorKind::InvalidName, server_name));
        };
        let generation = self.generation();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&generation.client));
        // On the heap, so that a task is not larger for the rest of its life because it once connected.
        let connector = connector.with_alpn(protocols.to_vec());
        let mut handshake = pin!(Box::new(connector.connect(name, stream)));
        let mut asked = Asked { client_auth: false, has_client_auth: self.0.config.client_auth.is_some() };
        let span = debug_span!(
            target: SPAN_TARGET,
            "tls",
            "server.address" = server_name,
            "tls.protocol.version" = Empty,
            "tls.next_protocol" = Empty,
            "tls.resumed" = Empty,
            "error.type" = Empty,
            "otel.status_code" = Empty,
        );
        let seen = &mut asked.client_auth;
        let shaking = || poll_fn(move |cx| watched(seen, || handshake.as_mut().poll(cx)));
        let connected = traced(span.clone(), shaking, |_| "tls").await;
        let stream = connected.map_err(|error| TlsError::of_handshake(error, server_name, asked))?;
        let stream =
            TlsStream::new(stream, server_name, asked, generation.identity.clone(), started.elapsed());
        span.record(
            "tls.protocol.version",
            if stream.version() == TlsVersion::Tls13 { "1.3" } else { "1.2" },
        );
        span.record("tls.next_protocol", stream.alpn().and_then(|name| str::from_utf8(name).ok()));
        span.record("tls.resumed", stream.is_resumed());
        Ok(stream)
    }

    /// Reads the files of the configuration again, and the roots of the platform if they are trusted. If something changed,
    /// later handshakes use what is there now and resume no session from before. Connections that exist stay, but their
    /// [identity](TlsStream::identity) is not current any more: pools send nothing more on them. Says whether that is so.
    ///
    /// It blocks while it reads, with [`TlsRoots::Platform`](super::TlsRoots::Platform) for tens of milliseconds: in a runtime, call
    /// it by [`spawn_blocking`](tokio::task::spawn_blocking).
    ///
    /// # Errors
    ///
    /// Which file is wrong, and how. Handshakes go on with what was read before.
    pub fn reload(&self) -> Result<bool, TlsConfigError> {
        let Inner { config, reloading, generation } = &*self.0;
        let _reloading = reloading.lock();
        let before = self.generation();
        let material = Material::read(config, Some(&before.material))?;
        if material == before.material {
            return Ok(false);
        }
        drop(before);
        let new = Arc::new(Generation::new(config, material)?);
        let old = mem::replace(&mut *generation.lock(), new);
        // Now, since a handshake from here on has the new one; and outside the lock.
        old.identity.expire();
        drop(old);
        Ok(true)
    }

    /// Whether it is a clone of the other one.
    #[cfg(any(feature = "relay", feature = "websocket"))]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The identity of what handshakes use now. See [`TlsStream::identity`] for what a connection used.
    #[must_use]
    pub fn identity(&self) -> TlsIdentity {
        self.generation().identity.clone()
    }

    fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.0.generation.lock())
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (identity, config) = (self.identity(), &self.0.config);
        f.debug_struct("TlsConnector").field("identity", &identity).field("config", config).finish()
    }
}

impl Generation {
    fn new(config: &TlsConfig, material: Material) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = material.verifier(config, &provider)?;
        let client_key = material.client_key(config, &provider)?;
        let versions: &[_] = match config.min_version {
            TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
            TlsVersion::Tls13 => &[&version::TLS13],
        };
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| TlsConfigError::new(TlsConfigErrorKind::Other).because(error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(ClientAuth(client_key)));
        client.alpn_protocols.clone_from(&config.alpn);
        client.enable_sni = config.sni;
        client.resumption = match config.session_servers {
            0 => Resumption::disabled(),
            servers => Resumption::store(Arc::new(Sessions::new(servers, config.tickets_per_server))),
        };
        if config.key_log_from_env {
            key_log_is_writable()?;
            client.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(Self { identity: TlsIdentity::new(), material, client: Arc::new(client) })
    }
}

/// rustls does not say that it cannot write its key log.
fn key_log_is_writable() -> Result<(), TlsConfigError> {
    let Some(path) = env::var_os("SSLKEYLOGFILE") else { return Ok(()) };
    match OpenOptions::new().append(true).create(true).mode(0o600).open(&path) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(TlsConfigError::new(TlsConfigErrorKind::KeyLog).at(Some(path.as_ref())).because(error))
        }
    }
}
