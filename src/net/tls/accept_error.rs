//! Why a client's handshake failed, and who can do what about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use tokio_rustls::rustls::{self, AlertDescription, InvalidMessage, PeerIncompatible};

/// Why the handshake of a client failed.
#[derive(Debug)]
pub struct TlsAcceptError {
    kind: TlsAcceptErrorKind,
    source: Option<io::Error>,
}

/// Why the handshake of a client failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsAcceptErrorKind {
    /// It took longer than the limit.
    Timeout(Duration),
    /// The client does not speak TLS.
    NotTls,
    /// The client left before the end of the handshake.
    Eof,
    /// The client supports no version that is accepted.
    NoCommonVersion,
    /// There is no cipher suite, key exchange or kind of signature that both sides support.
    NoCommonSuite,
    /// The client offers by ALPN only protocols that are not accepted.
    NoCommonProtocol,
    /// The client sent no certificate, and one is demanded.
    ClientCertificateMissing,
    /// The client's certificate is not valid: not signed by an authority that is trusted here, or expired.
    ClientCertificateRefused,
    /// The client does not accept the certificate that it got.
    CertificateRefused,
    /// The client ended the handshake with another alert: its number.
    Alert(u8),
    /// The client broke the protocol.
    Protocol,
    /// TLS failed on this side: there were no random numbers.
    Local,
    /// The stream below failed.
    Io(io::ErrorKind),
}

impl TlsAcceptError {
    pub(super) fn timeout(limit: Duration) -> Self {
        Self { kind: TlsAcceptErrorKind::Timeout(limit), source: None }
    }

    pub(super) fn of_handshake(error: io::Error) -> Self {
        let kind = match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(error) => TlsAcceptErrorKind::of(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => TlsAcceptErrorKind::Eof,
            None => TlsAcceptErrorKind::Io(error.kind()),
        };
        Self { kind, source: Some(error) }
    }

    /// Why.
    #[must_use]
    pub fn kind(&self) -> TlsAcceptErrorKind {
        self.kind
    }
}

impl TlsAcceptErrorKind {
    fn of(error: &rustls::Error) -> Self {
        use rustls::Error as Cause;
        match error {
            Cause::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge,
            ) => Self::NotTls,
            Cause::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => Self::NoCommonVersion,
            Cause::PeerIncompatible(_) => Self::NoCommonSuite,
            Cause::NoApplicationProtocol => Self::NoCommonProtocol,
            Cause::NoCertificatesPresented => Self::ClientCertificateMissing,
            Cause::InvalidCertificate(_) | Cause::InvalidCertRevocationList(_) => {
                Self::ClientCertificateRefused
            }
            Cause::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA,
            ) => Self::CertificateRefused,
            Cause::AlertReceived(alert) => Self::Alert((*alert).into()),
            Cause::FailedToGetCurrentTime
            | Cause::FailedToGetRandomBytes
            | Cause::General(_)
            | Cause::Other(_) => Self::Local,
            _ => Self::Protocol,
        }
    }

    /// The word for it in logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::NotTls => "not_tls",
            Self::Eof => "left",
            Self::NoCommonVersion => "no_common_version",
            Self::NoCommonSuite => "no_common_suite",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::ClientCertificateRefused => "client_certificate_refused",
            Self::CertificateRefused => "certificate_refused",
            Self::Alert(_) => "alert",
            Self::Protocol => "protocol",
            Self::Local => "local",
            Self::Io(_) => "io_error",
        }
    }
}

/// One line that says what to do. The library's or the system's error is the [`source`](Error::source).
impl fmt::Display for TlsAcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TlsAcceptErrorKind as Kind;
        match self.kind {
            Kind::Timeout(limit) => write!(f, "the client did not finish its handshake within {limit:?}"),
            Kind::NotTls => f.write_str("the client does not speak TLS (it must connect with TLS here)"),
            Kind::Eof => f.write_str("the client left in the middle of the handshake"),
            Kind::NoCommonVersion => f.write_str(
                "the client supports no version of TLS that is accepted here (enable TLS 1.3 there, or 1.2)",
            ),
            Kind::NoCommonSuite => f.write_str(
                "the client supports no cipher suite, key exchange or signature of this side (enable ECDHE with AES-GCM \
                 or ChaCha20 there, or add a certificate with another kind of key)",
            ),
            Kind::NoCommonProtocol => f.write_str(
                "the client offers no protocol that is accepted here (add its own to those of ALPN)",
            ),
            Kind::ClientCertificateMissing => {
                f.write_str("the client sent no certificate (configure one there)")
            }
            Kind::ClientCertificateRefused => f.write_str(
                "the client's certificate is not valid (check its dates, its purpose, and which authorities are trusted \
                 here)",
            ),
            Kind::CertificateRefused => f.write_str(
                "the client does not accept the certificate (check its names and dates, send the whole chain, or have \
                 the client trust its root)",
            ),
            Kind::Alert(alert) => write!(f, "the client ended the handshake with alert {alert}"),
            Kind::Protocol => f.write_str("the client broke the protocol of TLS"),
            Kind::Local => f.write_str("TLS failed on this side"),
            Kind::Io(kind) => write!(f, "the connection failed in the middle of the handshake: {kind}"),
        }
    }
}

impl Error for TlsAcceptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
