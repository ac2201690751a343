//! TLS over any stream, for clients and servers.
//!
//! ```text
//!  TlsConfig ── build ─▶ TlsConnector ── connect(name, stream) ─▶ TlsStream
//!  (files, PEM)             │  ▲
//!                           ▼  └─ reload: the files again
//!                        Generation: roots, client certificate, sessions, identity
//!
//!  TlsServerConfig ── build ─▶ TlsAcceptor ── accept(stream) ─▶ TlsServerStream
//!  (files, PEM)                   └─ reload, as above
//!
//!  Stream ── ClientHello::peek ─▶ the name that a client wants, with nothing taken from the stream
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
//! | `server_config`, `acceptor`, `server_stream`, `accept_error` | the same for servers |
//! | `certificates` | the certificates of a server, and which one a client gets |
//! | `hello` | the first message of a client, seen without being taken |
//! | `server_names` | what belongs to which server name |
//!
//! The protocol is rustls's, with aws-lc for the cryptography, whatever the process's default is. Versions are TLS 1.2 and
//! 1.3, suites those with forward secrecy and authenticated encryption.
//!
//! Absent on purpose: timeouts of clients (the caller's), early data (it can be replayed), and the choice of addresses.

mod accept_error;
mod acceptor;
mod certificates;
mod client_auth;
mod config;
mod config_error;
mod connector;
mod error;
mod hello;
mod material;
mod server_config;
mod server_names;
mod server_stream;
mod sessions;
mod stream;

/// The library, for those who implement its traits, such as the
/// [`ServerCertVerifier`](rustls::client::danger::ServerCertVerifier) of a [dangerous verifier](TlsConfig::dangerous_verifier).
pub use tokio_rustls::rustls;

pub use self::accept_error::{TlsAcceptError, TlsAcceptErrorKind};
pub use self::acceptor::TlsAcceptor;
pub use self::config::{TlsConfig, TlsRoots, TlsVersion};
pub use self::config_error::{TlsConfigError, TlsConfigErrorKind};
pub use self::connector::{TlsConnector, TlsIdentity};
pub use self::error::{TlsError, TlsErrorKind};
pub use self::hello::{ClientHello, ClientHelloError};
pub use self::server_config::TlsServerConfig;
pub use self::server_names::{InvalidServerName, ServerNames};
pub use self::server_stream::TlsServerStream;
pub use self::stream::TlsStream;
