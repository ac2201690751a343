//! What an acceptor presents and demands.

use std::path::PathBuf;
use std::time::Duration;

use super::acceptor::TlsAcceptor;
use super::config::TlsVersion;
use super::config_error::{TlsConfigError, TlsConfigErrorKind};
use super::material::Pem;

/// What a [`TlsAcceptor`] presents to clients and demands from them.
///
/// | setting | default | why |
/// |---|---|---|
/// | certificates | none | at least one is needed |
/// | client roots | none | clients need no certificate; with roots each client does |
/// | [`alpn`](Self::alpn) | none | the caller must speak what it accepts |
/// | [`min_version`](Self::min_version) | TLS 1.2 | older ones are broken |
/// | [`handshake_timeout`](Self::handshake_timeout) | 10 s | two round trips; three retransmissions of a lost packet (1 s, 2 s, 4 s) fit |
///
/// # Sessions
///
/// Clients resume sessions by tickets that the acceptor encrypts and does not keep, so sessions take no memory. The key
/// changes after 6 hours, and a ticket is good for 12 hours at most. The keys belong to the acceptor and its clones: a reload
/// that finds changes makes new ones, and so does a restart. Then each client makes one full handshake more. There is no early
/// data, since it can be replayed.
///
/// # Examples
///
/// ```no_run
/// use millpond::net::tls::TlsServerConfig;
///
/// let acceptor = TlsServerConfig::new()
///     .certificate_files("/etc/mill/pond.pem", "/etc/mill/pond.key")
///     .client_root_file("/etc/mill/clients.pem")
///     .build()?;
/// # Ok::<(), millpond::net::tls::TlsConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsServerConfig {
    pub(super) certificates: Vec<(Pem, Pem)>,
    pub(super) client_roots: Vec<Pem>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) min_version: TlsVersion,
    pub(super) handshake_timeout: Duration,
}

impl Default for TlsServerConfig {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            client_roots: Vec::new(),
            alpn: Vec::new(),
            min_version: TlsVersion::Tls12,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl TlsServerConfig {
    /// The defaults in the table above.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a certificate: a PEM file with the chain, the server's own certificate first, and one with its private key (PKCS
    /// #8, PKCS #1 or SEC 1, without a password). They may be the same file. A reload reads them again.
    ///
    /// Of several, a client gets one whose names (subjectAltName) contain the name that it asks for, and whose kind of key it
    /// supports; else the first one. A warning is logged if everybody on the machine can read the key.
    pub fn certificate_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificates.push((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }

    /// Adds a certificate, as [`certificate_files`](Self::certificate_files) does, from PEM text.
    pub fn certificate_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.push((Pem::given(chain), Pem::given(key)));
        self
    }

    /// Demands a certificate from each client, signed by an authority in this PEM file. A reload reads it again.
    pub fn client_root_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_roots.push(Pem::File(path.into()));
        self
    }

    /// Demands a certificate, as [`client_root_file`](Self::client_root_file) does, by PEM text.
    pub fn client_root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client_roots.push(Pem::given(pem));
        self
    }

    /// Protocols to accept by ALPN, the preferred one first. A client that offers others only is refused. Without any, what
    /// clients offer is ignored.
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect();
        self
    }

    /// The oldest version to accept.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self
    }

    /// How long a handshake may take.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Reads the files and builds the acceptor. It blocks for that.
    ///
    /// # Errors
    ///
    /// Which file or setting is wrong, and how.
    pub fn build(self) -> Result<TlsAcceptor, TlsConfigError> {
        if self.alpn.iter().any(|protocol| protocol.is_empty() || protocol.len() > 255) {
            return Err(TlsConfigError::new(TlsConfigErrorKind::InvalidAlpn));
        }
        if self.certificates.is_empty() {
            return Err(TlsConfigError::new(TlsConfigErrorKind::NothingToPresent));
        }
        TlsAcceptor::new(self)
    }
}
