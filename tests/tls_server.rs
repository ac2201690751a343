//! TLS towards clients: curl and `openssl s_client`, certificates by name, client certificates, reload, and clients that do
//! it wrong.

mod tls_servers;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use millpond::net::tls::{
    ClientHello, ClientHelloError, TlsAcceptError, TlsAcceptErrorKind, TlsAcceptor, TlsConfigErrorKind,
    TlsErrorKind, TlsServerConfig, TlsServerStream, TlsVersion,
};
use millpond::net::{Listener, Stream};
use rcgen::{CertificateParams, PKCS_RSA_SHA256, SanType};
use tls_servers::{Authority, Issued, NAME, PATIENCE, folder_with, handshake, write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

fn presenting(issued: &Issued) -> TlsServerConfig {
    TlsServerConfig::new().certificate_pem(issued.certificate.clone(), issued.key.clone())
}

fn named(names: &[&str]) -> impl FnOnce(&mut CertificateParams) {
    let names: Vec<_> = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
    |params| params.subject_alt_names = names
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

/// Both ends of a connection.
async fn pair() -> (Stream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let connect = Stream::connect(listener.local_endpoint().clone(), PATIENCE);
    let (near, far) = within(async { tokio::join!(connect, listener.accept()) }).await;
    (near.unwrap(), far.unwrap())
}

type Accepted = Result<TlsServerStream<Stream>, TlsAcceptError>;

/// What a program that connects to the acceptor says, and what the acceptor says of it.
async fn with_program(acceptor: &TlsAcceptor, program: &str, arguments: &[&str]) -> (String, Accepted) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_endpoint().to_string().replace("tcp://", "");
    let port = address.rsplit_once(':').unwrap().1;
    let arguments =
        arguments.iter().map(|argument| argument.replace("ADDRESS", &address).replace("PORT", port));
    let mut child = Command::new(program);
    child
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = child.spawn().unwrap();
    let serve = async {
        let mut accepted = acceptor.accept(listener.accept().await.unwrap()).await;
        if let Ok(stream) = &mut accepted {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            let name = stream.server_name().unwrap_or("-").to_owned();
            stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\nhello {name}").as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        accepted
    };
    let (output, accepted) = within(async { tokio::join!(child.wait_with_output(), serve) }).await;
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), accepted)
}

async fn curl(acceptor: &TlsAcceptor, authority: &Authority, more: &[&str]) -> (String, Accepted) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    let url = format!("https://{NAME}:PORT/");
    let resolve = format!("{NAME}:PORT:127.0.0.1");
    let mut arguments = vec![
        "-sS",
        "--http1.0",
        "--no-alpn",
        "--resolve",
        &*resolve,
        "--cacert",
        roots.to_str().unwrap(),
        &*url,
    ];
    arguments.extend(more);
    with_program(acceptor, "curl", &arguments).await
}

#[tokio::test]
async fn curl_gets_an_answer_with_each_version() {
    let authority = Authority::new("root");
    let acceptor = presenting(&authority.issue(|_| ())).build().unwrap();
    for (version, expected) in [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)] {
        let (said, accepted) = curl(&acceptor, &authority, &["--tls-max", version]).await;
        assert_eq!(said, format!("hello {NAME}"));
        assert_eq!(accepted.unwrap().version(), expected);
    }
}

#[tokio::test]
async fn openssl_verifies_the_chain_and_sees_a_clean_end() {
    let root = Authority::new("root");
    let middle = root.authority("middle");
    let Issued { certificate, key } = middle.issue(|_| ());
    let acceptor = presenting(&Issued { certificate: certificate + &middle.pem(), key }).build().unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, root.pem()).unwrap();
    let arguments = [
        "s_client",
        "-connect",
        "ADDRESS",
        "-servername",
        NAME,
        "-verify_return_error",
        "-CAfile",
        roots.to_str().unwrap(),
    ];
    let (said, accepted) = with_program(&acceptor, "openssl", &arguments).await;
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    assert_eq!(accepted.unwrap().server_name(), Some(NAME));
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let authority = Authority::new("root");
    let [first, second] = [&["first.example"][..], &["second.example", "*.second.example"]]
        .map(|names| authority.issue(named(names)));
    let config = presenting(&first).certificate_pem(second.certificate, second.key);
    let acceptor = config.build().unwrap();
    let connector = authority.trusted().build().unwrap();
    for name in ["first.example", "second.example", "www.second.example"] {
        let (near, far) = pair().await;
        let (client, server) = tokio::join!(handshake(&connector, name, near), acceptor.accept(far));
        client.unwrap();
        assert_eq!(server.unwrap().server_name(), Some(name));
    }
    // Another name gets the first one.
    let (near, far) = pair().await;
    let (client, server) = tokio::join!(handshake(&connector, "third.example", near), acceptor.accept(far));
    let presented = vec!["first.example".to_owned()];
    assert_eq!(*client.unwrap_err().kind(), TlsErrorKind::WrongName { presented });
    assert_eq!(server.unwrap_err().kind(), TlsAcceptErrorKind::CertificateRefused);
}

#[tokio::test]
async fn of_two_certificates_for_a_name_a_client_gets_the_one_that_it_supports() {
    let authority = Authority::new("root");
    let rsa = {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = folder.path().join("key.pem");
        let made = std::process::Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-out", path.to_str().unwrap()])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let key = fs::read_to_string(path).unwrap();
        rcgen::KeyPair::from_pem_and_sign_algo(&key, &PKCS_RSA_SHA256).unwrap()
    };
    let rsa = authority.issue_for(&rsa);
    let ecdsa = authority.issue(|_| ());
    let acceptor = presenting(&rsa).certificate_pem(ecdsa.certificate, ecdsa.key).build().unwrap();
    let acceptor = &acceptor;
    let seen = async |sigalgs: &str| {
        let arguments = ["s_client", "-connect", "ADDRESS", "-servername", NAME, "-sigalgs", sigalgs];
        with_program(acceptor, "openssl", &arguments).await.0
    };
    let said = seen("ECDSA+SHA256").await;
    assert!(said.contains("Server public key is 256 bit"), "{said}");
    let said = seen("rsa_pss_rsae_sha256").await;
    assert!(said.contains("Server public key is 2048 bit"), "{said}");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_demanded() {
    let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
    let acceptor = presenting(&authority.issue(|_| ())).client_root_pem(clients.pem()).build().unwrap();
    for version in ["1.2", "1.3"] {
        let (said, accepted) = curl(&acceptor, &authority, &["--tls-max", version]).await;
        assert_eq!(accepted.unwrap_err().kind(), TlsAcceptErrorKind::ClientCertificateMissing);
        // The alert arrives: with unread bytes in the socket, the close would be a reset.
        assert!(said.contains("alert"), "{said}");
    }
}

#[tokio::test]
async fn a_client_with_a_certificate_of_another_authority_is_refused() {
    let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
    let acceptor = presenting(&authority.issue(|_| ())).client_root_pem(clients.pem()).build().unwrap();
    for (authority_of_client, is_good) in [(&clients, true), (&Authority::new("strangers"), false)] {
        let folder = folder_with(&authority_of_client.issue(|_| ()));
        let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
        let more = ["--cert", chain.to_str().unwrap(), "--key", key.to_str().unwrap()];
        let (said, accepted) = curl(&acceptor, &authority, &more).await;
        match accepted {
            Ok(stream) => assert_eq!((is_good, stream.peer_certificates().len()), (true, 1)),
            Err(error) => {
                assert!(!is_good, "{error}");
                assert_eq!(error.kind(), TlsAcceptErrorKind::ClientCertificateRefused);
                assert!(said.contains("alert"), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_protocol_is_chosen_by_alpn_or_refused() {
    let authority = Authority::new("root");
    let acceptor = presenting(&authority.issue(|_| ())).alpn(["h2", "http/1.1"]).build().unwrap();
    let outcomes: [(&[&str], Option<&[u8]>); 3] =
        [(&["http/1.1", "h2"], Some(b"h2")), (&["http/1.1"], Some(b"http/1.1")), (&[], None)];
    for (offered, chosen) in outcomes {
        let connector = authority.trusted().alpn(offered).build().unwrap();
        let (near, far) = pair().await;
        let (client, server) = tokio::join!(handshake(&connector, NAME, near), acceptor.accept(far));
        assert_eq!(client.unwrap().alpn(), chosen);
        assert_eq!(server.unwrap().alpn(), chosen);
    }
    let connector = authority.trusted().alpn(["imap"]).build().unwrap();
    let (near, far) = pair().await;
    let (client, server) = tokio::join!(handshake(&connector, NAME, near), acceptor.accept(far));
    assert_eq!(*client.unwrap_err().kind(), TlsErrorKind::NoCommonProtocol);
    assert_eq!(server.unwrap_err().kind(), TlsAcceptErrorKind::NoCommonProtocol);
}

#[tokio::test]
async fn old_versions_are_refused() {
    let authority = Authority::new("root");
    let config = presenting(&authority.issue(|_| ())).min_version(TlsVersion::Tls13);
    let (_, accepted) = curl(&config.build().unwrap(), &authority, &["--tls-max", "1.2"]).await;
    assert_eq!(accepted.unwrap_err().kind(), TlsAcceptErrorKind::NoCommonVersion);
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_ends() {
    const LIMIT: Duration = Duration::from_millis(100);
    let authority = Authority::new("root");
    let acceptor = presenting(&authority.issue(|_| ())).handshake_timeout(LIMIT).build().unwrap();
    let (_near, far) = pair().await;
    let error = within(acceptor.accept(far)).await.unwrap_err();
    assert_eq!(error.kind(), TlsAcceptErrorKind::Timeout(LIMIT));
}

#[tokio::test]
async fn what_is_no_tls_is_told() {
    let acceptor = presenting(&Authority::new("root").issue(|_| ())).build().unwrap();
    let (mut near, far) = pair().await;
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(within(acceptor.accept(far)).await.unwrap_err().kind(), TlsAcceptErrorKind::NotTls);
    let (near, far) = pair().await;
    drop(near);
    assert_eq!(within(acceptor.accept(far)).await.unwrap_err().kind(), TlsAcceptErrorKind::Eof);
}

#[tokio::test]
async fn sessions_are_resumed_until_a_reload_that_found_changes() {
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    let acceptor = TlsServerConfig::new().certificate_files(&chain, &key).build().unwrap();
    let connector = authority.trusted().build().unwrap();
    let connect = || async {
        let (near, far) = pair().await;
        let (client, server) = tokio::join!(handshake(&connector, NAME, near), acceptor.accept(far));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        // The read takes the tickets in.
        server.write_all(b"x").await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        (client, server)
    };
    let (mut before, mut before_server) = connect().await;
    assert!(!before.is_resumed());
    assert!(connect().await.0.is_resumed());
    assert!(!acceptor.reload().unwrap());
    assert!(connect().await.1.is_resumed());

    write(folder.path(), &authority.issue(|_| ()));
    let old = before.peer_certificates().to_vec();
    assert!(acceptor.clone().reload().unwrap());
    let (after, _) = connect().await;
    assert!(!after.is_resumed());
    assert_ne!(after.peer_certificates(), old);
    // Those that exist stay.
    before_server.write_all(b"y").await.unwrap();
    before_server.flush().await.unwrap();
    before.read_exact(&mut [0]).await.unwrap();
}

#[tokio::test]
async fn after_a_reload_that_failed_the_old_certificate_is_presented() {
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    let acceptor = TlsServerConfig::new().certificate_files(&chain, &key).build().unwrap();
    fs::write(&chain, "half a file").unwrap();
    let error = acceptor.reload().unwrap_err();
    assert_eq!((error.kind(), error.path()), (TlsConfigErrorKind::NoCertificate, Some(&*chain)));
    fs::write(&chain, authority.issue(|_| ()).certificate).unwrap();
    assert_eq!(acceptor.reload().unwrap_err().kind(), TlsConfigErrorKind::KeyMismatch);
    assert_eq!(curl(&acceptor, &authority, &[]).await.0, format!("hello {NAME}"));
}

#[test]
fn an_acceptor_needs_a_certificate() {
    let error = TlsServerConfig::new().build().unwrap_err();
    assert_eq!(error.kind(), TlsConfigErrorKind::NothingToPresent);
}

#[test]
fn secrets_of_an_acceptor_are_not_shown() {
    let issued = Authority::new("root").issue(|_| ());
    let acceptor = presenting(&issued).build().unwrap();
    assert!(!format!("{acceptor:?}").contains(issued.key.lines().nth(1).unwrap()));
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_a_truncation() {
    let authority = Authority::new("root");
    let acceptor = presenting(&authority.issue(|_| ())).build().unwrap();
    let connector = authority.trusted().build().unwrap();
    let (near, far) = pair().await;
    let (client, server) = tokio::join!(handshake(&connector, NAME, near), acceptor.accept(far));
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    server.write_all(b"part").await.unwrap();
    server.flush().await.unwrap();
    drop(server);
    client.read_exact(&mut [0; 4]).await.unwrap();
    let error = within(client.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

/// The first bytes of a client for [`NAME`].
async fn first_bytes() -> Vec<u8> {
    let (near, mut far) = pair().await;
    let connector = Authority::new("root").trusted().build().unwrap();
    let read = async {
        let mut bytes = vec![0; 5];
        far.read_exact(&mut bytes).await.unwrap();
        let len = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        bytes.resize(5 + len, 0);
        far.read_exact(&mut bytes[5..]).await.unwrap();
        bytes
    };
    tokio::select! {
        _ = connector.connect(NAME, near) => unreachable!("nobody answers"),
        bytes = read => bytes,
    }
}

#[tokio::test]
async fn a_first_message_is_seen_byte_by_byte_and_not_taken() {
    let bytes = first_bytes().await;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let unix = format!("unix://{}", folder.path().join("socket").display());
    for endpoint in ["tcp://127.0.0.1:0", &*unix] {
        let listener = Listener::bind(endpoint).await.unwrap();
        let mut near = Stream::connect(listener.local_endpoint().clone(), PATIENCE).await.unwrap();
        let mut far = listener.accept().await.unwrap();
        let send = async {
            for byte in &bytes {
                near.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (hello, ()) = tokio::join!(ClientHello::peek(&far, PATIENCE), send);
        assert_eq!(hello.unwrap().server_name(), Some(NAME), "{endpoint}");
        let mut taken = vec![0; bytes.len()];
        within(far.read_exact(&mut taken)).await.unwrap();
        assert!(taken == bytes, "{endpoint}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_first_message_is_refused() {
    const LIMIT: Duration = Duration::from_millis(100);
    let bytes = first_bytes().await;
    let part = &bytes[..bytes.len() - 1];
    let (mut near, far) = pair().await;
    near.write_all(part).await.unwrap();
    let error = within(ClientHello::peek(&far, LIMIT)).await.unwrap_err();
    assert!(matches!(error, ClientHelloError::Timeout(LIMIT)), "{error:?}");
    near.shutdown().await.unwrap();
    let error = within(ClientHello::peek(&far, PATIENCE)).await.unwrap_err();
    assert!(matches!(error, ClientHelloError::Eof), "{error:?}");
    let (near, far) = pair().await;
    drop(near);
    let error = within(ClientHello::peek(&far, PATIENCE)).await.unwrap_err();
    assert!(matches!(error, ClientHelloError::Left), "{error:?}");
}

#[tokio::test]
async fn a_client_of_an_unknown_name_gets_an_alert() {
    let (near, mut far) = pair().await;
    let connector = Authority::new("root").trusted().build().unwrap();
    let refuse = async {
        ClientHello::peek(&far, PATIENCE).await.unwrap();
        ClientHello::refuse_name(&mut far).await;
        drop(far);
    };
    let (client, ()) = tokio::join!(handshake(&connector, NAME, near), refuse);
    assert_eq!(*client.unwrap_err().kind(), TlsErrorKind::UnknownName);
}
