//! `millpond top` against a real proxy: as text, and in a pseudo-terminal whose screen a terminal emulator keeps.

mod proxy;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use proxy::{PATIENCE, Proxy};
use vt100::Parser;

/// A proxy with a connection that is open, and one whose client has not read all.
struct Mill {
    proxy: Proxy,
    client: TcpStream,
    greedy: TcpStream,
    upstream: TcpListener,
}

const SENT: usize = 12_345;

impl Mill {
    fn start(admin: &str) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("tcp://{}", upstream.local_addr().unwrap());
        let proxy = Proxy::start("tcp://127.0.0.1:0", &to, &["--admin", admin, "--sample-one-in", "1"]);
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        let (mut server, _) = upstream.accept().unwrap();
        client.write_all(&[0; SENT]).unwrap();
        server.read_exact(&mut [0; SENT]).unwrap();
        thread::spawn(move || io::copy(&mut server, &mut io::sink()));
        let greedy = TcpStream::connect(proxy.address()).unwrap();
        let (mut flood, _) = upstream.accept().unwrap();
        thread::spawn(move || flood.write_all(&vec![0; 64 << 20]));
        let mill = Self { proxy, client, greedy, upstream };
        let deadline = Instant::now() + PATIENCE;
        while !mill.once(&[]).contains("src/relay/pump.rs:") {
            assert!(Instant::now() < deadline, "no buffer is held");
            thread::sleep(Duration::from_millis(10));
        }
        mill
    }

    /// `127.0.0.1:4711`, or the path of a Unix socket.
    fn admin(&self) -> &str {
        let admin = self.proxy.admin.trim_end().strip_prefix("admin endpoint on ").unwrap();
        admin.trim_start_matches("tcp://")
    }

    fn once(&self, more: &[&str]) -> String {
        printed(top(&[&[self.admin(), "--once"], more].concat()))
    }
}

fn address(stream: &TcpStream) -> String {
    stream.local_addr().unwrap().to_string()
}

fn top(arguments: &[&str]) -> Output {
    Command::new("timeout")
        .args(["30", env!("CARGO_BIN_EXE_millpond"), "top"])
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str], code: i32) -> String {
    let output = top(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// The words of the first line that begins with this word.
fn words<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(first));
    line.unwrap_or_else(|| panic!("{first} is not in {text}")).split_whitespace().collect()
}

#[test]
fn once_prints_connections_with_what_they_hold_and_have_moved() {
    let mill = Mill::start("127.0.0.1:0");
    let text = mill.once(&[]);
    assert_eq!(words(&text, "connections")[1..4], ["2", "of", "clients,"]);
    assert_eq!(words(&text, "traffic")[1..3], ["12.3", "kB"]);
    assert_eq!(words(&text, &address(&mill.client))[1..5], ["0", "B", "12.3", "kB"]);
    let greedy = address(&mill.greedy);
    assert_ne!(words(&text, &greedy)[1], "0");
    assert!(text.find(&greedy) < text.find(&address(&mill.client)), "{text}");
    let upstream = mill.upstream.local_addr().unwrap();
    assert!(words(&text, &greedy).contains(&&*format!("tcp://{upstream}")), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn once_orders_and_limits_as_it_is_told() {
    let mill = Mill::start("127.0.0.1:0");
    let text = mill.once(&["--sort", "age", "--top", "1"]);
    assert!(text.contains("\nGreediest connections, by age (the first 1 of 2)\n"), "{text}");
    assert!(text.contains(&address(&mill.client)), "{text}");
    assert!(!text.contains(&address(&mill.greedy)), "{text}");
}

#[test]
fn without_a_terminal_it_prints_once() {
    let mill = Mill::start("127.0.0.1:0");
    assert!(printed(top(&[mill.admin()])).contains("Greediest connections"));
}

#[test]
fn the_address_may_be_written_in_several_ways() {
    let mill = Mill::start("127.0.0.1:0");
    for address in [
        format!("http://{}", mill.admin()),
        format!("http://{}/", mill.admin()),
        format!("tcp://{}", mill.admin()),
    ] {
        assert!(printed(top(&[&address, "--once"])).contains(&self::address(&mill.client)), "{address}");
    }
}

#[test]
fn a_unix_socket_may_be_the_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let path = path.to_str().unwrap();
    let mill = Mill::start(&format!("unix://{path}"));
    let text = printed(top(&[&format!("unix://{path}"), "--once"]));
    assert!(text.contains(&address(&mill.client)), "{text}");
}

#[test]
fn nobody_there_is_an_error_that_says_where_and_what_to_start() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = refused(&[&free], 1);
    assert!(said.starts_with(&format!("millpond: cannot connect to tcp://{free}")), "{said}");
    assert!(said.contains("`millpond proxy --admin`"), "{said}");
}

#[test]
fn somebody_else_there_is_an_error_that_says_so() {
    const LARGE: usize = 9_000_000;
    let spaces = " ".repeat(LARGE);
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n{spaces}");
    for (answer, expected) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "/stats has the status 404 Not Found"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "/stats is no JSON: "),
        ("SSH-2.0-OpenSSH_9.2\r\n", "/stats: "),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "/connections?by=held_bytes&top=20 is no report"),
        (&*large, "/stats: length limit exceeded"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap().to_string();
        let answer = answer.to_owned();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while let Ok(1..) = stream.read(&mut [0; 1024]) {
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let said = refused(&[&there, "--once"], 1);
        let expected = format!("tcp://{there} does not answer as an admin endpoint of millpond: {expected}");
        assert!(said.contains(&expected), "{said}");
        server.join().unwrap();
    }
}

#[test]
fn wrong_usage_is_said() {
    for (arguments, expected) in [
        (&["https://127.0.0.1:9900"][..], "the admin endpoint speaks no TLS"),
        (&["9900"], "for '<ADDR>'"),
        (&["127.0.0.1:9900", "--every", "0"], "write 0.1 seconds or more"),
        (&["127.0.0.1:9900", "--top", "1001"], "1001 is not in 1..=1000"),
        (&["127.0.0.1:9900", "--sort", "size"], "[possible values: held, traffic, idle, age]"),
        (&[], "<ADDR>"),
    ] {
        let said = refused(arguments, 2);
        assert!(said.contains(expected), "{said}");
    }
}

/// The command in a pseudo-terminal.
struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<Parser>>,
    slave: OwnedFd,
    before: Termios,
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

const ROWS: u16 = 40;
const COLUMNS: u16 = 120;

impl Terminal {
    fn start(arguments: &[&str]) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let standard = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_millpond"))
            .arg("top")
            .args(arguments)
            .args(["--every", "0.1"])
            .env("TERM", "xterm-256color")
            .stdin(standard())
            .stdout(standard())
            .stderr(standard())
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let screen = Arc::new(Mutex::new(Parser::new(cells(ROWS), cells(COLUMNS), 0)));
        let (mut output, parser) = (keys.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..count]);
            }
        });
        Self { child, keys, screen, slave: pty.slave, before }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn shows(&self, text: &str) {
        self.until(text, |terminal| terminal.text().contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        // SAFETY: the descriptor is a terminal, and the size outlives the call.
        let done = unsafe { libc::ioctl(self.slave.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(done, 0);
        // It has no controlling terminal, which would send it.
        self.signal(Signal::SIGWINCH);
    }

    /// It has ended well, and given the terminal back.
    fn has_ended(mut self) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(0), "{}", self.text());
        self.until("the screen is left", |terminal| {
            !terminal.screen.lock().unwrap().screen().alternate_screen()
        });
        self.until("the cursor is back", |terminal| !terminal.screen.lock().unwrap().screen().hide_cursor());
        let after = tcgetattr(&self.slave).unwrap();
        assert_eq!(after.local_flags, self.before.local_flags);
        assert_eq!(after.input_flags, self.before.input_flags);
        assert_eq!(after.output_flags, self.before.output_flags);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_screen_shows_the_proxy_and_moves() {
    let mill = Mill::start("127.0.0.1:0");
    let terminal = Terminal::start(&[mill.admin()]);
    terminal.shows(&format!("millpond top  tcp://{}", mill.admin()));
    terminal.shows(&address(&mill.greedy));
    terminal.shows("2 of clients, 0 in pools");
    terminal.shows("0 B/s to upstreams");
    terminal.until("memory is lent", |terminal| terminal.text().contains("kB  \u{2588}\u{2588}"));
    terminal.until("bytes move", |terminal| {
        (&mill.client).write_all(&[0; 4096]).unwrap();
        !terminal.text().contains("0 B/s to upstreams")
    });
    let _third = TcpStream::connect(mill.proxy.address()).unwrap();
    terminal.shows("3 of clients");
}

#[test]
fn keys_change_what_it_shows() {
    let mill = Mill::start("127.0.0.1:0");
    let mut terminal = Terminal::start(&[mill.admin()]);
    terminal.shows("Greediest connections, by held memory");
    terminal.press("s");
    terminal.shows("Greediest connections, by traffic");
    terminal.press("h");
    terminal.shows("Who holds buffers");
    terminal.shows("src/relay/pump.rs:");
    terminal.press("h");
    terminal.shows("proxy, 65536");
    terminal.press("hp");
    terminal.shows("paused");
    let _third = TcpStream::connect(mill.proxy.address()).unwrap();
    terminal.press("p");
    terminal.shows("3 of clients");
    terminal.press("q");
    terminal.has_ended();
}

#[test]
fn an_order_is_shown_with_the_rows_that_have_it() {
    let mill = Mill::start("127.0.0.1:0");
    let (client, greedy) = (address(&mill.client), address(&mill.greedy));
    let mut terminal = Terminal::start(&[mill.admin()]);
    terminal.shows("Greediest connections, by held memory");
    // Paused, so that nothing but the keys makes it ask; and faster than it asks.
    terminal.press("psss");
    terminal.shows("Greediest connections, by age");
    let text = terminal.text();
    assert!(text.find(&client) < text.find(&greedy), "{text}");
}

#[test]
fn connections_have_a_history() {
    let mill = Mill::start("127.0.0.1:0");
    let terminal = Terminal::start(&[mill.admin()]);
    terminal.until("a bar beside the words", |terminal| {
        let text = terminal.text();
        let rest = text.split("2 of clients, 0 in pools").nth(1).unwrap_or_default();
        rest.split('\u{2502}').next().unwrap_or_default().contains('\u{2588}')
    });
}

#[test]
fn whether_the_program_is_ready_is_said() {
    let mill = Mill::start("127.0.0.1:0");
    assert_eq!(words(&mill.once(&[]), "readiness")[1..], ["ready"]);
    let terminal = Terminal::start(&[mill.admin()]);
    terminal.shows("every 100ms  ready");
    mill.proxy.interrupt();
    let deadline = Instant::now() + PATIENCE;
    while !mill.once(&[]).contains("readiness    not ready: the proxy drains\n") {
        assert!(Instant::now() < deadline, "{}", mill.once(&[]));
    }
    Terminal::start(&[mill.admin()]).shows("every 100ms  not ready: the proxy drains");
}

#[test]
fn it_fits_a_terminal_that_shrinks() {
    const NARROW: u16 = 50;
    let mill = Mill::start("127.0.0.1:0");
    let mut terminal = Terminal::start(&[mill.admin()]);
    terminal.shows(&address(&mill.greedy));
    terminal.resize(ROWS, NARROW);
    // Now they stand one below another.
    let is_narrow = |text: &str| {
        text.lines().any(|line| line.trim_end().ends_with('\u{2510}') && line.starts_with("\u{250c} Memory"))
    };
    terminal.until("it is drawn anew", |terminal| is_narrow(&terminal.text()));
    terminal.shows(&address(&mill.greedy));
    for (rows, columns) in [(1, 1), (3, 20), (10, 200)] {
        terminal.resize(rows, columns);
    }
    terminal.shows("millpond top");
    terminal.press("q");
    terminal.has_ended();
}

#[test]
fn however_it_is_ended_it_gives_the_terminal_back() {
    let mill = Mill::start("127.0.0.1:0");
    for keys in ["q", "\x1b", "\x03"] {
        let mut terminal = Terminal::start(&[mill.admin()]);
        terminal.shows("Greediest connections");
        terminal.press(keys);
        terminal.has_ended();
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let terminal = Terminal::start(&[mill.admin()]);
        terminal.shows("Greediest connections");
        terminal.signal(signal);
        terminal.has_ended();
    }
}

#[test]
fn a_proxy_that_ends_is_said_and_the_last_look_stays() {
    let mill = Mill::start("127.0.0.1:0");
    let mut terminal = Terminal::start(&[mill.admin()]);
    terminal.shows(&address(&mill.client));
    let Mill { proxy, client: first, greedy, .. } = mill;
    drop((first, greedy));
    proxy.interrupt();
    proxy.wait();
    terminal.shows("no connection: cannot connect to tcp://");
    terminal.shows("Greediest connections");
    terminal.press("q");
    terminal.has_ended();
}

#[test]
fn in_a_terminal_once_is_text_as_well() {
    let mill = Mill::start("127.0.0.1:0");
    let terminal = Terminal::start(&[mill.admin(), "--once"]);
    terminal.shows("Buffers by class");
    terminal.has_ended();
}
