//! Why a connector or an acceptor cannot be built or reloaded.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::sync::Arc;

/// Why a connector or an acceptor cannot be built or reloaded: what is wrong, and in which file.
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
    /// The roots of the system cannot be read any more, or fewer of them.
    PlatformRoots,
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
    /// An acceptor has no certificate to present.
    NothingToPresent,
    /// A certificate cannot be presented: it is broken, or of an old version.
    InvalidCertificate,
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
        let it = self.path.as_ref().map_or("the given PEM".into(), |path| path.to_string_lossy());
        match self.kind {
            Kind::Unreadable => write!(f, "{it} cannot be read (check the path and its permissions)"),
            Kind::NotPem => write!(f, "{it} is not PEM, or cut off (write it again)"),
            Kind::NoCertificate => {
                write!(
                    f,
                    "{it} holds no certificate (it needs BEGIN CERTIFICATE; DER can be converted: openssl x509)"
                )
            }
            Kind::InvalidRoot => {
                write!(f, "{it} holds a certificate that cannot be a root (look at it: openssl x509 -text)")
            }
            Kind::NoRoots => f.write_str(
                "no roots are trusted (install ca-certificates, choose TlsRoots::Webpki, or add roots)",
            ),
            Kind::PlatformRoots => f.write_str(
                "the system's roots cannot be read any more (check its bundle of certificates, and SSL_CERT_FILE)",
            ),
            Kind::NoKey => {
                write!(
                    f,
                    "{it} holds no private key (it needs BEGIN PRIVATE KEY; a key with a password does not do)"
                )
            }
            Kind::InvalidKey => {
                write!(
                    f,
                    "{it} holds a private key of no supported kind (use ECDSA, Ed25519, or RSA from 2048 bits)"
                )
            }
            Kind::KeyMismatch => {
                write!(f, "{it} holds the private key of another certificate (choose the key of this one)")
            }
            Kind::NoRevocationList => write!(f, "{it} holds no revocation list (it needs BEGIN X509 CRL)"),
            Kind::InvalidRevocationList => {
                write!(f, "{it} holds a revocation list that cannot be used (look at it: openssl crl -text)")
            }
            Kind::RevocationOnPlatform => f.write_str(
                "the platform's verifier takes no revocation lists (choose TlsRoots::Webpki or OnlyAdded)",
            ),
            Kind::InvalidAlpn => f.write_str(
                "a protocol's name is empty or longer than 255 bytes (offer h2, http/1.1 or none)",
            ),
            Kind::NothingToPresent => {
                f.write_str("there is no certificate to present (add one with its key: certificate_files)")
            }
            Kind::InvalidCertificate => {
                write!(f, "{it} holds a certificate that cannot be presented (look at it: openssl x509 -text)")
            }
            Kind::KeyLog => write!(f, "{it} cannot be written (check SSLKEYLOGFILE)"),
            Kind::Other => f.write_str("the TLS library refuses the configuration (the source says why)"),
        }
    }
}

impl Error for TlsConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::TlsConfigErrorKind as Kind;
    use super::*;

    #[test]
    fn a_message_is_one_line_and_names_the_file_that_is_wrong() {
        let of_files = [
            Kind::Unreadable,
            Kind::NotPem,
            Kind::NoCertificate,
            Kind::InvalidRoot,
            Kind::NoKey,
            Kind::InvalidKey,
            Kind::KeyMismatch,
            Kind::NoRevocationList,
            Kind::InvalidRevocationList,
            Kind::InvalidCertificate,
            Kind::KeyLog,
        ];
        for kind in of_files {
            let text = TlsConfigError::new(kind).at(Some(Path::new("/mill/roots.pem"))).to_string();
            assert!(text.starts_with("/mill/roots.pem ") && !text.contains('\n'), "{text}");
            let text = TlsConfigError::new(kind).to_string();
            assert!(text.starts_with("the given PEM "), "{text}");
        }
        let others = [
            Kind::NoRoots,
            Kind::RevocationOnPlatform,
            Kind::InvalidAlpn,
            Kind::NothingToPresent,
            Kind::Other,
        ];
        let texts: BTreeSet<_> = others.map(|kind| TlsConfigError::new(kind).to_string()).into();
        assert_eq!(texts.len(), others.len());
    }
}
