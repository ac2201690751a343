//! An encrypted stream, and what its handshake agreed on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{CipherSuite, ClientConnection, CommonState, HandshakeKind, ProtocolVersion};

use super::config::TlsVersion;
use super::connector::TlsIdentity;
use super::error::{Asked, TlsError};
use crate::net::{AsyncStream, HangUp, Peekable};

/// An encrypted connection to a server whose certificate was verified.
///
/// Written bytes may stay in the stream until it is flushed.
///
/// # Memory
///
/// At rest it takes 9 KB: 1 KB itself, 6 KB on Rust's heap and 1.5 KB of aws-lc's, beside the certificates of the server.
/// 4 KiB of it are the buffer into which rustls reads, which is never smaller. After a transfer rustls shrinks its buffers
/// when a read finds nothing, so keep a read pending, as hyper does: a stream that nobody reads from keeps up to 32 KiB.
/// While bytes are under way it holds a record in each stage of reading, 50 KiB together, and up to 64 KiB of written
/// records that the peer has not taken. None of this memory is a pool's, or within its limit.
///
/// # Errors
///
/// A read or write that fails for a reason of TLS returns an [`io::Error`] in which [`TlsError::find`] finds that reason:
/// above all, that a TLS 1.3 server refuses the client's certificate, or its lack.
#[derive(Debug)]
pub struct TlsStream<IO> {
    inner: Peekable<client::TlsStream<IO>>,
    server_name: Box<str>,
    asked: Asked,
    identity: TlsIdentity,
    handshake_time: Duration,
}

impl<IO> TlsStream<IO> {
    pub(super) fn new(
        inner: client::TlsStream<IO>,
        server_name: &str,
        asked: Asked,
        identity: TlsIdentity,
        handshake_time: Duration,
    ) -> Self {
        Self { inner: Peekable::new(inner), server_name: server_name.into(), asked, identity, handshake_time }
    }

    fn session(&self) -> &ClientConnection {
        self.inner.get_ref().get_ref().1
    }

    /// The name for which the server's certificate was verified.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The version of the protocol.
    #[must_use]
    pub fn version(&self) -> TlsVersion {
        version(self.session())
    }

    /// The cipher suite, by the name that IANA has for it, such as `TLS_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn cipher_suite(&self) -> &'static str {
        cipher_suite(self.session())
    }

    /// The protocol that the server chose among those offered by ALPN, or none.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session().alpn_protocol()
    }

    /// Whether an earlier session was resumed: the certificate was verified then, not again.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.session().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// How long the handshake took.
    #[must_use]
    pub fn handshake_time(&self) -> Duration {
        self.handshake_time
    }

    /// The certificates of the server, its own first. A resumed session has those of the first one.
    #[must_use]
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.session().peer_certificates().unwrap_or_default()
    }

    /// The [identity](super::TlsConnector::identity) that the connector had when this connection was made.
    #[must_use]
    pub fn identity(&self) -> TlsIdentity {
        self.identity.clone()
    }

    /// The stream below. Bytes that are read from it or written to it break the connection.
    #[must_use]
    pub fn get_ref(&self) -> &IO {
        self.inner.get_ref().get_ref().0
    }

    /// The stream below, for its options.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut IO {
        self.inner.get_mut().get_mut().0
    }

    fn explain(&self, error: io::Error) -> io::Error {
        TlsError::of_stream(error, &self.server_name, self.asked)
    }
}

/// The version of a finished handshake.
pub(super) fn version(session: &CommonState) -> TlsVersion {
    match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Tls13,
    }
}

/// The cipher suite of a finished handshake.
pub(super) fn cipher_suite(session: &CommonState) -> &'static str {
    match session.negotiated_cipher_suite().map(|suite| suite.suite()) {
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
        // rustls has IANA's names for those of TLS 1.2.
        older => older.and_then(|suite| suite.as_str()).unwrap_or_default(),
    }
}

/// As a [`Peekable`], with the hang-up and the reset of the stream below. A reset is no clean end in TLS either: there is no
/// `close_notify` before it.
impl<IO: AsyncStream> AsyncStream for TlsStream<IO> {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_read_ready(cx)
    }

    /// The stream below takes bytes, so that no more than one write of records waits for its peer.
    fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::get_mut(self).poll_write_ready(cx)
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        AsyncStream::poll_peek(&mut self.inner, cx, buffer)
    }

    fn hang_up(&self) -> Option<HangUp> {
        self.get_ref().hang_up()
    }

    fn reset_on_close(&mut self) {
        Self::get_mut(self).reset_on_close();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_read(cx, buffer).map_err(|error| this.explain(error))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_write(cx, bytes).map_err(|error| this.explain(error))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_write_vectored(cx, slices).map_err(|error| this.explain(error))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_flush(cx).map_err(|error| this.explain(error))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_shutdown(cx).map_err(|error| this.explain(error))
    }
}
