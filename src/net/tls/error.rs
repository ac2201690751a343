//! Which check failed, for which name, and what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use httpdate::fmt_http_date;
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
        /// The names that it is for. None if it has none, or the verifier did not say them.
        presented: Vec<String>,
    },
    /// No trusted root has signed the certificate, directly or by the authorities that the server sent.
    UnknownAuthority,
    /// The certificate is on a revocation list.
    Revoked,
    /// No revocation list covers the certificate.
    UnknownRevocation,
    /// A signature is by another key than the certificates say: mostly because a trusted root has the name of the
    /// certificate's issuer, but another key.
    BadSignature,
    /// The certificate is wrong in another way, or a custom verifier refused it.
    BadCertificate,
    /// The server presents the certificate of an authority, which may only sign others. `openssl req -x509` makes such ones.
    IsAuthority,
    /// The server wants a client certificate, and none is configured.
    ClientCertificateRequired,
    /// The server refuses the client certificate.
    ClientCertificateRefused,
    /// The server has no name like this one.
    UnknownName,
    /// There is no version that both sides support.
    NoCommonVersion,
    /// There is no cipher suite, or key exchange, that both sides support. Some servers say no more than that the
    /// handshake failed: if that is before they ask for a client certificate, this is why.
    NoCommonSuite,
    /// There is no protocol that both sides offer by ALPN.
    NoCommonProtocol,
    /// The server ended the connection with another alert: its number.
    Alert(u8),
    /// The peer does not speak TLS.
    NotTls,
    /// The server closed the connection in the middle of the handshake.
    HandshakeEof,
    /// The server closed the connection without the end of TLS, so that bytes may be missing.
    UnexpectedEof,
    /// The server broke the protocol.
    Protocol,
    /// TLS failed on this side: there were no random numbers, or a custom verifier failed.
    Local,
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
            None if error.kind() == io::ErrorKind::UnexpectedEof => TlsErrorKind::HandshakeEof,
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

/// The last second of the year 9999: certificates have no later dates, and neither can they be shown.
const LAST_SECOND: u64 = 253_402_300_799;

/// `DnsName("example.com")` as rustls says it → `example.com`.
fn bare(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let name = inner.unwrap_or(presented).trim_matches('"');
    // An address as it is usually written: rustls says `0::1`.
    name.parse().map_or_else(|_| name.to_owned(), |address: IpAddr| address.to_string())
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
            Cause::FailedToGetCurrentTime
            | Cause::FailedToGetRandomBytes
            | Cause::General(_)
            | Cause::Other(_) => Self::Local,
            _ => Self::Protocol,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as Cause;
        let time = |time: &UnixTime| {
            let seconds = time.as_secs().min(LAST_SECOND);
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
        };
        match error {
            Cause::Expired => Self::Expired { at: None },
            Cause::ExpiredContext { not_after, .. } => Self::Expired { at: time(not_after) },
            Cause::NotValidYet => Self::NotYetValid { from: None },
            Cause::NotValidYetContext { not_before, .. } => Self::NotYetValid { from: time(not_before) },
            Cause::NotValidForName => Self::WrongName { presented: Vec::new() },
            Cause::NotValidForNameContext { presented, .. } => {
                Self::WrongName { presented: presented.iter().map(|name| bare(name)).collect() }
            }
            Cause::UnknownIssuer => Self::UnknownAuthority,
            Cause::BadSignature => Self::BadSignature,
            Cause::Revoked => Self::Revoked,
            Cause::UnknownRevocationStatus
            | Cause::ExpiredRevocationList
            | Cause::ExpiredRevocationListContext { .. } => Self::UnknownRevocation,
            Cause::Other(other)
                if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
            {
                Self::IsAuthority
            }
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

/// One line that says what to do. The library's or the system's error is the [`source`](Error::source), and comes last if
/// both are shown.
impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TlsErrorKind as Kind;
        let name = &self.server_name;
        match &self.kind {
            Kind::InvalidName => {
                write!(f, "{name:?} is not the name of a server (give a DNS name or an IP address)")
            }
            Kind::Expired { at } => write!(
                f,
                "the certificate of {name} {} (renew it, or check the clock of this machine)",
                Date { when: *at, known: "expired on", unknown: "has expired" }
            ),
            Kind::NotYetValid { from } => write!(
                f,
                "the certificate of {name} {} (check the clock of this machine)",
                Date { when: *from, known: "is not valid before", unknown: "is not valid yet" }
            ),
            Kind::WrongName { presented } if presented.is_empty() => write!(
                f,
                "the certificate of {name} does not contain this name (reissue it with the name as subjectAltName; a \
                 common name does not count)"
            ),
            Kind::WrongName { presented } => write!(
                f,
                "the certificate of {name} is for {} (use one of those names, or reissue the certificate for this one)",
                Names(presented)
            ),
            Kind::UnknownAuthority => write!(
                f,
                "no trusted authority has signed the certificate of {name} (trust its root by \
                 TlsConfig::add_root_file, or have the server send all certificates up to the root)"
            ),
            Kind::Revoked => write!(f, "the certificate of {name} is revoked (have another one issued)"),
            Kind::UnknownRevocation => write!(
                f,
                "no valid revocation list covers the certificate of {name} (add the lists of all its authorities)"
            ),
            Kind::BadSignature => write!(
                f,
                "a signature of {name} is by another key than expected (mostly, a trusted root has the same name as this \
                 certificate's issuer, but another key: add the issuer's root)"
            ),
            Kind::BadCertificate => write!(
                f,
                "the certificate of {name} is not acceptable (look at it: openssl s_client -showcerts -connect HOST:PORT)"
            ),
            Kind::IsAuthority => write!(
                f,
                "the certificate of {name} is a CA certificate, which a server may not present (issue one for a server: \
                 openssl req -x509 -addext basicConstraints=critical,CA:FALSE)"
            ),
            Kind::ClientCertificateRequired => write!(
                f,
                "{name} wants a client certificate (configure one: client_auth_files or client_auth_pem)"
            ),
            Kind::ClientCertificateRefused => write!(
                f,
                "{name} refuses the client certificate (check its dates, its purpose, and which authorities the server \
                 trusts)"
            ),
            Kind::UnknownName => {
                write!(f, "the server has no name {name} (check the name, or add it to the server)")
            }
            Kind::NoCommonVersion => write!(
                f,
                "{name} supports no version of TLS that is accepted here (enable TLS 1.3 on the server, or 1.2)"
            ),
            Kind::NoCommonSuite => write!(
                f,
                "{name} refuses all cipher suites and key exchanges of this side (enable ECDHE with AES-GCM or \
                 ChaCha20-Poly1305 on the server)"
            ),
            Kind::NoCommonProtocol => {
                write!(f, "{name} refuses all protocols that were offered by ALPN (offer others, or none)")
            }
            Kind::Alert(number) => {
                write!(f, "{name} ended the connection with alert {number} (look into the log of the server)")
            }
            Kind::NotTls => write!(
                f,
                "{name} does not speak TLS (check the port; servers with STARTTLS speak plain text first)"
            ),
            Kind::HandshakeEof => write!(
                f,
                "{name} closed the connection in the handshake (check the port, and look into the log of the server)"
            ),
            Kind::UnexpectedEof => write!(
                f,
                "{name} closed the connection without the end of TLS (look into the log of the server)"
            ),
            Kind::Protocol => {
                write!(f, "{name} broke the rules of TLS (check what lies on the way: proxies, firewalls)")
            }
            Kind::Local => write!(f, "TLS to {name} failed on this side (the source says why)"),
            Kind::Io(_) => write!(f, "the connection to {name} failed (check the network)"),
        }
    }
}

/// What is said of a date that is known, and of one that is not.
struct Date {
    when: Option<SystemTime>,
    known: &'static str,
    unknown: &'static str,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            Some(date) => write!(f, "{} {}", self.known, fmt_http_date(date)),
            None => f.write_str(self.unknown),
        }
    }
}

/// The first few names of a list.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let (mut separator, rest) = ("", self.0.len().saturating_sub(SHOWN));
        for name in self.0.iter().take(SHOWN) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        if rest == 0 { Ok(()) } else { write!(f, " and {rest} more") }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::TlsErrorKind as Kind;
    use super::*;

    fn said(kind: Kind) -> String {
        TlsError::new(kind, "mill.example").to_string()
    }

    #[test]
    fn a_message_is_one_line_that_names_the_server_and_no_two_are_the_same() {
        let kinds = [
            Kind::InvalidName,
            Kind::Expired { at: None },
            Kind::NotYetValid { from: None },
            Kind::WrongName { presented: Vec::new() },
            Kind::UnknownAuthority,
            Kind::Revoked,
            Kind::UnknownRevocation,
            Kind::BadSignature,
            Kind::BadCertificate,
            Kind::IsAuthority,
            Kind::ClientCertificateRequired,
            Kind::ClientCertificateRefused,
            Kind::UnknownName,
            Kind::NoCommonVersion,
            Kind::NoCommonSuite,
            Kind::NoCommonProtocol,
            Kind::Alert(80),
            Kind::NotTls,
            Kind::HandshakeEof,
            Kind::UnexpectedEof,
            Kind::Protocol,
            Kind::Local,
            Kind::Io(io::ErrorKind::ConnectionReset),
        ];
        let texts: BTreeSet<_> = kinds.iter().cloned().map(said).collect();
        assert_eq!(texts.len(), kinds.len());
        for text in texts {
            assert!(text.contains("mill.example") && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn dates_are_said_as_far_as_they_are_known() {
        let date = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        for (kind, expected) in [
            (Kind::Expired { at: date }, "expired on Sun, 06 Nov 1994 08:49:37 GMT"),
            (Kind::Expired { at: None }, "has expired"),
            (Kind::NotYetValid { from: date }, "is not valid before Sun, 06 Nov 1994 08:49:37 GMT"),
            (Kind::NotYetValid { from: None }, "is not valid yet"),
        ] {
            assert!(said(kind.clone()).contains(expected), "{}", said(kind));
        }
    }

    #[test]
    fn of_many_names_the_first_are_said() {
        for (count, expected) in [(2, "is for 0, 1 ("), (7, "is for 0, 1, 2, 3, 4 and 2 more")] {
            let presented = (0..count).map(|number: u8| number.to_string()).collect();
            let text = said(Kind::WrongName { presented });
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn an_alert_means_what_the_server_had_asked_for() {
        use AlertDescription as Alert;
        let asked = |client_auth, has_client_auth| Asked { client_auth, has_client_auth };
        for (alert, asked, expected) in [
            (Alert::ProtocolVersion, asked(false, false), Kind::NoCommonVersion),
            (Alert::NoApplicationProtocol, asked(false, false), Kind::NoCommonProtocol),
            (Alert::UnrecognisedName, asked(false, false), Kind::UnknownName),
            (Alert::CertificateRequired, asked(true, false), Kind::ClientCertificateRequired),
            (Alert::HandshakeFailure, asked(true, false), Kind::ClientCertificateRequired),
            (Alert::HandshakeFailure, asked(true, true), Kind::ClientCertificateRefused),
            (Alert::HandshakeFailure, asked(false, true), Kind::NoCommonSuite),
            (Alert::InsufficientSecurity, asked(false, false), Kind::NoCommonSuite),
            (Alert::UnknownCA, asked(true, true), Kind::ClientCertificateRefused),
            (Alert::UnknownCA, asked(false, false), Kind::Alert(48)),
        ] {
            assert_eq!(TlsErrorKind::of_alert(alert, asked), expected, "{alert:?} {asked:?}");
        }
    }
}
