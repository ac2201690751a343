//! TLS for clients, over any stream.
//!
//! ```text
//!  TlsConfig ── build ─▶ TlsConnector ── connect(name, stream) ─▶ TlsStream
//!  (files, PEM)             │  ▲
//!                           ▼  └─ reload: the files again
//!                        Generation: roots, client certificate, sessions, identity
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `config` | what a connector trusts, presents and offers |
//! | `material` | files and PEM text, read again at each reload |
//! | `connector` | handshakes, and the generations between reloads |
//! | `sessions` | sessions that later handshakes resume |
//! | `client_auth` | the client certificate, and whether the server asked for one |
//! | `stream` | an encrypted stream, and what its handshake agreed on |
//! | `error`, `config_error` | which check failed, for which name, and what to do |
//!
//! The protocol is rustls's, with aws-lc for the cryptography, whatever the process's default is. Versions are TLS 1.2 and
//! 1.3, suites those with forward secrecy and authenticated encryption.
//!
//! Absent on purpose: servers, timeouts (the caller's), early data (it can be replayed), and the choice of addresses.

mod client_auth;
mod config;
mod config_error;
mod connector;
mod error;
mod material;
mod sessions;
mod stream;

/// The library, for those who implement its traits, such as the
/// [`ServerCertVerifier`](rustls::client::danger::ServerCertVerifier) of a [dangerous verifier](TlsConfig::dangerous_verifier).
pub use tokio_rustls::rustls;

pub use self::config::{TlsConfig, TlsRoots, TlsVersion};
pub use self::config_error::{TlsConfigError, TlsConfigErrorKind};
pub use self::connector::{TlsConnector, TlsIdentity};
pub use self::error::{TlsError, TlsErrorKind};
pub use self::stream::TlsStream;
