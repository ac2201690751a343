//! What a connector trusts, presents and offers.

use std::fmt;
use std::path::PathBuf;

use tokio_rustls::rustls::client::danger::ServerCertVerifier;

use super::config_error::{TlsConfigError, TlsConfigErrorKind};
use super::connector::TlsConnector;
use super::material::Pem;
use crate::sync::Arc;

/// Servers whose sessions are kept. rustls's own store keeps 32.
const SESSION_SERVERS: usize = 256;

/// TLS 1.3 tickets kept per server. Each is used once, and a resumed handshake brings at least one new, so this many
/// handshakes with one server can be under way at once and all resume. Each holds the certificate chain of the server,
/// 3 KiB in a common case, so 32 take 100 KiB.
const TICKETS_PER_SERVER: usize = 32;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

/// Which certificate authorities are trusted, beside the roots that are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsRoots {
    /// Those of the system. On Linux its bundle of certificates is read when the connector is built or reloaded, and the
    /// variables `SSL_CERT_FILE` and `SSL_CERT_DIR` replace it. On macOS the system verifies, and its policy counts.
    #[default]
    Platform,
    /// Those that Mozilla trusts, as of the version of the crate `webpki-roots`: the same on each system, also in a
    /// container without a bundle.
    Webpki,
    /// None but the added ones.
    OnlyAdded,
}

/// What a [`TlsConnector`] trusts, presents and offers.
///
/// | setting | default | why |
/// |---|---|---|
/// | [`roots`](Self::roots) | [`TlsRoots::Platform`] | what the administrator of the machine trusts |
/// | [`alpn`](Self::alpn) | none | the caller must speak what it offers. `https` and `websocket` offer what they speak |
/// | [`min_version`](Self::min_version) | TLS 1.2 | older ones are broken |
/// | [`sni`](Self::sni) | on | servers with several names need it |
/// | [`session_servers`](Self::session_servers) | 256 | a proxy's upstreams; rustls keeps 32 |
/// | [`tickets_per_server`](Self::tickets_per_server) | 32 | as many handshakes at once as a pool makes with one server |
/// | [`key_log_from_env`](Self::key_log_from_env) | off | who reads the log reads the traffic |
///
/// # Examples
///
/// ```
/// use millpond::net::tls::{TlsConfig, TlsRoots};
///
/// let connector = TlsConfig::new().roots(TlsRoots::Webpki).alpn(["h2", "http/1.1"]).build()?;
/// # Ok::<(), millpond::net::tls::TlsConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsConfig {
    pub(super) roots: TlsRoots,
    pub(super) added_roots: Vec<Pem>,
    pub(super) revocation_lists: Vec<Pem>,
    pub(super) client_auth: Option<(Pem, Pem)>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) min_version: TlsVersion,
    pub(super) sni: bool,
    pub(super) session_servers: usize,
    pub(super) tickets_per_server: usize,
    pub(super) key_log_from_env: bool,
    pub(super) dangerous_verifier: Option<Arc<dyn ServerCertVerifier>>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            roots: TlsRoots::default(),
            added_roots: Vec::new(),
            revocation_lists: Vec::new(),
            client_auth: None,
            alpn: Vec::new(),
            min_version: TlsVersion::Tls12,
            sni: true,
            session_servers: SESSION_SERVERS,
            tickets_per_server: TICKETS_PER_SERVER,
            key_log_from_env: false,
            dangerous_verifier: None,
        }
    }
}

impl TlsConfig {
    /// The defaults in the table above.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which certificate authorities are trusted, beside those that are added.
    pub fn roots(mut self, roots: TlsRoots) -> Self {
        self.roots = roots;
        self
    }

    /// Adds the certificates of a PEM file to the trusted roots. A reload reads it again.
    pub fn add_root_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.added_roots.push(Pem::File(path.into()));
        self
    }

    /// Adds the certificates in this PEM text to the trusted roots.
    pub fn add_root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.added_roots.push(Pem::given(pem));
        self
    }

    /// Adds a PEM file of certificate revocation lists. A reload reads it again.
    ///
    /// With a list, each certificate below the root must be covered by one that has not expired: a certificate whose
    /// authority gave none is refused. Not with [`TlsRoots::Platform`], whose verifier takes no lists.
    pub fn add_revocation_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.revocation_lists.push(Pem::File(path.into()));
        self
    }

    /// Adds the certificate revocation lists in this PEM text, as
    /// [`add_revocation_file`](Self::add_revocation_file) does.
    pub fn add_revocation_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.revocation_lists.push(Pem::given(pem));
        self
    }

    /// Presents a client certificate to servers that ask for one: a PEM file with the chain, the client's own certificate
    /// first, and one with its private key (PKCS #8, PKCS #1 or SEC 1, without a password). They may be the same file. A
    /// reload reads them again.
    pub fn client_auth_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client_auth = Some((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }

    /// Presents a client certificate, as [`client_auth_files`](Self::client_auth_files) does, from PEM text.
    pub fn client_auth_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.client_auth = Some((Pem::given(chain), Pem::given(key)));
        self
    }

    /// Protocols to offer by ALPN, the preferred one first, such as `["h2", "http/1.1"]`. The server chooses, or chooses
    /// none: [`TlsStream::alpn`](super::TlsStream::alpn) says which.
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect();
        self
    }

    /// The oldest version to accept.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self
    }

    /// Whether the name of the server is sent in the clear (SNI), so that a server with several names can choose its
    /// certificate. An IP address is never sent.
    pub fn sni(mut self, sent: bool) -> Self {
        self.sni = sent;
        self
    }

    /// Servers, by name, whose sessions are kept to be resumed. The server that was used least recently makes room. 0
    /// turns resumption off. Servers with the same name on different ports count as one: if they do not share the keys of
    /// their tickets, give each a connector of its own.
    pub fn session_servers(mut self, servers: usize) -> Self {
        self.session_servers = servers;
        self
    }

    /// TLS 1.3 tickets kept per server. Each is used once: as many handshakes with one server can resume at the same
    /// time. The oldest makes room. (In TLS 1.2 one session serves any number of handshakes.) Each holds the certificates of the
    /// server, so memory is bounded by servers × tickets × 64 KiB, and that by servers that mean it; 4 KB are common.
    pub fn tickets_per_server(mut self, tickets: usize) -> Self {
        self.tickets_per_server = tickets;
        self
    }

    /// Appends the keys of each connection to the file that the variable `SSLKEYLOGFILE` names, so that Wireshark can
    /// decrypt its packets. Who reads the file can as well. Without the variable nothing is logged.
    pub fn key_log_from_env(mut self) -> Self {
        self.key_log_from_env = true;
        self
    }

    /// Lets `verifier` decide whether to trust a server, instead of all checks of this crate: the roots and revocation
    /// lists of this configuration are not used.
    ///
    /// Dangerous: a verifier that accepts too much gives each attacker on the way the whole traffic, and resumed
    /// handshakes do not ask it again.
    pub fn dangerous_verifier(mut self, verifier: Arc<dyn ServerCertVerifier>) -> Self {
        self.dangerous_verifier = Some(verifier);
        self
    }

    /// Whether the roots can change without a file of the configuration.
    pub(super) fn trusts_platform(&self) -> bool {
        self.roots == TlsRoots::Platform && self.dangerous_verifier.is_none()
    }

    /// Reads the files and builds the connector. It blocks for that, with [`TlsRoots::Platform`] for tens of milliseconds.
    ///
    /// # Errors
    ///
    /// Which file or setting is wrong, and how.
    pub fn build(self) -> Result<TlsConnector, TlsConfigError> {
        if self.alpn.iter().any(|protocol| protocol.is_empty() || protocol.len() > 255) {
            return Err(TlsConfigError::new(TlsConfigErrorKind::InvalidAlpn));
        }
        TlsConnector::new(self)
    }
}
