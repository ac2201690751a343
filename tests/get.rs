//! `millpond get` as users run it, against nginx.

mod upstream;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use upstream::{Nginx, free_port};

/// Its exit code, stdout and stderr.
fn get(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_millpond")).arg("get").args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A server, and the file with its authority's certificate.
fn server() -> (Nginx, tempfile::TempDir, String) {
    let server = Nginx::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, server.authority.pem()).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (server, folder, file)
}

#[test]
fn one_request_shows_the_protocol_and_the_phases() {
    let (server, _folder, ca) = server();
    let (code, said, stderr) = get(&[&server.https(), "--ca", &ca]);
    assert_eq!(code, 0, "{stderr}");
    for part in [
        "HTTP/2",
        "full TLS handshake",
        "lookup",
        "connect",
        "first byte",
        "status      200",
        "connections=1",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

#[test]
fn http1_is_an_option() {
    let (server, _folder, ca) = server();
    let (_, said, _) = get(&[&server.https(), "--ca", &ca, "--http1"]);
    assert!(said.contains("HTTP/1.1"), "{said}");
}

#[test]
fn the_second_request_to_a_server_uses_its_connection() {
    let server = Nginx::start();
    let (_, said, _) = get(&[&server.http1(), &server.http1()]);
    assert!(said.contains("used before"), "{said}");
}

#[test]
fn many_requests_share_few_connections() {
    let server = Nginx::start();
    let (code, said, stderr) = get(&[&server.http1(), "--repeat", "200", "--concurrency", "4"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(said.contains("status 200  200"), "{said}");
    let opened: usize = said.split("created=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(opened <= 4, "{said}");
}

#[test]
fn an_unknown_authority_is_named_and_fails() {
    let server = Nginx::start();
    let (code, _, stderr) = get(&[&server.https(), "--timeout", "2"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("authority") || stderr.contains("issuer"), "{stderr}");
}

#[test]
fn a_root_of_the_same_name_with_another_key_is_suspected() {
    let server = Nginx::start();
    let (_other, _folder, ca) = self::server();
    let (code, _, stderr) = get(&[&server.https(), "--ca", &ca]);
    assert_eq!(code, 1);
    for part in ["same name as this certificate's issuer, but another key", "--ca FILE"] {
        assert!(stderr.contains(part), "no {part:?} in {stderr}");
    }
}

#[test]
fn a_refused_connect_fails_and_says_so() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (code, _, stderr) = get(&[&url, "--timeout", "1"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("refused"), "{stderr}");
}

#[test]
fn many_requests_to_a_server_that_refuses_are_given_up() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (_, _, stderr) = get(&[&url, "--repeat", "100"]);
    assert!(stderr.contains("gave up"), "{stderr}");
}

#[test]
fn a_failed_connect_over_tls_shows_no_protocol() {
    let (_, said, _) = get(&[&format!("https://127.0.0.1:{}", free_port())]);
    assert!(!said.contains("HTTP/2"), "{said}");
}

#[test]
fn a_server_without_tls_is_told_how_to_request() {
    let server = Nginx::start();
    let (_, _, stderr) = get(&[&server.http1().replace("http://", "")]);
    assert!(stderr.contains("write http://"), "{stderr}");
}

#[test]
fn failed_requests_are_counted_by_their_reason() {
    // It closes each connection without an answer.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    thread::spawn(move || {
        for client in server.incoming() {
            let _ = Read::read(&mut client.unwrap(), &mut [0; 1_000]);
        }
    });
    let (code, said, stderr) = get(&[&url, "--repeat", "3", "--concurrency", "3"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(said.contains("failed      3: "), "{said}");
    assert!(said.contains("  requests    failed=3 incomplete=3\n"), "{said}");
}

#[test]
fn a_server_on_whose_connections_no_request_failed_has_no_line_of_failed_ones() {
    let server = Nginx::start();
    let (_, said, _) = get(&[&server.http1()]);
    assert!(said.contains("  connects    "), "{said}");
    assert!(!said.contains("failed="), "{said}");
}

#[test]
fn many_requests_to_a_server_that_refuses_do_not_begin() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (code, said, stderr) = get(&[&url, "--repeat", "1000000"]);
    assert_eq!((code, said.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("refused"), "{stderr}");
}

/// A server that answers with `answer`, and tells of each request.
fn telling_server(answer: &'static str) -> (String, Receiver<()>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for client in server.incoming() {
            let (mut client, sender) = (client.unwrap(), sender.clone());
            thread::spawn(move || {
                while client.read(&mut [0; 1_000]).is_ok_and(|length| length > 0) {
                    let _ = sender.send(());
                    if client.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, requests)
}

/// `millpond get URL --repeat 100000`, with a SIGINT at the request of that number.
fn interrupted(answer: &'static str, at: usize) -> (Option<i32>, String, String) {
    let (url, requests) = telling_server(answer);
    let child: Child = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(["get", &url, "--repeat", "100000", "--concurrency", "8"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(requests.iter().take(at).count(), at);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn ctrl_c_ends_many_requests_at_any_moment() {
    for at in (1..1_000).step_by(50) {
        let (code, said, stderr) = interrupted("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", at);
        assert_eq!(code, Some(130), "at request {at}: {said}{stderr}");
        assert!(stderr.contains(" of 100000 requests were answered"), "{stderr}");
    }
}

#[test]
fn ctrl_c_ends_the_first_request_too_with_the_table() {
    let (code, said, stderr) = interrupted("", 1);
    assert_eq!(code, Some(130), "{said}{stderr}");
    assert!(said.starts_with("0 answers in "), "{said}");
    assert!(stderr.contains("0 of 100000 requests were answered"), "{stderr}");
}

#[test]
fn a_server_that_refuses_does_not_stop_the_requests_to_others() {
    let server = Nginx::start();
    let dead = format!("http://127.0.0.1:{}", free_port());
    let (code, said, stderr) = get(&[&dead, &server.http1(), "--repeat", "10"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(said.contains("status 200  5"), "{said}{stderr}");
    assert!(said.contains("failed      5: "), "{said}{stderr}");
}

#[test]
fn a_status_is_a_failure_if_that_is_wanted() {
    let server = Nginx::start();
    let missing = format!("{}/nothing-here", server.http1());
    for (url, expected) in [(missing, 1), (server.http1(), 0)] {
        for repeat in [&[][..], &["--repeat", "3"]] {
            let (code, said, _) = get(&[&[&url, "--fail"], repeat].concat());
            assert_eq!(code, expected, "{said}");
        }
    }
}

#[test]
fn a_status_is_no_failure() {
    let server = Nginx::start();
    let (code, said, _) = get(&[&format!("{}/nothing-here", server.http1())]);
    assert!(said.contains("404"), "{said}");
    assert_eq!(code, 0);
}

#[test]
fn the_timeout_holds_for_the_handshake_too() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let (code, _, stderr) = get(&[&url, "--timeout", "1"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("no TLS handshake within 1s"), "{stderr}");
}

#[test]
fn a_late_answer_and_a_late_body_are_told_apart_and_the_limit_is_explained() {
    for (answer, expected) in [
        ("", "no answer within 1.2s"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", "no end of the body within 1.2s"),
    ] {
        let (url, _requests) = telling_server(answer);
        let (code, _, stderr) = get(&[&url, "--timeout", "0.1"]);
        assert_eq!(code, 1);
        assert!(stderr.contains(&format!("{expected} (twice --timeout, and 1s)")), "{stderr}");
    }
}

#[test]
fn both_schemes_of_a_host_have_pools_of_their_own() {
    let (server, _folder, ca) = server();
    // Without TLS the answer is 400.
    let (https, http) = (server.https(), server.https().replace("https", "http"));
    let (_, said, stderr) = get(&[&https, &http, "--ca", &ca, "--repeat", "2"]);
    for url in [https, http] {
        assert!(said.contains(&url), "no {url} in:\n{said}{stderr}");
    }
}

#[test]
fn servers_are_listed_in_the_order_of_the_command_line_after_a_blank_line() {
    let servers: Vec<_> =
        (0..5).map(|_| telling_server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).collect();
    let urls: Vec<_> = servers.iter().map(|(url, _)| url.as_str()).collect();
    let (_, said, stderr) = get(&urls);
    let listed: Vec<_> =
        said.split("\n\n  server      ").skip(1).map(|block| block.split("/\n").next().unwrap()).collect();
    assert_eq!(listed, urls, "{said}{stderr}");
}

#[test]
fn a_user_in_a_url_is_refused_and_not_repeated() {
    let (code, _, stderr) = get(&["http://miller:secret@127.0.0.1:1/"]);
    assert_eq!(code, 2);
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[test]
fn a_url_that_is_not_http_is_told_what_to_write() {
    const SCHEMES: &str = "write http:// or https://";
    const PORT: &str = "write a port from 0 to 65535";
    for (url, expected) in [
        ("http//localhost/", SCHEMES),
        ("https/localhost/", SCHEMES),
        ("http:/localhost/", SCHEMES),
        ("HTTPS:localhost", SCHEMES),
        ("unix:///tmp/x", SCHEMES),
        ("ws://localhost", SCHEMES),
        ("http://localhost:99999/", PORT),
        ("http://[::1]:80a/", PORT),
    ] {
        let (code, _, stderr) = get(&[url]);
        assert_eq!(code, 2, "{url}: {stderr}");
        assert!(stderr.contains(expected), "{url}: {stderr}");
    }
}

#[test]
fn a_wrong_port_does_not_repeat_the_user() {
    let (code, _, stderr) = get(&["http://miller:secret@127.0.0.1:99999/"]);
    assert_eq!(code, 2);
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[test]
fn a_file_of_roots_without_one_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let files =
        [folder.path().join("missing"), folder.path().to_owned(), file("key.pem", &key), file("empty", "")];
    for ca in files {
        let ca = ca.to_str().unwrap();
        let (code, _, stderr) = get(&["https://127.0.0.1:1", "--ca", ca]);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("--ca") && stderr.contains(ca), "{stderr}");
    }
}

#[test]
fn wrong_usage_is_refused() {
    for wrong in [
        &["ftp://mill.example"][..],
        &["http://mill.example", "--header", "no colon"],
        &["https://mill.example", "--ca", "/there/is/no/ca.pem"],
        &["http://mill.example", "--repeat", "1", "--concurrency", "65536"],
        &["http://mill.example", "--repeat", "1", "--concurrency", "5000000000"],
        &[],
    ] {
        assert_eq!(get(wrong).0, 2, "{wrong:?}");
    }
}
