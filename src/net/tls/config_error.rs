//! Why a connector cannot be built or reloaded.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::sync::Arc;

/// Why a connector cannot be built or reloaded: what is wrong, and in which file.
#[derive(Clone, Debug)]
pub struct TlsConfigError {
    kind: TlsConfigErrorKind,
    path: Option<PathBuf>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What is wrong with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfigErrorKind {
    /// A file cannot be read.
    Unreadable,
    /// What should be PEM is not.
    NotPem,
    /// There is no certificate in what should hold some.
    NoCertificate,
    /// A certificate that should be trusted cannot be.
    InvalidRoot,
    /// There are no trusted roots: no server could be verified.
    NoRoots,
    /// There is no private key in what should hold one.
    NoKey,
    /// The private key is of no supported kind.
    InvalidKey,
    /// The private key is not the certificate's.
    KeyMismatch,
    /// There is no revocation list in what should hold some.
    NoRevocationList,
    /// A revocation list cannot be read.
    InvalidRevocationList,
    /// The verifier of the platform takes no revocation lists.
    RevocationOnPlatform,
    /// A name of a protocol is empty or longer than 255 bytes.
    InvalidAlpn,
    /// The file for the keys cannot be written.
    KeyLog,
    /// The library refuses the configuration for another reason.
    Other,
}

impl TlsConfigError {
    pub(super) fn new(kind: TlsConfigErrorKind) -> Self {
        Self { kind, path: None, source: None }
    }

    pub(super) fn at(mut self, path: Option<&Path>) -> Self {
        self.path = path.map(Path::to_owned);
        self
    }

    pub(super) fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> TlsConfigErrorKind {
        self.kind
    }

    /// The file that is wrong, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

/// One line that says what to do. The library's or the system's error is the [`source`](Error::source).
impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TlsConfigErrorKind as Kind;
        let (what, advice) = match self.kind {
            Kind::Unreadable => ("cannot be read", "check the path and its permissions"),
            Kind::NotPem => ("is not PEM", "convert it: openssl x509 -inform der, openssl pkey -inform der"),
            Kind::NoCertificate => ("holds no certificate", "look for BEGIN CERTIFICATE"),
            Kind::InvalidRoot => {
                ("holds a certificate that cannot be a root", "check it: openssl x509 -text")
            }
            Kind::NoRoots => {
                ("no roots are trusted", "install ca-certificates, choose TlsRoots::Webpki, or add roots")
            }
            Kind::NoKey => {
                ("holds no private key", "look for BEGIN PRIVATE KEY; keys with a password do not work")
            }
            Kind::InvalidKey => (
                "holds a private key of no supported kind",
                "use ECDSA P-256, P-384 or P-521, Ed25519, or RSA",
            ),
            Kind::KeyMismatch => (
                "holds a private key of another certificate",
                "choose the key that the certificate was made for",
            ),
            Kind::NoRevocationList => ("holds no revocation list", "look for BEGIN X509 CRL"),
            Kind::InvalidRevocationList => {
                ("holds a revocation list that cannot be used", "check it: openssl crl -text")
            }
            Kind::RevocationOnPlatform => (
                "the platform's verifier takes no revocation lists",
                "choose other roots: TlsRoots::Webpki or OnlyAdded",
            ),
            Kind::InvalidAlpn => {
                ("a protocol's name is empty or longer than 255 bytes", "offer h2, http/1.1 or nothing")
            }
            Kind::KeyLog => ("cannot be written", "check SSLKEYLOGFILE"),
            Kind::Other => ("the TLS library refuses the configuration", "the source says why"),
        };
        match &self.path {
            Some(path) => write!(f, "{} {what} ({advice})", path.display()),
            None if what.starts_with(['c', 'h', 'i']) => write!(f, "the given PEM {what} ({advice})"),
            None => write!(f, "{what} ({advice})"),
        }
    }
}

impl Error for TlsConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
