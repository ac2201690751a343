//! The live page in headless Chromium, over its debugging protocol: what it shows is what `/stats` says, in each width and
//! colour scheme, without an error and without a request to anybody else. `tests/install` installs Chromium, and axe-core,
//! which finds what keeps people from using a page.
//!
//! `MILLPOND_SCREENSHOTS=folder cargo test --all-features --test admin_page` keeps pictures, of a minute under load.

use std::future::pending;
use std::io::Write;
use std::num::NonZeroU32;
use std::process::{Command as Program, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs};

use futures_util::{SinkExt, StreamExt};
use millpond::metric::{Kind, Label, Metric, Metrics, Value as Number, Visit};
use millpond::net::Listener;
use millpond::observe::Registry;
use millpond::observe::admin::{Admin, AdminConfig};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(30);
const PAGE: &str = include_str!("../src/observe/page.html");

/// A relay at work, a pool whose buffers stay lent, servers, and where the page is.
struct Mill {
    url: String,
    relay: Relay,
    /// The one whose client does not read.
    stalled: String,
    _lender: BufferPool,
    _lent: Vec<PooledBuffer>,
}

const SMALL: usize = 8192;
const SMALL_LENT: usize = 3;
/// More than the relay takes.
const LARGE: usize = 65_536;
const LARGE_LENT: usize = 50;
/// Of the relay, with the one that stalls.
const CONNECTIONS: usize = 6;

impl Mill {
    async fn start(config: AdminConfig) -> Self {
        Self::start_with(config, &Registry::new()).await
    }

    async fn start_with(config: AdminConfig, registry: &Registry) -> Self {
        Self::start_by(Admin::new(registry.clone(), config), registry).await
    }

    async fn start_by(admin: Admin, registry: &Registry) -> Self {
        let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
        let sampled = BufferPoolConfig::proxy().to_builder().sample_one_in(NonZeroU32::MIN).build().unwrap();
        let lender = BufferPool::new(sampled);
        registry.add("proxy", &relay);
        registry.add("proxy", relay.pool());
        registry.add("lender", &lender);
        let sizes = [SMALL; SMALL_LENT].into_iter().chain([LARGE; LARGE_LENT]);
        let lent = sizes.map(|size| lender.acquire(size)).collect();
        let stalled = keep_relaying(&relay).await;
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let url = listener.local_endpoint().to_string().replace("tcp", "http");
        tokio::spawn(admin.serve(listener, pending()).unwrap());
        Self { url, relay, stalled, _lender: lender, _lent: lent }
    }
}

/// Bytes to an upstream that answers, a KiB at a time, and a client that does not read what it gets. Returns the address of that.
async fn keep_relaying(relay: &Relay) -> String {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_endpoint().to_string().replace("tcp://", "");
    let to = upstream.local_addr().unwrap().to_string();
    let serving = relay.clone();
    tokio::spawn(async move { serving.serve(listener, &*to, pending()).await });
    for at in 1..CONNECTIONS {
        let mut client = TcpStream::connect(&address).await.unwrap();
        let (mut server, _) = upstream.accept().await.unwrap();
        let pause = Duration::from_millis(5 * at as u64);
        tokio::spawn(async move {
            loop {
                client.write_all(&[7; 1024]).await.unwrap();
                client.read_exact(&mut [0; 512]).await.unwrap();
                sleep(pause).await;
            }
        });
        tokio::spawn(async move {
            loop {
                server.read_exact(&mut [0; 1024]).await.unwrap();
                server.write_all(&[7; 512]).await.unwrap();
            }
        });
    }
    // The last, so that it leads by what it holds only.
    let stalled = TcpStream::connect(&address).await.unwrap();
    let stalled_address = stalled.local_addr().unwrap().to_string();
    let (mut flood, _) = upstream.accept().await.unwrap();
    tokio::spawn(async move {
        let _stalled = stalled;
        flood.write_all(&vec![0; 64 << 20]).await
    });
    while !relay.connections().iter().any(|connection| connection.held_bytes > 0) {
        sleep(Duration::from_millis(1)).await;
    }
    stalled_address
}

/// What a program with servers, breakers and regions shows.
struct Servers;

macro_rules! gauge {
    ($name:ident, $text:literal) => {
        static $name: Metric = Metric::new(Kind::Gauge, $text, "A test.", &[]);
    };
}
gauge!(POOL, "millpond_connection_pool_connections");
gauge!(WAITING, "millpond_connection_pool_waiting");
gauge!(ERRORS, "millpond_http_request_errors_total");
gauge!(REQUESTS, "millpond_http_requests_total");
gauge!(BREAKER, "millpond_breaker_state");
gauge!(REGION, "millpond_region_state");
gauge!(SCORE, "millpond_region_score_seconds");

impl Metrics for Servers {
    fn each(&self, visit: &mut Visit<'_>) {
        let mut show = |metric, labels: &[(&'static str, &str)], value| {
            let labels: Vec<_> = labels.iter().map(|(name, value)| Label::new(name, *value)).collect();
            visit(metric, &labels, Number::Float(value));
        };
        for (server, state) in [("https://well.example", "closed"), ("https://ill.example:8443", "open")] {
            let server = ("server", server);
            show(&POOL, &[server, ("state", "idle")], 4.0);
            show(&POOL, &[server, ("state", "in_use")], 3.0);
            show(&WAITING, &[server], 2.0);
            for (outcome, count) in
                [("2xx", 5000.0), ("4xx", 30.0), ("5xx", 20.0), ("error", 1.0), ("refused", 2.0)]
            {
                show(&REQUESTS, &[server, ("outcome", outcome)], count);
            }
            show(&ERRORS, &[server, ("kind", "reset")], 7.0);
            show(&ERRORS, &[server, ("kind", "response_timeout")], 1200.0);
            for one in ["closed", "half_open", "open"] {
                show(&BREAKER, &[server, ("state", one)], f64::from(u8::from(one == state)));
            }
        }
        for (region, state) in [("near", "serving"), ("far", "standby"), ("lost", "ejected")] {
            for one in ["serving", "standby", "ejected"] {
                show(&REGION, &[("region", region), ("state", one)], f64::from(u8::from(one == state)));
            }
            show(&SCORE, &[("region", region)], 0.0123);
        }
    }
}

async fn with_servers() -> Mill {
    let registry = Registry::new();
    registry.add_by("upstreams", || Some(Servers));
    Mill::start_with(AdminConfig::default(), &registry).await
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
        let script_of = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let result = self.ask("Runtime.evaluate", script_of).await;
        assert!(result["exceptionDetails"].is_null(), "{script}: {result}");
        result["result"]["value"].clone()
    }

    async fn until(&mut self, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        // The first looks may find a page without a body yet.
        let script =
            format!("(() => {{ try {{ return {condition} }} catch (error) {{ return String(error) }} }})()");
        loop {
            let found = self.evaluate(&script).await;
            if found == json!(true) {
                return;
            }
            let text = self.evaluate("document.body?.innerText").await;
            assert!(Instant::now() < deadline, "{condition} is {found} of: {text}\n{:?}", self.complaints());
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
    let row = row("classes", "lender, 8192");
    assert_eq!(tab.evaluate(&format!("{row}.children[2].textContent")).await, json!(SMALL_LENT.to_string()));
    let shown = tab.evaluate(LENT).await.as_f64().unwrap();
    let lent = (SMALL_LENT * SMALL + LARGE_LENT * LARGE) as f64;
    assert!((lent..lent * 1.1).contains(&shown), "{shown}, not {lent}");
}

/// The first row of a table that begins so.
fn row(table: &str, start: &str) -> String {
    format!(
        "[...document.querySelectorAll('#{table} tr')].find(row => row.textContent.startsWith('{start}'))"
    )
}

/// The texts of its cells.
fn cells(row: &str) -> String {
    format!(
        "[...({row} ?? {{ children: [] }}).children].filter(cell => !cell.hidden).map(cell => cell.textContent)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greediest_connections_are_those_of_the_relay() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    let rows = "document.querySelectorAll('#connections tr').length";
    assert_eq!(tab.evaluate(rows).await, json!(CONNECTIONS));
    let first = cells("document.querySelector('#connections tr')");
    assert_eq!(tab.evaluate(&format!("{first}[0]")).await, json!(mill.stalled));
    let shown =
        tab.evaluate("[...document.querySelectorAll('#connections th')].map(cell => cell.textContent)").await;
    let mut shown: Vec<_> =
        shown.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect();
    let mut open: Vec<_> = mill.relay.connections().iter().map(|one| one.client.to_string()).collect();
    shown.sort();
    open.sort();
    assert_eq!(shown, open);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_ordered_as_somebody_chooses() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    let ids =
        "[...document.querySelectorAll('#connections tr')].map(row => row.lastChild.textContent).join()";
    assert!(tab.evaluate(ids).await.as_str().unwrap().starts_with("6,"));
    tab.evaluate("by.value = 'age_seconds'; by.dispatchEvent(new Event('change'))").await;
    tab.until(&format!("{ids} === '1,2,3,4,5,6'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leak_report_names_code_and_the_pools_without_one() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    let cells = tab.evaluate(&cells(&row("holders", "tests/admin_page.rs:"))).await;
    assert_eq!(cells[2], json!((SMALL_LENT + LARGE_LENT).to_string()));
    assert_eq!(cells[3], json!("3.30 MB"));
    let note = tab.evaluate("document.getElementById('holders-note').textContent").await;
    assert!(note.as_str().unwrap().starts_with("Off for proxy: sample_one_in"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_have_their_connections_errors_and_breakers() {
    let mill = with_servers().await;
    let mut tab = Tab::open(&mill.url).await;
    let ill = row("upstreams", "https://ill.example:8443 (upstreams)");
    let expected = [
        "https://ill.example:8443 (upstreams)",
        "open",
        "3",
        "4",
        "0",
        "2",
        "7 reset, 1.20 k response timeout",
    ];
    assert_eq!(tab.evaluate(&cells(&ill)).await, json!(expected));
    assert_eq!(tab.evaluate(&format!("{ill}.children[1].className")).await, json!("text bad"));
    let well = row("upstreams", "https://well.example (upstreams)");
    assert_eq!(tab.evaluate(&format!("{well}.children[1].className")).await, json!("text"));
    assert_eq!(
        tab.evaluate(&cells(&row("regions", "lost"))).await,
        json!(["lost (upstreams)", "ejected", "12.3 ms", "0"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_breakers_and_regions_there_is_no_place_for_them() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    let open = CONNECTIONS.to_string();
    let expected = ["proxy", &open, "0", "0", "0", "0"];
    assert_eq!(tab.evaluate(&cells(&row("upstreams", "proxy"))).await, json!(expected));
    assert_eq!(
        tab.evaluate("document.getElementById('regions-section').checkVisibility()").await,
        json!(false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_without_samples_is_not_there() {
    let shown =
        "['requests', 'traffic'].map(id => document.getElementById(id + '-section').checkVisibility())";
    for (mill, expected) in
        [(Mill::start(AdminConfig::default()).await, [false, true]), (with_servers().await, [true, true])]
    {
        let mut tab = Tab::open(&mill.url).await;
        tab.until("document.querySelector('polyline').points.length > 0").await;
        assert_eq!(tab.evaluate(shown).await, json!(expected));
    }
}

const WIDTHS_AND_SCHEMES: [(u32, &str); 4] = [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")];

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_violation() {
    let axe = concat!(env!("CARGO_MANIFEST_DIR"), "/target/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("tests/install installs axe-core");
    let mill = with_servers().await;
    let mut tab = Tab::open(&mill.url).await;
    tab.until("document.querySelector('polyline').points.length > 2").await;
    tab.evaluate(&format!("{axe}; true")).await;
    for (width, scheme) in WIDTHS_AND_SCHEMES {
        tab.look(width, scheme).await;
        // What it cannot decide by itself counts, too, but for the contrast of texts that scroll out of their region.
        let script = "axe.run({ resultTypes: ['violations', 'incomplete'] }).then(({ violations, incomplete, passes }) => [passes.length, \
            ...violations, ...incomplete.filter(({ id }) => id !== 'color-contrast')].map(one => one.id ? `${one.id}: ${one.help}: \
            ${one.nodes.map(node => node.html).join(' ')}` : one))";
        let found = tab.evaluate(script).await;
        assert!(found[0].as_u64().unwrap() > 20, "{found}");
        assert_eq!(found.as_array().unwrap().len(), 1, "{width} {scheme}: {found:#}");
    }
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
async fn the_page_forgets_the_counters_of_what_is_gone() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    tab.until("before.has('class lender, 8192')").await;
    tab.evaluate("rate('class gone', 1, 1)").await;
    let points = "document.querySelector('polyline').points.length";
    let before = tab.evaluate(points).await.as_u64().unwrap();
    tab.until(&format!("{points} > {before} + 1")).await;
    assert_eq!(tab.evaluate("before.has('class gone')").await, json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_whether_the_program_is_ready_and_seldom_asks() {
    const EVERY: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    let (asked, registry) = (Arc::new(AtomicUsize::new(0)), Registry::new());
    let count = Arc::clone(&asked);
    let (send, check) = watch::channel(Err("the mill drains".to_owned()));
    let admin = Admin::new(registry.clone(), AdminConfig::default()).ready(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let says = check.borrow().clone();
        async move { says }
    });
    let mill = Mill::start_by(admin, &registry).await;
    let mut tab = Tab::open(&mill.url).await;
    let says = "document.getElementById('ready').textContent";
    tab.until(&format!("{says} === 'not ready: the mill drains'")).await;
    assert_eq!(tab.evaluate("document.getElementById('ready').className").await, json!("bad"));
    tab.until("document.querySelector('polyline').points.length > 4").await;
    let most = 1 + begun.elapsed().as_secs() / EVERY.as_secs();
    assert!(asked.load(Ordering::Relaxed) as u64 <= most, "{asked:?}, and not {most}");
    send.send(Ok(())).unwrap();
    // It asks at once when somebody looks again.
    tab.evaluate("get('pause').click(); get('pause').click()").await;
    tab.until(&format!("{says} === 'ready'")).await;
    assert_eq!(tab.evaluate("document.getElementById('ready').className").await, json!(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_class_has_a_chart_of_its_memory() {
    let mill = Mill::start(AdminConfig::default()).await;
    let mut tab = Tab::open(&mill.url).await;
    let lines = format!("{}.querySelectorAll('svg polyline')", row("classes", "lender, 8192"));
    tab.until(&format!("{lines}[0].points.length > 2")).await;
    let heights = |line: usize| format!("[...{lines}[{line}].points].every(({{ y }}) => y ");
    assert_eq!(
        tab.evaluate(&format!("{} < 10)", heights(0))).await,
        json!(true),
        "all that is lent is at the top"
    );
    assert_eq!(tab.evaluate(&format!("{} > 90)", heights(1))).await, json!(true), "nothing is idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_fits_each_width_and_scheme_and_complains_of_nothing() {
    let mill = with_servers().await;
    let mut tab = Tab::open(&mill.url).await;
    tab.until("document.querySelector('polyline').points.length > 3").await;
    if env::var_os("MILLPOND_SCREENSHOTS").is_some() {
        sleep(Duration::from_secs(60)).await;
    }
    let mut grounds = Vec::new();
    for (width, scheme) in WIDTHS_AND_SCHEMES {
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
    for _ in 0..10 {
        for kind in ["keyDown", "keyUp"] {
            let tab_key = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            tab.ask("Input.dispatchKeyEvent", tab_key).await;
        }
        let name = "(document.activeElement.getAttribute('aria-labelledby') ?? document.activeElement.id) \
                    || document.activeElement.textContent";
        reached.push(tab.evaluate(name).await);
    }
    let tables = ["upstreams-title", "by", "connections-title", "holders-title", "classes-title"];
    let links = ["/metrics", "/stats", "/connections", "/holders"];
    assert_eq!(reached, [&["pause"], &tables[..], &links].concat());
}

#[tokio::test]
async fn viewers_leave_places_for_others() {
    let mill = Mill::start(AdminConfig::default().max_connections(4)).await;
    let address = mill.url.strip_prefix("http://").unwrap();
    let ask = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
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
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
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
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
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
