//! What goes wrong in TLS, against real servers: each error says which check failed, for which name, and what to do.

mod tls_servers;

use std::error::Error;
use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use millpond::net::tls::{TlsConfig, TlsConnector, TlsError, TlsErrorKind, TlsStream, TlsVersion};
use millpond::net::{Listener, Stream};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SerialNumber, date_time_ymd,
};
use tls_servers::{Authority, Issued, NAME, PATIENCE, Server, connect, folder_with, handshake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Seconds from 1970 to 2020, and to 2999.
const NEW_YEAR_2020: u64 = 1_577_836_800;
const NEW_YEAR_2999: u64 = 32_472_144_000;

fn since_1970(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Connects to `openssl s_server` and returns the error.
async fn refusal(issued: &Issued, arguments: &[&str], connector: &TlsConnector) -> TlsError {
    Server::openssl(issued, arguments).tls(connector).await.unwrap_err()
}

/// The error of a server whose certificate was issued so.
async fn refusal_of(change: impl FnOnce(&mut CertificateParams)) -> TlsError {
    let authority = Authority::new("root");
    refusal(&authority.issue(change), &[], &authority.trusted().build().unwrap()).await
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_its_date() {
    let error = refusal_of(|params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    })
    .await;
    assert_eq!(*error.kind(), TlsErrorKind::Expired { at: Some(since_1970(NEW_YEAR_2020)) });
    assert_eq!(
        error.to_string(),
        format!(
            "the certificate of {NAME} expired on Wed, 01 Jan 2020 00:00:00 GMT (renew it, or check the clock of this \
             machine)"
        )
    );
}

#[tokio::test]
async fn a_certificate_of_the_future_is_refused_with_its_date() {
    let error = refusal_of(|params| {
        params.not_before = date_time_ymd(2999, 1, 1);
        params.not_after = date_time_ymd(3000, 1, 1);
    })
    .await;
    assert_eq!(*error.kind(), TlsErrorKind::NotYetValid { from: Some(since_1970(NEW_YEAR_2999)) });
    assert_eq!(
        error.to_string(),
        format!(
            "the certificate of {NAME} is not valid before Tue, 01 Jan 2999 00:00:00 GMT (check the clock of this \
             machine)"
        )
    );
}

#[tokio::test]
async fn a_certificate_for_other_names_is_refused_with_those() {
    let names = ["a.example", "*.b.example", "10.1.2.3", "c", "d", "e", "f"];
    let error = refusal_of(|params| {
        *params = CertificateParams::new(names.map(str::to_owned)).unwrap();
    })
    .await;
    let TlsErrorKind::WrongName { presented } = error.kind() else { panic!("{error:?}") };
    assert_eq!(*presented, names);
    assert_eq!(
        error.to_string(),
        format!(
            "the certificate of {NAME} is for a.example, *.b.example, 10.1.2.3, c, d and 2 more (use one of those \
             names, or reissue the certificate for this one)"
        )
    );
}

#[tokio::test]
async fn a_certificate_without_a_name_is_refused() {
    let error = refusal_of(|params| params.subject_alt_names.clear()).await;
    assert_eq!(*error.kind(), TlsErrorKind::WrongName { presented: Vec::new() });
    assert_eq!(
        error.to_string(),
        format!(
            "the certificate of {NAME} does not contain this name (reissue it with the name as subjectAltName; a \
             common name does not count)"
        )
    );
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let issued = Authority::new("stranger").issue(|_| ());
    let error = refusal(&issued, &[], &Authority::new("root").trusted().build().unwrap()).await;
    assert_eq!(*error.kind(), TlsErrorKind::UnknownAuthority);
    assert!(
        error.to_string().starts_with("no trusted authority has signed the certificate of pond.example (")
    );
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_of_an_unknown_authority() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    let issued = Issued { certificate: certificate.pem(), key: key.serialize_pem() };
    let error = refusal(&issued, &[], &Authority::new("root").trusted().build().unwrap()).await;
    assert_eq!(*error.kind(), TlsErrorKind::UnknownAuthority);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let authority = Authority::new("root");
    let issued = authority.issue(|params| params.serial_number = Some(SerialNumber::from(7_u64)));
    let connector = authority.trusted().add_revocation_pem(authority.revoke(7)).build().unwrap();
    let error = refusal(&issued, &[], &connector).await;
    assert_eq!(*error.kind(), TlsErrorKind::Revoked);
}

#[tokio::test]
async fn a_certificate_that_no_revocation_list_covers_is_refused() {
    let authority = Authority::new("root");
    let list = Authority::new("other").revoke(7);
    let connector = authority.trusted().add_revocation_pem(list).build().unwrap();
    let error = refusal(&authority.issue(|_| ()), &[], &connector).await;
    assert_eq!(*error.kind(), TlsErrorKind::UnknownRevocation);
}

#[tokio::test]
async fn an_expired_revocation_list_covers_nothing() {
    let authority = Authority::new("root");
    let list = authority.revocation_list(7, 2025);
    let connector = authority.trusted().add_revocation_pem(list).build().unwrap();
    let error = refusal(&authority.issue(|_| ()), &[], &connector).await;
    assert_eq!(*error.kind(), TlsErrorKind::UnknownRevocation);
}

#[tokio::test]
async fn a_certificate_for_another_purpose_is_refused() {
    let error =
        refusal_of(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]).await;
    assert_eq!(*error.kind(), TlsErrorKind::BadCertificate);
    assert!(error.source().unwrap().to_string().contains("client authentication"), "{error:?}");
}

#[tokio::test]
async fn an_authority_cannot_be_a_server() {
    let error = refusal_of(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).await;
    assert_eq!(*error.kind(), TlsErrorKind::IsAuthority);
    assert!(error.to_string().contains("is a CA certificate, which a server may not present"), "{error}");
    assert!(error.to_string().contains("basicConstraints=critical,CA:FALSE"), "{error}");
}

/// A server that wants a certificate of the authority `client`.
fn wants_client_certificate(arguments: &[&str]) -> (Server, TlsConfig) {
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    fs::write(folder.path().join("clients.pem"), Authority::new("clients").pem()).unwrap();
    let wants = ["-Verify", "1", "-verify_return_error", "-CAfile", "clients.pem"];
    (Server::openssl_in(folder, &[&wants, arguments].concat()), authority.trusted())
}

/// The error of the first read.
async fn read_error(stream: &mut TlsStream<Stream>) -> io::Error {
    timeout(PATIENCE, stream.read_u8()).await.expect("the server stays silent").unwrap_err()
}

#[tokio::test]
async fn a_server_with_tls_12_says_that_it_wants_a_client_certificate() {
    let (server, config) = wants_client_certificate(&["-tls1_2"]);
    let error = server.tls(&config.build().unwrap()).await.unwrap_err();
    assert_eq!(*error.kind(), TlsErrorKind::ClientCertificateRequired);
    assert_eq!(
        error.to_string(),
        format!("{NAME} wants a client certificate (configure one: client_auth_files or client_auth_pem)")
    );
}

#[tokio::test]
async fn a_server_with_tls_13_says_at_the_first_read_that_it_wants_a_client_certificate() {
    let (server, config) = wants_client_certificate(&["-tls1_3"]);
    let mut stream = server.tls(&config.build().unwrap()).await.unwrap();
    let error = read_error(&mut stream).await;
    let found = TlsError::find(&error).expect("an error of TLS");
    assert_eq!(*found.kind(), TlsErrorKind::ClientCertificateRequired);
    assert_eq!(found.server_name(), NAME);
}

#[tokio::test]
async fn the_reason_is_found_in_the_error_of_an_http_library() {
    let (server, config) = wants_client_certificate(&["-tls1_3"]);
    let stream = server.tls(&config.build().unwrap()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::new(String::new());
    let error = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap_err();
    let found = TlsError::find(&error).expect("an error of TLS");
    assert_eq!(*found.kind(), TlsErrorKind::ClientCertificateRequired);
}

#[tokio::test]
async fn a_server_that_refuses_the_client_certificate_says_so() {
    let stranger = Authority::new("stranger").issue(|_| ());
    for version in ["-tls1_2", "-tls1_3"] {
        let (server, config) = wants_client_certificate(&[version]);
        let config = config.client_auth_pem(stranger.certificate.clone(), stranger.key.clone());
        let kind = match server.tls(&config.build().unwrap()).await {
            Ok(mut stream) => {
                let error = read_error(&mut stream).await;
                TlsError::find(&error).expect("an error of TLS").kind().clone()
            }
            Err(error) => error.kind().clone(),
        };
        assert_eq!(kind, TlsErrorKind::ClientCertificateRefused, "{version}");
    }
}

#[tokio::test]
async fn a_server_without_a_modern_version_is_refused() {
    let authority = Authority::new("root");
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let error = refusal(&authority.issue(|_| ()), &old, &authority.trusted().build().unwrap()).await;
    assert_eq!(*error.kind(), TlsErrorKind::NoCommonVersion);
}

#[tokio::test]
async fn a_server_below_the_configured_version_is_refused() {
    let authority = Authority::new("root");
    let connector = authority.trusted().min_version(TlsVersion::Tls13).build().unwrap();
    let error = refusal(&authority.issue(|_| ()), &["-tls1_2"], &connector).await;
    assert_eq!(*error.kind(), TlsErrorKind::NoCommonVersion);
}

#[tokio::test]
async fn a_server_with_old_cipher_suites_only_is_refused() {
    let authority = Authority::new("root");
    let old = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"];
    let error = refusal(&authority.issue(|_| ()), &old, &authority.trusted().build().unwrap()).await;
    assert_eq!(*error.kind(), TlsErrorKind::NoCommonSuite);
}

#[tokio::test]
async fn a_server_with_other_protocols_only_is_refused() {
    let authority = Authority::new("root");
    let connector = authority.trusted().alpn(["h2"]).build().unwrap();
    let error = refusal(&authority.issue(|_| ()), &["-alpn", "http/1.1"], &connector).await;
    assert_eq!(*error.kind(), TlsErrorKind::NoCommonProtocol);
}

#[tokio::test]
async fn a_server_that_does_not_know_the_name_says_so() {
    let authority = Authority::new("root");
    let other =
        ["-servername", "other.example", "-servername_fatal", "-cert2", "chain.pem", "-key2", "key.pem"];
    let error = refusal(&authority.issue(|_| ()), &other, &authority.trusted().build().unwrap()).await;
    assert_eq!(*error.kind(), TlsErrorKind::UnknownName);
}

#[tokio::test]
async fn a_web_server_without_tls_is_no_tls() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let stream = connect(&server.plain()).await;
    let error = handshake(&authority.trusted().build().unwrap(), NAME, stream).await.unwrap_err();
    assert_eq!(*error.kind(), TlsErrorKind::NotTls);
    assert_eq!(
        error.to_string(),
        format!("{NAME} does not speak TLS (check the port; servers with STARTTLS speak plain text first)")
    );
}

/// What a handshake with a peer comes to that does this with the connection.
async fn handshake_with<F>(peer: impl FnOnce(Stream) -> F + Send + 'static) -> TlsError
where
    F: Future<Output = ()> + Send,
{
    let listener = Listener::bind("tcp://127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_endpoint().clone();
    let serve = async move { peer(listener.accept().await.unwrap()).await };
    let peer = tokio::spawn(serve);
    let connector = Authority::new("root").trusted().build().unwrap();
    let stream = Stream::connect(&endpoint, PATIENCE).await.unwrap();
    let error = handshake(&connector, NAME, stream).await.unwrap_err();
    peer.await.unwrap();
    error
}

#[tokio::test]
async fn a_peer_that_greets_in_plain_text_is_no_tls() {
    for greeting in ["SSH-2.0-OpenSSH_9.9\r\n", "220 mail.example ESMTP\r\n", "-ERR unknown command\r\n"] {
        let error = handshake_with(async move |mut stream: Stream| {
            stream.write_all(greeting.as_bytes()).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        assert_eq!(*error.kind(), TlsErrorKind::NotTls, "{greeting}");
    }
}

#[tokio::test]
async fn a_peer_that_closes_in_the_handshake_is_told_from_one_that_closes_later() {
    let error = handshake_with(async |mut stream: Stream| {
        stream.read_u8().await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(*error.kind(), TlsErrorKind::HandshakeEof);
}

#[tokio::test]
async fn a_reset_in_the_handshake_is_an_error_of_the_connection() {
    let error = handshake_with(async |stream: Stream| {
        let Stream::Tcp(stream) = stream else { unreachable!() };
        stream.readable().await.unwrap();
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(*error.kind(), TlsErrorKind::Io(io::ErrorKind::ConnectionReset));
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_text_that_is_no_name_is_refused() {
    let connector = Authority::new("root").trusted().build().unwrap();
    for name in ["", "pond example", "-", "https://pond.example", "pond.example:443", "[::1", "256.1.1.1.1."]
    {
        let (stream, _peer) = tokio::io::duplex(16);
        let error = connector.connect(name, stream).await.unwrap_err();
        assert_eq!(*error.kind(), TlsErrorKind::InvalidName, "{name}");
    }
}

/// A connection to a server that sends these bytes and then closes without the end of TLS.
async fn cut_after(bytes: &'static [u8]) -> TlsStream<Stream> {
    let authority = Authority::new("root");
    let issued = authority.issue(|_| ());
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = Listener::bind("tcp://127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_endpoint().clone();
    tokio::spawn(async move {
        let stream = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(std::sync::Arc::new(config)).accept(stream).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        stream.get_mut().0.shutdown().await.unwrap();
        let _ = stream.get_mut().0.read_to_end(&mut Vec::new()).await;
    });
    let stream = Stream::connect(&endpoint, PATIENCE).await.unwrap();
    handshake(&authority.trusted().build().unwrap(), NAME, stream).await.unwrap()
}

#[tokio::test]
async fn a_connection_that_is_cut_does_not_end_like_a_whole_one() {
    let mut stream = cut_after(b"half").await;
    let mut read = Vec::new();
    let error = timeout(PATIENCE, stream.read_to_end(&mut read)).await.unwrap().unwrap_err();
    assert_eq!(read, b"half");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(*TlsError::find(&error).unwrap().kind(), TlsErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_cancelled_handshake_closes_the_connection() {
    let listener = Listener::bind("tcp://127.0.0.1:0").await.unwrap();
    let stream = Stream::connect(listener.local_endpoint(), PATIENCE).await.unwrap();
    let mut silent = listener.accept().await.unwrap();
    let connector = Authority::new("root").trusted().build().unwrap();
    let connecting = tokio::spawn(async move { connector.connect(NAME, stream).await });
    silent.read_u8().await.unwrap();
    connecting.abort();
    timeout(PATIENCE, silent.read_to_end(&mut Vec::new())).await.expect("it stays open").unwrap();
}
