//! TLS against real servers: what a handshake agrees on, by the account of the server as well.

mod tls_servers;

use std::env;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use millpond::net::tls::{TlsConfig, TlsConfigErrorKind, TlsErrorKind, TlsRoots, TlsVersion};
use rcgen::{CertificateParams, DnType};
use tls_servers::{Authority, NAME, Server, folder_with, get, handshake, write};
use tokio::io::AsyncReadExt;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, DigitallySignedStruct, SignatureScheme};

#[tokio::test]
async fn a_handshake_agrees_on_the_newest_version() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let mut stream = server.tls(&authority.trusted().build().unwrap()).await.unwrap();
    assert_eq!(stream.version(), TlsVersion::Tls13);
    assert_eq!(stream.cipher_suite(), "TLS_AES_256_GCM_SHA384");
    assert!(!stream.is_resumed());
    assert!(!stream.handshake_time().is_zero());
    assert_eq!(stream.peer_certificates().len(), 1);
    assert_eq!(stream.server_name(), NAME);
    assert_eq!(get(&mut stream).await, format!("[.] [TLSv1.3] [{NAME}] [] [NONE]"));
}

#[tokio::test]
async fn tls_12_is_enough_by_default() {
    let authority = Authority::new("root");
    let server = Server::openssl(&authority.issue(|_| ()), &["-tls1_2", "-www"]);
    let mut stream = server.tls(&authority.trusted().build().unwrap()).await.unwrap();
    assert_eq!(stream.version(), TlsVersion::Tls12);
    assert_eq!(stream.cipher_suite(), "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    let page = get(&mut stream).await;
    assert!(page.contains("New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"), "{page}");
}

#[tokio::test]
async fn the_server_chooses_among_the_offered_protocols() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let outcomes: [(&[&str], Option<&[u8]>); 3] =
        [(&["h2", "http/1.1"], Some(b"h2")), (&["http/1.1"], Some(b"http/1.1")), (&[], None)];
    for (offered, chosen) in outcomes {
        let stream = server.tls(&authority.trusted().alpn(offered).build().unwrap()).await.unwrap();
        assert_eq!(stream.alpn(), chosen, "{offered:?}");
    }
}

#[tokio::test]
async fn the_server_knows_the_protocol_that_it_chose() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let connector = authority.trusted().alpn(["http/1.1"]).build().unwrap();
    let answer = get(&mut server.tls(&connector).await.unwrap()).await;
    assert_eq!(answer, format!("[.] [TLSv1.3] [{NAME}] [http/1.1] [NONE]"));
}

#[tokio::test]
async fn a_server_without_alpn_chooses_no_protocol() {
    let authority = Authority::new("root");
    let server = Server::openssl(&authority.issue(|_| ()), &[]);
    let connector = authority.trusted().alpn(["h2", "http/1.1"]).build().unwrap();
    assert_eq!(server.tls(&connector).await.unwrap().alpn(), None);
}

#[tokio::test]
async fn the_name_is_not_sent_if_sni_is_off() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let connector = authority.trusted().sni(false).build().unwrap();
    let answer = get(&mut server.tls(&connector).await.unwrap()).await;
    assert_eq!(answer, "[.] [TLSv1.3] [] [] [NONE]");
}

#[tokio::test]
async fn an_ip_address_is_verified_and_never_sent() {
    let authority = Authority::new("root");
    let issued = authority.issue(|params| {
        *params = CertificateParams::new(["127.0.0.1".to_owned(), "::1".to_owned()]).unwrap();
    });
    let server = Server::nginx(&issued, "");
    let connector = authority.trusted().build().unwrap();
    for address in ["127.0.0.1", "::1", "[::1]"] {
        let mut stream = handshake(&connector, address, server.tcp().await).await.unwrap();
        let answer = get(&mut stream).await;
        assert!(answer.ends_with(" [TLSv1.3] [] [] [NONE]"), "{address}: {answer}");
    }
    let error = handshake(&connector, "127.0.0.2", server.tcp().await).await.unwrap_err();
    assert_eq!(
        *error.kind(),
        TlsErrorKind::WrongName { presented: ["127.0.0.1", "::1"].map(String::from).into() }
    );
}

#[tokio::test]
async fn a_client_certificate_is_presented_to_a_server_that_asks_for_it() {
    let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
    let folder = folder_with(&authority.issue(|_| ()));
    fs::write(folder.path().join("clients.pem"), clients.pem()).unwrap();
    let server = Server::nginx_in(folder, "ssl_client_certificate clients.pem; ssl_verify_client on;");
    let client = clients.issue(|_| ());
    let folder = folder_with(&client);
    let [chain, key] = write(folder.path(), &client);
    let configs = [
        authority.trusted().client_auth_files(chain, key),
        authority.trusted().client_auth_pem(client.certificate, client.key),
    ];
    for config in configs {
        let answer = get(&mut server.tls(&config.build().unwrap()).await.unwrap()).await;
        assert_eq!(answer, format!("[.] [TLSv1.3] [{NAME}] [] [SUCCESS]"));
    }
}

#[tokio::test]
async fn a_client_certificate_is_presented_in_tls_12_too() {
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    fs::write(folder.path().join("clients.pem"), authority.pem()).unwrap();
    let wants = ["-tls1_2", "-www", "-Verify", "1", "-verify_return_error", "-CAfile", "clients.pem"];
    let server = Server::openssl_in(folder, &wants);
    let client = authority.issue(|params| params.distinguished_name.push(DnType::CommonName, "the client"));
    let config = authority.trusted().client_auth_pem(client.certificate, client.key);
    let page = get(&mut server.tls(&config.build().unwrap()).await.unwrap()).await;
    assert!(page.contains("Subject: CN=the client") || page.contains("CN = the client"), "{page}");
}

#[tokio::test]
async fn authorities_between_leaf_and_root_may_come_from_the_server() {
    let authority = Authority::new("root");
    let between = authority.authority("between");
    let mut issued = between.issue(|_| ());
    let connector = authority.trusted().build().unwrap();
    let error = Server::openssl(&issued, &[]).tls(&connector).await.unwrap_err();
    assert_eq!(*error.kind(), TlsErrorKind::UnknownAuthority);
    issued.certificate += &between.pem();
    let server = Server::nginx(&issued, "");
    assert_eq!(server.tls(&connector).await.unwrap().peer_certificates().len(), 2);
}

#[tokio::test]
async fn added_roots_are_trusted_beside_those_of_the_platform_and_of_mozilla() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    for roots in [TlsRoots::Platform, TlsRoots::Webpki] {
        let without = TlsConfig::new().roots(roots);
        let error = server.tls(&without.clone().build().unwrap()).await.unwrap_err();
        assert_eq!(*error.kind(), TlsErrorKind::UnknownAuthority, "{roots:?}");
        let with = without.add_root_pem(authority.pem()).build().unwrap();
        server.tls(&with).await.unwrap();
    }
}

/// Trusts everyone, and counts nothing.
#[derive(Debug)]
struct TrustsEveryone;

impl ServerCertVerifier for TrustsEveryone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[tokio::test]
async fn a_dangerous_verifier_decides_alone() {
    let server = Server::nginx(&Authority::new("stranger").issue(|_| ()), "");
    let config = Authority::new("root").trusted().dangerous_verifier(Arc::new(TrustsEveryone));
    server.tls(&config.build().unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_default_provider_of_the_process_does_not_matter() {
    let useless = CryptoProvider { cipher_suites: Vec::new(), ..aws_lc_rs::default_provider() };
    useless.install_default().unwrap();
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    for roots in [TlsRoots::Platform, TlsRoots::Webpki, TlsRoots::OnlyAdded] {
        let connector = authority.trusted().roots(roots).build().unwrap();
        server.tls(&connector).await.unwrap();
    }
}

/// Runs one of these tests again in a process with this variable, which the test reads.
fn rerun(test: &str, variable: &str, value: impl AsRef<std::ffi::OsStr>) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, value)
        .env_remove("SSL_CERT_DIR")
        .env("MILLPOND_RERUN", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn is_rerun() -> bool {
    env::var_os("MILLPOND_RERUN").is_some()
}

#[tokio::test]
async fn keys_are_logged_only_if_asked_for() {
    const TEST: &str = "keys_are_logged_only_if_asked_for";
    if !is_rerun() {
        let folder = tempfile::tempdir().unwrap();
        return rerun(TEST, "SSLKEYLOGFILE", folder.path().join("keys"));
    }
    let log = env::var_os("SSLKEYLOGFILE").unwrap();
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    server.tls(&authority.trusted().build().unwrap()).await.unwrap();
    assert!(!fs::exists(&log).unwrap());
    server.tls(&authority.trusted().key_log_from_env().build().unwrap()).await.unwrap();
    let logged = fs::read_to_string(&log).unwrap();
    for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "]
    {
        assert_eq!(logged.matches(label).count(), 1, "{label}");
    }
}

#[test]
fn a_key_log_that_cannot_be_written_is_an_error() {
    const TEST: &str = "a_key_log_that_cannot_be_written_is_an_error";
    if !is_rerun() {
        return rerun(TEST, "SSLKEYLOGFILE", "/no/such/folder/keys");
    }
    let error = Authority::new("root").trusted().key_log_from_env().build().unwrap_err();
    assert_eq!(error.to_string(), "/no/such/folder/keys cannot be written (check SSLKEYLOGFILE)");
}

#[tokio::test]
async fn the_roots_of_the_platform_are_those_of_its_bundle() {
    const TEST: &str = "the_roots_of_the_platform_are_those_of_its_bundle";
    if !is_rerun() {
        let folder = tempfile::tempdir().unwrap();
        return rerun(TEST, "SSL_CERT_FILE", folder.path().join("bundle.pem"));
    }
    let bundle = env::var_os("SSL_CERT_FILE").unwrap();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let server = Server::nginx(&second.issue(|_| ()), "");
    fs::write(&bundle, "").unwrap();
    assert_eq!(TlsConfig::new().build().unwrap_err().kind(), TlsConfigErrorKind::NoRoots);
    fs::write(&bundle, first.pem()).unwrap();
    let connector = TlsConfig::new().build().unwrap();
    let error = server.tls(&connector).await.unwrap_err();
    assert_eq!(*error.kind(), TlsErrorKind::UnknownAuthority);
    fs::write(&bundle, second.pem()).unwrap();
    assert!(connector.reload().unwrap());
    server.tls(&connector).await.unwrap();
    assert!(!connector.reload().unwrap());
}

#[tokio::test]
async fn a_reload_that_cannot_read_the_whole_bundle_leaves_all_as_before() {
    const TEST: &str = "a_reload_that_cannot_read_the_whole_bundle_leaves_all_as_before";
    if !is_rerun() {
        let folder = tempfile::tempdir().unwrap();
        return rerun(TEST, "SSL_CERT_FILE", folder.path().join("bundle.pem"));
    }
    let bundle = env::var_os("SSL_CERT_FILE").unwrap();
    let [first, last, added] = ["first", "last", "added"].map(Authority::new);
    let server = Server::nginx(&last.issue(|_| ()), "");
    let whole = first.pem() + &last.pem();
    fs::write(&bundle, &whole).unwrap();
    let connector = TlsConfig::new().add_root_pem(added.pem()).build().unwrap();
    for part in [&whole[..whole.len() - 100], ""] {
        fs::write(&bundle, part).unwrap();
        assert_eq!(connector.reload().unwrap_err().kind(), TlsConfigErrorKind::PlatformRoots, "{part}");
        server.tls(&connector).await.unwrap();
    }
    fs::remove_file(&bundle).unwrap();
    assert_eq!(connector.reload().unwrap_err().kind(), TlsConfigErrorKind::PlatformRoots);
    server.tls(&connector).await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_stream_is_the_server_s() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let mut stream = server.tls(&authority.trusted().build().unwrap()).await.unwrap();
    get(&mut stream).await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}
