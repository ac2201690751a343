//! The live page in headless Chromium, over its debugging protocol: what it shows is what `/stats` says, in each width and
//! colour scheme, without an error and without a request to anybody else. `tests/install` installs Chromium.
//!
//! `MILLPOND_SCREENSHOTS=folder cargo test --all-features --test admin_page` keeps pictures.

use std::future::pending;
use std::io::Write;
use std::process::{Command as Program, Stdio};
use std::time::Duration;
use std::{env, fs};

use futures_util::{SinkExt, StreamExt};
use millpond::net::{Listener, Peekable};
use millpond::observe::Registry;
use millpond::observe::admin::{Admin, AdminConfig};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, duplex};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(30);
const PAGE: &str = include_str!("../src/observe/page.html");

/// A relay at work, a pool whose buffers stay lent, and where the page is.
struct Mill {
    url: String,
    _lender: BufferPool,
    _lent: Vec<PooledBuffer>,
}

const SMALL: usize = 8192;
const SMALL_LENT: usize = 3;
/// More than the relay takes.
const LARGE: usize = 65_536;
const LARGE_LENT: usize = 50;

impl Mill {
    async fn start(config: AdminConfig) -> Self {
        let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
        let lender = BufferPool::new(BufferPoolConfig::proxy());
        let registry = Registry::new();
        registry.add("proxy", &relay);
        registry.add("proxy", relay.pool());
        registry.add("lender", &lender);
        let sizes = [SMALL; SMALL_LENT].into_iter().chain([LARGE; LARGE_LENT]);
        let lent = sizes.map(|size| lender.acquire(size)).collect();
        keep_relaying(relay);
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let url = listener.local_endpoint().to_string().replace("tcp", "http");
        tokio::spawn(Admin::new(registry, config).serve(listener, pending()).unwrap());
        Self { url, _lender: lender, _lent: lent }
    }
}

/// Bytes to the upstream, a KiB at a time.
fn keep_relaying(relay: Relay) {
    let (mut client, here) = duplex(1024);
    let (there, mut server) = duplex(1024);
    tokio::spawn(async move { relay.relay(Peekable::new(here), Peekable::new(there)).await });
    tokio::spawn(async move {
        loop {
            client.write_all(&[7; 1024]).await.unwrap();
            server.read_exact(&mut [0; 1024]).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    });
}

/// A tab of a browser.
struct Tab {
    socket: WebSocketStream<TcpStream>,
    session: Option<String>,
    next: u64,
    /// What the browser has said of its own accord.
    events: Vec<Value>,
    _browser: Child,
    _profile: TempDir,
}

impl Tab {
    async fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("tests/install installs chromium");
        let mut said = BufReader::new(browser.stderr.take().unwrap()).lines();
        let debugger = loop {
            let line = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap();
            let line = line.expect("the browser has ended");
            if let Some(address) = line.strip_prefix("DevTools listening on ") {
                break address.to_owned();
            }
        };
        // So that the browser can go on to write.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let host = debugger.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(&debugger, stream).await.unwrap();
        let mut tab =
            Self { socket, session: None, next: 0, events: Vec::new(), _browser: browser, _profile: profile };
        let target = tab.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = tab.ask("Target.attachToTarget", attach).await;
        tab.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            tab.ask(domain, json!({})).await;
        }
        tab.ask("Page.navigate", json!({ "url": url })).await;
        tab.until("document.getElementById('state')?.textContent === 'live'").await;
        tab
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut call = json!({ "id": self.next, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(call.to_string())).await.unwrap();
        loop {
            let said = timeout(PATIENCE, self.socket.next()).await.expect(method).unwrap().unwrap();
            let mut said: Value = serde_json::from_str(said.to_text().unwrap()).unwrap();
            if said["id"] == self.next {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].take();
            }
            self.events.push(said);
        }
    }

    async fn evaluate(&mut self, script: &str) -> Value {
        let result =
            self.ask("Runtime.evaluate", json!({ "expression": script, "returnByValue": true })).await;
        assert!(result["exceptionDetails"].is_null(), "{script}: {result}");
        result["result"]["value"].clone()
    }

    async fn until(&mut self, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(condition).await != json!(true) {
            let text = self.evaluate("document.body.innerText").await;
            assert!(Instant::now() < deadline, "{condition} is not true of: {text}\n{:?}", self.complaints());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Errors and warnings in the console.
    fn complaints(&self) -> Vec<&Value> {
        let kinds = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"];
        self.events.iter().filter(|said| kinds.iter().any(|kind| said["method"] == **kind)).collect()
    }

    /// The URLs that the page has asked for.
    fn requests(&self) -> Vec<&str> {
        let sent = self.events.iter().filter(|said| said["method"] == "Network.requestWillBeSent");
        sent.map(|said| said["params"]["request"]["url"].as_str().unwrap()).collect()
    }

    async fn look(&mut self, width: u32, scheme: &str) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", scheme).await;
    }

    async fn keep_picture(&mut self, name: &str) {
        let Some(folder) = env::var_os("MILLPOND_SCREENSHOTS") else { return };
        let picture = self.ask("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        let mut decode =
            Program::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = decode.stdin.take().unwrap();
        let data = picture["data"].as_str().unwrap().to_owned();
        let write = std::thread::spawn(move || stdin.write_all(data.as_bytes()).unwrap());
        let bytes = decode.wait_with_output().unwrap().stdout;
        write.join().unwrap();
        fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }
}

const LENT: &str = "Number(document.getElementById('memory-0').dataset.value)";
const TRAFFIC: &str = "Number(document.getElementById('traffic-0').dataset.value)";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_the_stats_say() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    let script = "fetch('/stats').then(answer => answer.json()).then(stats => { window.stats = stats; })";
    tab.evaluate(script).await;
    tab.until("'stats' in window").await;
    let sample = "stats.millpond_buffer_pool_buffers.find(({ labels }) => labels.name === 'lender' \
                  && labels.state === 'lent' && labels.class === '8192').value";
    assert_eq!(tab.evaluate(sample).await, json!(SMALL_LENT));
    let row = "[...document.querySelectorAll('#classes tr')].find(row => row.textContent.startsWith('lender, 8192'))";
    assert_eq!(tab.evaluate(&format!("{row}.children[1].textContent")).await, json!(SMALL_LENT.to_string()));
    let shown = tab.evaluate(LENT).await.as_f64().unwrap();
    let lent = (SMALL_LENT * SMALL + LARGE_LENT * LARGE) as f64;
    assert!((lent..lent * 1.1).contains(&shown), "{shown}, not {lent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_move_until_somebody_pauses_them() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    tab.until(&format!("{TRAFFIC} > 1000")).await;
    tab.until("document.querySelector('polyline').points.length > 2").await;
    tab.evaluate("document.getElementById('pause').click()").await;
    tab.until("document.getElementById('state').textContent === 'paused'").await;
    let points = "document.querySelector('polyline').points.length";
    let before = tab.evaluate(points).await;
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(tab.evaluate(points).await, before);
    tab.evaluate("document.getElementById('pause').click()").await;
    tab.until(&format!("{points} > {before}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_fits_each_width_and_scheme_and_complains_of_nothing() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    tab.until("document.querySelector('polyline').points.length > 3").await;
    let mut grounds = Vec::new();
    for (width, scheme) in [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")] {
        tab.look(width, scheme).await;
        let overflow =
            tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(overflow, json!(0), "{width} {scheme}");
        grounds.push(tab.evaluate("getComputedStyle(document.body).backgroundColor").await);
        tab.keep_picture(&format!("{width}-{scheme}")).await;
    }
    assert_ne!(grounds[0], grounds[1]);
    assert!(tab.complaints().is_empty(), "{:?}", tab.complaints());
    let elsewhere: Vec<_> = tab
        .requests()
        .into_iter()
        .filter(|url| !url.starts_with(&mill.url) && !url.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_the_page_has_a_name_and_can_be_reached_by_keyboard() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    tab.ask("Accessibility.enable", json!({})).await;
    let tree = tab.ask("Accessibility.getFullAXTree", json!({})).await;
    let named = |role: &str| -> Vec<String> {
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["role"]["value"] == role);
        nodes.map(|node| node["name"]["value"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(named("image").len(), 5);
    for role in ["image", "region", "button", "link", "columnheader", "rowheader"] {
        assert!(named(role).iter().all(|name| !name.is_empty()), "{role}: {:?}", named(role));
    }
    let mut reached = Vec::new();
    for _ in 0..4 {
        for kind in ["keyDown", "keyUp"] {
            let tab_key = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            tab.ask("Input.dispatchKeyEvent", tab_key).await;
        }
        reached.push(tab.evaluate("document.activeElement.tagName").await);
    }
    assert_eq!(reached, ["BUTTON", "DIV", "A", "A"]);
}

#[tokio::test]
async fn viewers_leave_places_for_others() {
    let mill = Mill::start(AdminConfig::default().max_connections(4)).await;
    let address = mill.url.strip_prefix("http://").unwrap();
    let ask = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, String::from_utf8(status.to_vec()).unwrap())
    };
    let looking = [ask("/events").await, ask("/events").await];
    assert_eq!(looking.each_ref().map(|(_, status)| &**status), ["HTTP/1.1 200"; 2]);
    assert_eq!(ask("/events").await.1, "HTTP/1.1 503");
    assert_eq!(ask("/healthz").await.1, "HTTP/1.1 200");
    drop(looking);
    // They are missed when the next event is written.
    let deadline = Instant::now() + PATIENCE;
    while ask("/events").await.1 != "HTTP/1.1 200" {
        assert!(Instant::now() < deadline, "their places stay taken");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn events_end_by_themselves() {
    let mill = Mill::start(AdminConfig::default().connection_timeout(Duration::from_millis(1500))).await;
    let mut stream = TcpStream::connect(mill.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert_eq!(text.matches("retry: 1000").count(), 2, "{text}");
    assert!(text.ends_with("\r\n0\r\n\r\n"), "the last chunk is missing: {text}");
}

/// The part of the page between two tags.
fn inside(tag: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("<{tag}>")).unwrap();
    rest.split_once(&format!("</{tag}>")).unwrap().0
}

#[tokio::test]
async fn the_policy_allows_the_pages_own_script_and_style_alone() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut stream = TcpStream::connect(mill.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    for tag in ["script", "style"] {
        let mut hash = Program::new("sh")
            .args(["-c", "openssl dgst -sha256 -binary | base64"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        hash.stdin.take().unwrap().write_all(inside(tag).as_bytes()).unwrap();
        let hash = String::from_utf8(hash.wait_with_output().unwrap().stdout).unwrap();
        let expected = format!("{tag}-src 'sha256-{}';", hash.trim());
        assert!(text.contains(&expected), "PAGE_POLICY in src/observe/admin/respond.rs needs {expected}");
    }
    assert!(text.contains("default-src 'none'"), "{text}");
}
