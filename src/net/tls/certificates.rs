//! The certificates of an acceptor, and which one a client gets.

use std::os::unix::fs::PermissionsExt;
use std::{fmt, fs};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tracing::warn;

use super::config_error::{TlsConfigError, TlsConfigErrorKind as Kind};
use super::material::{Pem, Text, certified_key, sections};
use super::server_config::TlsServerConfig;
use super::server_names::ServerNames;
use crate::sync::Arc;

/// What the files of an acceptor held at one time. Equal texts make equal acceptors.
#[derive(PartialEq, Eq)]
pub(super) struct ServerMaterial {
    certificates: Vec<(Text, Text)>,
    client_roots: Vec<Text>,
}

impl ServerMaterial {
    pub(super) fn read(config: &TlsServerConfig) -> Result<Self, TlsConfigError> {
        let both = |(chain, key): &(Pem, Pem)| Ok((chain.read()?, key.read()?));
        Ok(Self {
            certificates: config.certificates.iter().map(both).collect::<Result<_, _>>()?,
            client_roots: config.client_roots.iter().map(Pem::read).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn certificates(
        &self,
        config: &TlsServerConfig,
        provider: &CryptoProvider,
    ) -> Result<Certificates, TlsConfigError> {
        let (mut all, mut by_name) = (Vec::new(), ServerNames::<Vec<Arc<CertifiedKey>>>::new());
        for ((chain_pem, key_pem), (chain, key)) in config.certificates.iter().zip(&self.certificates) {
            warn_of_exposed(key_pem);
            let key = certified_key((chain_pem, key_pem), (chain, key), provider)?;
            let own = key.end_entity_cert();
            let own = own.map_err(|error| chain_pem.error(Kind::NoCertificate).because(error))?;
            let own = webpki::EndEntityCert::try_from(own)
                .map_err(|error| chain_pem.error(Kind::InvalidCertificate).because(error))?;
            for name in own.valid_dns_names() {
                let mut same = by_name.get_exact(name).cloned().unwrap_or_default();
                same.push(Arc::clone(&key));
                // A name that clients cannot ask for is no loss.
                let _ = by_name.insert(name, same);
            }
            all.push(key);
        }
        Ok(Certificates { all, by_name })
    }

    /// The verifier of client certificates, if they are demanded.
    pub(super) fn verifier(
        &self,
        config: &TlsServerConfig,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsConfigError> {
        if config.client_roots.is_empty() {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        for (pem, text) in config.client_roots.iter().zip(&self.client_roots) {
            for root in sections::<CertificateDer<'static>>(pem, text, Kind::NoCertificate)? {
                roots.add(root).map_err(|error| pem.error(Kind::InvalidRoot).because(error))?;
            }
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map(Some)
            .map_err(|error| TlsConfigError::new(Kind::Other).because(error))
    }
}

/// A key that everybody can read is a mistake, but container platforms mount all files so by default: no reason to stop.
fn warn_of_exposed(key: &Pem) {
    const OTHERS_READ: u32 = 0o004;
    let Some(path) = key.path() else { return };
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & OTHERS_READ != 0) {
        warn!(
            path = %path.display(),
            "everybody on this machine can read a private key (chmod o-r, unless its folder is closed)"
        );
    }
}

/// Chooses by the name that a client asks for, and by the signatures that it supports.
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    by_name: ServerNames<Vec<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.by_name.get(name)).unwrap_or(&self.all);
        let supported = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // With none that it supports, the handshake says so.
        named.iter().find(supported).or_else(|| named.first()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.all.len())
    }
}
