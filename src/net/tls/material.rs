//! Files and PEM text, read again at each reload.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustls_native_certs::{CertificateResult, load_native_certs};
use rustls_platform_verifier::Verifier;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore};

use super::config::{TlsConfig, TlsRoots};
use super::config_error::{TlsConfigError, TlsConfigErrorKind as Kind};
use crate::sync::Arc;

/// PEM text, or where it is.
#[derive(Clone)]
pub(super) enum Pem {
    File(PathBuf),
    Given(Text),
}

impl Pem {
    pub(super) fn given(text: impl Into<Vec<u8>>) -> Self {
        Self::Given(text.into().into())
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Given(_) => None,
        }
    }

    pub(super) fn error(&self, kind: Kind) -> TlsConfigError {
        TlsConfigError::new(kind).at(self.path())
    }

    pub(super) fn read(&self) -> Result<Text, TlsConfigError> {
        match self {
            Self::File(path) => {
                fs::read(path).map(Into::into).map_err(|error| self.error(Kind::Unreadable).because(error))
            }
            Self::Given(text) => Ok(Arc::clone(text)),
        }
    }
}

/// Without the text, which may be a private key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Given(text) => write!(f, "{} bytes", text.len()),
        }
    }
}

/// What a file holds.
pub(super) type Text = Arc<[u8]>;

/// What the files held at one time. Equal texts make equal connectors.
#[derive(PartialEq, Eq)]
pub(super) struct Material {
    roots: Vec<Text>,
    revocation_lists: Vec<Text>,
    client_auth: Option<(Text, Text)>,
    /// The roots of the platform, to see whether they changed: its verifier reads them itself.
    platform: Vec<CertificateDer<'static>>,
}

impl Material {
    /// What the files hold now. `before` is what they held at the last time.
    pub(super) fn read(config: &TlsConfig, before: Option<&Self>) -> Result<Self, TlsConfigError> {
        let all = |pem: &[Pem]| pem.iter().map(Pem::read).collect::<Result<_, _>>();
        let both = |(chain, key): &(Pem, Pem)| Ok((chain.read()?, key.read()?));
        Ok(Self {
            roots: all(&config.added_roots)?,
            revocation_lists: all(&config.revocation_lists)?,
            client_auth: config.client_auth.as_ref().map(both).transpose()?,
            platform: match config.trusts_platform() {
                true => platform_roots(before.map_or(0, |before| before.platform.len()))?,
                false => Vec::new(),
            },
        })
    }

    pub(super) fn verifier(
        &self,
        config: &TlsConfig,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
        if let Some(verifier) = &config.dangerous_verifier {
            return Ok(Arc::clone(verifier));
        }
        let (mut added, mut roots) = (Vec::new(), RootCertStore::empty());
        for (pem, text) in config.added_roots.iter().zip(&self.roots) {
            for certificate in sections::<CertificateDer<'static>>(pem, text, Kind::NoCertificate)? {
                let invalid = |error| pem.error(Kind::InvalidRoot).because(error);
                roots.add(certificate.clone()).map_err(invalid)?;
                added.push(certificate);
            }
        }
        match config.roots {
            TlsRoots::Platform if config.revocation_lists.is_empty() => {
                // The added roots are valid, so what fails is the platform.
                let verifier = Verifier::new_with_extra_roots(added, Arc::clone(provider))
                    .map_err(|error| TlsConfigError::new(Kind::NoRoots).because(error))?;
                return Ok(Arc::new(verifier));
            }
            TlsRoots::Platform => return Err(TlsConfigError::new(Kind::RevocationOnPlatform)),
            TlsRoots::Webpki => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            TlsRoots::OnlyAdded => {}
        }
        if roots.is_empty() {
            return Err(TlsConfigError::new(Kind::NoRoots));
        }
        let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .enforce_revocation_expiration();
        for (pem, text) in config.revocation_lists.iter().zip(&self.revocation_lists) {
            let lists = sections::<CertificateRevocationListDer<'static>>(pem, text, Kind::NoRevocationList)?;
            builder = builder.with_crls(lists);
            // Once per file, so that the wrong one is named.
            let invalid = |error| pem.error(Kind::InvalidRevocationList).because(error);
            builder.clone().build().map_err(invalid)?;
        }
        let verifier = builder.build().map_err(|error| TlsConfigError::new(Kind::Other).because(error))?;
        Ok(verifier)
    }

    pub(super) fn client_key(
        &self,
        config: &TlsConfig,
        provider: &CryptoProvider,
    ) -> Result<Option<Arc<CertifiedKey>>, TlsConfigError> {
        let (Some((chain_pem, key_pem)), Some((chain, key))) = (&config.client_auth, &self.client_auth)
        else {
            return Ok(None);
        };
        certified_key((chain_pem, key_pem), (chain, key), provider).map(Some)
    }
}

/// A certificate with its key, from the texts of both.
pub(super) fn certified_key(
    (chain_pem, key_pem): (&Pem, &Pem),
    (chain, key): (&[u8], &[u8]),
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsConfigError> {
    let chain = sections(chain_pem, chain, Kind::NoCertificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        let kind = if matches!(error, pem::Error::NoItemsFound) { Kind::NoKey } else { Kind::NotPem };
        key_pem.error(kind).because(error)
    })?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let kind = match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Kind::KeyMismatch,
            _ => Kind::InvalidKey,
        };
        key_pem.error(kind).because(error)
    })?;
    Ok(Arc::new(key))
}

/// The roots of the platform. Fewer than `before` may be all that could be read of a bundle that is being renewed. It is no
/// error that there have never been some: others are added, or the verifier fails.
fn platform_roots(before: usize) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let CertificateResult { certs, errors, .. } = load_native_certs();
    if certs.len() >= before || (errors.is_empty() && !certs.is_empty()) {
        return Ok(certs);
    }
    let error = TlsConfigError::new(Kind::PlatformRoots);
    Err(match errors.into_iter().next() {
        Some(cause) => error.because(cause),
        None => error,
    })
}

/// All sections of one kind, at least one.
pub(super) fn sections<T: PemObject>(pem: &Pem, text: &[u8], none: Kind) -> Result<Vec<T>, TlsConfigError> {
    let found = T::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem.error(Kind::NotPem).because(error))?;
    if found.is_empty() { Err(pem.error(none)) } else { Ok(found) }
}
