//! The options of TLS of `millpond proxy`, with curl and `openssl s_client` in front and nginx behind.

mod proxy;
mod tls_servers;

use std::fs;
use std::process::{Command, Output};

use proxy::Proxy;
use tls_servers::{Authority, NAME, Server, folder_with};

/// `curl` for a page of [`NAME`] at this address, with these roots.
fn curl(address: &str, roots: &str) -> Output {
    Command::new("curl")
        .args(["-sS", "--http1.1", "--connect-to", &format!("{NAME}:443:{address}"), "--cacert", roots])
        .arg(format!("https://{NAME}/"))
        .output()
        .unwrap()
}

/// What the proxy says instead of a start.
fn refusal(more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(["proxy", "--listen", "127.0.0.1:0", "--to", "unix:///no/socket"])
        .args(more)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn tls_ends_in_the_proxy_and_begins_again_towards_the_server() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let folder = folder_with(&authority.issue(|_| ()));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("roots.pem"), authority.pem()).unwrap();
    let (chain, key, roots) = (path("chain.pem"), path("key.pem"), path("roots.pem"));
    let options = ["--tls-cert", &chain, "--tls-key", &key, "--to-tls", "--to-ca", &roots, "--to-name", NAME];
    let proxy = Proxy::start("127.0.0.1:0", &server.endpoint, &options);
    let output = curl(proxy.address(), &roots);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("[TLSv1.3] [{NAME}]")), "{output:?}");
    proxy.interrupt();
    proxy.wait();
}

#[test]
fn a_name_leads_to_its_server_by_an_option_and_by_the_file() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let folder = folder_with(&authority.issue(|_| ()));
    let roots = folder.path().join("roots.pem").to_str().unwrap().to_owned();
    fs::write(&roots, authority.pem()).unwrap();
    let route = format!("{NAME}={}", server.endpoint);
    let proxy = Proxy::start("127.0.0.1:0", "unix:///no/socket", &["--sni", &route]);
    let output = curl(proxy.address(), &roots);
    assert!(output.stdout.starts_with(b"[.]"), "{output:?}");

    let file = folder.path().join("millpond.toml");
    let text = "[[listen]]\nlisten = [\"127.0.0.1:0\"]\nto = [\"unix:///no/socket\"]\nsni-only = true\n[listen.sni]\n";
    fs::write(&file, format!("{text}\"*.pond.example\" = \"127.0.0.1:1\"\n\"{NAME}\" = \"127.0.0.1:2\"\n"))
        .unwrap();
    let check = |file: &str| {
        let arguments = ["proxy", "--config", file, "--check-config"];
        Command::new(env!("CARGO_BIN_EXE_millpond")).args(arguments).output().unwrap()
    };
    let output = check(file.to_str().unwrap());
    assert!(output.status.success(), "{output:?}");
    fs::write(&file, format!("{text}\"a.*.example\" = \"127.0.0.1:1\"\n")).unwrap();
    let output = check(file.to_str().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is no server name"), "{said}");
}

#[test]
fn a_client_of_another_name_gets_an_alert() {
    let proxy = Proxy::start(
        "127.0.0.1:0",
        "unix:///no/socket",
        &["--sni", "mill.example=127.0.0.1:1", "--sni-only"],
    );
    let output = Command::new("openssl")
        .args(["s_client", "-connect", proxy.address(), "-servername", NAME])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("unrecognized name"), "{said}");
}

#[test]
fn a_reload_presents_the_new_certificate() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = Server::nginx(&old.issue(|_| ()), "");
    let folder = folder_with(&old.issue(|_| ()));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("old.pem"), old.pem()).unwrap();
    fs::write(path("new.pem"), new.pem()).unwrap();
    let (chain, key) = (path("chain.pem"), path("key.pem"));
    let file = path("millpond.toml");
    let to = server.plain();
    let text = format!(
        "[[listen]]\nlisten = [\"127.0.0.1:0\"]\nto = [\"{to}\"]\ntls-cert = [\"{chain}\"]\ntls-key = [\"{key}\"]\n"
    );
    fs::write(&file, text).unwrap();
    let program = ["env", "--default-signal=HUP"];
    let proxy = Proxy::start_program(&program, &["--config", &file], |command| {
        command.stderr(std::process::Stdio::piped())
    });
    assert_eq!(curl(proxy.address(), &path("old.pem")).stdout, b"plain");
    tls_servers::write(folder.path(), &new.issue(|_| ()));
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    let deadline = std::time::Instant::now() + proxy::PATIENCE;
    while curl(proxy.address(), &path("new.pem")).stdout != b"plain" {
        assert!(std::time::Instant::now() < deadline, "the certificate is the old one");
    }
}

#[test]
fn what_is_wrong_with_tls_is_said_before_the_start() {
    let said = refusal(&["--tls-cert", "/no/such/chain.pem", "--tls-key", "/no/such/key.pem"]);
    assert!(said.contains("--tls-cert: /no/such/chain.pem cannot be read"), "{said}");
    let said = refusal(&["--tls-cert", "a", "--tls-cert", "b", "--tls-key", "c"]);
    assert!(said.contains("2 certificates have 1 keys"), "{said}");
    for more in [&["--to-tls"][..], &["--to-tls", "--check-config"]] {
        let said = refusal(more);
        assert!(said.contains("a Unix socket has no name"), "{said}");
    }
}
