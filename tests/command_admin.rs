//! `millpond proxy --admin`: a real Prometheus scrapes it, and probes learn that it drains or that its upstream is gone.
//! `tests/install` installs Prometheus and curl.

mod proxy;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proxy::{PATIENCE, Proxy};

/// The body and the status of an answer.
fn curl(arguments: &[&str], url: &str) -> (String, u16) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--write-out", "%{http_code}"])
        .args(arguments)
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut body = String::from_utf8(output.stdout).unwrap();
    let status = body.split_off(body.len() - 3);
    (body, status.parse().unwrap())
}

/// `127.0.0.1:4711`.
fn admin(proxy: &Proxy) -> &str {
    let admin = proxy.admin.trim_end().strip_prefix("admin endpoint on tcp://");
    admin.unwrap_or_else(|| panic!("the proxy said {:?}", proxy.admin))
}

fn proxy_to(upstream: &TcpListener, more: &[&str]) -> Proxy {
    let to = format!("tcp://{}", upstream.local_addr().unwrap());
    let arguments = [&["--admin", "127.0.0.1:0"], more].concat();
    Proxy::start("tcp://127.0.0.1:0", &to, &arguments)
}

/// A client of the proxy, and the connection that the upstream has for it.
fn connected(proxy: &Proxy, upstream: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).unwrap();
    let (server, _) = upstream.accept().unwrap();
    (client, server)
}

#[test]
fn a_real_prometheus_scrapes_the_proxy() {
    const SENT: usize = 12_345;
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(&upstream, &[]);
    let (mut client, mut server) = connected(&proxy, &upstream);
    client.write_all(&[0; SENT]).unwrap();
    server.read_exact(&mut [0; SENT]).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let target = admin(&proxy);
    let text = format!(
        "scrape_configs:\n- job_name: millpond\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  \
         static_configs:\n  - targets: ['{target}']\n"
    );
    fs::write(&config, text).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=error")
        .stdout(Stdio::null())
        .spawn()
        .expect("tests/install installs prometheus");
    let found = found(port, "millpond_relay_written_bytes_total{name=\"proxy\",to=\"upstream\"}", SENT)
        .and_then(|()| found(port, "millpond_relay_connections", 1))
        .and_then(|()| found(port, "sum(millpond_buffer_pool_acquires_total) > bool 0", 1))
        .and_then(|()| found(port, "up", 1));
    prometheus.kill().unwrap();
    prometheus.wait().unwrap();
    found.unwrap();
}

/// Asks Prometheus until the result of the query is this value.
fn found(port: u16, query: &str, value: usize) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = Command::new("promtool")
            .args(["query", "instant", &format!("http://127.0.0.1:{port}"), query])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        if said.lines().count() == 1 && said.contains(&format!("=> {value} @")) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{query} is not {value}: {said}{error}"));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn ready_is_refused_while_the_upstream_cannot_be_reached() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(&upstream, &[]);
    let url = format!("http://{}/readyz", admin(&proxy));
    assert_eq!(curl(&[], &url), ("ready\n".to_owned(), 200));
    drop(upstream);
    let (reason, status) = curl(&[], &url);
    assert!(reason.starts_with("not ready: the upstream cannot be reached: "), "{reason}");
    assert_eq!(status, 503);
}

#[test]
fn ready_is_refused_while_the_proxy_drains_and_healthy_is_not() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(&upstream, &["--drain-timeout", "60"]);
    let (client, server) = connected(&proxy, &upstream);
    proxy.interrupt();
    let ready = format!("http://{}/readyz", admin(&proxy));
    let deadline = Instant::now() + PATIENCE;
    while curl(&[], &ready) != ("not ready: the proxy drains\n".to_owned(), 503) {
        assert!(Instant::now() < deadline, "it does not drain");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(curl(&[], &format!("http://{}/healthz", admin(&proxy))), ("ok\n".to_owned(), 200));
    drop((client, server));
    proxy.wait();
}

fn refused(admin: &[&str]) -> (String, i32) {
    let output = Command::new("timeout")
        .args([
            "30",
            env!("CARGO_BIN_EXE_millpond"),
            "proxy",
            "--listen",
            "tcp://127.0.0.1:0",
            "--to",
            "tcp://127.0.0.1:1",
        ])
        .args(admin)
        .output()
        .unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

#[test]
fn a_public_address_is_refused_with_advice() {
    let (said, code) = refused(&["--admin", "0.0.0.0:0"]);
    assert!(said.contains("add --admin-public"), "{said}");
    assert_eq!(code, 1);
}

#[test]
fn a_public_address_is_served_if_a_flag_says_so() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", upstream.local_addr().unwrap());
    let proxy = Proxy::start("tcp://127.0.0.1:0", &to, &["--admin", "0.0.0.0:0", "--admin-public"]);
    let port = admin(&proxy).strip_prefix("0.0.0.0:").unwrap();
    assert_eq!(curl(&[], &format!("http://127.0.0.1:{port}/healthz")).1, 200);
}

#[test]
fn a_taken_address_is_an_error_that_names_the_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (said, code) = refused(&["--admin", &taken.local_addr().unwrap().to_string()]);
    assert!(said.contains("--admin: "), "{said}");
    assert_eq!(code, 1);
}

#[test]
fn wrong_usage_is_said() {
    for (arguments, expected) in
        [(&["--admin", "9900"][..], "for '--admin <ENDPOINT>'"), (&["--admin-public"], "--admin <ENDPOINT>")]
    {
        let (said, code) = refused(arguments);
        assert!(said.contains(expected), "{said}");
        assert_eq!(code, 2);
    }
}

/// The leak report of a proxy whose client has not read all yet.
fn holders(more: &[&str]) -> String {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(&upstream, more);
    let (_client, mut server) = connected(&proxy, &upstream);
    let flood = thread::spawn(move || drop(server.write_all(&vec![0; 64 << 20])));
    let url = format!("http://{}", admin(&proxy));
    let deadline = Instant::now() + PATIENCE;
    while curl(&[], &format!("{url}/connections")).0.contains("\"held_bytes\":0,") {
        assert!(Instant::now() < deadline, "the connection holds nothing");
        thread::sleep(Duration::from_millis(10));
    }
    let report = curl(&[], &format!("{url}/holders")).0;
    drop(proxy);
    flood.join().unwrap();
    report
}

#[test]
fn buffers_are_sampled_unless_that_is_off() {
    assert!(holders(&[]).contains("\"off\":[],"), "{}", holders(&[]));
    let every = holders(&["--sample-one-in", "1"]);
    assert!(every.contains("\"caller\":\"src/relay/pump.rs:"), "{every}");
    assert!(every.contains("\"sampled_one_in\":1,"), "{every}");
    let off = holders(&["--sample-one-in", "0"]);
    assert!(off.contains("\"off\":[\"proxy\"],\"rows\":[]"), "{off}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_new_process_takes_the_admin_endpoint_over() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(&upstream, &["--drain-timeout", "60"]);
    let (client, server) = connected(&proxy, &upstream);
    let url = format!("http://{}/metrics", admin(&proxy));
    const OPEN: &str = "millpond_relay_connections{name=\"proxy\"} ";
    assert!(curl(&[], &url).0.contains(&format!("{OPEN}1")));
    proxy.signal(Signal::SIGUSR2);
    // The open connection is the old process's.
    let deadline = Instant::now() + PATIENCE;
    while !curl(&[], &url).0.contains(&format!("{OPEN}0")) {
        assert!(Instant::now() < deadline, "the old process still serves its admin endpoint");
        thread::sleep(Duration::from_millis(10));
    }
    let mut children =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let parent = format!("PPid:\t{}\n", proxy.child.id());
    let is_child = |process: &String| {
        fs::read_to_string(format!("/proc/{process}/status")).is_ok_and(|status| status.contains(&parent))
    };
    let successor: i32 = children.find(is_child).unwrap().parse().unwrap();
    // It has the same stderr, which `wait` reads to its end.
    kill(Pid::from_raw(successor), Signal::SIGTERM).unwrap();
    drop((client, server));
    proxy.wait();
}

#[test]
fn ready_is_refused_while_one_of_several_listeners_reaches_no_server() {
    let [one, two] = ["127.0.0.1:0"; 2].map(|at| TcpListener::bind(at).unwrap());
    let listen = |name: &str, to: &TcpListener| {
        format!("[[listen]]\nname = '{name}'\nlisten = '127.0.0.1:0'\nto = '{}'\n", to.local_addr().unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mill.toml");
    fs::write(&file, format!("admin = '127.0.0.1:0'\n{}{}", listen("one", &one), listen("two", &two)))
        .unwrap();
    let arguments = ["--config", file.to_str().unwrap()];
    let program = ["env", "--default-signal=HUP"];
    let log = folder.path().join("log");
    let stderr = fs::File::create(&log).unwrap();
    let _proxy = Proxy::start_program(&program, &arguments, |command| command.stderr(stderr));
    // Written by a thread of its own.
    let deadline = Instant::now() + PATIENCE;
    let log = loop {
        let log = fs::read_to_string(&log).unwrap();
        if log.contains("admin=tcp://") {
            break log;
        }
        assert!(Instant::now() < deadline, "{log}");
        thread::sleep(Duration::from_millis(5));
    };
    let (_, at) = log.split_once("admin=tcp://").unwrap();
    let url = format!("http://{}/readyz", at.split_whitespace().next().unwrap());
    assert_eq!(curl(&[], &url).1, 200);
    drop(two);
    let (reason, status) = curl(&[], &url);
    assert!(reason.starts_with("not ready: the upstream of two cannot be reached: "), "{reason}");
    assert_eq!(status, 503);
}
