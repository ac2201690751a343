//! Files that are wrong, and files that change while connections are made.

mod tls_servers;

use std::fs;
use std::path::Path;

use millpond::net::tls::{TlsConfig, TlsConfigErrorKind, TlsErrorKind, TlsRoots};
use tempfile::TempDir;
use tls_servers::{Authority, Issued, NAME, Server, folder_with, get};

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn only_added() -> TlsConfig {
    TlsConfig::new().roots(TlsRoots::OnlyAdded)
}

/// What is wrong with a configuration that should not be built, and what is said of it.
fn wrong(config: TlsConfig) -> (TlsConfigErrorKind, String) {
    let error = config.build().unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn after_a_reload_new_roots_count_and_old_sessions_do_not() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folder = folder();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, old.pem()).unwrap();
    let server = Server::nginx(&old.issue(|_| ()), "");
    let connector = only_added().add_root_file(&roots).build().unwrap();
    let mut before = server.tls(&connector).await.unwrap();
    assert_eq!(before.identity(), connector.identity());
    assert!(get(&mut before).await.starts_with("[.]"));
    let resumed = server.tls(&connector).await.unwrap();
    assert!(resumed.is_resumed());

    fs::write(&roots, new.pem()).unwrap();
    assert!(connector.reload().unwrap());
    assert_ne!(before.identity(), connector.identity());
    // The server would resume the session, and there are tickets: two came with the first connection.
    let error = server.tls(&connector).await.unwrap_err();
    assert_eq!(*error.kind(), TlsErrorKind::UnknownAuthority);

    // Both are trusted. The sessions from before the reloads stay out.
    fs::write(&roots, old.pem() + &new.pem()).unwrap();
    assert!(connector.reload().unwrap());
    let after = server.tls(&connector).await.unwrap();
    assert!(!after.is_resumed());
}

#[tokio::test]
async fn a_reload_without_changes_keeps_sessions_and_identity() {
    let authority = Authority::new("root");
    let folder = folder();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let connector = only_added().add_root_file(&roots).build().unwrap();
    get(&mut server.tls(&connector).await.unwrap()).await;
    let identity = connector.identity();
    assert!(!connector.reload().unwrap());
    assert_eq!(connector.identity(), identity);
    assert!(server.tls(&connector).await.unwrap().is_resumed());
}

#[tokio::test]
async fn after_a_reload_that_failed_all_is_as_before() {
    let authority = Authority::new("root");
    let folder = folder();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let connector = only_added().add_root_file(&roots).build().unwrap();
    get(&mut server.tls(&connector).await.unwrap()).await;
    let identity = connector.identity();

    fs::write(&roots, "half a file").unwrap();
    let error = connector.reload().unwrap_err();
    assert_eq!(error.kind(), TlsConfigErrorKind::NoCertificate);
    assert_eq!(error.path(), Some(&*roots));
    fs::remove_file(&roots).unwrap();
    assert_eq!(connector.reload().unwrap_err().kind(), TlsConfigErrorKind::Unreadable);
    assert_eq!(connector.identity(), identity);
    assert!(server.tls(&connector).await.unwrap().is_resumed());
}

#[tokio::test]
async fn a_renewed_client_certificate_is_presented_after_a_reload_of_any_clone() {
    let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
    let files = folder_with(&authority.issue(|_| ()));
    fs::write(files.path().join("clients.pem"), clients.pem()).unwrap();
    let server = Server::nginx_in(files, "ssl_client_certificate clients.pem; ssl_verify_client optional;");
    let folder = folder_with(&Authority::new("stranger").issue(|_| ()));
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    let connector = authority.trusted().client_auth_files(chain, key).build().unwrap();
    let answer = get(&mut server.tls(&connector).await.unwrap()).await;
    assert!(answer.contains("400 Bad Request"), "{answer}");

    let renewed = clients.issue(|_| ());
    fs::write(folder.path().join("chain.pem"), &renewed.certificate).unwrap();
    let error = connector.reload().unwrap_err();
    assert_eq!(error.kind(), TlsConfigErrorKind::KeyMismatch, "between two writes");
    fs::write(folder.path().join("key.pem"), &renewed.key).unwrap();
    assert!(connector.clone().reload().unwrap());
    let answer = get(&mut server.tls(&connector).await.unwrap()).await;
    assert_eq!(answer, format!("[.] [TLSv1.3] [{NAME}] [] [SUCCESS]"));
}

#[test]
fn connectors_that_are_built_separately_have_identities_of_their_own() {
    let config = Authority::new("root").trusted();
    let [one, other] = [config.clone(), config].map(|config| config.build().unwrap());
    assert_ne!(one.identity(), other.identity());
    assert_eq!(one.identity(), one.clone().identity());
}

#[test]
fn a_missing_file_is_named() {
    let path = Path::new("/no/such/roots.pem");
    let error = only_added().add_root_file(path).build().unwrap_err();
    assert_eq!(error.kind(), TlsConfigErrorKind::Unreadable);
    assert_eq!(error.to_string(), "/no/such/roots.pem cannot be read (check the path and its permissions)");
    assert_eq!(error.path(), Some(path));
}

#[test]
fn roots_without_certificates_are_refused() {
    let said =
        "the given PEM holds no certificate (it needs BEGIN CERTIFICATE; DER can be converted: openssl x509)";
    assert_eq!(wrong(only_added().add_root_pem("")), (TlsConfigErrorKind::NoCertificate, said.to_owned()));
}

#[test]
fn broken_pem_is_refused() {
    let cut = Authority::new("root").pem().replace("-----END", "");
    assert_eq!(wrong(only_added().add_root_pem(cut)).0, TlsConfigErrorKind::NotPem);
}

#[test]
fn a_root_that_is_no_certificate_is_refused() {
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for roots in [TlsRoots::Platform, TlsRoots::Webpki, TlsRoots::OnlyAdded] {
        let config = TlsConfig::new().roots(roots).add_root_pem(text);
        assert_eq!(wrong(config).0, TlsConfigErrorKind::InvalidRoot, "{roots:?}");
    }
}

#[test]
fn a_connector_without_roots_is_refused() {
    assert_eq!(wrong(only_added()).0, TlsConfigErrorKind::NoRoots);
}

#[test]
fn a_client_certificate_needs_its_own_key() {
    let authority = Authority::new("root");
    let [one, other] = [(); 2].map(|()| authority.issue(|_| ()));
    let config = |key: &str| authority.trusted().client_auth_pem(one.certificate.clone(), key);
    assert_eq!(wrong(config(&other.key)).0, TlsConfigErrorKind::KeyMismatch);
    assert_eq!(wrong(config(&one.certificate)).0, TlsConfigErrorKind::NoKey);
    assert_eq!(wrong(config(&one.key.replace("-----END", ""))).0, TlsConfigErrorKind::NotPem);
    let unknown = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(wrong(config(unknown)).0, TlsConfigErrorKind::InvalidKey);
}

#[test]
fn revocation_lists_are_checked_when_the_connector_is_built() {
    let authority = Authority::new("root");
    let with = |list: &str| authority.trusted().add_revocation_pem(list);
    assert_eq!(wrong(with("")).0, TlsConfigErrorKind::NoRevocationList);
    let broken = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    assert_eq!(wrong(with(broken)).0, TlsConfigErrorKind::InvalidRevocationList);
    let folder = folder();
    let path = folder.path().join("lists.pem");
    fs::write(&path, broken).unwrap();
    let error = with(&authority.revoke(1)).add_revocation_file(&path).build().unwrap_err();
    assert_eq!(error.path(), Some(&*path));
    let platform = with(&authority.revoke(1)).roots(TlsRoots::Platform);
    assert_eq!(wrong(platform).0, TlsConfigErrorKind::RevocationOnPlatform);
}

#[test]
fn a_protocol_needs_a_name_that_fits() {
    for name in ["", &"h".repeat(256)] {
        assert_eq!(wrong(Authority::new("root").trusted().alpn([name])).0, TlsConfigErrorKind::InvalidAlpn);
    }
}

#[test]
fn secrets_are_not_shown() {
    let authority = Authority::new("root");
    let Issued { certificate, key } = authority.issue(|_| ());
    let connector = authority.trusted().client_auth_pem(certificate, key.clone()).build().unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!format!("{connector:?}").contains(secret));
}
