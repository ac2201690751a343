//! What the numbers cost while nobody looks: instructions per relayed request, per acquire of a buffer and per get of a
//! connection, exact.
//!
//! `cargo bench --features admin,connection,relay --bench overhead [-- [--write] [--record]]`
//!
//! Each operation runs in a process of its own under valgrind's callgrind, with two different counts; the difference is the
//! operation's. It is counted in three variants: by the crate built with `--cfg millpond_uncounted`, whose counters do nothing;
//! as users have it; and with a registry and an admin endpoint, to which nobody is connected. What the kernel does for a request
//! is not counted, and is most of it. `--write` replaces a section of `benches/results/instructions.md`, and
//! `--record` keeps the counts.

mod callgrind;
mod results;

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::future::pending;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use callgrind::{callgrind, collected, missing};
use millpond::connection::{ManageConnection, Pool};
use millpond::net::{Endpoint, Listener};
use millpond::observe::Registry;
use millpond::observe::admin::{Admin, AdminConfig};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is counted, and how often: a few rounds that fill all caches, and then these.
const OPERATIONS: [(&str, u64, u64); 3] =
    [(RELAYED, 200, 1000), (ACQUIRE, 2048, 10_240), ("get + put of a connection", 2048, 10_240)];
const RELAYED: &str = "a relayed request of 64 B, and its answer";
const ACQUIRE: &str = "acquire + drop of a buffer of 1 KiB";

/// The run with the fewest instructions of this number counts: a tick of the clock adds some.
const RUNS: usize = 5;

const UNCOUNTED: &str = "millpond_uncounted";
const OBSERVED: &str = "observed";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [rustc, ..] if rustc.ends_with("rustc") => {
            Err(Command::new(rustc).args(&arguments[1..]).args(["--cfg", UNCOUNTED]).exec().into())
        }
        ["--run", operation, variant, number] => run(operation, variant == OBSERVED, number.parse()?),
        _ => compare(&arguments),
    }
}

fn compare(flags: &[String]) -> Result<()> {
    let (here, uncounted) = (env::current_exe()?, uncounted()?);
    let mut text = format!(
        "\n{}; one thread.\n\n| operation | without counters | as it is | with registry and endpoint | of it without counters |\n\
         |---|---|---|---|---|\n",
        results::machine()
    );
    let mut figures = Vec::new();
    for (operation, warm_up, more) in OPERATIONS {
        let count = |program: &Path, variant| -> Result<f64> {
            let without = instructions(program, operation, variant, warm_up)?;
            let with = instructions(program, operation, variant, warm_up + more)?;
            Ok((with - without) as f64 / more as f64)
        };
        let plain = count(&uncounted, "plain")?;
        let counted = count(&here, "plain")?;
        let observed = count(&here, OBSERVED)?;
        writeln!(
            text,
            "| {operation} | {plain:.1} | {counted:.1} | {observed:.1} | {:.3} |",
            observed / plain
        )?;
        for (variant, value) in
            [("without counters", plain), ("as it is", counted), ("with registry and endpoint", observed)]
        {
            figures.push((format!("overhead/{operation}/{variant}"), value));
        }
    }
    println!("{text}");
    if flags.iter().any(|flag| flag == "--write") {
        results::replace("instructions", "overhead", &(text + "\n"))?;
    }
    if flags.iter().any(|flag| flag == "--record") {
        results::record(&figures)?;
    }
    Ok(())
}

/// Builds this bench without counters. It is the wrapper of the compiler for this crate, so that other crates are shared.
fn uncounted() -> Result<PathBuf> {
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["bench", "--quiet", "--no-run", "--message-format", "json"])
        .args(["--package", "millpond", "--features", "admin,connection,relay", "--bench", "overhead"])
        .env("RUSTC_WORKSPACE_WRAPPER", env::current_exe()?)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    let messages = String::from_utf8(built.stdout)?;
    let read = |line| serde_json::from_str::<Value>(line).ok()?["executable"].as_str().map(PathBuf::from);
    Ok(messages.lines().find_map(read).ok_or("it does not build without counters")?)
}

fn instructions(program: &Path, operation: &str, variant: &str, times: u64) -> Result<u64> {
    let mut fewest = u64::MAX;
    for _ in 0..RUNS {
        fewest = fewest.min(of_a_process(program, operation, variant, times)?);
    }
    Ok(fewest)
}

fn of_a_process(program: &Path, operation: &str, variant: &str, times: u64) -> Result<u64> {
    let control = TcpListener::bind("127.0.0.1:0")?;
    // Of the relay its port is the number, of the others the times.
    let number = if operation == RELAYED { control.local_addr()?.port().into() } else { times };
    let mut command = callgrind(program);
    command.args(["--run", operation, variant, &number.to_string()]);
    let child = command.stderr(Stdio::piped()).spawn().map_err(|error| missing(&error))?;
    if operation == RELAYED {
        relayed(&control, times)?;
    }
    Ok(collected(&child.wait_with_output()?)?)
}

/// The client and the upstream of a relay in another process, one after another, so that it always does the same.
fn relayed(control: &TcpListener, times: u64) -> Result<()> {
    let upstream = TcpListener::bind("127.0.0.1:0")?;
    let (mut control, _) = control.accept()?;
    control.write_all(&upstream.local_addr()?.port().to_be_bytes())?;
    let mut port = [0; 2];
    control.read_exact(&mut port)?;
    let mut client = TcpStream::connect(("127.0.0.1", u16::from_be_bytes(port)))?;
    let (mut server, _) = upstream.accept()?;
    let mut bytes = [7; 64];
    for _ in 0..times {
        client.write_all(&bytes)?;
        server.read_exact(&mut bytes)?;
        server.write_all(&bytes)?;
        client.read_exact(&mut bytes)?;
    }
    drop((client, server, control));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn run(operation: &str, is_observed: bool, number: u64) -> Result<()> {
    let registry = Registry::new();
    if is_observed {
        let listener = Listener::bind("127.0.0.1:0").await?;
        tokio::spawn(Admin::new(registry.clone(), AdminConfig::default()).serve(listener, pending())?);
        tokio::task::yield_now().await;
    }
    match operation {
        RELAYED => relay(&registry, number).await,
        ACQUIRE => {
            let pool = BufferPool::new(BufferPoolConfig::messages());
            registry.add("buffers", &pool);
            for _ in 0..number {
                black_box(pool.acquire(1000).as_ptr());
            }
            Ok(())
        }
        _ => {
            let pool = Pool::builder().max_size(1).min_idle(1).build(Nothing).await?;
            registry.add("connections", &pool);
            for _ in 0..number {
                black_box(*pool.get().await?);
            }
            Ok(())
        }
    }
}

/// Until the process that it is told of by this port closes the connection.
async fn relay(registry: &Registry, control: u64) -> Result<()> {
    let mut control = tokio::net::TcpStream::connect(("127.0.0.1", u16::try_from(control)?)).await?;
    let upstream: Endpoint = format!("tcp://127.0.0.1:{}", control.read_u16().await?).parse()?;
    let listener = Listener::bind("127.0.0.1:0").await?;
    let local = listener.local_endpoint().to_string();
    let port: u16 = local.rsplit(':').next().ok_or("no port")?.parse()?;
    let pool = BufferPool::new(BufferPoolConfig::proxy());
    let relay = Relay::new(pool.clone(), RelayConfig::default());
    registry.add("buffers", &pool);
    registry.add("relay", &relay);
    control.write_u16(port).await?;
    relay.serve(listener, upstream, async { drop(control.read_u8().await) }).await;
    Ok(())
}

struct Nothing;

impl ManageConnection for Nothing {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self) -> std::result::Result<u64, Infallible> {
        Ok(1)
    }

    async fn is_valid(&self, _: &mut u64) -> std::result::Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        false
    }
}
