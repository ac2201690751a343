//! Which check failed, for which name, and what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};

/// Why a TLS connection failed: which check, and for which server.
#[derive(Debug)]
pub struct TlsError {
    kind: TlsErrorKind,
    server_name: Box<str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Which check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The name of the server is neither a DNS name nor an IP address.
    InvalidName,
    /// The certificate, or one of its authorities', has expired.
    Expired {
        /// When, if the verifier said so.
        at: Option<SystemTime>,
    },
    /// The certificate, or one of its authorities', is not valid yet.
    NotYetValid {
        /// When it will be, if the verifier said so.
        from: Option<SystemTime>,
    },
    /// The certificate is another server's.
    WrongName {
        /// The names that it is for.
        presented: Vec<String>,
    },
    /// No trusted root has signed the certificate, directly or by the authorities that the server sent.
    UnknownAuthority,
    /// The certificate is on a revocation list.
    Revoked,
    /// No revocation list covers the certificate.
    UnknownRevocation,
    /// The certificate is wrong in another way, or a custom verifier refused it.
    BadCertificate,
    /// The server wants a client certificate, and none is configured.
    ClientCertificateRequired,
    /// The server refuses the client certificate.
    ClientCertificateRefused,
    /// The server has no name like this one.
    UnknownName,
    /// There is no version that both sides support.
    NoCommonVersion,
    /// There is no cipher suite, or key exchange, that both sides support.
    NoCommonSuite,
    /// There is no protocol that both sides offer by ALPN.
    NoCommonProtocol,
    /// The server ended the connection with another alert: its number.
    Alert(u8),
    /// The peer does not speak TLS.
    NotTls,
    /// The connection ended without the end of TLS, so that bytes may be missing.
    UnexpectedEof,
    /// The server broke the protocol.
    Protocol,
    /// The stream below failed.
    Io(io::ErrorKind),
}

/// What the server asked for, which explains its alerts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// It asked for a client certificate.
    pub(super) client_auth: bool,
    /// There is one.
    pub(super) has_client_auth: bool,
}

impl TlsError {
    pub(super) fn new(kind: TlsErrorKind, server_name: &str) -> Self {
        Self { kind, server_name: server_name.into(), source: None }
    }

    /// The error of a handshake.
    pub(super) fn of_handshake(error: io::Error, server_name: &str, asked: Asked) -> Self {
        let kind = match rustls_error(&error) {
            // Later it would be a broken record.
            Some(rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge,
            )) => TlsErrorKind::NotTls,
            Some(error) => TlsErrorKind::of(error, asked),
            None if error.kind() == io::ErrorKind::UnexpectedEof => TlsErrorKind::UnexpectedEof,
            None => TlsErrorKind::Io(error.kind()),
        };
        Self { kind, server_name: server_name.into(), source: Some(Box::new(error)) }
    }

    /// The error of a read or a write, with this error in it if TLS is the reason.
    pub(super) fn of_stream(error: io::Error, server_name: &str, asked: Asked) -> io::Error {
        let kind = match rustls_error(&error) {
            Some(error) => TlsErrorKind::of(error, asked),
            None if error.kind() == io::ErrorKind::UnexpectedEof => TlsErrorKind::UnexpectedEof,
            None => return error,
        };
        let io_kind = error.kind();
        io::Error::new(io_kind, Self { kind, server_name: server_name.into(), source: Some(Box::new(error)) })
    }

    /// Finds the reason of TLS in an error of a [`TlsStream`](super::TlsStream), or in one that has it as a source, such
    /// as an error of an HTTP library.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            // The source of an `io::Error` is the source of what is in it.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = inner.map(|inner| inner as _).or_else(|| error.source());
        }
        None
    }

    /// Which check failed.
    #[must_use]
    pub fn kind(&self) -> &TlsErrorKind {
        &self.kind
    }

    /// The name of the server.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl TlsErrorKind {
    fn of(error: &rustls::Error, asked: Asked) -> Self {
        use rustls::Error as Cause;
        match error {
            Cause::InvalidCertificate(error) => Self::of_certificate(error),
            Cause::AlertReceived(alert) => Self::of_alert(*alert, asked),
            Cause::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::NoCommonVersion,
            Cause::PeerIncompatible(_) => Self::NoCommonSuite,
            Cause::NoApplicationProtocol
            | Cause::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                Self::NoCommonProtocol
            }
            Cause::InvalidCertRevocationList(_) => Self::UnknownRevocation,
            Cause::NoCertificatesPresented => Self::BadCertificate,
            _ => Self::Protocol,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as Cause;
        let time = |time: &UnixTime| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
        match error {
            Cause::Expired => Self::Expired { at: None },
            Cause::ExpiredContext { not_after, .. } => Self::Expired { at: time(not_after) },
            Cause::NotValidYet => Self::NotYetValid { from: None },
            Cause::NotValidYetContext { not_before, .. } => Self::NotYetValid { from: time(not_before) },
            Cause::NotValidForName => Self::WrongName { presented: Vec::new() },
            Cause::NotValidForNameContext { presented, .. } => {
                Self::WrongName { presented: presented.clone() }
            }
            Cause::UnknownIssuer => Self::UnknownAuthority,
            Cause::Revoked => Self::Revoked,
            Cause::UnknownRevocationStatus
            | Cause::ExpiredRevocationList
            | Cause::ExpiredRevocationListContext { .. } => Self::UnknownRevocation,
            _ => Self::BadCertificate,
        }
    }

    fn of_alert(alert: AlertDescription, asked: Asked) -> Self {
        use AlertDescription as Alert;
        match alert {
            Alert::ProtocolVersion => Self::NoCommonVersion,
            Alert::NoApplicationProtocol => Self::NoCommonProtocol,
            Alert::UnrecognisedName => Self::UnknownName,
            Alert::CertificateRequired => Self::ClientCertificateRequired,
            // TLS 1.2 has no alert of its own for it.
            Alert::HandshakeFailure if asked.client_auth && !asked.has_client_auth => {
                Self::ClientCertificateRequired
            }
            Alert::HandshakeFailure | Alert::InsufficientSecurity if !asked.client_auth => {
                Self::NoCommonSuite
            }
            Alert::HandshakeFailure
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
                if asked.client_auth =>
            {
                Self::ClientCertificateRefused
            }
            other => Self::Alert(other.into()),
        }
    }
}

/// One line that says what to do. The library's or the system's error is the [`source`](Error::source).
impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.server_name, self.kind)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
