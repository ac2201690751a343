//! The client certificate, and whether the server asked for one.

use std::cell::Cell;
use std::task::Poll;

use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::sync::{Arc, thread_local};

thread_local! {
    /// Whether the handshake that this thread polls was asked for a certificate. A resolver belongs to all handshakes of a
    /// configuration, because only those with the same one may resume each other's sessions.
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Presents the one client certificate, if there is one, and notes that it was asked for.
#[derive(Debug)]
pub(super) struct ClientAuth(pub(super) Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for ClientAuth {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        ASKED.set(true);
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Polls a handshake, and notes in `asked` whether the server asked for a certificate.
pub(super) fn watched<T>(asked: &mut bool, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
    ASKED.set(false);
    let polled = poll();
    *asked |= ASKED.get();
    polled
}
