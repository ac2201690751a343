//! Why the TLS handshake of a client failed, as it is counted.

/// Why the TLS handshake of a client failed. The [error](super::RelayError)'s source says it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// The client does not speak TLS.
    NotTls,
    /// The client left in the middle of it.
    Left,
    /// There is no version, cipher suite or protocol that both sides support.
    NothingInCommon,
    /// The client sent no certificate, or one that is not valid.
    ClientCertificate,
    /// The client did not accept the certificate that it got.
    CertificateRefused,
    /// No backend serves the name that the client wants, or it said none.
    UnknownName,
    /// The client broke the protocol, or sent more than is allowed.
    Protocol,
    /// The handshake failed on this side.
    Local,
}

impl HandshakeFailure {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Timeout,
        Self::NotTls,
        Self::Left,
        Self::NothingInCommon,
        Self::ClientCertificate,
        Self::CertificateRefused,
        Self::UnknownName,
        Self::Protocol,
        Self::Local,
    ];

    /// The word for it in logs, spans and metrics.
    pub(super) fn cause(self) -> &'static str {
        match self {
            Self::Timeout => "tls_timeout",
            Self::NotTls => "tls_not_tls",
            Self::Left => "tls_left",
            Self::NothingInCommon => "tls_nothing_in_common",
            Self::ClientCertificate => "tls_client_certificate",
            Self::CertificateRefused => "tls_certificate_refused",
            Self::UnknownName => "tls_unknown_name",
            Self::Protocol => "tls_protocol",
            Self::Local => "tls_local",
        }
    }
}
