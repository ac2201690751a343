//! Who takes the pool takes four crates with it, and no more.

use std::collections::BTreeSet;
use std::process::Command;

/// The names of all crates that `cargo tree` lists for these flags.
fn crates(flags: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "millpond", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(flags)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).unwrap();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_default_features_bring_five_crates() {
    let expected = set(&["millpond", "bytes", "crossbeam-queue", "crossbeam-utils", "memchr", "triomphe"]);
    assert_eq!(crates(&[]), expected);
    assert_eq!(crates(&["--no-default-features"]), expected);
    assert_eq!(crates(&["--features", "observe"]), expected);
}

#[test]
fn tls_brings_one_cryptography() {
    let (tls, otlp) = (crates(&["--features", "tls"]), crates(&["--features", "otlp"]));
    assert!(tls.contains("aws-lc-rs"), "{tls:?}");
    for other in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(!tls.contains(other), "{other}");
        assert!(!otlp.contains(other), "{other}");
    }
    assert!(!crates(&["--features", "relay"]).contains("rustls"), "a relay has no TLS by itself");
    assert!(!crates(&["--features", "proxy"]).contains("h2"), "the admin endpoint speaks HTTP/1.1");
}

#[test]
fn otlp_brings_no_other_client() {
    let otlp = crates(&["--features", "otlp"]);
    assert!(otlp.contains("opentelemetry-proto"), "{otlp:?}");
    for other in ["opentelemetry-otlp", "reqwest", "tonic"] {
        assert!(!otlp.contains(other), "{other}");
    }
}

#[test]
fn tokio_comes_with_the_feature_that_needs_it_and_the_command_with_its_own() {
    let sockets = crates(&["--features", "relay"]);
    assert!(sockets.contains("tokio"), "{sockets:?}");
    assert!(!sockets.contains("clap"), "{sockets:?}");
    assert!(crates(&["--features", "cli"]).contains("clap"));
}
